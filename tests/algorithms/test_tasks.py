"""One dataset evolved for several tasks: each is played by itself, and their scaled returns are averaged."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hades.algorithms.keys import Stream, stream_key
from hades.environments.tasks import Tasks
from hades.errors import ConfigError
from hades.normalizers.running import RunningNormalizer
from hades.policy.statistics import summarize_evaluation
from tests.algorithms.search import run
from tests.support import EVOLUTION, POINT

KEY = jax.random.key(5)


@dataclasses.dataclass(frozen=True)
class FarPoint(type(POINT)):
    """The same task in larger steps, under another name."""

    @property
    def spec(self):  # type: ignore[override]
        return dataclasses.replace(super().spec, name="far")


BOTH = Tasks((POINT, FarPoint(max_episode_steps=4, stride=1.0)), references=(0.0, 0.0), floors=(-4.0, -2.0))
EVOLVED = dataclasses.replace(EVOLUTION, environment=BOTH, normalizer=RunningNormalizer())


@pytest.fixture(scope="module")
def evolved():
    return run(EVOLVED, KEY, 4)


def test_a_generation_plays_every_task(evolved):
    _, metrics = evolved
    np.testing.assert_array_equal(metrics["episodes"], 2 * 8 * 2 * 2)  # tasks, candidates, inits, episodes
    np.testing.assert_array_equal(metrics["env_steps"], 2 * 8 * 2 * 2 * 4)
    assert EVOLVED.max_env_steps == 2 * 8 * 2 * 2 * 4


def test_fitness_is_the_mean_of_scaled_returns(evolved):
    _, metrics = evolved
    point, far = metrics["population/point/return"], metrics["population/far/return"]
    np.testing.assert_allclose(metrics["fitness/mean"], ((point + 4) / 4 + (far + 2) / 2) / 2, rtol=1e-4)
    assert np.ptp(metrics["fitness/mean"]) > 0


def test_statistics_are_gathered_over_all_tasks(evolved):
    state, _ = evolved
    before = jax.jit(EVOLVED.init)(KEY).normalizer.moments.count
    assert float(state.normalizer.moments.count - before) == 4 * 2 * 8 * 2 * 2 * 4
    assert (np.asarray(state.normalizer.moments.variance) > 0).all()


def test_an_evaluation_reports_every_task(evolved):
    state, _ = evolved
    evaluate = jax.jit(lambda key, solution: EVOLVED.evaluate(key, solution, 3, 2))
    summary = summarize_evaluation(evaluate(stream_key(KEY, Stream.REPORT), EVOLVED.solution(state)), BOTH)
    point, far = summary.tasks["point"], summary.tasks["far"]
    assert summary.mean == pytest.approx(((point.mean + 4) / 4 + (far.mean + 2) / 2) / 2, rel=1e-5)
    assert (point.num_inits, point.num_episodes, summary.mean_length) == (3, 2, 8.0)
    assert list(summary.describe()["tasks"]) == ["point", "far"]
    assert "of the references" in str(summary)


def test_too_many_steps_over_all_tasks_are_refused():
    episodes = dataclasses.replace(EVOLUTION.fitness, num_episodes=2**31 // (8 * 2 * 4 * 2))
    with pytest.raises(ConfigError, match="2,147,483,648"):
        dataclasses.replace(EVOLVED, fitness=episodes)
    jnp.asarray(dataclasses.replace(EVOLUTION, fitness=episodes).max_env_steps, jnp.int32)  # one task alone is allowed
