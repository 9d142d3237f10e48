"""The exploit alarm: find physically implausible episodes.

Evolution finds the holes of a simulator: HaDES-F once learned to launch the humanoid-standup body into the air through
a collision glitch (Lupu et al., 2024). An environment may state bounds in its spec that no honest episode exceeds;
`hades.studies.plausible_bounds` derives them from random and scripted play.
"""

import functools
from collections.abc import Mapping

import jax.numpy as jnp
from jax import Array

from hades.environments.rollout import Episodes
from hades.types import EnvSpec

NONFINITE = "nonfinite"
"""The `info` entry of an environment whose physics can break down; any value above 0 is an alarm."""


def alarms(returns: Array, info_max: Mapping[str, Array], spec: EnvSpec) -> dict[str, Array]:
    """bool[...] for each bound of the spec, and for physics that turned non-finite where `info` has that entry.

    Args:
        returns: of whole episodes, f32[...].
        info_max: largest value of each `info` entry over the same episodes, f32[...] each.
        spec: a bound named "return" is on the return's absolute value, any other on an `info` entry.
    """
    values = {"return": jnp.abs(returns), **info_max}
    raised = {name: values[name] > bound for name, bound in spec.plausible if name in values}
    if NONFINITE in info_max:
        raised[NONFINITE] = info_max[NONFINITE] > 0
    return raised


def implausible(episodes: Episodes, spec: EnvSpec) -> Array:
    """bool[E], true where any alarm was raised."""
    raised = alarms(episodes.returns, episodes.info_max, spec).values()
    return functools.reduce(jnp.logical_or, raised, jnp.zeros(episodes.returns.shape, bool))
