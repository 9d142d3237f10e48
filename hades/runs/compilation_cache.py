"""XLA's persistent compilation cache, so that a second start of the same run skips most of the compiling."""

import os
from pathlib import Path

import jax


def enable_compilation_cache() -> None:
    """Use `$JAX_COMPILATION_CACHE_DIR`, else `hades/xla` in `$XDG_CACHE_HOME` or `~/.cache`, where it can be made."""
    if jax.config.values.get("jax_compilation_cache_dir"):
        return
    chosen = Path(os.environ.get("XDG_CACHE_HOME", ""))
    try:
        directory = (chosen if chosen.is_absolute() else Path.home() / ".cache") / "hades" / "xla"
        directory.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError):  # RuntimeError: a user without a home
        return
    jax.config.update("jax_compilation_cache_dir", str(directory))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)
