"""hades-doctor: the table and what becomes of checks that fail, hang or raise; one real run of the program."""

import fcntl
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

from hades.machines import doctor, doctor_probe
from hades.machines.doctor import Problem, Row, Status, examine, has_failed, markdown, probe, version_row
from tests.support import ROOT

JAX = Requirement("jax>=0.10,<0.12")
FINE = Row("memory", Status.OK, "24 GB")


def failing() -> list[Row]:
    raise Problem("no space", "Free some.")


def wrong() -> list[Row]:
    raise ZeroDivisionError("a bug | in a check\nof two lines")


def test_the_table_is_the_golden_one() -> None:
    warning = Row("jax", Status.WARNING, "0.11; odd", "Nothing.")
    said: list[str] = []
    checks = {"a": lambda: [FINE, warning], "disk": failing, "odd": wrong, "b": lambda: [FINE]}
    assert markdown(examine(checks, said.append)).splitlines() == [
        "| check | status | found | remedy |",
        "| --- | --- | --- | --- |",
        "| memory | ok | 24 GB |  |",
        "| jax | warning | 0.11; odd | Nothing. |",
        "| disk | FAILED | no space | Free some. |",
        r"| odd | FAILED | ZeroDivisionError: a bug \| in a check / of two lines | Report this row. |",
        "| memory | ok | 24 GB |  |",
    ]
    assert said == ["a", "disk", "odd", "b"]


def test_what_needs_devices_is_not_tried_without_them() -> None:
    rows = examine({"devices": failing, "collective": wrong, "2-generation run": wrong, "space": lambda: [FINE]})
    assert [(row.check, row.found) for row in rows] == [
        ("devices", "no space"),
        ("collective", "not tried, because of devices"),
        ("2-generation run", "not tried, because of devices"),
        ("memory", "24 GB"),
    ]
    assert [row.status for row in rows[1:3]] == [Status.FAILED] * 2


def test_only_failures_count_as_failed() -> None:
    assert not has_failed([FINE, Row("jax", Status.WARNING, "newer")])
    assert has_failed([FINE, Row("jax", Status.FAILED, "older")])


@pytest.mark.parametrize(
    ("installed", "status", "found"),
    [
        ("0.10.2", Status.OK, "0.10.2"),
        ("0.10.9", Status.OK, "0.10.9"),
        ("0.11.0", Status.OK, "0.11.0"),
        ("0.9.1", Status.FAILED, "0.9.1; hades needs <0.12,>=0.10"),
        ("0.12.0", Status.FAILED, "0.12.0; hades needs <0.12,>=0.10"),
        (None, Status.FAILED, "not installed"),
    ],
)
def test_versions_against_the_range(installed: str | None, status: Status, found: str) -> None:
    row = version_row(JAX, installed)
    assert (row.status, row.found) == (status, found)
    assert bool(row.remedy) == (status is not Status.OK)


def test_every_dependency_of_pyproject_has_a_row() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = [Requirement(text).name for text in project["dependencies"]]
    assert sorted(row.check for row in doctor.check_versions()) == sorted(["hades", "python", *declared])


def test_an_installation_outside_of_the_range_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    installed = doctor._installed
    monkeypatch.setattr(doctor, "_installed", lambda name: "0.1" if name == "jax" else installed(name))
    (row,) = [row for row in doctor.check_versions() if row.status is Status.FAILED]
    assert row.check == "jax"
    assert row.remedy.startswith("pip install 'jax<0.12")


@pytest.mark.system
def test_a_hanging_probe_is_left_behind() -> None:
    program = (sys.executable, "-S", "-c", "import time; time.sleep(600)")  # twice the time limit of a test
    rows = examine({"devices": lambda: [_row(probe("devices", timeout=0.3, remedy="Free the TPU.", program=program))]})
    assert rows == [Row("devices", Status.FAILED, "no answer within 0.3 s", "Free the TPU.")]


def _row(found: Any) -> Row:
    return Row("devices", Status.OK, str(found))


@pytest.mark.system
@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("print('noise'); print('{\"a\": 1}')", None),
        ("print('hello')", "said nothing that can be read: 'hello"),
        ("pass", "said nothing that can be read: ''"),
        ("raise OSError('no driver')", "OSError: no driver"),
        ("import os; os._exit(3)", "ended with status 3 without a word"),
    ],
)
def test_what_a_probe_says(code: str, said: str | None) -> None:
    program = (sys.executable, "-S", "-c", code)
    if said is None:
        assert probe("x", timeout=120, remedy="", program=program) == {"a": 1}
        return
    with pytest.raises(Problem, match=re.escape(said)):
        probe("x", timeout=120, remedy="", program=program)


def answer(monkeypatch: pytest.MonkeyPatch, **found: Any) -> None:
    """Let every probe find this."""
    monkeypatch.setattr(doctor, "probe", lambda name, *arguments, **options: found)


