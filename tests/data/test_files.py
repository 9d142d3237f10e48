"""Writing loses nothing that was there, whatever fails, and the error says what to do."""

import errno
import os
from pathlib import Path

import pytest

from hades.data.files import explained, read_json, user_path, write_bytes
from hades.errors import ConfigError, HadesError
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


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664), (0o000, 0o666)])
def test_a_new_file_has_the_permissions_that_the_umask_leaves(path, mask, mode):
    before = os.umask(mask)
    try:
        for file in (path, path.with_name("another"), path.with_name("x" * 255)):
            assert write_bytes(file, NEW).stat().st_mode & 0o777 == mode
    finally:
        os.umask(before)


@pytest.mark.parametrize(
    ("module", "name", "number", "reason"),
    [
        (os, "open", errno.EROFS, "Read-only file system"),
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


def test_a_tilde_is_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert user_path("~/runs/x") == user_path(Path("~") / "runs" / "x") == tmp_path / "runs" / "x"
    assert user_path("runs/~x") == Path("runs/~x")
    assert write_bytes("~/x.bin", NEW) == tmp_path / "x.bin"
    assert os.listdir(tmp_path) == ["x.bin"]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("", "is empty.*not set"),
        ("  ", "is empty"),
        ("gs://bucket/runs/x", r'"gs://bucket/runs/x" is an address.*Mount the bucket.*--bucket'),
        (Path("s3://bucket/x"), r'"s3:/bucket/x" is an address'),
        ("file:///tmp/x", "is an address"),
        ("abfs+x.y-z://a", "is an address"),
        ("~nobody-of-this-name/x", "home folder.*not known.*whole path"),
        ("a/\0b", "no name of a file"),
        ("x" * 256, "more than 255 bytes"),
        ("\ud800", "no name of a file"),
        (3, "3 is no path"),
        (None, "None is no path"),
    ],
)
def test_what_is_no_path_is_refused_and_nothing_is_written(given, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for use in (user_path, lambda path: write_bytes(path, NEW)):
        with pytest.raises(ConfigError, match=said):
            use(given)
    assert os.listdir(tmp_path) == []


def test_a_home_that_is_not_known_is_said(monkeypatch):
    monkeypatch.delenv("HOME")
    monkeypatch.setattr("pwd.getpwuid", {}.__getitem__)
    with pytest.raises(ConfigError, match="home folder"):
        user_path("~/x")


@pytest.mark.parametrize(
    "content", [b"", b'{"a": ', b"\xff\xfe", b"[" * 100_000, b"1" * 5000, b"null", b"[]", b'"x"', b"3"]
)
def test_a_file_that_holds_no_json_object_is_named_with_the_remedy(path, content):
    path.write_bytes(content)
    with pytest.raises(HadesError, match=rf"{path} is damaged.* Do this\."):
        read_json(path, "Do this.")
    assert path.read_bytes() == content
