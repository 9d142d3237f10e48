"""Writing loses nothing that was there, whatever fails, and the error says what to do."""

import errno
import os
import tempfile

import pytest

from hades.data.files import explained, write_bytes
from hades.errors import HadesError
from tests.support import run_python

OLD, NEW = b"old content", b"new content" * 1000


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "folder" / "file.bin"
    return write_bytes(path, OLD)


def test_a_file_is_written_and_replaced_whole(path):
    assert path.read_bytes() == OLD
    assert write_bytes(str(path), NEW).read_bytes() == NEW
    assert os.listdir(path.parent) == ["file.bin"]
    assert path.stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize(
    ("module", "name", "number", "reason"),
    [
        (tempfile, "mkstemp", errno.EROFS, "Read-only file system"),
        (os, "fsync", errno.ENOSPC, "No space left on device"),
        (os, "replace", errno.EACCES, "Permission denied"),
    ],
)
def test_a_write_that_fails_leaves_the_old_file_and_no_other(path, monkeypatch, module, name, number, reason):
    def fail(*args, **kwargs):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(module, name, fail)
    with pytest.raises(HadesError, match=rf"file\.bin: {reason}\. .*same command"):
        write_bytes(path, NEW)
    monkeypatch.undo()
    assert path.read_bytes() == OLD
    assert os.listdir(path.parent) == ["file.bin"]


@pytest.mark.system
def test_a_disk_that_fills_up_half_way_leaves_the_old_file(path):
    code = f"""
import json, resource, signal
from hades.data.files import write_bytes
from hades.errors import HadesError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
try:
    write_bytes({str(path)!r}, bytes(11_000))
except HadesError as error:
    print(json.dumps(str(error)))
"""
    assert "File too large" in run_python(code)
    assert path.read_bytes() == OLD
    assert os.listdir(path.parent) == ["file.bin"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder_is_explained(path):
    path.parent.chmod(0o555)
    try:
        with pytest.raises(HadesError, match="Permission denied"):
            write_bytes(path, NEW)
    finally:
        path.parent.chmod(0o755)
    assert path.read_bytes() == OLD


def test_a_parent_that_is_a_file_is_explained(path):
    with pytest.raises(HadesError, match="below"):
        write_bytes(path / "below", NEW)


def test_an_interrupted_write_leaves_no_temporary_file(path, monkeypatch):
    def interrupt(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_bytes(path, NEW)
    assert os.listdir(path.parent) == ["file.bin"]
    assert path.read_bytes() == OLD


def test_other_errors_pass_unexplained(tmp_path):
    with pytest.raises(ZeroDivisionError), explained(tmp_path, "Reading"):
        _ = 1 / 0
