"""optax optimisers by name, for both loops: a component holds names and numbers, the transformation is made inside."""

import dataclasses
import functools
import inspect
import math
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import optax
from jax import Array

from hades.errors import ConfigError, offer, require, shown
from hades.fields import Range, Seed, checked

Options = tuple[tuple[str, Any], ...]

UNIT_INTERVAL = ("b1", "b2", "b3", "decay", "decay_rate", "eta_minus", "momentum", "rho")
"""Options of optax's optimisers that lie in (0, 1), whichever optimiser takes them."""


@dataclasses.dataclass(frozen=True)
class Transformation:
    """An optax transformation of the user's own, for a session: no file could rebuild it."""

    optax: optax.GradientTransformation

    session_only = "it is your own optax transformation, whose functions a file cannot hold"


def optimizer_names() -> tuple[str, ...]:
    """optax functions that make an optimiser from a learning rate alone."""
    return tuple(sorted(name for name in dir(optax) if _makes_optimizer(name)))


@functools.cache
def _makes_optimizer(name: str) -> bool:
    value = getattr(optax, name, None)
    if name == "lbfgs" or name.startswith("scale_by_"):  # a line search asks for the loss; a part is no optimiser
        return False
    if not inspect.isfunction(value) or not value.__module__.startswith("optax"):
        return False
    parameters = inspect.signature(value).parameters
    return "learning_rate" in parameters and all(
        p.default is not p.empty or argument == "learning_rate" or p.kind in (p.VAR_KEYWORD, p.VAR_POSITIONAL)
        for argument, p in parameters.items()
    )


def make_optimizer(
    name: str | Transformation,
    learning_rate: float | Array | optax.Schedule,
    options: Options = (),
    max_grad_norm: float | Array | None = None,
) -> optax.GradientTransformation:
    """`optax.<name>(learning_rate, **options)`, behind a clip by global norm where `max_grad_norm` is given."""
    optimizer = name.optax if isinstance(name, Transformation) else getattr(optax, name)(learning_rate, **dict(options))
    return optimizer if max_grad_norm is None else optax.chain(optax.clip_by_global_norm(max_grad_norm), optimizer)


def scalar_bounds(optimizer: str | Transformation, option: str) -> tuple[float, float]:
    """The open interval in which a scalar of an optimiser lies; (0, inf) unless a name here says otherwise."""
    if option in UNIT_INTERVAL or (optimizer, option) == ("signum", "beta"):  # elsewhere beta is a positive weight
        return 0.0, 1.0
    if option == "eta_plus":  # the factor by which rprop lengthens its steps
        return 1.0, math.inf
    return 0.0, math.inf


def check_optimizer(place: str, name: str | Transformation, options: Options) -> None:
    """Raise ConfigError for an unknown optimiser, an unknown option or a value that it does not take, by its place."""
    if isinstance(name, Transformation):
        return require(not options, f"{place}.optimizer_options has no effect on an optax transformation.")
    if not _makes_optimizer(name):
        raise ConfigError(f'{place}.optimizer is "{name}", which optax does not have. {offer(name, optimizer_names())}')
    parameters = [p for p in inspect.signature(getattr(optax, name)).parameters if p != "learning_rate"]
    unknown = [option for option, _ in options if option not in parameters]
    if unknown:
        raise ConfigError(
            f'{place}.optimizer_options has "{unknown[0]}", which optax.{name} does not take. '
            f"{offer(unknown[0], parameters)}"
        )
    for option, value in options:
        where = f"{place}.optimizer_options[{option!r}]"
        default = inspect.signature(getattr(optax, name)).parameters[option].default
        if isinstance(default, bool):
            checked(value, bool, where)
        elif option == "seed":
            checked(value, Seed, where)
        elif isinstance(value, int | float):
            low, high = scalar_bounds(name, option)
            checked(value, Annotated[float, Range(least=low, below=None if high == math.inf else high)], where)
    if options and (reason := _refusal(name, options)):
        raise ConfigError(
            f"{place}.optimizer_options is {shown(dict(options))}, with which optax.{name} fails: {reason}."
        )


@functools.cache
def _refusal(name: str, options: Options) -> str:
    """Why optax makes no update with these options; empty where it does."""

    def update(weights: Array) -> Array:
        optimizer = make_optimizer(name, 0.1, options)
        return optimizer.update(weights, optimizer.init(weights), weights)[0]

    try:
        jax.eval_shape(update, jax.ShapeDtypeStruct((2, 2), jnp.float32))
    except Exception as error:  # optax checks little: any error of JAX or Python may come
        return shown(str(error).partition("\n")[0])
    return ""
