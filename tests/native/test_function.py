"""Compiled functions on disk, machines that cannot compile, and the messages of both."""

import os
import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array

from hades.native import cache, function, machine
from hades.native.function import compile_function

SHAPE = jax.ShapeDtypeStruct((2,), jnp.float32)


def double(x: Array) -> list[Array]:
    return [x * 2, jnp.float32(jnp.nan)]


def untraceable(x: Array) -> list[Array]:
    raise AssertionError("traced")


def forget() -> None:
    """As a new process: nothing is registered, though XLA keeps what it was given."""
    function._targets.clear()


def assert_works(key: str = "", traced: bool = True) -> None:
    x, nan = compile_function(double if traced else untraceable, SHAPE, key=key)(jnp.arange(2.0))
    assert x.tolist() == [0, 2]
    assert np.isnan(nan)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HADES_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(cache, "_warned", set())
    monkeypatch.setattr(jax.ffi, "register_ffi_target", lambda *a, **k: None)  # XLA takes a name once
    monkeypatch.setattr(function, "_targets", set())
    return tmp_path / "hades" / "native"


@pytest.fixture(autouse=True, scope="module")
def known() -> None:
    """XLA knows the function."""
    assert_works()


def test_a_named_function_is_not_traced_again(folder: Path) -> None:
    assert_works(key="double")
    assert sorted(path.suffix for path in folder.iterdir()) == [".json", ".o"]
    forget()
    assert compile_function(untraceable, SHAPE, key="double").compile_seconds == 0
    assert_works(key="double", traced=False)


def test_another_name_shape_version_or_compiler_is_traced(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert_works(key="double")
    traced = pytest.raises(AssertionError, match="traced")
    with traced:
        compile_function(untraceable, SHAPE, key="triple")
    with traced:
        compile_function(untraceable, jax.ShapeDtypeStruct((3,), jnp.float32), key="double")
    with traced:
        compile_function(untraceable, jax.ShapeDtypeStruct((2,), jnp.int32), key="double")
    with traced, monkeypatch.context() as patch:
        patch.setattr(machine, "describe_cpu", lambda: "another CPU")
        compile_function(untraceable, SHAPE, key="double")
    with traced, monkeypatch.context() as patch:
        patch.setattr(function, "_sources", lambda: "another compiler")
        compile_function(untraceable, SHAPE, key="double")


@pytest.mark.parametrize("suffix", [".o", ".json"])
@pytest.mark.parametrize("damage", ["changed", "cut", "empty", "writable", "gone", "folder"])
def test_a_damaged_file_is_made_again(folder: Path, suffix: str, damage: str) -> None:
    assert_works(key="double")
    (path,) = (p for p in folder.iterdir() if p.suffix == suffix)
    content = path.read_bytes()
    if damage == "changed":
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    elif damage in ("cut", "empty"):
        path.write_bytes(content[: len(content) // 2 if damage == "cut" else 0])
    elif damage == "writable":
        path.chmod(0o666)
    else:
        path.unlink()
        if damage == "folder":
            path.mkdir()
    forget()
    with pytest.raises(AssertionError, match="traced"):
        compile_function(untraceable, SHAPE, key="double")
    assert_works(key="double")
    if damage != "folder":
        assert path.read_bytes() == content
        assert not path.stat().st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def test_a_folder_that_others_can_write_is_not_used(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder.mkdir(parents=True)
    folder.chmod(0o777)
    for _ in range(2):
        assert_works(key="double")
    assert not list(folder.iterdir())
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert f"{folder}, because other users can write there: chmod go-w it" in said


def test_a_folder_that_cannot_be_written_is_not_used(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder.parent.mkdir()
    folder.write_text("a file")
    assert_works(key="double")
    folder.unlink()

    def refuse(**kwargs: object) -> None:
        raise PermissionError("read-only")

    monkeypatch.setattr(cache.tempfile, "mkstemp", refuse)
    assert_works(key="double")
    assert not list(folder.iterdir())
    assert capsys.readouterr().err == ""


def test_a_user_without_a_home_has_no_cache(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def nobody() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("HADES_CACHE_HOME")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", nobody)
    assert_works(key="double")
    assert capsys.readouterr().err == ""


def test_writers_do_not_mix(folder: Path) -> None:
    contents = [bytes([i]) * 200_000 for i in range(4)]
    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(lambda i: cache.write("file", contents[i % 4]), range(40)))
    assert cache.read("file") in contents
    assert [path.name for path in folder.iterdir()] == ["file"]
    assert folder.stat().st_mode & 0o777 == 0o700 & ~os.umask(os.umask(0))


@pytest.fixture
def unchecked() -> Iterator[None]:
    machine.check_machine.cache_clear()
    yield
    machine.check_machine.cache_clear()


def test_llvmlite_is_missing(unchecked: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(machine.UnavailableError, match=r"^llvmlite is not installed \(pip install llvmlite\)$"):
        compile_function(double, SHAPE)


def test_a_machine_that_is_not_supported(unchecked: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine.platform, "machine", lambda: "riscv64")
    with pytest.raises(machine.UnavailableError, match="on riscv64 is not supported"):
        machine.check_machine()


def test_an_old_cpu(unchecked: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine.platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(machine, "_llvm", lambda: SimpleNamespace(get_host_cpu_features=lambda: {"avx2": False}))
    with pytest.raises(machine.UnavailableError, match="this CPU has neither AVX2 nor AVX-512"):
        machine.check_machine()


def test_llvmlite_is_broken(unchecked: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise OSError("libstdc++.so.6: cannot open shared object file")

    monkeypatch.setattr(machine, "_llvm", broken)
    with pytest.raises(machine.UnavailableError, match="llvmlite does not work: libstdc"):
        machine.check_machine()


def test_code_that_this_llvm_does_not_understand() -> None:
    with pytest.raises(machine.UnavailableError, match="LLVM refuses the code"):
        machine.compile_object("define nonsense")
