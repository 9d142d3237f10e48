"""Fixtures of all tests, the compilation caches of a session, and a guard for the marker `system`.

Workers of the session and the child processes of its tests use the same caches.
"""

import os
import sys
from collections.abc import Generator
from pathlib import Path
from types import FrameType
from typing import Any

import jax
import pytest

ROOT = Path(__file__).parents[1]

CACHE = ROOT / ".cache" / "jax"
CACHE_BYTES = 2_000_000_000
NATIVE_CACHE = ROOT / ".cache" / "hades" / "native"
CACHE_SETTINGS = {"jax_compilation_cache_dir": str(CACHE), "jax_persistent_cache_min_compile_time_secs": 0.0}
"""Set where the environment does not: the next session of this checkout finds what this one compiled."""

FAST_COMPILING = "--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false"
"""The programs of the tests are small: compiling them is most of the work, and this takes a third of the time."""
FAST_COMPILING_JAX = "0.10."
"""XLA ends a process with a flag that it does not know, so only these releases get them."""

STARTS_A_PROCESS = {"os.fork", "os.forkpty", "os.posix_spawn", "os.system", "subprocess.Popen"}
"""Audit events of Python."""
OURS = tuple(str(ROOT / name) for name in ("hades", "launch", "tests"))
_core_test: str | None = None
"""Node id of the running test, while it has no marker `system`."""


def pytest_configure(config: pytest.Config) -> None:
    os.environ.setdefault("MUJOCO_GL", "disabled")  # nothing is drawn by MuJoCo, whose import would start a process
    for name, value in CACHE_SETTINGS.items():
        chosen = os.environ.setdefault(name.upper(), str(value))  # child processes inherit it
        jax.config.update(name, type(value)(chosen))
    os.environ.setdefault("HADES_CACHE_HOME", str(NATIVE_CACHE.parents[1]))
    if jax.__version__.startswith(FAST_COMPILING_JAX):
        os.environ.setdefault("XLA_FLAGS", FAST_COMPILING)
    is_worker = hasattr(config, "workerinput")
    if not is_worker:
        shrink(CACHE, CACHE_BYTES)
        shrink(NATIVE_CACHE, CACHE_BYTES // 10)
    sys.addaudithook(refuse_processes)


def refuse_processes(event: str, arguments: tuple[Any, ...]) -> None:
    """Raises: AssertionError when a test without the marker `system`, or one of its fixtures, starts a process."""
    if event in STARTS_A_PROCESS and _core_test is not None and not is_called_by_a_library():
        raise AssertionError(f"{_core_test} starts a process ({event}): mark it @pytest.mark.system.")


def is_called_by_a_library() -> bool:
    """Whether an installed package is the nearest caller, as when MuJoCo is imported: GLFW then asks a process."""
    frame: FrameType | None = sys._getframe(2)
    while frame is not None and not frame.f_code.co_filename.startswith(OURS):
        if "site-packages" in frame.f_code.co_filename:
            return True
        frame = frame.f_back
    return False


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    global _core_test
    _core_test = None if item.get_closest_marker("system") else item.nodeid
    try:
        return (yield)
    finally:
        _core_test = None


def shrink(folder: Path, num_bytes: int) -> None:
    """Delete the oldest files of a folder until the rest occupies at most `num_bytes`.

    JAX's own limit would need the package filelock, and a child killed while it stores a program would break it.
    """
    files = [(path.stat(), path) for path in folder.glob("*") if path.is_file()]
    files.sort(key=lambda file: file[0].st_mtime, reverse=True)
    occupied = 0
    for status, path in files:
        occupied += status.st_size
        if occupied > num_bytes:
            path.unlink(missing_ok=True)


@pytest.fixture
def key() -> jax.Array:
    return jax.random.key(0)


@pytest.fixture(scope="session")
def mesh() -> jax.sharding.Mesh:
    from tests.support import one_device_mesh  # it computes, and XLA's flags are read once, before that

    return one_device_mesh()
