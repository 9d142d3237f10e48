"""Fixtures of all tests, and the compilation cache that a session shares with its workers and child processes."""

import os
from pathlib import Path

import jax
import pytest

from tests.support import one_device_mesh

CACHE = Path(__file__).parents[1] / ".cache" / "jax"
CACHE_BYTES = 2_000_000_000
CACHE_SETTINGS = {"jax_compilation_cache_dir": str(CACHE), "jax_persistent_cache_min_compile_time_secs": 0.0}
"""Set where the environment does not: the next session of this checkout finds what this one compiled."""


def pytest_configure(config: pytest.Config) -> None:
    for name, value in CACHE_SETTINGS.items():
        chosen = os.environ.setdefault(name.upper(), str(value))  # child processes inherit it
        jax.config.update(name, type(value)(chosen))
    is_worker = hasattr(config, "workerinput")
    if not is_worker:
        shrink(CACHE, CACHE_BYTES)


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
    return one_device_mesh()
