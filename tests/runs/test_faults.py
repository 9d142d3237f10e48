"""Faults of disks, files and clocks, provoked for real: the last good state survives and the run says what it did."""

import contextlib
import json
import logging
import os
import re
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from hades.errors import CheckpointError, HadesError
from hades.runs import loop
from hades.runs.checkpoint import Checkpoints, _explained, opened, read_newest
from hades.runs.compiled_run import CompiledRun
from hades.runs.log import JsonLines, RunLog, TensorBoard, read_json_lines
from hades.runs.loop import run
from hades.runs.record import read_run
from hades.runs.restore import read_experiment
from hades.runs.workdir import WorkDir
from tests.runs.tiny import tiny_experiment

SAME_BYTES = ("metrics.jsonl", "evaluations.jsonl", "dataset.safetensors")
CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, PR_CAPBSET_DROP = 1, 2, 24
HOURS = 3600.0
REMEDY = "What was written before is intact. Free some space or make it writable, then run the same command again"


@pytest.fixture
def workdir(finished: Path, tmp_path: Path) -> Path:
    """A copy of the finished run: checkpoints of generations 8 and 12."""
    return Path(shutil.copytree(finished, tmp_path / "run"))


def assert_same_run(one: Path, other: Path) -> None:
    for name in SAME_BYTES:
        assert (one / name).read_bytes() == (other / name).read_bytes(), name


def without_last_checkpoint(workdir: Path) -> None:
    """As the run was at generation 8, but for its logs."""
    shutil.rmtree(workdir / "checkpoints" / "12")
    (workdir / "result.json").unlink()
    (workdir / "dataset.safetensors").unlink()


# Full disks


class FileLimit:
    """No file may grow: the operating system refuses, as where a quota or the space is used up."""

    reason = "File too large"

    def __init__(self, folder: Path):
        self.folder = folder
        self._before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill(self) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, self._before[1]))

    def free(self) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, self._before)


class SmallDisk:
    """A file system of 4 MiB, which only root can mount."""

    reason = "No space left on device"

    def __init__(self, folder: Path):
        self.folder = folder

    def fill(self) -> None:
        with (self.folder / "filler").open("ab", buffering=0) as file, contextlib.suppress(OSError):
            while file.write(bytes(4096)):
                pass

    def free(self) -> None:
        (self.folder / "filler").unlink(missing_ok=True)


Disk = FileLimit | SmallDisk


