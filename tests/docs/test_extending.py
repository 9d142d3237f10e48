"""The extension pages, done by the letter from outside the package: their files, their gin, their command."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

import hades
from hades.runs.gin_config import config_root
from tests.docs.pages import OUTSIDE, SMALL_BINDINGS, blocks, shell_lines
from tests.support import ROOT

COMPONENTS = {"add_an_environment": "Lander", "add_an_outer_optimizer": "CEM", "add_a_loss": "Focal"}
SMALLER = {"add_an_outer_optimizer": ("CEM.population_size = 8", "CEM.num_elites = 2")}
_CONSOLE_SCRIPT = """#!{python}
import sys
sys.path.append({root!r})
from launch.train import run
run()
"""
"""What installing the package makes of `hades-train`, for a checkout that is not installed."""


def test_every_page_is_here() -> None:
    assert {page.stem for page in OUTSIDE} == set(COMPONENTS)


@pytest.mark.system
@pytest.mark.parametrize("page", OUTSIDE, ids=lambda page: page.stem)
def test_page_by_the_letter(page: Path, tmp_path: Path, environment: dict[str, str]) -> None:
    for block in blocks("python", "gin", pages=(page,)):
        (tmp_path / block.title).write_text(block.text)
    program = tmp_path / "bin" / "hades-train"
    program.parent.mkdir()
    program.write_text(_CONSOLE_SCRIPT.format(python=sys.executable, root=str(ROOT)))
    program.chmod(0o755)
    (command,) = shell_lines(page)
    bindings = (*SMALL_BINDINGS, *SMALLER.get(page.stem, ()))
    done = subprocess.run(
        ["bash", "-c", " ".join([command, *(f"--gin_bindings='{line}'" for line in bindings)])],
        cwd=tmp_path,
        env=environment | {"PATH": f"{program.parent}:{environment['PATH']}"},
        capture_output=True,
        text=True,
        timeout=250,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    workdir = tmp_path / command.split("--workdir=")[1]
    assert f'"{COMPONENTS[page.stem]}"' in (workdir / "experiment.json").read_text()
    assert json.loads((workdir / "result.json").read_text())["generations"] == 2
    for name in ("dataset.safetensors", "report.html"):
        assert (workdir / name).stat().st_size > 0
    if page.stem == "add_an_outer_optimizer":  # its dataset needs nothing of the page
        assert len(hades.load_dataset(workdir / "dataset.safetensors")) > 0


def test_nothing_of_the_pages_is_in_the_package() -> None:
    sources = [*(ROOT / "hades").rglob("*.py"), *config_root().rglob("*.gin")]
    text = "\n".join(path.read_text() for path in sources)
    assert not [name for name in COMPONENTS.values() if f'"{name}"' in text or f"@{name}()" in text]
