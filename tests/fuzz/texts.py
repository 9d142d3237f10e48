"""Texts of the command line: policies, axes of a grid, and gin bindings of a run."""

import functools
import random
from pathlib import Path

from hades.policy.trained_policy import parse_policy
from hades.runs.experiment import Experiment
from hades.runs.gin_config import load_experiment
from hades.studies.generalization.grid import parse_grid
from tests.fuzz.components import fault_of
from tests.fuzz.harness import Attempt, kind, mutated

POLICIES = (
    *("MLP", "CNN", "MLP(width=8, depth=1, activation='tanh')", "CNN(features=(8, 16))", "MLP(acting='greedy')"),
    *("MLP(width=[8])", "MLP(**{'width': 8})", "MLP(width=MLP())", "MLP(width=1 if True else 2)", "(MLP)(width=8)"),
)
AXES = {
    "widths": ("64", "512"),
    "depths": ("1", "2"),
    "activations": ("tanh", "relu"),
    "learning_rates": ("0.1", "1e-3"),
    "optimizers": ("adam", "sgd momentum=0.9"),
}
WORDS = (
    "nan",
    "inf",
    "-1",
    "0",
    "1e999",
    "9" * 5000,
    "None",
    "",
    "[]",
    "(1,)",
    "@MLP()",
    "%x",
    "'a'",
    "True",
    "{1: 2}",
)
FIELDS = (
    *("SNES.sigma", "SNES.population_size", "SNES.learning_rate", "Experiment.generations", "Experiment.seed"),
    *("Experiment.algorithm", "BehaviourCloning.num_pairs", "BehaviourCloning.loss", "BehaviourCloning.num_updates"),
    *("Point.max_episode_steps", "MLP.width", "MLP.activation", "EpisodicReturn.num_episodes", "Evolution.learner"),
)


@kind("policy-texts")
def policy_texts(rng: random.Random, folder: Path) -> Attempt:
    text = rng.choice(POLICIES)
    if rng.random() < 0.3:
        text = f"{rng.choice(('MLP', 'CNN'))}({rng.choice(('width', 'features', 'depth', 'x'))}={rng.choice(WORDS)})"
    if rng.random() < 0.8:
        text = mutated(rng, text)
    return Attempt(repr(text[:300]), lambda: parse_policy(text), fault_of)


@kind("grid-texts")
def grid_texts(rng: random.Random, folder: Path) -> Attempt:
    axes = {axis: list(words) for axis, words in AXES.items() if rng.random() < 0.5}
    axis = rng.choice(list(AXES))
    axes[axis] = [rng.choice((*WORDS, mutated(rng, rng.choice(AXES[axis])))) for _ in range(rng.choice((0, 1, 1, 2)))]
    return Attempt(repr(axes)[:300], lambda: parse_grid(axes))


@functools.cache
def smoke() -> Experiment:
    return load_experiment("smoke")


@kind("gin-bindings")
def gin_bindings(rng: random.Random, folder: Path) -> Attempt:
    """Fields of the run `smoke` overridden; no input imports a module, for a config is code."""
    smoke()
    line = f"{rng.choice(FIELDS)} = {rng.choice(WORDS)}"
    if rng.random() < 0.4:
        line = mutated(rng, line)
    line = line.replace("import", "").replace("include", "")
    return Attempt(repr(line[:300]), lambda: load_experiment("smoke", [line]), fault_of)
