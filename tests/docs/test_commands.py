"""Every documented command is parsed by its program; those that others build on are run, the others planned."""

import re
from pathlib import Path
from typing import Any

import pytest

from tests.docs.pages import PAGES, blocks, commands
from tests.support import ROOT


def test_there_are_commands_of_every_program() -> None:
    programs = {command.split()[0] for command in commands()}
    assert {"hades-train", "hades-evaluate", "hades-export-dataset"} <= programs


@pytest.mark.parametrize("command", commands())
def test_command(command: str, outcomes: dict[str, dict[str, Any]]) -> None:
    outcome = outcomes[command]
    assert not outcome["failure"], outcome["failure"] + outcome["output"]
    assert outcome["output"]


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
    known = re.compile(r"(make |pip install |source |PYTHONPATH=\. hades-train |hades-|python launch/|#|$)")
    for block in blocks("bash", "console", "sh", "shell"):
        for line in block.text.splitlines():
            assert known.match(line), f"{block}: nothing checks {line!r}"
