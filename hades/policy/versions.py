"""Versions of the libraries, and settings of JAX, that decide a result."""

import importlib.metadata

import jax

import hades

PACKAGES = ("jax", "jaxlib", "flax", "optax", "numpy")
NUMERICS = (
    "jax_default_prng_impl",
    "jax_threefry_partitionable",
    "jax_random_seed_offset",
    "jax_default_matmul_precision",
)


def library_versions(extra: dict[str, str] | None = None) -> dict[str, str]:
    """Versions of hades and the libraries under it, and those that an environment adds."""
    return {
        "hades": hades.__version__,
        **{name: importlib.metadata.version(name) for name in PACKAGES},
        **(extra or {}),
    }


def numerics() -> dict[str, str]:
    """Settings of JAX that decide which random numbers a key stands for, and how products are rounded."""
    return {name: str(getattr(jax.config, name)) for name in NUMERICS}
