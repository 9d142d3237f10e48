"""Paths among flags: checked while they are parsed, in every program."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from absl import flags

from hades.commands.path_flags import define_path, define_sources
from hades.errors import ConfigError
from hades.runs.job import Job
from hades.runs.workdir import WorkDir
from tests.support import ROOT

ONE, MANY = "path_of_a_test", "paths_of_a_test"


@pytest.fixture(autouse=True)
def defined() -> Iterator[None]:
    define_path(ONE, None, "One.")
    define_sources(MANY, "Several.")
    yield
    for name in (ONE, MANY):
        delattr(flags.FLAGS, name)


@pytest.mark.parametrize("name", [ONE, MANY])
@pytest.mark.parametrize(("given", "said"), [("", "is empty"), ("gs://bucket/x", "Mount the bucket")])
def test_what_is_no_path_ends_the_program_while_it_reads_its_flags(name: str, given: str, said: str) -> None:
    with pytest.raises(flags.IllegalFlagValueError, match=f"--{name}={given}.*{said}"):
        flags.FLAGS[name].parse([given] if name == MANY else given)


def test_a_path_is_expanded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/bee")
    flags.FLAGS[ONE].parse("~/runs/x")
    assert flags.FLAGS[ONE].value == Path("/home/bee/runs/x")
    assert flags.FLAGS[MANY].value == []


def test_a_dataset_may_be_an_address() -> None:
    flags.FLAGS[MANY].parse(["~/x", "https://example.org/x.safetensors", "hf://a/b/x"])
    assert flags.FLAGS[MANY].value == [Path("~/x").expanduser(), "https://example.org/x.safetensors", "hf://a/b/x"]


def test_a_flag_belongs_to_the_program_that_defines_it() -> None:
    assert flags.FLAGS.find_module_defining_flag(ONE) == __name__


def test_every_program_has_its_paths_checked() -> None:
    names = "workdir|output|input|dataset|record"
    sources = {path.name: path.read_text() for path in (ROOT / "launch").glob("*.py")}
    assert sum(len(re.findall(rf'define_(?:path|sources?)\(\s*"({names})"', text)) for text in sources.values()) >= 20
    unchecked = [name for name, text in sources.items() if re.search(rf'DEFINE_\w+\(\s*"({names})"', text)]
    assert not unchecked


@pytest.mark.parametrize("given", ["", "s3://bucket/run"])
def test_a_work_directory_is_a_path(given: str) -> None:
    with pytest.raises(ConfigError, match=r"is empty|Mount the bucket"):
        WorkDir(given)


def test_a_job_of_other_machines_has_no_address_as_its_folder() -> None:
    with pytest.raises(ConfigError, match="Mount the bucket"):
        Job("smoke", "gs://bucket/run")
    assert Job("smoke", "").workdir == ""  # of a job to delete, which has a name
