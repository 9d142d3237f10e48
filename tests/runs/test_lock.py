"""Who holds a work directory, with and without file locks."""

import contextlib
import dataclasses
import errno
import fcntl
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hades.errors import CheckpointError
from hades.runs import lock
from hades.runs.lock import Holder
from hades.runs.workdir import WorkDir


def hold(workdir: Path) -> str:
    """Hold it once; what is said about an earlier lock."""
    with WorkDir(workdir).locked() as stale:
        return stale


def leave(workdir: Path, holder: Holder) -> None:
    """The lock of a process that did not end by itself."""
    workdir.mkdir(exist_ok=True)
    lock.record_of(WorkDir(workdir).lock).write_text(json.dumps(dataclasses.asdict(holder)))


def dead_process() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


@pytest.fixture
def no_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOTSUP, "Operation not supported")

    monkeypatch.setattr(fcntl, "flock", refuse)


def test_who_holds_it_is_written_down_while_it_is_held(tmp_path: Path) -> None:
    directory = WorkDir(tmp_path / "run")
    with directory.locked() as stale:
        assert stale == ""
        assert lock.read(directory.lock).pid == os.getpid()
        assert directory.lock_token
    assert directory.lock_token == ""
    assert hold(tmp_path / "run") == ""


def test_the_lock_of_a_killed_process_is_taken_over_and_said(tmp_path: Path) -> None:
    leave(tmp_path / "run", Holder("bee", 4711, "12", "t"))
    assert hold(tmp_path / "run").startswith("The lock of process 4711 on bee, which was killed")
    assert hold(tmp_path / "run") == ""


def test_an_error_inside_leaves_no_stale_lock(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="inside"), WorkDir(tmp_path / "run").locked():
        raise RuntimeError("inside")
    assert hold(tmp_path / "run") == ""


def test_a_second_holder_is_told_about_the_first(tmp_path: Path) -> None:
    with (
        WorkDir(tmp_path).locked(),
        pytest.raises(CheckpointError, match=rf"process {os.getpid()} on "),
        WorkDir(tmp_path).locked(),
    ):
        pass
    assert WorkDir(tmp_path).lock_token == ""


