"""Every Python block runs, and every command is run or planned: see SMALL and REAL_WORKDIR for what is made small.

One file, because all of it happens in one process (`outcomes`), and files are what parallel test workers share out.
"""

import re
from pathlib import Path
from typing import Any

import pytest

import hades
from hades.runs.experiment import FREE_FIELDS
from tests.docs.conftest import small_arguments
from tests.docs.pages import PAGES, blocks, commands, pages_with_python
from tests.support import ROOT

pytestmark = pytest.mark.timeout(1100)


def test_there_are_commands_of_every_program() -> None:
    programs = {small_arguments(command)[0] for command in commands()}
    assert {"hades", "hades-train", "hades-evaluate", "hades-export-dataset"} <= programs


@pytest.mark.documented
@pytest.mark.system
@pytest.mark.parametrize("command", commands())
def test_command(command: str, outcomes: dict[str, dict[str, Any]]) -> None:
    outcome = outcomes[command]
    assert not outcome["failure"], outcome["failure"] + outcome["output"]
    assert outcome["output"]


@pytest.mark.documented
@pytest.mark.system
def test_work_directory_holds_what_the_table_lists(outcomes: dict[str, Any], scene: Path) -> None:
    del outcomes
    section = (ROOT / "docs/configuring.md").read_text().split("## The work directory")[1].split("\n## ")[0]
    listed = set(re.findall(r"^\| `([\w.]+)/?` ", section, re.MULTILINE)) - {"damaged_checkpoints"}
    there = {path.name for path in (scene / "runs/demo").iterdir() if not path.name.startswith(".")}
    assert there == listed


def test_make_targets_exist() -> None:
    text = "\n".join(page.read_text() for page in (*PAGES, ROOT / "CONTRIBUTING.md"))
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    documented = set(re.findall(r"(?:^|`)make ([a-z-]+)", text, re.MULTILINE))
    assert "demo" in documented
    assert documented <= set(targets)


def test_demo_target_is_the_documented_run() -> None:
    assert "launch/train.py --config=cartpole_hades_r --workdir=runs/demo" in (ROOT / "Makefile").read_text()
    assert "hades-train --config=cartpole_hades_r --workdir=runs/demo" in commands()


def test_no_shell_line_escapes() -> None:
    """Lines that no test runs are of kinds that are known here."""
    known = re.compile(
        r"(make |pip install |source |eval \"\$\(hades completion |PYTHONPATH=\. hades-|hades[- ]|python launch/|"
        r"python docs/scaling_table\.py |#|$)"
    )
    for block in blocks("bash", "console", "sh", "shell"):
        for line in block.text.splitlines():
            assert known.match(line), f"{block}: nothing checks {line!r}"


@pytest.mark.documented
@pytest.mark.system
@pytest.mark.parametrize("page", pages_with_python(), ids=lambda page: page.name)
def test_blocks_run_in_turn(page: Path, outcomes: dict[str, dict[str, Any]]) -> None:
    outcome = outcomes[page.name]
    assert not outcome["failure"], outcome["failure"] + outcome["output"]


def test_readme_and_shipped_config_are_the_same_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """The README says that its Python run is the run of `make demo`."""
    (block,) = (b for b in blocks("python", pages=(ROOT / "README.md",)) if "hades.run(" in b.text)
    built: list[hades.Experiment] = []
    monkeypatch.setattr("hades.run", lambda experiment, workdir: built.append(experiment), raising=False)
    exec(block.text.split("\nprint(")[0], {})
    assert built == [hades.load_experiment("cartpole_hades_r")], "README.md and configs/gin/runs/cartpole_hades_r.gin"


def test_free_fields_are_those_of_the_table() -> None:
    section = (ROOT / "docs/configuring.md").read_text().split("## What may change")[1].split("\n## ")[0]
    assert set(re.findall(r"^\| `Experiment\.(\w+)` ", section, re.MULTILINE)) == set(FREE_FIELDS)