@pytest.fixture(params=["limit", "tmpfs"])
def disk(request: pytest.FixtureRequest, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Disk]:
    """A disk that can be filled; `capsys`, since pytest's own capture writes into files."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if request.param == "limit":
        limit = FileLimit(folder)
        yield limit
        limit.free()
        return
    mount = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)], capture_output=True)
    if mount.returncode:
        pytest.skip("a file system of its own can be mounted by root only")
    try:
        yield SmallDisk(folder)
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def always(*_: object) -> bool:
    return True


@contextlib.contextmanager
def full_at(disk: Disk, where: Any, name: str, when: Callable[..., bool], after: bool = False) -> Iterator[None]:
    """The disk is full from the call of `where.name` on (or from its return) for whose arguments `when` holds."""
    original = getattr(where, name)

    def fill_and_call(*arguments: Any, **options: Any) -> Any:
        due = when(*arguments)
        if due and not after:
            disk.fill()
        result = original(*arguments, **options)
        if due and after:
            disk.fill()
        return result

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(where, name, fill_and_call)
        try:
            yield
        finally:
            disk.free()


def stopped(
    workdir: Path, disk: Disk, where: Any, name: str, when: Callable[..., bool] = always, after: bool = False
) -> str:
    """What is said where the disk is full from a moment on."""
    with full_at(disk, where, name, when, after), pytest.raises(HadesError, match=REMEDY) as caught:
        run(tiny_experiment(), workdir)
    assert disk.reason in str(caught.value)
    return str(caught.value)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # TensorStore's, after a failed save
def test_a_disk_that_fills_up_during_the_run_stops_it_and_it_continues(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    workdir, disk = tmp_path / "run", FileLimit(tmp_path)
    said = stopped(workdir, disk, RunLog, "generations", lambda _, rows, __: rows[-1]["generation"] >= 6)
    assert f"Writing metrics failed at {workdir / 'metrics.jsonl'}" in said
    assert "checkpoints" in stopped(workdir, disk, Checkpoints, "save", lambda _, step, *__: step == 8)
    steps = {path.name for path in (workdir / "checkpoints").iterdir()}
    assert "4" in steps
    assert "8" not in steps
    assert "_SignalingThread" not in capsys.readouterr().err  # Orbax's tracebacks
    run(tiny_experiment(), workdir, progress=False)
    assert_same_run(finished, workdir)
    assert not list(workdir.glob("checkpoints/*tmp*"))


@pytest.mark.system
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_disk_that_is_full_while_orbax_writes_at_the_end_and_at_the_start(
    disk: Disk, finished: Path, workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    without_last_checkpoint(workdir)
    workdir = Path(shutil.copytree(workdir, disk.folder / "run"))
    assert "checkpoints" in stopped(workdir, disk, Checkpoints, "save", lambda _, step, *__: step == 12, after=True)
    assert "12" not in {path.name for path in (workdir / "checkpoints").iterdir()}
    assert "dataset.safetensors" in stopped(workdir, disk, loop, "write_result")
    assert ".holder" in stopped(workdir, disk, loop, "_open")
    run(tiny_experiment(), workdir, progress=False)
    assert_same_run(finished, workdir)
    assert not list(workdir.glob(".dataset*"))  # no temporary files are left behind


def test_a_row_that_was_cut_off_is_dropped_and_written_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, disk = tmp_path / "metrics.jsonl", FileLimit(tmp_path)
    log = JsonLines(path, 0)
    log.write([{"generation": 1, "fitness": 0.5}])
    whole = path.read_bytes()
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(whole) + 10, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
    try:
        with pytest.raises(HadesError, match=f"{path}: File too large"):
            log.write([{"generation": 2, "fitness": 0.5}])
    finally:
        disk.free()
    assert len(path.read_bytes()) == len(whole) + 10
    assert [row["generation"] for row in read_json_lines(path)] == [1]
    JsonLines(path, 1)
    assert path.read_bytes() == whole


@pytest.mark.system
def test_a_full_disk_under_tensorboard_is_an_error_and_no_endless_wait(disk: Disk) -> None:
    log = TensorBoard(disk.folder / "tensorboard", 0)
    row = {f"metric/{number}": 0.0 for number in range(500)}
    disk.fill()
    try:
        with pytest.raises(HadesError, match=f"TensorBoard.*{disk.reason}"):
            log.write([{"generation": generation, **row} for generation in range(20)])
    finally:
        disk.free()


def test_errors_of_tensorstore_without_a_number_are_explained_and_mistakes_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoints = Checkpoints(tmp_path)

    def wait_for(error: Exception) -> None:
        def fail(_: object) -> None:
            raise error

        monkeypatch.setattr("orbax.checkpoint.CheckpointManager.wait_until_finished", fail)
        checkpoints.wait()

    with pytest.raises(HadesError, match=f"Saving a checkpoint failed at {tmp_path}: UNAVAILABLE: no bucket. {REMEDY}"):
        wait_for(ValueError("UNAVAILABLE: no bucket\nand pages more"))
    with pytest.raises(TypeError, match="a mistake"):
        wait_for(TypeError("a mistake"))


def test_a_run_leaves_the_loggers_of_its_process_as_they_were(workdir: Path) -> None:
    loggers = [logging.getLogger(name) for name in ("absl", "asyncio")]
    before = [(logger.level, logger.filters[:], logger.handlers[:]) for logger in loggers]
    seen: list[int] = []

    def say(text: str) -> None:
        seen.append(sum(len(logger.filters) for logger in loggers))

    Checkpoints(workdir / "checkpoints")
    assert [(logger.level, logger.filters, logger.handlers) for logger in loggers] == before
    for step in ("8", "12"):
        shutil.rmtree(workdir / "checkpoints" / step / "meta")
    shapes = CompiledRun(tiny_experiment()).shapes()
    with pytest.raises(CheckpointError), opened(workdir / "checkpoints") as checkpoints:
        checkpoints.restore(shapes, say)
    assert seen == [sum(len(filters) for _, filters, _ in before) + 2] * 2
    assert [(logger.level, logger.filters, logger.handlers) for logger in loggers] == before


@pytest.mark.system
def test_programs_drop_what_asyncio_logs_about_abandoned_writes() -> None:
    code = """
