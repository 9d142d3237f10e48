"""The extension pages, done by the letter from outside the package: their files, their gin, their commands."""

import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import hades
from hades.runs.shipped import config_root
from hades.studies.generalization.many_datasets import FILE
from tests.docs.pages import OUTSIDE, SMALL_BINDINGS, blocks, shell_lines
from tests.support import ROOT

COMPONENTS = {
    "add_an_environment": "Lander",
    "add_an_inner_learner": "Ridge",
    "add_an_outer_optimizer": "CEM",
    "add_a_loss": "Focal",
}
SMALLER = {"add_an_outer_optimizer": ("CEM.population_size = 8", "CEM.num_elites = 2")}
PROGRAMS = {"hades-train": "train", "hades-inspect": "inspect_dataset", "hades-generalize": "generalize"}
FEWER = {
    "hades-inspect": "--num_inits=2 --num_episodes=2",
    "hades-generalize": "--widths=8 --depths=1 --activations=tanh --num_inits=2 --num_episodes=2",
}
"""Flags that make a command after the training smaller."""
_CONSOLE_SCRIPT = """#!{python}
import sys
sys.path.append({root!r})
from launch.{module} import run
run()
"""
"""What installing the package makes of a program, for a checkout that is not installed."""


def test_every_page_is_here() -> None:
    assert {page.stem for page in OUTSIDE} == set(COMPONENTS)


@pytest.mark.system
@pytest.mark.timeout(900)  # one page runs three programs
@pytest.mark.parametrize("page", OUTSIDE, ids=lambda page: page.stem)
def test_page_by_the_letter(page: Path, tmp_path: Path, environment: dict[str, str]) -> None:
    for block in blocks("python", "gin", pages=(page,)):
        (tmp_path / block.title).write_text(block.text)
    training, *others = shell_lines(page)
    bindings = (*SMALL_BINDINGS, *SMALLER.get(page.stem, ()))
    _run(f"{training} {shlex.join(f'--gin_bindings={line}' for line in bindings)}", tmp_path, environment)
    workdir = tmp_path / training.split("--workdir=")[1]
    assert f'"{COMPONENTS[page.stem]}"' in (workdir / "experiment.json").read_text()
    result = json.loads((workdir / "result.json").read_text())
    assert result["generations"] == 2
    for name in ("dataset.safetensors", "report.html"):
        assert (workdir / name).stat().st_size > 0
    for command in others:
        _run(f"{command} {FEWER[_program(command)]}", tmp_path, environment)
    if page.stem == "add_an_outer_optimizer":  # its dataset needs nothing of the page
        assert len(hades.load_dataset(workdir / "dataset.safetensors")) > 0
    if page.stem == "add_an_inner_learner":
        assert result["method"] == "Ridge"
        assert len(json.loads((workdir / "reading.json").read_text())["influence"]["pairs"]) == result["num_pairs"] == 2
        (measured,) = json.loads((tmp_path / "runs/ridge_grid" / FILE).read_text())["results"]
        assert (measured["method"], len(measured["cells"])) == ("Ridge", 1)


def _program(command: str) -> str:
    return next(word for word in command.split() if word in PROGRAMS)


def _run(command: str, folder: Path, environment: dict[str, str]) -> None:
    program = folder / "bin" / _program(command)
    program.parent.mkdir(exist_ok=True)
    module = PROGRAMS[program.name]
    program.write_text(_CONSOLE_SCRIPT.format(python=sys.executable, root=str(ROOT), module=module))
    program.chmod(0o755)
    path = f"{program.parent}:{environment['PATH']}"
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=folder,
        env=environment | {"PATH": path},
        capture_output=True,
        text=True,
        timeout=250,
    )
    assert done.returncode == 0, done.stderr[-4000:]


def test_nothing_of_the_pages_is_in_the_package() -> None:
    sources = [*(ROOT / "hades").rglob("*.py"), *config_root().rglob("*.gin")]
    text = "\n".join(path.read_text() for path in sources)
    assert not [name for name in COMPONENTS.values() if f'"{name}"' in text or f"@{name}()" in text]
