"""The whole loop learns: on the point in seconds, on CartPole in a minute."""

import dataclasses

import jax
import numpy as np
import pytest

from hades.algorithms.evolution import Evolution
from hades.algorithms.keys import Stream, stream_key
from hades.environments.gymnax import Gymnax
from hades.environments.point import Point
from hades.environments.rollout import random_policy, rollout
from hades.fitness.episodic_return import EpisodicReturn
from hades.inner.behaviour_cloning import BehaviourCloning
from hades.inner.identity import Identity
from hades.inner.init_scheme import FixedInit, RandomInit
from hades.inner.losses import MSE, CrossEntropy
from hades.normalizers.none import NoNormalizer
from hades.outer.evosax import Evosax
from hades.outer.snes import SNES
from hades.policies.mlp import MLP
from tests.algorithms.search import run

KEY = jax.random.key(0)
POINT = Point(max_episode_steps=6, stride=0.5)
HADES_R = Evolution(
    environment=POINT,
    learner=BehaviourCloning(
        policy=MLP(width=16, depth=1, log_std=-2.0, output_scale=1.0),
        init_scheme=RandomInit(2),
        loss=MSE(),
        num_pairs=4,
        num_updates=20,
        learning_rate=0.02,
        start="gaussian",
    ),
    outer=SNES(population_size=32, sigma=0.3),
    fitness=EpisodicReturn(4),
    normalizer=NoNormalizer(),
)
HADES_F = dataclasses.replace(HADES_R, learner=dataclasses.replace(HADES_R.learner, init_scheme=FixedInit()))
DIRECT = dataclasses.replace(HADES_R, learner=Identity(policy=HADES_R.learner.policy))
GENETIC = dataclasses.replace(HADES_F, outer=Evosax("SimpleGA", population_size=32, sigma=0.3))
METHODS = {"HaDES-R": HADES_R, "HaDES-F": HADES_F, "direct ES": DIRECT, "genetic algorithm": GENETIC}


def report(evolution: Evolution, state, num_inits: int) -> float:
    """Mean return of the solution on report keys."""
    evaluate = jax.jit(
        lambda s: evolution.evaluate(stream_key(KEY, Stream.REPORT), evolution.solution(s), num_inits, 8)
    )
    return float(np.mean(evaluate(state).returns))


@pytest.mark.parametrize("method", ["HaDES-R", *(pytest.param(m, marks=pytest.mark.slow) for m in list(METHODS)[1:])])
def test_every_method_learns_to_reach_the_goal(method):
    evolution = METHODS[method]
    state, metrics = run(evolution, KEY, 40)
    random = float(rollout(KEY, POINT, random_policy(POINT.spec), 200).returns.mean())
    reached = report(evolution, state, 32)
    assert reached > random + 0.8 * (POINT.optimal_return() - random)
    assert metrics["fitness/mean"][-1] > metrics["fitness/mean"][0]


@pytest.mark.slow
@pytest.mark.parametrize("scheme", [RandomInit(2), FixedInit()], ids=["HaDES-R", "HaDES-F"])
def test_two_points_balance_cartpole(scheme):
    evolution = Evolution(
        environment=Gymnax("CartPole-v1"),
        learner=BehaviourCloning(
            policy=MLP(width=64), init_scheme=scheme, loss=CrossEntropy(), num_pairs=2, num_updates=32, targets="fixed"
        ),
        outer=SNES(population_size=64, sigma=1.0),
        fitness=EpisodicReturn(4),
        normalizer=NoNormalizer(),
    )
    state, _ = run(evolution, KEY, 40)
    reached = report(evolution, state, 32)
    assert reached > 475.0