def test_an_accelerator_that_is_left_unused_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    answer(monkeypatch, backend="cpu", kinds={"cpu": 1})
    monkeypatch.delenv("JAX_PLATFORMS", raising=False)
    monkeypatch.setattr(doctor, "_accelerators", lambda: "/dev/nvidia0")
    (_, row) = doctor.check_devices()
    assert (row.status, row.remedy) == (Status.WARNING, "pip install '.[cuda]'")
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    assert "JAX_PLATFORMS=cpu is set" in doctor.check_devices()[1].remedy
    answer(monkeypatch, backend="gpu", kinds={"NVIDIA H100": 8})
    assert doctor.check_devices() == [Row("devices", Status.OK, "gpu: 8 × NVIDIA H100")]


def test_a_wrong_sum_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    answer(monkeypatch, sum=9, expected=10, devices=4, seconds=0.1)
    with pytest.raises(Problem, match=r"9.*10"):
        doctor.check_collective()


@pytest.mark.parametrize(("generations", "resumed"), [(2, False), (1, True)])
def test_a_run_that_does_not_continue_fails(
    monkeypatch: pytest.MonkeyPatch, generations: int, resumed: bool, tmp_path: Path
) -> None:
    answer(monkeypatch, generations=generations, resumed=resumed, mean=1.0, seconds=1.0)
    with pytest.raises(Problem, match="did not continue"):
        doctor.check_run(tmp_path)


def test_missing_locks_and_little_space_are_warnings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    answer(monkeypatch, locks=False, free=5e6)
    rows = doctor.check_folder(tmp_path)
    assert [(row.check, row.status) for row in rows] == [
        ("work directory", Status.OK),
        ("file locks", Status.WARNING),
        ("space", Status.WARNING),
    ]


def test_a_folder_is_examined_and_left_as_it_was(tmp_path: Path) -> None:
    found = doctor_probe.folder(str(tmp_path / "a" / "b"))
    assert found["locks"] is True
    assert found["free"] > 0
    assert list(tmp_path.iterdir()) == []


def test_a_folder_without_locks_is_noticed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(fcntl, "flock", lambda file, operation: None)
    assert doctor_probe.folder(str(tmp_path))["locks"] is False


@pytest.mark.system
def test_a_read_only_folder_fails(tmp_path: Path) -> None:
    """/proc is read-only even to root, whom a folder's mode does not stop."""
    folder = tmp_path / "closed"
    folder.mkdir(mode=0o500)
    target = Path("/proc/sys") if os.geteuid() == 0 else folder
    (row,) = examine({"work directory": lambda: doctor.check_folder(target)})
    assert row.status is Status.FAILED
    assert re.search("Permission denied|Read-only|No such file|Operation not permitted", row.found)
    assert "Choose a folder that you may write" in row.remedy


def test_the_environment_shows_values_only_of_what_changes_jax(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [
        name for name in os.environ if name.startswith((*doctor.ENVIRONMENT_SHOWN, *doctor.ENVIRONMENT_NAMED))
    ]:
        monkeypatch.delenv(name)
    assert [row.found for row in doctor.check_environment()] == ["none", "none"]
    monkeypatch.setenv("XLA_FLAGS", "--xla_dump_to=/tmp/x")
    monkeypatch.setenv("SLURM_JOB_ACCOUNT", "secret")
    assert [row.found for row in doctor.check_environment()] == ["XLA_FLAGS=--xla_dump_to=/tmp/x", "SLURM_JOB_ACCOUNT"]


def test_optional_programs_are_only_noted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert {row.status for row in doctor.check_programs()} == {Status.OK}
    assert all("not there" in row.found for row in doctor.check_programs())


def test_little_memory_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_memory", lambda: (1e9, 8e9))
    row = doctor.check_machine()[-1]
    assert (row.status, row.found) == (Status.WARNING, "1.0 GB available of 8.0 GB")


def test_an_unknown_probe_is_an_error_of_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert doctor_probe.main("nothing") == 1
    assert capsys.readouterr().err == "KeyError: 'nothing'\n"


@pytest.mark.system
def test_the_program_examines_this_machine(tmp_path: Path) -> None:
    variables = {**os.environ, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": "2"}
    done = subprocess.run(
        [sys.executable, str(ROOT / "launch/doctor.py"), f"--workdir={tmp_path / 'runs'}", "--noprogress"],
        env=variables,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    rows = dict(re.findall(r"^\| ([^|]+) \| (ok|warning) \| ", done.stdout, re.MULTILINE))
    assert {"python", "devices", "work directory", "file locks", "kubectl"} <= set(rows)
    assert rows["2-generation run"] == rows["mesh and collective"] == "ok"
    assert "a sum over 2 devices" in done.stdout
    assert "1 generation, resumed to 2" in done.stdout
    assert list(tmp_path.iterdir()) == []
