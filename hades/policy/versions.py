"""Versions of the libraries that decide a result."""

import importlib.metadata

PACKAGES = ("jax", "jaxlib", "flax", "optax", "numpy")


def library_versions(extra: dict[str, str] | None = None) -> dict[str, str]:
    """Versions of hades and the libraries under it, and those that an environment adds."""
    return {"hades": hades_version(), **{name: importlib.metadata.version(name) for name in PACKAGES}, **(extra or {})}


def hades_version() -> str:
    """Version of the installed distribution; "unknown" for a bare checkout on the path."""
    try:
        return importlib.metadata.version("hades-rl")
    except importlib.metadata.PackageNotFoundError:
        return "unknown"
