"""XLA's persistent compilation cache, so that a second start of the same run skips most of the compiling."""

import os
from pathlib import Path

import jax


def enable_compilation_cache() -> None:
    """Use `$JAX_COMPILATION_CACHE_DIR`, else `~/.cache/hades/xla`; a folder that cannot be written is left out."""
    if jax.config.values.get("jax_compilation_cache_dir"):
        return
    directory = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "hades" / "xla"
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError:
        return
    jax.config.update("jax_compilation_cache_dir", str(directory))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)