import logging
from hades.commands.command_line import start
start("__main__", lambda: logging.getLogger("asyncio").error("Future exception was never retrieved"))
"""
    ended = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        text=True,
        capture_output=True,
        timeout=120,
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")


@pytest.mark.parametrize(
    ("text", "raised"),
    [
        ("RESOURCE_EXHAUSTED: no space", HadesError),
        ("UNKNOWN: Gloo AllGather failed: Read error", RuntimeError),
        ("INTERNAL: Barrier failed because: task is set to ERROR", RuntimeError),
    ],
)
def test_a_peer_that_died_while_saving_is_no_full_disk(tmp_path: Path, text: str, raised: type[Exception]) -> None:
    with pytest.raises(raised, match=text.split(":")[1].strip()), _explained(tmp_path, "Saving"):
        raise RuntimeError(text)


# Folders that may not be written or read


WITHOUT_PRIVILEGES = f"""
import ctypes, os, sys
if os.geteuid() == 0:
    for capability in ({CAP_DAC_OVERRIDE}, {CAP_DAC_READ_SEARCH}):
        ctypes.CDLL(None).prctl({PR_CAPBSET_DROP}, capability, 0, 0, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""
"""Starts a program that permissions bind, also where root starts it."""


@pytest.mark.system
def test_folders_that_may_not_be_written_or_read(finished: Path, tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    program = [sys.executable, str(root / "tests/runs/without_privileges.py"), str(finished), str(tmp_path)]
    ended = subprocess.run(
        [sys.executable, "-c", WITHOUT_PRIVILEGES, *program],
        env=environment,
        text=True,
        capture_output=True,
        timeout=100,  # Orbax's threads would keep the process for 300 s after a folder that they could not make
    )
    assert ended.returncode == 0, ended.stderr
    said = json.loads(ended.stdout)
    workdir = tmp_path / "run"
    checkpoints = workdir / "checkpoints"
    denied = f"Permission denied. {REMEDY}"
    assert f"Opening the work directory failed at {tmp_path / 'another'}: {denied}" in said["from the start"]
    assert f"Opening the work directory failed at {workdir}: {denied}" in said["on resume"]
    assert f"Reading the checkpoint failed at {checkpoints / '12'}: {denied}" in said["unreadable"]
    assert "damaged" not in said["unreadable"]
    assert re.search(f"Saving the checkpoint of generation .* failed at {checkpoints}: {denied}", said["checkpoints"])
    assert f" failed at {checkpoints}: {denied}" in said["during the run"]
    assert f"Continuing {workdir} after generation 8." in said["at last"]
    assert "hades:" not in said["at last"]
    assert not (workdir / "damaged_checkpoints").exists()
    assert_same_run(finished, workdir)


# Checkpoints that were not finished, or that are something else


@pytest.fixture(scope="module")
def like() -> Any:
    """Shapes of what the checkpoints of the finished run hold."""
    return CompiledRun(tiny_experiment()).shapes()


def restored(workdir: Path, like: Any) -> tuple[int | None, str]:
    """The generation of the checkpoint that a run would continue from, and what would be said."""
    said: list[str] = []
    found = Checkpoints(workdir / "checkpoints").restore(like, said.append)
    return None if found is None else found.step, "\n".join(said)


def content(folder: Path) -> dict[str, bytes]:
    """Every file in a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def lost(part: str) -> Callable[[Path], None]:
    """Take a file or a folder out of a checkpoint."""

    def remove(step: Path) -> None:
        path = step / part
        shutil.rmtree(path) if path.is_dir() else path.unlink()

    return remove


def emptied(step: Path) -> None:
    shutil.rmtree(step)
    step.mkdir()


def half_arrays(step: Path) -> None:
    (step / "tree").rename(step / "tree.orbax-checkpoint-tmp")


@pytest.mark.parametrize(
    "damage", [lost("tree"), lost("meta"), lost("tree/_METADATA"), lost("tree/manifest.ocdbt"), emptied, half_arrays]
)
def test_a_half_written_checkpoint_is_passed_over_and_set_aside(
    damage: Callable[[Path], None], workdir: Path, like: Any
) -> None:
    newest = workdir / "checkpoints" / "12"
    damage(newest)
    left = content(newest)
    step, said = restored(workdir, like)
    assert step == 8
    assert "The checkpoint of generation 12 is damaged and is passed over (" in said
    assert not newest.exists()
    assert content(workdir / "damaged_checkpoints" / "12.damaged") == left


def test_an_earlier_damaged_checkpoint_of_the_same_generation_is_kept(workdir: Path, like: Any) -> None:
    earlier = workdir / "damaged_checkpoints" / "12.damaged" / "file"
    earlier.parent.mkdir(parents=True)
    earlier.write_text("kept")
    emptied(workdir / "checkpoints" / "12")
    assert restored(workdir, like)[0] == 8
    assert earlier.read_text() == "kept"
    assert (workdir / "damaged_checkpoints" / "12.damaged.2").is_dir()


def test_a_checkpoint_that_was_cut_off_while_it_was_written_is_said(workdir: Path, like: Any) -> None:
    checkpoints = workdir / "checkpoints"
    (checkpoints / "12").rename(checkpoints / "12.orbax-checkpoint-tmp")
    assert restored(workdir, like) == (
        8,
        "The checkpoint of generation 12 was cut off while it was written, and is not used.",
    )


def test_entries_that_are_no_checkpoints_are_left_alone(workdir: Path, like: Any) -> None:
    checkpoints = workdir / "checkpoints"
    for name in ("12 (copy)", "step_13", "-5", "1e3", "²", ".14", "0016"):
        shutil.copytree(checkpoints / "8", checkpoints / name)
    (checkpoints / "notes.txt").write_text("mine")
    before = content(checkpoints)
    assert restored(workdir, like) == (12, "")
    assert content(checkpoints) == before


def test_a_file_with_the_name_of_a_checkpoint_is_moved_away_and_the_run_ends_alike(
    finished: Path, workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    without_last_checkpoint(workdir)
    (workdir / "checkpoints" / "12").write_text("mine")
    run(tiny_experiment(), workdir)
    moved = workdir / "damaged_checkpoints" / "12.damaged"
    assert moved.read_text() == "mine"
    said = capsys.readouterr().err
    assert f"checkpoints/12 is no checkpoint; it is moved to {moved}." in said
    assert "after generation 8" in said
    assert_same_run(finished, workdir)


def test_a_file_in_place_of_the_checkpoints_is_an_error_before_anything_is_compiled(workdir: Path) -> None:
    shutil.rmtree(workdir / "checkpoints")
    (workdir / "checkpoints").write_text("mine")
    with pytest.raises(HadesError, match=r"checkpoints: Not a directory"):
        run(tiny_experiment(), workdir, progress=False)


def test_checkpoints_of_another_version_are_refused_again_and_again_and_left_alone(workdir: Path, like: Any) -> None:
    before = content(workdir)
    newer = {**like, "momentum": jax.ShapeDtypeStruct((3,), np.float32, sharding=like["state"].key.sharding)}
    for _ in range(2):  # once they were set aside, the second start would have begun from nothing
        with pytest.raises(
            CheckpointError,
            match=r"None of the checkpoints .*generations 12, 8.*hades .* wrote it, this is .*: "
            r"\['momentum'\] is missing there and float32\(3,\) here.*left as they are.*version of hades",
        ):
            restored(workdir, newer)
    assert content(workdir) == before


def test_a_record_of_another_version_is_refused(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    restore = Checkpoints.restore

    def without_best_return(*arguments: Any) -> Any:
        found = restore(*arguments)
        assert found is not None
        del found.record["best_return"]
        return found

    monkeypatch.setattr(Checkpoints, "restore", without_best_return)
    with pytest.raises(CheckpointError, match=r"version.*best_return"):
        run(tiny_experiment(), workdir, progress=False)


# Clocks


def test_clocks_that_jump_and_restart_change_nothing(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workdir, real, count = tmp_path / "run", time.time, iter(range(10**9))

    def jumping() -> float:
        return real() + 6 * HOURS * (-1) ** next(count)

    monkeypatch.setattr(time, "time", jumping)
    monkeypatch.setattr(time, "time_ns", lambda: int(jumping() * 1e9))
    first = run(tiny_experiment(generations=6, max_seconds=HOURS), workdir, progress=False)
    for path in [*workdir.rglob("*")]:  # the newest files are the oldest ones now, and all lie in the future
        os.utime(path, (0, 2 * real() - path.stat().st_mtime + 24 * HOURS))
    since_boot = time.monotonic
    monkeypatch.setattr(time, "time", lambda: real() - 10 * HOURS)
    monkeypatch.setattr(time, "monotonic", lambda: since_boot() - 100 * HOURS)  # after a reboot
    second = run(tiny_experiment(max_seconds=HOURS), workdir, progress=False)
    assert_same_run(finished, workdir)
    steps = [path.name for path in (workdir / "checkpoints").iterdir()]
    assert "12" in steps
    assert len(steps) == 2
    before, after = first.details["seconds"], second.details["seconds"]
    assert all(0.0 <= value < 0.1 * HOURS for value in (*before.values(), *after.values()))
    assert after["search"] >= before["search"]
    assert after["total"] > before["total"] - before["report"]  # a report is no part of what is continued
    logged = [row["seconds"] for row in read_json_lines(workdir / "timing.jsonl")]
    assert logged == sorted(logged)
    assert logged[0] >= 0.0


def test_two_starts_in_the_same_second_keep_their_tensorboard_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "time", lambda: 1.7e9)
    for start in range(3):
        TensorBoard(tmp_path, start).close()
    assert len(list(tmp_path.iterdir())) == 3


# Files that were cut off


@pytest.mark.parametrize("left", [0, 100])
def test_a_description_of_the_run_that_was_cut_off_is_named_with_the_remedy(workdir: Path, left: int) -> None:
    path = workdir / "experiment.json"
    whole = path.read_bytes()
    path.write_bytes(whole[:left])
    before = content(workdir)
    with pytest.raises(HadesError, match=rf"{path} .*{left} bytes.*delete"):
        run(tiny_experiment(), workdir, progress=False)
    assert content(workdir) == before
    path.unlink()
    run(tiny_experiment(), workdir, progress=False)
    assert path.read_bytes() == whole


def test_results_that_were_cut_off_count_as_unfinished_and_are_written_again(finished: Path, workdir: Path) -> None:
    (workdir / "config.gin").write_text("Experi")
    for name in ("result.json", "dataset.safetensors"):
        path = workdir / name
        path.write_bytes(path.read_bytes()[:100])
    record = read_run(workdir)
    assert not record.is_finished
    assert "dataset.safetensors" in record.dataset_problem
    result = run(tiny_experiment(), workdir, progress=False, config="Experiment.seed = 0\n")
    assert result.generation == 12
    assert read_run(workdir).is_finished
    assert (workdir / "config.gin").read_text() == "Experiment.seed = 0\n"
    assert_same_run(finished, workdir)


# TensorBoard's files, which hold what the metrics hold


def test_tensorboard_gets_every_scalar_of_the_metrics(finished: Path) -> None:
    (events,) = (finished / "tensorboard").iterdir()
    names = {name for row in read_json_lines(finished / "metrics.jsonl") for name in row} - {"generation"}
    assert all(name.encode() in events.read_bytes() for name in names)
    assert b"solution/return" in events.read_bytes()


# Folders that are taken away, and folders that others read


def delete_lock(workdir: Path) -> None:
    (workdir / ".lock").unlink()


@pytest.mark.parametrize(
    ("where", "name", "when"),
    [
        (RunLog, "generations", lambda _, rows, __: rows[-1]["generation"] >= 6),
        (Checkpoints, "wait", lambda checkpoints: checkpoints.holds(4)),
        (loop, "write_result", always),
    ],
)
@pytest.mark.parametrize("take_away", [shutil.rmtree, delete_lock])
def test_a_run_whose_folder_is_taken_away_stops_and_writes_nothing_more(
    take_away: Callable[[Path], None], where: Any, name: str, when: Callable[..., bool], tmp_path: Path
) -> None:
    workdir, left = tmp_path / "run", []
    original = getattr(where, name)

    def take_away_and_call(*arguments: Any) -> Any:
        if not left and when(*arguments):
            take_away(workdir)
            left.append(content(workdir))
        return original(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(where, name, take_away_and_call)
        with pytest.raises(CheckpointError, match="This run has stopped and writes nothing more there"):
            run(tiny_experiment(), workdir, progress=False)
    assert left
    left[0].pop(".holder", None)  # the run's own, which goes with it
    assert content(workdir) == left[0]
    assert workdir.exists() == bool(left[0])


def test_a_save_that_was_going_on_does_not_bring_a_removed_folder_back(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path / "run" / "checkpoints")
    checkpoints.save(4, {"x": jax.numpy.zeros(3)}, {})
    checkpoints.wait()
    (tmp_path / "run" / "mine.txt").write_text("mine")
    checkpoints.settle(is_removed=True)  # something else lies there
    assert (tmp_path / "run" / "checkpoints" / "4").is_dir()
    (tmp_path / "run" / "mine.txt").unlink()
    (tmp_path / "run" / "checkpoints" / "3").mkdir()
    checkpoints.settle(is_removed=True)  # a checkpoint of an earlier start, too
    assert (tmp_path / "run" / "checkpoints" / "4").is_dir()
    (tmp_path / "run" / "checkpoints" / "3").rmdir()
    checkpoints.settle(is_removed=False)
    assert (tmp_path / "run" / "checkpoints" / "4").is_dir()
    checkpoints.settle(is_removed=True)
    assert not (tmp_path / "run").exists()


def test_the_best_solution_is_read_while_its_run_goes_on_and_nothing_changes(workdir: Path) -> None:
    (workdir / "checkpoints" / "14.orbax-checkpoint-tmp").mkdir()  # the run is writing it
    emptied(workdir / "checkpoints" / "12")
    said: list[str] = []
    with WorkDir(workdir).locked():
        before = content(workdir)
        restored = read_newest(workdir / "checkpoints", CompiledRun(tiny_experiment()).shapes(), said.append)
        assert content(workdir) == before
    assert restored is not None
    assert restored.step == 8
    assert len(said) == 1
    assert "generation 12 is damaged" in said[0]
    assert (workdir / "checkpoints" / "12").is_dir()
    assert (workdir / "checkpoints" / "14.orbax-checkpoint-tmp").is_dir()


def test_a_checkpoint_that_its_run_deletes_while_it_is_read_gives_way_to_a_newer_one(
    workdir: Path, like: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoints, tries = workdir / "checkpoints", []
    restore = Checkpoints.restore
    (checkpoints / "12").rename(workdir / "later")

    def restore_late(*arguments: Any) -> Any:
        tries.append(arguments)
        if len(tries) == 1:
            shutil.rmtree(checkpoints / "8")
            (workdir / "later").rename(checkpoints / "12")
        return restore(*arguments)

    monkeypatch.setattr(Checkpoints, "restore", restore_late)
    said: list[str] = []
    restored = read_newest(checkpoints, like, said.append)
    assert restored is not None
    assert (restored.step, said, len(tries)) == (12, [], 2)


def test_nothing_to_read_is_no_error(tmp_path: Path, like: Any) -> None:
    assert read_newest(tmp_path / "checkpoints", like, print) is None
    assert not (tmp_path / "checkpoints").exists()


# Files that hold something else

NO_ROWS = {
    "null": b"null\n",
    "a list": b"[]\n",
    "a number": b"3\n",
    "a row without its generation": b'{"fitness/mean": 1.0}\n',
    "a generation that is none": b'{"generation": "5"}\n',
    "a text": b'{"generation": 5, "fitness/mean": "x"}\n',
    "deep": b"[" * 100_000 + b"\n",
    "a long integer": b'{"generation": ' + b"1" * 5000 + b"}\n",
    "a large integer": b'{"generation": 5, "fitness/mean": 1' + b"0" * 400 + b"}\n",
    "NaN": b'{"generation": 5, "fitness/mean": NaN}\n',
    "infinity": b'{"generation": 5, "fitness/mean": 1e999}\n',
    "no text": b"\xff\xfe\x00\n",
    "no text, cut off": b"\x00\xff",
    "null, cut off": b"null",
}


@pytest.mark.parametrize("line", NO_ROWS.values(), ids=NO_ROWS)
def test_a_line_that_is_no_row_is_said_and_kept_beside_the_log(
    line: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"generation": 1}\n{"generation": 2}\n' + line)
    before = path.read_bytes()
    said: list[str] = []
    assert [row["generation"] for row in read_json_lines(path, said.append)] == [1, 2]
    assert said == [
        f"{path} is damaged: line 3 is no row of numbers with their generation. Only the other lines are used."
    ]
    assert path.read_bytes() == before
    JsonLines(path, 1)
    assert path.read_bytes() == b'{"generation": 1}\n'
    assert (tmp_path / "metrics.jsonl.damaged").read_bytes() == before
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert f"{path} is damaged: line 3" in told
    assert "It is kept as metrics.jsonl.damaged" in told
    JsonLines(path, 1)
    assert capsys.readouterr().err == ""


def test_a_log_that_cannot_be_read_is_an_error_with_its_path(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.mkdir()
    with pytest.raises(HadesError, match=rf"{path} cannot be read: Is a directory"):
        JsonLines(path, 1)


def test_a_run_continues_beside_logs_of_noise(workdir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    noise = np.random.default_rng(0).bytes(3000)
    for name in ("metrics.jsonl", "evaluations.jsonl", "timing.jsonl"):
        (workdir / name).write_bytes(noise)
    record = read_run(workdir)
    assert (record.metrics, record.evaluations, record.timing) == ([], [], [])
    assert capsys.readouterr().err.count("lines are no rows") == 3
    assert run(tiny_experiment(), workdir, progress=False).generation == 12
    assert capsys.readouterr().err.count("the run continues with the other lines") == 3
    for name in ("metrics.jsonl", "evaluations.jsonl", "timing.jsonl"):
        assert (workdir / f"{name}.damaged").read_bytes() == noise


@pytest.mark.parametrize(
    "damaged",
    [
        b"null",
        b"[]",
        b"\xff",
        b"[" * 100_000,
        b"{}",
        b'{"generations": "12", "selection_return": 1, "env_steps": {}, "seconds": {}}',
        b'{"generations": 12, "selection_return": 1, "env_steps": {}, "seconds": null}',
        b'{"generations": 12, "selection_return": 1, "env_steps": {}, "seconds": {}, "report": {"ci95": [1]}}',
    ],
)
def test_a_result_of_another_form_counts_as_unfinished_and_is_said(
    damaged: bytes, workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (workdir / "result.json").write_bytes(damaged)
    record = read_run(workdir)
    assert not record.is_finished
    assert record.result == {}
    said = capsys.readouterr().err
    assert f"{workdir / 'result.json'} is damaged" in said
    assert "The run counts as unfinished" in said


@pytest.mark.parametrize(
    "damaged",
    [
        b"null",
        b"\xff",
        b"{}",
        b'{"interface": "Outer", "name": "SNES"}',
        b'{"interface": "Experiment", "name": "Experiment", "algorithm": []}',
        b'{"interface": "Experiment", "name": "Experiment", "generations": "12"}',
        b'{"interface": "Experiment", "name": [], "algorithm": {}}',
        b'{"interface": "Experiment", "name": "Experiment", "x": ' + b"[" * 100 + b"]" * 100 + b"}",
    ],
)
def test_an_experiment_of_another_form_is_refused_by_its_path_and_left_out_of_reports(
    damaged: bytes, workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = workdir / "experiment.json"
    path.write_bytes(damaged)
    with pytest.raises(HadesError, match=rf"{path} is damaged.*Put a copy in its place"):
        read_experiment(WorkDir(workdir))
    with pytest.raises(HadesError, match=rf"{path} is damaged.*delete the file"):
        WorkDir(workdir).check({})
    assert read_run(workdir).experiment == {}
    assert f"{path} is damaged" in capsys.readouterr().err
    assert path.read_bytes() == damaged