@pytest.mark.system
@pytest.mark.usefixtures("no_locks")
def test_without_locks_the_record_decides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of this machine at once; of another one after watching whether it is renewed."""
    monkeypatch.setattr(lock, "WATCH_SECONDS", 0.3)
    here = socket.gethostname()
    leave(tmp_path / "run", Holder(here, dead_process(), "5"))
    assert "taken over" in hold(tmp_path / "run")
    leave(tmp_path / "run", Holder(here, os.getpid(), "not when this process started"))
    assert "taken over" in hold(tmp_path / "run")
    leave(tmp_path / "run", Holder("another machine", 4711, "5"))
    assert "process 4711 on another machine" in hold(tmp_path / "run")


@pytest.mark.parametrize("kind", ["no locks", "a mounted bucket"])
def test_a_record_that_is_renewed_keeps_others_out(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    monkeypatch.setattr(lock, "WATCH_SECONDS", 2.0)
    monkeypatch.setattr(lock, "RENEW_SECONDS", 0.05)
    if kind == "no locks":
        request.getfixturevalue("no_locks")
    else:  # which grants a lock to each machine
        monkeypatch.setattr(fcntl, "flock", lambda *_: None)
        mounts = tmp_path / "mounts"
        mounts.write_text(f"/dev/sda / ext4 rw 0 0\nbucket {tmp_path} fuse.gcsfuse rw 0 0\n")
        monkeypatch.setattr(lock, "MOUNTS", mounts)
    with WorkDir(tmp_path / "run").locked(), pytest.raises(CheckpointError, match=r"Another process .* is running"):
        hold(tmp_path / "run")


def test_a_lock_of_a_local_disk_is_believed_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "WATCH_SECONDS", 600.0)  # twice the time limit of a test
    leave(tmp_path / "run", Holder("another machine", 4711, "5"))
    assert "taken over" in hold(tmp_path / "run")


def test_a_record_that_was_cut_off_counts_as_none(tmp_path: Path) -> None:
    tmp_path.joinpath(".holder").write_text('{"host": "b')
    assert hold(tmp_path) == ""


@pytest.mark.parametrize(
    "content", ["[]", "null", "[" * 100_000, '{"pid": "4711"}', '{"pid": "\\u0000", "host": []}', "\x00"]
)
def test_a_record_of_another_form_counts_as_none(tmp_path: Path, content: str) -> None:
    tmp_path.joinpath(".holder").write_text(content)
    assert hold(tmp_path) == ""


# What is deleted under its holder


def refused(directory: WorkDir) -> str:
    with pytest.raises(CheckpointError, match="has stopped and writes nothing more there") as caught:
        directory.check_owner()
    return str(caught.value)


def test_a_directory_that_is_held_or_was_never_locked_may_be_written(tmp_path: Path) -> None:
    directory = WorkDir(tmp_path)
    directory.check_owner()
    with directory.locked():
        directory.check_owner()
        lock.record_of(directory.lock).unlink()  # the operating system's lock decides
        directory.check_owner()


def test_a_deleted_lock_is_noticed(tmp_path: Path) -> None:
    directory = WorkDir(tmp_path)
    with directory.locked():
        directory.lock.unlink()  # .holder stays
        assert f"The lock of {tmp_path} was deleted while this run held it" in refused(directory)
        directory.lock.touch()
        assert "was deleted" in refused(directory)


def test_a_directory_that_another_run_took_over_stays_its_own(tmp_path: Path) -> None:
    first, second = WorkDir(tmp_path), WorkDir(tmp_path)
    with contextlib.ExitStack() as stack:
        with first.locked():
            first.lock.unlink()
            stack.enter_context(second.locked())
            assert f"process {os.getpid()} on {socket.gethostname()} has taken over {tmp_path}" in refused(first)
            second.check_owner()
        assert second.lock_token != ""  # the first one has left without it


@pytest.mark.parametrize("kind", ["removed", "renamed", "replaced"])
def test_a_directory_that_is_gone_is_said_and_not_made_again(kind: str, tmp_path: Path) -> None:
    directory = WorkDir(tmp_path / "run")
    with directory.locked():
        directory.path.rename(tmp_path / "elsewhere")
        if kind == "removed":
            shutil.rmtree(tmp_path / "elsewhere")
        if kind == "replaced":
            shutil.copytree(tmp_path / "elsewhere", directory.path)
        said = refused(directory)
        assert ("was deleted" if kind == "replaced" else f"{directory.path} was removed or renamed") in said
    assert directory.path.exists() == (kind == "replaced")


def test_whatever_fails_in_a_directory_that_is_gone_is_explained_by_that(tmp_path: Path) -> None:
    directory = WorkDir(tmp_path / "run")

    def fail() -> None:
        shutil.rmtree(directory.path)
        raise ValueError("of a library")

    with pytest.raises(CheckpointError, match="was removed or renamed"), directory.locked():
        fail()


def test_a_process_that_runs_keeps_others_out_although_its_lock_was_deleted(tmp_path: Path) -> None:
    leave(tmp_path, Holder(socket.gethostname(), os.getppid(), lock._started(os.getppid()), "t"))
    with pytest.raises(CheckpointError, match=rf"Another process \(process {os.getppid()} .* is running"):
        hold(tmp_path)


@pytest.mark.usefixtures("no_locks")
def test_without_locks_the_record_is_what_must_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "RENEW_SECONDS", 0.01)
    directory = WorkDir(tmp_path / "run")
    record = lock.record_of(directory.lock)
    with directory.locked():
        directory.lock.unlink()
        directory.check_owner()
        leave(directory.path, Holder("another machine", 4711, "5", "t"))
        assert "process 4711 on another machine has taken over" in refused(directory)
        time.sleep(0.1)  # it is not renewed over the other's
        assert lock.read(directory.lock).host == "another machine"
        record.unlink()
        directory.lock.touch()
        assert "was deleted" in refused(directory)
        record.mkdir()  # what cannot be read shows nothing
        directory.check_owner()
        shutil.rmtree(directory.path)
        assert "was removed or renamed" in refused(directory)
        time.sleep(0.1)
    assert not directory.path.exists()
