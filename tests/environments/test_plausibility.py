"""The exploit alarm: a planted exploit is flagged, counted, masked, penalised and shown; honest play raises nothing."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hades.environments.base import Environment, EnvState
from hades.environments.plausibility import alarms, implausible
from hades.environments.rollout import rollout
from hades.errors import ConfigError
from hades.fitness.episodic_return import EpisodicReturn
from hades.fitness.shaped_return import ShapedReturn
from hades.policy.statistics import summarize
from hades.studies.plausible_bounds import Extremes, measure_extremes
from hades.types import Box, Candidate, EnvSpec, Key, TimeStep
from tests.support import POINT

KEY = jax.random.key(3)
CANDIDATE = Candidate(genome=(), params=(), metrics={})


@dataclasses.dataclass(frozen=True)
class Glitch(Environment):
    """A body that earns 1 a step, unless it is pushed beyond 0.9: then a glitch launches it for a reward of 1000."""

    @property
    def spec(self) -> EnvSpec:
        bounds = (("height", 2.0), ("return", 100.0))
        return EnvSpec("glitch", (1,), Box(1), max_episode_steps=5, plausible=bounds)

    def reset(self, key: Key) -> tuple[EnvState, jax.Array]:
        return jnp.zeros((), jnp.int32), jax.random.uniform(key, (1,))

    def step(self, key: Key, state: EnvState, action: jax.Array) -> tuple[EnvState, TimeStep]:
        launched = action[0] > 0.9
        broken = action[0] < -0.9
        step = TimeStep(
            obs=jnp.zeros(1),
            reward=jnp.where(launched, 1000.0, 1.0),
            terminated=broken,
            truncated=state >= 4,
            info={
                "height": jnp.where(launched, 50.0, 1.0),
                "speed": jnp.abs(action[0]),
                "nonfinite": 1.0 * broken,
            },
        )
        return state + 1, step


def exploit_half(key, obs):
    """Launches the body in those episodes whose first observation exceeds a half."""
    return jnp.where(obs > 0.5, 1.0, 0.1)


def honest(key, obs):
    return jnp.full(1, 0.1)


def launch(key, obs):
    return jnp.ones(1)


def break_down(key, obs):
    return -jnp.ones(1)


@functools.cache
def play(act, episodes=16):
    return rollout(KEY, Glitch(), act, episodes)


def test_a_planted_exploit_raises_every_alarm_that_it_exceeds():
    episodes = play(exploit_half)
    launched = np.asarray(episodes.returns > 100)
    assert 0 < launched.sum() < 16
    raised = alarms(episodes.returns, episodes.info_max, Glitch().spec)
    assert set(raised) == {"height", "return", "nonfinite"}
    np.testing.assert_array_equal(raised["height"], launched)
    np.testing.assert_array_equal(raised["return"], launched)
    np.testing.assert_array_equal(raised["nonfinite"], False)
    np.testing.assert_array_equal(implausible(episodes, Glitch().spec), launched)


def test_honest_play_raises_nothing_and_broken_physics_are_an_alarm():
    assert not implausible(play(honest), Glitch().spec).any()
    assert implausible(play(break_down), Glitch().spec).all()


def score(act, **fields):
    return EpisodicReturn(16, **fields)(KEY, Glitch(), act, CANDIDATE)


def test_fitness_keeps_masks_or_penalises_implausible_episodes():
    share = float(np.mean(np.asarray(play(exploit_half).returns) > 100))
    assert score(exploit_half).value == pytest.approx(share * 1004 + (1 - share) * 5, rel=1e-5)
    assert score(exploit_half, implausible="mask").value == pytest.approx(5.0)
    penalised = score(exploit_half, implausible="penalize", penalty=-7.0).value
    assert penalised == pytest.approx(share * -7 + (1 - share) * 5, rel=1e-5)
    assert score(exploit_half).metrics["implausible"] == pytest.approx(share)
    assert score(honest, implausible="mask").value == 5.0


def test_a_candidate_without_a_plausible_episode_measures_nothing():
    assert jnp.isnan(score(launch, implausible="mask").value)
    assert score(launch, implausible="penalize").value == 0.0


def test_a_shaped_search_can_mask_too():
    fitness = ShapedReturn(16, return_weight=0.0, terms={"speed": 1.0}, implausible="mask")
    assert fitness(KEY, Glitch(), exploit_half, CANDIDATE).value == pytest.approx(0.5)


def test_masking_without_bounds_is_refused():
    for fitness in (EpisodicReturn(implausible="mask"), ShapedReturn(implausible="penalize")):
        with pytest.raises(ConfigError, match=r"point.*bounds"):
            fitness.check(POINT.spec)
        fitness.check(Glitch().spec)
    with pytest.raises(ConfigError, match=r'implausible.*"maks".*mask'):
        EpisodicReturn(implausible="maks")


def test_a_summary_counts_and_names_the_alarms():
    episodes = play(exploit_half)
    shaped = jax.tree.map(lambda x: x.reshape(4, 4), (episodes.returns, episodes.lengths, episodes.info_max))
    summary = summarize(*shaped, Glitch().spec)
    launched = int((np.asarray(episodes.returns) > 100).sum())
    assert summary.implausible_episodes == launched
    assert dataclasses.asdict(summary.alarms["height"]) == {"bound": 2.0, "largest": 50.0, "episodes": launched}
    assert summary.describe()["alarms"]["return"]["episodes"] == launched
    assert f"{launched} implausible" in str(summary)
    others = np.asarray(episodes.returns)[np.asarray(episodes.returns) <= 100]
    assert 0 < len(others) < 16
    assert summary.plausible_mean == pytest.approx(others.mean())
    assert f"({others.mean():.1f} without them)" in str(summary)
    assert summarize(*shaped[:2]).alarms == {}
    assert "plausible_mean" not in summarize(*shaped[:2]).describe()


def test_bounds_leave_a_margin_above_what_scripted_play_met():
    extremes = measure_extremes(KEY, Glitch(), episodes=2, steps=20)
    assert extremes == Extremes(height=50.0, speed=1.0, reward=1000.0)  # extreme pushes find the glitch
    assert extremes.bounds() == (75.0, 2.0, 2000.0)
    assert Extremes(0.333, 0.0, 12.34).bounds() == (0.5, 0.0, 25.0)
