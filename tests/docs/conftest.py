"""One folder in which the documentation happens: its run first, then the other commands and the Python of each page."""

import json
import os
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from launch.cli import PROGRAMS
from tests.docs.pages import SMALL_BINDINGS, blocks, commands, pages_with_python, smaller
from tests.support import ROOT

SCRIPTS = {v: k for k, v in tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"].items()}
"""Console scripts by what they call."""
PLANNED = ("hades-compare", "hades-generalize", "hades-multitask", "hades-readable", "hades-sweep-size")
REAL_WORKDIR = "runs/demo"
"""The run that other snippets use. Other training commands and comparisons are parsed, resolved and planned
(`--dry_run`), and what reads another run is only parsed."""


@pytest.fixture(scope="session")
def environment() -> dict[str, str]:
    """Environment of the subprocesses."""
    return {
        **{name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        "JAX_PLATFORMS": "cpu",
    }


@pytest.fixture(scope="session")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder, with the gin files of the pages in it."""
    folder = tmp_path_factory.mktemp("docs")
    for block in blocks("gin"):
        (folder / block.title).write_text(block.text)
    return folder


@pytest.fixture(scope="session")
def outcomes(scene: Path, environment: dict[str, str]) -> dict[str, dict[str, Any]]:
    """What every documented command, and the Python of every page, came to (the extension pages excepted)."""
    documented = commands()
    documented.sort(key=lambda c: not _is_real_run(program_words(c)))  # a run before what reads it
    steps: dict[str, dict[str, Any]] = {}
    for command in documented:
        only_parse = _reads_another_run(program_words(command))
        steps[command] = {"command": small_arguments(command), "only_parse": only_parse}
    for page in pages_with_python():
        code = [(block.line, smaller(block.text)) for block in blocks("python", pages=(page,))]
        steps[page.name] = {"page": str(page), "blocks": code}
    done = subprocess.run(
        [sys.executable, str(ROOT / "tests/docs/run_steps.py")],
        input=json.dumps(list(steps.values())),
        cwd=scene,
        env=environment | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=1000,  # of all commands of all pages together; a busy machine needs five minutes
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return dict(zip(steps, json.loads(done.stdout.splitlines()[-1]), strict=True))


def program_words(command: str) -> list[str]:
    """The words of a command, as `hades-train …` where it is `hades train …`."""
    words = shlex.split(command)
    if words[0] != "hades" or words[1] not in PROGRAMS:
        return words
    return [SCRIPTS[f"hades.launch.{PROGRAMS[words[1]][0]}:run"], *words[2:]]


def small_arguments(command: str) -> list[str]:
    """The words of a command, with what makes it small appended."""
    words = program_words(command)
    if any(word.startswith("--host_devices") for word in words):  # all commands share one process and its devices
        words = [word for word in words if not word.startswith(("--host_devices", "--compile"))]
    if words[0] == "hades-train":
        is_real = _is_real_run(words)
        words += [f"--gin_bindings={line}" for line in SMALL_BINDINGS]
        words += ["--noprogress"] if is_real else ["--dry_run"]
    if (
        words[0] in ("hades-compare", "hades-generalize", "hades-multitask", "hades-readable", "hades-sweep-size")
        and "--dry_run" not in words
    ):
        words += ["--dry_run"]
    if words[0] in ("hades-evaluate", "hades-inspect"):
        words += ["--num_inits=2", "--num_episodes=1"]
    return words


def _is_real_run(words: list[str]) -> bool:
    return words[0] == "hades-train" and f"--workdir={REAL_WORKDIR}" in words


def _reads_another_run(words: list[str]) -> bool:
    workdirs = [word for word in words if word.startswith("--workdir=")]
    if words[0] == "hades-inspect" and any(word.startswith("--dataset=hopper") for word in words):
        return True  # compiling Brax takes most of a minute, and another page's inspection runs
    if any("teacher_from.path = 'runs/" in word for word in words):
        return True
    reads = words[0] in ("hades-export-dataset", "hades-inspect") and not any(w.startswith("--dataset=") for w in words)
    if any(word.startswith("--dataset=runs/") and REAL_WORKDIR not in word for word in words):
        return True
    return reads and bool(workdirs) and workdirs != [f"--workdir={REAL_WORKDIR}"]
