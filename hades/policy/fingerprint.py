"""A numeric fingerprint of initial weights: are rebuilt weights those that a HaDES-F dataset was made for?"""

from typing import Any

import jax
import numpy as np

from hades.types import Params

TOLERANCE = 1e-4
_PROBES = 8


def flat_params(params: Params) -> dict[str, np.ndarray]:
    """`{"layer/kernel": f32[...]}`"""
    leaves = jax.tree_util.tree_flatten_with_path(params)[0]
    return {"/".join(str(getattr(k, "key", k)) for k in path): np.asarray(leaf) for path, leaf in leaves}


def unflat_params(flat: dict[str, np.ndarray], like: Params) -> Params:
    """The inverse of `flat_params` for a pytree of the structure of `like`."""
    paths, treedef = jax.tree_util.tree_flatten_with_path(like)
    names = ["/".join(str(getattr(k, "key", k)) for k in path) for path, _ in paths]
    return jax.tree_util.tree_unflatten(treedef, [flat[name] for name in names])


def fingerprint(params: Params) -> dict[str, list[float]]:
    """Mean, standard deviation and evenly spaced entries of every array."""
    prints = {}
    for name, array in flat_params(params).items():
        entries = array.reshape(-1)
        probes = entries[np.linspace(0, entries.size - 1, min(_PROBES, entries.size)).astype(int)]
        prints[name] = [round(float(x), 6) for x in (entries.mean(), entries.std(), *probes)]
    return prints


def mismatch(params: Params, expected: dict[str, Any]) -> str:
    """Where a fingerprint differs, in words; empty where it agrees."""
    found = fingerprint(params)
    if sorted(found) != sorted(expected):
        return f"arrays {', '.join(sorted(found))} instead of {', '.join(sorted(expected))}"
    for name, values in expected.items():
        if len(values) != len(found[name]):
            return f"{name} has another size"
        worst = float(np.max(np.abs(np.asarray(values) - np.asarray(found[name]))))
        if worst > TOLERANCE:
            return f"{name} differs by {worst:.3g}"
    return ""
