"""Checks of the header of a dataset or a policy: the type of every field, and ceilings of its numbers.

A header comes from a file that anybody may have written or damaged. What passes here can be shown, compared and used.
"""

import contextlib
import functools
import types
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from hades import registry
from hades.errors import ConfigError, DatasetError, HadesError, printable
from hades.inner.base import InnerLearner
from hades.types import Dataset, EnvSpec, Key, Params, size_of

COMPONENTS = ("environment", "learner", "normalizer")
REQUIRED = {
    "dataset": ("environment", "spec", "learner", "normalizer", "init", "versions"),
    "policy": ("environment", "spec", "learner", "normalizer", "loss", "versions"),
}
"""Fields of a header, by the content of the file."""
_NUMBER = (int, float)
_MEASURED = (int, float, types.NoneType)
_RETURNS: dict[str, Any] = {
    **dict.fromkeys(("mean", "std_over_inits", "worst_init", "best_init", "mean_length", "plausible_mean"), _MEASURED),
    **dict.fromkeys(("num_inits", "num_episodes", "implausible_episodes"), int),
    **{"ci95": [_MEASURED], "per_init": [_MEASURED], "protocol": str, "one_policy": bool},
    "alarms": {"*": {"bound": _MEASURED, "largest": _MEASURED, "episodes": int}},
    "remeasured": dict.fromkeys(("mean", "sd_over_inits", "inits", "episode_length"), _NUMBER),
}
_RETURNS["tasks"] = {"*": _RETURNS}
SPEC: dict[str, Any] = {
    **{"name": str, "obs_shape": [int], "action_kind": str, "action_size": int, "max_episode_steps": int},
    **{"observation_names": [str], "action_names": [str]},
}
"""Fields of the description of an environment."""
_FORM = {
    **{name: {"interface": str, "name": str} for name in (*COMPONENTS, "evaluation")},
    "spec": SPEC,
    "init": {"kind": str, "fingerprint": {"*": [_NUMBER]}, "embedded": bool, "source": str},
    "returns": _RETURNS,
    "training": {
        **{"generations": int, "best_generation": int, "seed": int, "method": str, "source": str},
        "env_steps": {"*": _NUMBER},
        "stages": [
            {"method": str, "recipe": str, "generations": int, "return": _MEASURED, "env_steps": {"*": _NUMBER}}
        ],
        "teachers": [{"source": str, "method": str, "env_steps": (int, types.NoneType)}],
    },
    "versions": {"*": str},
    "loss": _MEASURED,
}
"""Types of the fields. A field that is not named here is free; "*" stands for every name."""
_NEEDED = {
    "spec": ("name", "action_kind"),
    "init": ("kind",),
    "returns.remeasured": ("mean", "sd_over_inits", "inits", "episode_length"),
}

CEILINGS = {
    **{"depth": 100, "num_updates": 1_000_000, "num_pairs": 1_000_000, "seed": 2**32 - 1},
    **dict.fromkeys(("num_inits", "num_episodes", "episodes", "num_envs"), 100_000),
    **dict.fromkeys(("num_steps", "horizon", "episode_length", "max_episode_steps", "max_steps_in_episode"), 1_000_000),
    **{"action_repeat": 1000, "make_options": 10_000, "features": 10_000},
}
"""The largest integers that a component of a file may have, by field; no honest one comes near."""
OTHER_CEILING = 10_000_000
MOST_WEIGHTS = 30_000_000
"""Of the policy in a file."""


def check_header(metadata: Mapping[str, Any], content: str) -> None:
    """Check what a header says without building it.

    Args:
        metadata: the header.
        content: what the file holds, "dataset" or "policy".

    Raises:
        DatasetError: for a field that is missing, of another type or beyond its ceiling.
    """
    required = REQUIRED[content]
    missing = [name for name in required if name not in metadata]
    if missing:
        raise DatasetError(f"The {content}'s metadata lacks {', '.join(missing)}; it must hold {', '.join(required)}.")
    _check_form(metadata, _FORM, "")
    for place, name, (one, other) in (
        ("init", "kind", ("fixed", "random")),
        ("spec", "action_kind", ("discrete", "box")),
    ):
        if place in required and (kind := metadata[place][name]) not in (one, other):
            raise DatasetError(f'{place}.{name} is {_quoted(kind)}; it must be "{one}" or "{other}".')
    for name in (*COMPONENTS, "spec", "evaluation"):
        if metadata.get(name) is not None:
            check_ceilings(metadata[name], name)


def component(metadata: Mapping[str, Any], field: str, interface: type, content: str) -> Any:
    """Build the component that a field of a dataset's or policy's header describes."""
    with named(field, content):
        built = registry.build(metadata[field])
        if not isinstance(built, interface):
            raise ConfigError(f"it describes a {type(built).__name__}, which is no {interface.__name__}.")
    return built


