"""A numeric fingerprint of initial weights: are rebuilt weights those that a HaDES-F dataset was made for?"""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from flax import traverse_util

from hades.algorithms.keys import Stream, stream_key
from hades.inner.base import InnerLearner
from hades.types import EnvSpec, Params

TOLERANCE = 1e-4
_PROBES = 8


def flat_params(params: Params) -> dict[str, np.ndarray]:
    """`{"layer/kernel": f32[...]}`"""
    return {name: np.asarray(leaf) for name, leaf in traverse_util.flatten_dict(params, sep="/").items()}


def unflat_params(flat: Mapping[str, np.ndarray]) -> Params:
    """The inverse of `flat_params`."""
    return traverse_util.unflatten_dict(flat, sep="/")


def fingerprint(params: Params) -> dict[str, list[float]]:
    """Mean, standard deviation and evenly spaced entries of every array."""
    prints = {}
    for name, array in flat_params(params).items():
        entries = array.reshape(-1)
        probes = entries[np.linspace(0, entries.size - 1, min(_PROBES, entries.size)).astype(int)]
        prints[name] = [round(float(x), 6) for x in (entries.mean(), entries.std(), *probes)]
    return prints


def initial_weights(
    learner: InnerLearner, spec: EnvSpec, *, embedded: bool = False
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The entry of a dataset's header on its initial weights, and the arrays themselves where they are embedded."""
    if not learner.is_fixed:
        return {"kind": "random"}, {}
    params = learner.init_params(stream_key(jax.random.key(0), Stream.START), spec)
    init = {"kind": "fixed", "fingerprint": fingerprint(params), "embedded": embedded}
    return init, flat_params(params) if embedded else {}


def mismatch(params: Params, expected: dict[str, Any]) -> str:
    """Describe where a fingerprint differs; empty where it agrees."""
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
