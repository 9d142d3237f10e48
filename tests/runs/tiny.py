"""The smallest experiment that goes through every part of the host loop."""

from pathlib import Path
from typing import Any

from hades.algorithms.evolution import Evolution
from hades.environments.point import Point
from hades.fitness.episodic_return import EpisodicReturn
from hades.inner.base import InitScheme
from hades.inner.behaviour_cloning import BehaviourCloning
from hades.inner.init_scheme import RandomInit
from hades.inner.losses import MSE
from hades.normalizers.none import NoNormalizer
from hades.outer.snes import SNES
from hades.policies.mlp import MLP
from hades.runs.experiment import Experiment

SAME_BYTES = ("metrics.jsonl", "evaluations.jsonl", "dataset.safetensors")
"""Files of a run that depend on its configuration alone."""


def tiny_experiment(init_scheme: InitScheme | None = None, **changes: Any) -> Experiment:
    """Twelve generations of HaDES on `point`; `changes` are fields of the experiment."""
    learner = BehaviourCloning(
        policy=MLP(width=8, depth=1, acting="greedy"),
        init_scheme=init_scheme or RandomInit(num_inits=1),
        loss=MSE(),
        num_pairs=4,
        start="gaussian",
        num_updates=8,
        learning_rate=0.1,
    )
    algorithm = Evolution(
        environment=Point(max_episode_steps=5),
        learner=learner,
        outer=SNES(population_size=8),
        fitness=EpisodicReturn(num_episodes=2),
        normalizer=NoNormalizer(),
    )
    settings: dict[str, Any] = {
        "generations": 12,
        "eval_every": 3,
        "eval_inits": 2,
        "eval_episodes": 2,
        "report_inits": 3,
        "report_episodes": 2,
        "checkpoint_every": 4,
    }
    return Experiment(**({"algorithm": algorithm} | settings | changes))


def assert_same_run(one: Path, other: Path) -> None:
    for name in SAME_BYTES:
        assert (one / name).read_bytes() == (other / name).read_bytes(), name
