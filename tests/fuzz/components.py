"""Fields of every registered component, with values that they cannot mean."""

import dataclasses
import fractions
import json
import random
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from hades import registry
from hades.errors import HadesError
from hades.policies.mlp import MLP
from tests.fuzz.harness import Attempt, kind, mutated
from tests.support import POINT, example

NAN = float("nan")


class Stranger:
    """Of no type that a component holds."""


HOSTILE = [
    *(NAN, float("inf"), -float("inf"), -1, 0, -0.5, 1e39, 2**31, 2**63, 10**30, 10**5000, True, None, "x", "", b"x"),
    *("a" * 10**5, [], {}, (), [NAN], ["x"], [[1]], {"x": 1}, {1: 2}, {"x": NAN}, {"x": {}}, (("x", []),), set(), 1j),
    *(np.int64(3), np.float32(0.5), np.float64("nan"), np.bool_(True), np.str_("tanh"), np.zeros(2), np.zeros((2, 2))),
    *(jnp.ones(()), jnp.ones(3), fractions.Fraction(1, 3), Stranger(), Stranger, object(), len, MLP, POINT, MLP()),
]
FIELDS = [
    (interface, name, field.name)
    for interface in registry.interfaces()
    for name in registry.names(interface)
    for field in dataclasses.fields(registry.get(interface, name))
]
CHEAP = [row for row in FIELDS if row[1] not in ("Brax", "Playground")]


def changed(interface: str, name: str, field: str, value: Any) -> Any:
    """The example of a component with another value of one field; a refusal must name one of the two."""
    try:
        return dataclasses.replace(example(interface, name), **{field: value})
    except HadesError as error:
        if name in str(error) or field in str(error):
            raise
        raise AssertionError(f"the refusal names neither {name} nor {field}") from error


def fault_of(component: Any) -> str:
    """What is wrong with a component that was accepted: it must be hashable, and equal after it was written as JSON."""
    hash(component)
    text = json.dumps(registry.describe(component), allow_nan=False)
    return "" if registry.build(json.loads(text)) == component else "its description builds another component"


@kind("component-fields")
def component_fields(rng: random.Random, folder: Path) -> Attempt:
    interface, name, field = rng.choice(CHEAP)
    own = getattr(example(interface, name), field)
    value = rng.choice((
        *(rng.choice(HOSTILE), rng.choice(HOSTILE), rng.randint(-(2**70), 2**70), rng.uniform(-1e3, 1e3)),
        *(mutated(rng, str(own)), [own] * rng.choice((1, 2, 1000)), {"x": own}),
    ))  # fmt: skip
    return Attempt(f"{name}.{field}: {type(value)}", lambda: changed(interface, name, field, value), fault_of)
