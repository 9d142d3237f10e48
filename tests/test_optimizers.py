"""What hades knows about optax's optimisers, held against the signatures of the installed ones."""

import inspect
import math
import typing

import optax
import pytest

from hades.optimizers import optimizer_names, scalar_bounds

POSITIVE = {
    "alpha", "beta", "clipping_threshold", "decay_offset", "eps", "eps_root", "eta", "gamma",
    "initial_accumulator_value", "initial_scale", "max_step_size", "min_norm", "min_step_size", "optimism", "threshold",
    "trust_coefficient", "weight_decay", "weight_decay_rate",
}  # fmt: skip
"""Scalar options that may be any positive number. Look up a new one in optax's documentation before it goes here."""
NO_SCALARS = {"key"}
"""Options whose annotation takes a number, and which are none."""
EVERY = [
    (optimizer, parameter)
    for optimizer in optimizer_names()
    for parameter in inspect.signature(getattr(optax, optimizer)).parameters.values()
    if parameter.name not in NO_SCALARS | {"learning_rate"} and float in typing.get_args(parameter.annotation)
]


@pytest.mark.parametrize(("optimizer", "parameter"), EVERY, ids=[f"{o}-{p.name}" for o, p in EVERY])
def test_the_bounds_of_every_scalar_option_are_known(optimizer, parameter):
    bounds = scalar_bounds(optimizer, parameter.name)
    if bounds == (0.0, math.inf):
        assert parameter.name in POSITIVE
    elif parameter.default is not None:
        assert bounds[0] < parameter.default < bounds[1]


def test_every_optimizer_is_looked_at():
    without_options = {"sign_sgd"}
    assert {optimizer for optimizer, _ in EVERY} == set(optimizer_names()) - without_options
