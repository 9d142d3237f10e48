"""optax optimisers by name, for both loops: a component holds names and numbers, the transformation is made inside."""

import inspect
import math
from typing import Any

import optax
from jax import Array

from hades.errors import ConfigError, offer

Options = tuple[tuple[str, Any], ...]

UNIT_INTERVAL = ("b1", "b2", "b3", "decay", "decay_rate", "eta_minus", "momentum", "rho")
"""Options of optax's optimisers that lie in (0, 1), whichever optimiser takes them."""


def optimizer_names() -> tuple[str, ...]:
    """optax functions that make an optimiser from a learning rate alone."""

    def serves(name: str) -> bool:
        value = getattr(optax, name)
        if name == "lbfgs" or name.startswith("scale_by_"):  # a line search asks for the loss; a part is no optimiser
            return False
        if not inspect.isfunction(value) or not value.__module__.startswith("optax"):
            return False
        parameters = inspect.signature(value).parameters
        return "learning_rate" in parameters and all(
            p.default is not p.empty or argument == "learning_rate" or p.kind in (p.VAR_KEYWORD, p.VAR_POSITIONAL)
            for argument, p in parameters.items()
        )

    return tuple(sorted(name for name in dir(optax) if serves(name)))


def make_optimizer(
    name: str, learning_rate: float | Array, options: Options = (), max_grad_norm: float | Array | None = None
) -> optax.GradientTransformation:
    """`optax.<name>(learning_rate, **options)`, behind a clip by global norm where `max_grad_norm` is given."""
    optimizer = getattr(optax, name)(learning_rate, **dict(options))
    return optimizer if max_grad_norm is None else optax.chain(optax.clip_by_global_norm(max_grad_norm), optimizer)


def scalar_bounds(optimizer: str, option: str) -> tuple[float, float]:
    """The open interval in which a scalar of an optimiser lies; (0, inf) unless a name here says otherwise."""
    if option in UNIT_INTERVAL or (optimizer, option) == ("signum", "beta"):  # elsewhere beta is a positive weight
        return 0.0, 1.0
    if option == "eta_plus":  # the factor by which rprop lengthens its steps
        return 1.0, math.inf
    return 0.0, math.inf


def check_optimizer(place: str, name: str, options: Options) -> None:
    """Raise ConfigError for an unknown optimiser or option, naming `place` and what is known."""
    known = optimizer_names()
    if name not in known:
        raise ConfigError(f'{place}.optimizer is "{name}", which optax does not have. {offer(name, known)}')
    parameters = [p for p in inspect.signature(getattr(optax, name)).parameters if p != "learning_rate"]
    unknown = [option for option, _ in options if option not in parameters]
    if unknown:
        raise ConfigError(
            f'{place}.optimizer_options has "{unknown[0]}", which optax.{name} does not take. '
            f"{offer(unknown[0], parameters)}"
        )
