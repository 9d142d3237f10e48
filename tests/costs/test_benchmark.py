"""The benchmark counts what a generation did, and measures parts of the same size."""

import dataclasses

import pytest

from hades.algorithms.actor_critic import ActorCritic
from hades.costs.benchmark import generation_costs
from hades.costs.iteration_benchmark import iteration_costs
from hades.environments.point import Point
from hades.errors import ConfigError
from hades.fitness.episodic_return import EpisodicReturn
from hades.fitness.regularizers import DatasetL2
from hades.fitness.weighted_sum import WeightedSum
from hades.fitness.windowed_return import WindowedReturn
from tests.support import BY_GRADIENT, EVOLUTION, LEARNING

EARLY = Point(max_episode_steps=12, radius=0.6)  # episodes end at different times


@pytest.mark.slow
def test_steps_of_ended_episodes_are_executed_but_not_live() -> None:
    fitness = WeightedSum((EpisodicReturn(4), DatasetL2()), (1.0, 0.1))
    algorithm = dataclasses.replace(EVOLUTION, environment=EARLY, fitness=fitness)
    costs = generation_costs(algorithm, repeats=1, warm_up=1)
    lanes = EVOLUTION.outer.population_size * EVOLUTION.num_inits * 4
    assert 0 < costs.env_steps < costs.executed_steps <= 12 * lanes
    assert costs.executed_steps % lanes == 0  # all of them step in lockstep
    assert costs.ratio > 0
    assert f"{costs.env_steps:,} live of {costs.executed_steps:,} executed" in str(costs)


@pytest.mark.slow
def test_every_step_of_a_window_is_live() -> None:
    algorithm = dataclasses.replace(EVOLUTION, fitness=WindowedReturn(num_envs=2, num_steps=5))
    costs = generation_costs(algorithm, repeats=1)
    assert costs.env_steps == costs.executed_steps == EVOLUTION.outer.population_size * EVOLUTION.num_inits * 2 * 5


def test_a_fitness_that_plays_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match="DatasetL2 plays no episodes"):
        generation_costs(dataclasses.replace(EVOLUTION, fitness=DatasetL2()), repeats=1)


@pytest.mark.parametrize("algorithm", [LEARNING, BY_GRADIENT], ids=["PPO", "GradientDistillation"])
def test_an_iteration_and_its_parts(algorithm: ActorCritic) -> None:
    costs = iteration_costs(algorithm, repeats=1, warm_up=1)
    assert costs.env_steps == 8 * 3
    assert min(costs.iteration, costs.collecting, costs.learning) > 0
    assert "24 environment steps" in str(costs)
