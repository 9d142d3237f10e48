"""Fixtures of all tests."""

import jax
import pytest

from tests.support import one_device_mesh


@pytest.fixture
def key() -> jax.Array:
    return jax.random.key(0)


@pytest.fixture(scope="session")
def mesh() -> jax.sharding.Mesh:
    return one_device_mesh()
