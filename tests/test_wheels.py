"""The data files of the two distributions: each is in its wheel, and the viewer's scripts are in the viewer's alone."""

import tomllib
from pathlib import PurePosixPath
from typing import Any

from hades.pictures.scenes import interactive
from tests.support import ROOT

HADES, VIEWER = (tomllib.loads((ROOT / at / "pyproject.toml").read_text()) for at in (".", "viewer"))


def packed(project: dict[str, Any], package: str, folder: str) -> dict[str, bool]:
    """File below `folder` -> is it package data."""
    patterns = [p.removeprefix("**/") for p in project["tool"]["setuptools"]["package-data"][package]]
    files = [p for p in (ROOT / folder).rglob("*") if p.is_file() and p.suffix not in (".py", ".pyc")]
    return {str(p.relative_to(ROOT)): any(PurePosixPath(p.name).match(pattern) for pattern in patterns) for p in files}


def test_every_data_file_is_in_the_wheel_of_hades() -> None:
    files = packed(HADES, "*", "hades") | packed(HADES, "*", "configs")
    assert len(files) > 60
    assert [name for name, there in files.items() if not there] == []


def test_the_scripts_of_the_viewer_are_in_its_own_wheel_with_their_licences() -> None:
    files = packed(VIEWER, "hades_viewer", "viewer/hades_viewer")
    scripts = {*interactive._CARRIED.values(), "three.LICENSE.txt", "lil-gui.LICENSE.txt"}
    assert files == {f"viewer/hades_viewer/{name}": True for name in scripts}
    assert not list((ROOT / "hades").rglob("*.js"))


def test_the_extra_requires_the_viewer_of_the_same_version() -> None:
    hades, viewer = HADES["project"], VIEWER["project"]
    assert hades["version"] == viewer["version"]
    assert hades["optional-dependencies"]["viewer"] == [f"{viewer['name']}=={viewer['version']}"]
