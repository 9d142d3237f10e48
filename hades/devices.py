"""The devices of this process, or one sentence why there are none."""

import os

import jax

from hades.errors import ConfigError

REMEDY = (
    "Is another process using the accelerator, and does its driver fit? JAX_PLATFORMS=cpu runs without it; "
    "pip install '.[cuda]' or '.[tpu]' installs its support."
)


def check_devices() -> None:
    """Start JAX's backend.

    Raises:
        ConfigError: where it cannot be started, such as one that JAX_PLATFORMS names and that is not installed.
    """
    try:
        jax.devices()
    except Exception as error:  # RuntimeError, or an AssertionError without a word where JAX lacks a plugin
        said = str(error).partition(" (set JAX_PLATFORMS=")[0].rstrip(".")
        chosen = f"JAX_PLATFORMS={os.environ['JAX_PLATFORMS']}" if os.environ.get("JAX_PLATFORMS") else "its own choice"
        raise ConfigError(f"JAX finds no device with {chosen}{said and f': {said}'}. {REMEDY}") from error


def explain(error: Exception) -> None:
    """Raise the sentence of `check_devices` where an error comes from JAX because it has no device."""
    if isinstance(error, RuntimeError | AssertionError):
        check_devices()
