"""One device and eight give the same search, and large genomes are never gathered."""

import dataclasses
import functools
import re

import jax
import numpy as np
import pytest

from hades.outer import noise
from hades.outer.noise import LowRankNoise, SeededNoise
from hades.outer.open_es import OpenES
from hades.outer.snes import SNES
from tests.algorithms.search import run
from tests.support import CLONING, run_python
from tests.support import EVOLUTION as FULL_BATCH

pytestmark = pytest.mark.system

EVOLUTION = dataclasses.replace(FULL_BATCH, learner=dataclasses.replace(CLONING, batch_size=2))  # uses cloning keys
SEARCH = OpenES(population_size=32, sigma=0.3)
OUTER = {
    "SNES": SNES(population_size=32),
    "OpenES": SEARCH,
    "OpenES, seeds": dataclasses.replace(SEARCH, noise=SeededNoise()),
    "OpenES, rank 1": dataclasses.replace(SEARCH, noise=LowRankNoise()),
    "SNES, seeds": SNES(population_size=32, noise=SeededNoise()),
}
FAST = ("SNES", "OpenES, rank 1")
"""The others are marked slow."""
NAMES = [pytest.param(name, marks=[] if name in FAST else [pytest.mark.slow]) for name in OUTER]
GENERATIONS = 8
BLOCK = 96  # numbers: noise is drawn and summed in several blocks
CODE = """
import dataclasses, jax, json, re
from tests.algorithms.search import compiled
from hades.outer import noise
from tests.algorithms.test_devices import BLOCK, EVOLUTION, GENERATIONS, OUTER
noise.BLOCK = BLOCK
assert len(jax.devices()) == 8
mesh = jax.make_mesh((8,), ("population",), axis_types=(jax.sharding.AxisType.Auto,))
found = {}
for name in NAMES:
    evolution = dataclasses.replace(EVOLUTION, outer=OUTER[name])
    search = compiled(evolution, GENERATIONS, mesh)
    state, metrics = search(jax.random.key(3))
    found[name] = {
        "mean": state.outer.mean.tolist(),
        "fitness": metrics["fitness/mean"].tolist(),
        "steps": metrics["env_steps"].tolist(),
        "moves": [line for line in search.as_text().splitlines() if re.search("= .* (all-|collective-)", line)],
    }
print(json.dumps(found))
"""


@functools.cache
def on_eight_devices(names):
    return run_python(f"NAMES = {names}\n{CODE}", JAX_NUM_CPU_DEVICES="8")


@pytest.fixture
def eight(name):
    return on_eight_devices(FAST if name in FAST else tuple(n for n in OUTER if n not in FAST))


@pytest.mark.parametrize("name", NAMES)
def test_eight_devices_search_as_one(eight, name, monkeypatch):
    monkeypatch.setattr(noise, "BLOCK", BLOCK)
    state, metrics = run(dataclasses.replace(EVOLUTION, outer=OUTER[name]), jax.random.key(3), GENERATIONS)
    np.testing.assert_allclose(eight[name]["fitness"], metrics["fitness/mean"], atol=1e-5)
    np.testing.assert_allclose(eight[name]["mean"], state.outer.mean, atol=1e-5)
    np.testing.assert_array_equal(eight[name]["steps"], metrics["env_steps"])
    assert np.ptp(metrics["fitness/mean"]) > 0.01


@pytest.mark.parametrize("name", NAMES)
def test_candidates_never_leave_their_device(eight, name):
    """What devices exchange is a number per candidate, or sums over the population: never rows of it."""
    size = jax.eval_shape(EVOLUTION.init, jax.random.key(0)).outer.mean.size
    assert eight[name]["moves"]
    for line in eight[name]["moves"]:
        moved = re.search(r"= (.*?) (all-|collective-)", line).group(1)
        for shape in re.findall(r"\[([\d,]*)\]", moved):
            assert "all-reduce" in line or str(size) not in shape.split(","), line


@pytest.mark.parametrize("name", NAMES)
def test_sums_over_the_population_are_one_reduction_a_generation(eight, name):
    """Devices add up their own rows, chunk by chunk, before they speak; the one loop around all is of generations."""
    assert all(line.count("while/body") <= 1 for line in eight[name]["moves"])
    assert sum("while/body" in line for line in eight[name]["moves"]) >= 2
