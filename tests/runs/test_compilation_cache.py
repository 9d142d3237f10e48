"""Where compiled programs are kept, also for a user without a home."""

import types
from pathlib import Path

import pytest

from hades.runs import compilation_cache


@pytest.fixture
def chosen(monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """Settings of JAX that are made."""
    made: dict[str, object] = {}
    config = types.SimpleNamespace(values={}, update=made.__setitem__)
    monkeypatch.setattr(compilation_cache, "jax", types.SimpleNamespace(config=config))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    return made


def has_no_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOME")
    monkeypatch.setattr("pwd.getpwuid", {}.__getitem__)


def test_a_user_without_a_home_has_no_cache(chosen: dict[str, object], monkeypatch: pytest.MonkeyPatch) -> None:
    has_no_home(monkeypatch)
    compilation_cache.enable_compilation_cache()
    assert chosen == {}


def test_the_cache_home_needs_no_home(
    chosen: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    has_no_home(monkeypatch)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    compilation_cache.enable_compilation_cache()
    assert chosen["jax_compilation_cache_dir"] == str(tmp_path / "cache" / "hades" / "xla")


@pytest.mark.parametrize("other", ["", "relative"])
def test_a_cache_home_that_is_no_whole_path_is_not_used(
    other: str, chosen: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", other)
    compilation_cache.enable_compilation_cache()
    assert chosen["jax_compilation_cache_dir"] == str(tmp_path / ".cache" / "hades" / "xla")
