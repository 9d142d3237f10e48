"""The published evaluation-time statistics: of every environment of a rollout, from its first observation on."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hades.environments.point import Point
from hades.environments.rollout import RunningAct, record_episode, rollout, rollout_window
from hades.errors import ConfigError
from hades.normalizers.none import NoNormalizer
from hades.normalizers.restarting import RestartingNormalizer
from tests.support import EVOLUTION

KEY = jax.random.key(7)
ENV = Point(max_episode_steps=6, radius=0.2)
E, MANY = 3, 12
WEIGHTS = np.array([0.9, -0.4])


def scripted(key, normalized):
    """Leans on both normalised entries, so that wrong statistics give another return."""
    return jnp.tanh(normalized @ jnp.asarray(WEIGHTS, jnp.float32))[None]


def wrapped(act=scripted, **fields) -> RunningAct:
    normalizer = RestartingNormalizer(**fields)
    return normalizer.wrap(normalizer.init(KEY, ENV), act)


class Twin:
    """The vectorised-environment normaliser in NumPy: a prior of weight 1e-4, then one merge a step."""

    def __init__(self, size: int = 2):
        self.count, self.mean, self.variance = 1e-4, np.zeros(size), np.ones(size)

    def observe(self, batch: np.ndarray) -> None:
        n = len(batch)
        if not n:
            return
        total, delta = self.count + n, batch.mean(0) - self.mean
        squares = self.variance * self.count + batch.var(0) * n + delta**2 * self.count * n / total
        self.mean, self.variance, self.count = self.mean + delta * n / total, squares / total, total

    def normalize(self, obs: np.ndarray) -> np.ndarray:
        return (obs - self.mean) / np.sqrt(self.variance + 1e-8)

    def act(self, obs: np.ndarray) -> np.ndarray:
        return np.tanh(self.normalize(obs) @ WEIGHTS)[None].astype(np.float32)


@pytest.fixture(scope="module")
def compiled():
    return jax.jit(ENV.reset), jax.jit(ENV.step)


def window_by_hand(reset, step, num_steps: int) -> tuple[float, int, int]:
    """Summed return, summed length and number of the completed episodes."""
    keys = [jax.random.fold_in(KEY, e) for e in range(E)]
    states, observations = zip(*[reset(jax.random.fold_in(k, 0)) for k in keys], strict=True)
    states, observations, twin = list(states), np.array(observations), Twin()
    twin.observe(observations)
    earned, lengths, total, steps, count = np.zeros(E), np.zeros(E, int), 0.0, 0, 0
    for t in range(num_steps):
        actions = [twin.act(obs) for obs in observations]
        for e, k in enumerate(keys):
            _, k_step, k_reset = jax.random.split(jax.random.fold_in(k, t + 1), 3)
            states[e], outcome = step(k_step, states[e], actions[e])
            observations[e] = outcome.obs
            earned[e] += outcome.reward
            lengths[e] += 1
            if outcome.terminated or outcome.truncated:
                total, steps, count = total + earned[e], steps + lengths[e], count + 1
                states[e], observations[e] = reset(k_reset)
                earned[e] = lengths[e] = 0
        twin.observe(observations)
    return total, int(steps), count


def test_a_window_equals_a_numpy_twin(compiled):
    window = jax.jit(lambda k: rollout_window(k, ENV, wrapped(), E, 25))(KEY)
    total, steps, count = window_by_hand(*compiled, 25)
    np.testing.assert_allclose(window.returns, total, rtol=1e-4)
    assert (window.steps, window.episodes) == (steps, count)
    assert count > 2 * E  # some ended early, so that fresh observations were merged too


def episodes_by_hand(reset, step) -> tuple[list[float], list[int]]:
    keys = [jax.random.fold_in(KEY, e) for e in range(MANY)]
    states, observations = zip(*[reset(jax.random.fold_in(k, 0)) for k in keys], strict=True)
    states, observations, alive, twin = list(states), np.array(observations), np.ones(MANY, bool), Twin()
    twin.observe(observations)
    returns, lengths, t = np.zeros(MANY), np.zeros(MANY, int), 0
    while alive.any():
        for e in np.flatnonzero(alive):
            k_step = jax.random.split(jax.random.fold_in(keys[e], t + 1))[1]
            states[e], outcome = step(k_step, states[e], twin.act(observations[e]))
            observations[e] = outcome.obs
            returns[e] += outcome.reward
            lengths[e] += 1
            alive[e] = not (outcome.terminated or outcome.truncated)
        twin.observe(observations[alive])
        t += 1
    return list(returns), list(lengths)


def test_whole_episodes_equal_a_numpy_twin_that_forgets_ended_ones(compiled):
    episodes = jax.jit(lambda k: rollout(k, ENV, wrapped(), MANY))(KEY)
    returns, lengths = episodes_by_hand(*compiled)
    np.testing.assert_allclose(episodes.returns, returns, rtol=1e-4)
    np.testing.assert_array_equal(episodes.lengths, lengths)
    assert len(set(lengths)) > 1


def returns_among(normalizer, num_envs: int) -> float:
    """Of the first of so many environments."""
    act = normalizer.wrap(normalizer.init(KEY, ENV), scripted)
    return float(jax.jit(lambda k: rollout(k, ENV, act, num_envs).returns)(KEY)[0])


def test_environments_share_their_statistics():
    alone, together = (returns_among(RestartingNormalizer(), n) for n in (1, E))
    assert abs(alone - together) > 1e-3
    alone, together = (returns_among(NoNormalizer(), n) for n in (1, E))
    np.testing.assert_allclose(alone, together, rtol=1e-6)


def test_statistics_start_anew_with_every_rollout():
    play = jax.jit(lambda k: rollout_window(k, ENV, wrapped(), E, 25).returns)
    np.testing.assert_array_equal(play(KEY), play(KEY))


def test_policies_rolled_out_together_share_nothing():
    def play(scale):
        return rollout_window(KEY, ENV, wrapped(lambda k, x: scale * scripted(k, x)), E, 25)

    scales = jnp.array([0.2, -1.0, 1.0])
    together = jax.jit(jax.vmap(play))(scales)
    alone = [jax.jit(play)(s) for s in scales]
    np.testing.assert_allclose(together.returns, [one.returns for one in alone], rtol=1e-4)
    np.testing.assert_array_equal(together.episodes, [one.episodes for one in alone])
    assert len({float(one.returns) for one in alone}) == 3


def test_a_recorded_episode_is_a_rollout_of_one():
    steps, _, _ = jax.jit(lambda k: record_episode(k, ENV, wrapped()))(jax.random.fold_in(KEY, 0))
    episodes = jax.jit(lambda k: rollout(k, ENV, wrapped(), 1))(KEY)
    length = int(episodes.lengths[0])
    np.testing.assert_allclose(steps.reward[:length].sum(), episodes.returns[0], rtol=1e-5)


def test_one_observation_alone_is_refused():
    with pytest.raises(ConfigError, match="freeze_statistics"):
        wrapped()(KEY, jnp.zeros(2))


def test_a_floor_and_a_clip_bound_what_the_policy_sees():
    seen = []
    for fields in ({}, {"floor": 4.0}, {"clip": 0.1}):
        act = wrapped(lambda k, x: x, **fields)
        memory = act.observe(act.start, jnp.array([[1.0, 2.0], [3.0, 2.0]]), jnp.ones(2, bool))
        seen.append(np.asarray(act.act_with(memory)(KEY, jnp.array([3.0, 2.1]))))
    spread = np.sqrt(1e-4 * (1 + 2.0**2) / 2)  # two equal numbers: what is left is the prior's
    np.testing.assert_allclose(seen[0], [1.0, 0.1 / spread], rtol=1e-2)
    np.testing.assert_allclose(seen[1], [0.25, 0.025], rtol=1e-2)
    np.testing.assert_allclose(seen[2], [0.1, 0.1], rtol=1e-6)
    with pytest.raises(ConfigError, match=r"RestartingNormalizer.floor is -1.0; it must be at least 0"):
        RestartingNormalizer(floor=-1.0)


@pytest.mark.parametrize("anything", [np.nan, np.inf, 3e19], ids=str)
def test_statistics_stay_finite_whatever_one_environment_shows(anything):
    act = wrapped()
    usual = jnp.array([[1.0, 2.0], [3.0, 2.0]])
    memory = act.observe(act.start, usual, jnp.ones(2, bool))
    broken = usual.at[1, 0].set(anything)
    kept = act.observe(memory, broken, jnp.ones(2, bool))
    for got, expected in zip(jax.tree.leaves(kept), jax.tree.leaves(memory), strict=True):
        np.testing.assert_array_equal(got, expected)
    dead = act.observe(memory, broken, jnp.array([True, False]))
    np.testing.assert_allclose(dead.mean, (2.0 * memory.mean + usual[0]) / 3.0, rtol=1e-3)
    assert np.isfinite(dead.variance).all()


@pytest.mark.slow
def test_the_search_and_its_evaluation_carry_the_statistics(mesh):
    algorithm = dataclasses.replace(EVOLUTION, normalizer=RestartingNormalizer())
    state = jax.jit(algorithm.init)(KEY)
    returns = []
    for normalizer in (RestartingNormalizer(), NoNormalizer()):
        evolution = dataclasses.replace(algorithm, normalizer=normalizer)
        solution = evolution.solution(state)
        genome = solution.genome.replace(observations=jnp.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 1.0]]))
        solution = dataclasses.replace(solution, genome=genome.replace(targets=jnp.array([[-1.0], [1.0], [1.0]])))
        returns.append(jax.jit(lambda k, s, e=evolution: e.evaluate(k, s, 2, 3).returns)(KEY, solution))
    assert np.abs(returns[0] - returns[1]).max() > 1e-2
    assert isinstance(algorithm.policy(KEY, algorithm.solution(state)), RunningAct)
    _, metrics = jax.jit(lambda s: algorithm.step(s, mesh))(state)
    assert np.isfinite(metrics["fitness/mean"])