@contextlib.contextmanager
def named(field: str, content: str) -> Iterator[None]:
    """Turn whatever a component raises into a DatasetError that names the field of the header."""
    try:
        yield
    except DatasetError:
        raise
    except Exception as error:  # components and their libraries come from anywhere, with any arguments
        what = str(error) if isinstance(error, HadesError) else f"{type(error).__name__}: {error}"
        raise DatasetError(f"The {content}'s {field} cannot be used: {what}") from error


def check_recipe(learner: InnerLearner, spec: EnvSpec, num_pairs: int) -> "Shapes":
    """Trace the training of one policy, so that what cannot train is refused before anything is computed.

    Returns:
        Shapes of the initial weights, by the names under which a file embeds them.

    Raises:
        DatasetError: for a policy with too many weights.
        Exception: whatever the learner raises.
    """
    shapes = initial_shapes(learner, spec)
    trace_training(learner, spec, num_pairs)
    return shapes


Shapes = Mapping[str, tuple[int, ...]]


def initial_shapes(learner: InnerLearner, spec: EnvSpec) -> Shapes:
    """Shapes of the initial weights of a policy in a file, by name.

    Raises:
        DatasetError: for a policy with too many weights.
        Exception: whatever the learner raises.
    """
    learner.check(spec)
    params = _initial(learner, spec)
    if (weights := size_of(params)) > MOST_WEIGHTS:
        raise DatasetError(
            f"The policy {learner.policy!r} has {weights:,} weights; the most that a dataset file may name is "
            f"{MOST_WEIGHTS:,}."
        )
    flat = jax.tree_util.tree_leaves_with_path(params)
    return {"/".join(str(part.key) for part in path): leaf.shape for path, leaf in flat}


@functools.lru_cache(maxsize=64)
def trace_training(learner: InnerLearner, spec: EnvSpec, num_pairs: int) -> None:
    """Trace the training of one policy, and compute nothing.

    Raises:
        Exception: whatever the learner raises.
    """
    params = _initial(learner, spec)
    shapes = ((num_pairs, *spec.obs_shape), (num_pairs, spec.action_space.size))
    observations, targets = (jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes)

    def clone(key: Key, observations: Array, targets: Array, params: Params) -> object:
        return learner.clone(key, Dataset(observations, targets), params, spec)

    jax.eval_shape(clone, _key(), observations, targets, params)


@functools.lru_cache(maxsize=64)
def _initial(learner: InnerLearner, spec: EnvSpec) -> Params:
    return jax.eval_shape(lambda key: learner.init_params(key, spec), _key())


def _key() -> jax.ShapeDtypeStruct:
    """The shape of a key, which needs no device."""
    shape: jax.ShapeDtypeStruct = jax.eval_shape(lambda: jax.random.key(0))
    return shape


def _check_form(value: Any, form: Any, place: str) -> None:
    """Raise DatasetError where a JSON value is not of a form (see _FORM)."""
    if isinstance(form, Mapping):
        if value is None and place in ("evaluation", "returns", "training"):
            return
        _check_type(value, Mapping, place)
        absent = [name for name in _NEEDED.get(place, ()) if name not in value]
        if absent:
            raise DatasetError(f"{place} lacks {', '.join(absent)}.")
        for name, part in value.items():
            inner = form.get(name, form.get("*"))
            if inner is not None:
                _check_form(part, inner, f"{place}.{name}" if place else name)
    elif isinstance(form, list):
        _check_type(value, (list, tuple), place)
        for i, part in enumerate(value):
            _check_form(part, form[0], f"{place}[{i}]")
    else:
        _check_type(value, form, place)


_KINDS = {
    Mapping: "an object",
    (list, tuple): "a list",
    str: "a text",
    bool: "true or false",
    int: "an integer",
    _NUMBER: "a number",
    _MEASURED: "a number or null",
}


def _check_type(value: Any, kind: Any, place: str) -> None:
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise DatasetError(f"{printable(place)} is {_quoted(value)}; it must be {_KINDS[kind]}.")


def check_ceilings(value: Any, place: str, name: str = "") -> None:
    """Raise DatasetError where an integer of a component's description is beyond the ceiling of its field."""
    if isinstance(value, Mapping):
        for inner, part in value.items():
            check_ceilings(part, f"{place}.{inner}", inner)
    elif isinstance(value, list | tuple):
        if len(value) == 2 and isinstance(value[0], str):  # an option and its value
            name = name if name in CEILINGS else value[0]
        for part in value:
            check_ceilings(part, place, name)
    elif isinstance(value, int | float):
        most = CEILINGS.get(name, OTHER_CEILING if isinstance(value, int) else float("inf"))
        if abs(value) > most:
            raise DatasetError(
                f"{printable(place)} is {_quoted(value)}; the most that a dataset file may state for "
                f"{printable(name)} is {most:,}."
            )


def _quoted(value: Any) -> str:
    return f'"{printable(value, 100)}"' if isinstance(value, str) else printable(repr(value), 100)
