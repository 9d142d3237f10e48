"""Rollouts equal a loop written by hand, stop early, and store nothing per step."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hades.environments import lockstep
from hades.environments.gymnax import Gymnax
from hades.environments.point import Point
from hades.environments.rollout import (
    random_policy,
    record_episode,
    rollout,
    rollout_window,
    visited_observations,
)
from hades.normalizers.restarting import RestartingNormalizer

KEY = jax.random.key(5)
CARTPOLE = Gymnax("CartPole-v1", params={"max_steps_in_episode": 40})
POINT = Point(max_episode_steps=6, radius=0.4)
ENVIRONMENTS = {"CartPole": CARTPOLE, "point": POINT}
E, KEPT = 5, 8


def by_hand(key, env, act, num_episodes):
    """[(return, length, terminated, observations acted on, largest info)] of episodes played one step at a time."""
    reset, step = jax.jit(env.reset), jax.jit(env.step)
    episodes = []
    for e in range(num_episodes):
        k_episode = jax.random.fold_in(key, e)
        state, obs = reset(jax.random.fold_in(k_episode, 0))
        total, seen, infos, t = 0.0, [], [], 0
        while True:
            k_act, k_step = jax.random.split(jax.random.fold_in(k_episode, t + 1))
            seen.append(np.asarray(obs))
            state, outcome = step(k_step, state, act(k_act, obs))
            obs, t = outcome.obs, t + 1
            total += float(outcome.reward)
            infos.append({k: float(v) for k, v in outcome.info.items()})
            if outcome.terminated or outcome.truncated:
                break
        largest = {name: max(info[name] for info in infos) for name in infos[0]}
        episodes.append((total, t, bool(outcome.terminated), np.array(seen), largest))
    return episodes


@pytest.fixture(scope="module", params=ENVIRONMENTS)
def played(request):
    env = ENVIRONMENTS[request.param]
    act = jax.jit(random_policy(env.spec))
    episodes = jax.jit(lambda k: rollout(k, env, act, E, with_moments=True, keep=KEPT))(KEY)
    return env, episodes, by_hand(KEY, env, act, E)


def test_returns_lengths_and_endings_equal_a_loop_written_by_hand(played):
    _, episodes, expected = played
    returns, lengths, terminated, _, infos = zip(*expected, strict=True)
    np.testing.assert_allclose(episodes.returns, returns, rtol=1e-5)
    np.testing.assert_array_equal(episodes.lengths, lengths)
    np.testing.assert_array_equal(episodes.terminated, terminated)
    for name, largest in episodes.info_max.items():
        np.testing.assert_allclose(largest, [info[name] for info in infos], rtol=1e-5)
    assert len(set(lengths)) > 1


def test_moments_are_those_of_the_observations_acted_on(played):
    _, episodes, expected = played
    seen = np.concatenate([episode[3] for episode in expected])
    np.testing.assert_allclose(episodes.moments.count, len(seen))
    np.testing.assert_allclose(episodes.moments.mean, seen.mean(0), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(episodes.moments.variance, seen.var(0), rtol=1e-3, atol=1e-6)


def test_the_kept_sample_is_of_different_steps_with_their_observations(played):
    _, episodes, expected = played
    for sample, steps, (_, length, _, seen, _) in zip(
        episodes.kept.observations, episodes.kept.steps, expected, strict=True
    ):
        filled = np.asarray(steps[steps >= 0])
        assert len(set(filled.tolist())) == len(filled) == min(length, KEPT)
        np.testing.assert_allclose(sample[: len(filled)], seen[filled], rtol=1e-5, atol=1e-6)


def test_a_rollout_stops_when_its_last_episode_has_ended(played):
    env, episodes, _ = played
    assert episodes.executed == E * episodes.lengths.max()
    assert episodes.executed < E * env.spec.max_episode_steps or env is POINT


def linear(weights):
    return lambda key, obs: (weights @ obs > 0).astype(jnp.int32)


@pytest.fixture(scope="module")
def batch():
    """Three CartPole policies together, and each alone."""
    weights = jnp.array([[0.0, 0.0, 1.0, 0.5], [0.0, 0.0, 0.1, -1.0], [1.0, 0.0, 1.0, 0.0]])
    play = lambda w: rollout(KEY, CARTPOLE, linear(w), E, with_moments=True)  # noqa: E731
    single = jax.jit(play)
    return jax.jit(jax.vmap(play))(weights), [single(w) for w in weights]


def test_policies_rolled_out_together_play_as_they_play_alone(batch):
    together, alone = batch
    for i, episodes in enumerate(alone):
        np.testing.assert_array_equal(together.lengths[i], episodes.lengths)
        np.testing.assert_allclose(together.returns[i], episodes.returns, rtol=1e-5)
        np.testing.assert_array_equal(together.terminated[i], episodes.terminated)
        np.testing.assert_allclose(together.moments.mean[i], episodes.moments.mean, atol=1e-5)


def test_a_lockstep_batch_stops_with_its_longest_episode(batch):
    together, alone = batch
    assert together.lengths.max() > together.lengths[1].max()
    np.testing.assert_array_equal(together.executed, E * together.lengths.max())
    assert [int(episodes.executed) for episodes in alone] == [E * int(length.max()) for length in together.lengths]


CANDIDATES, INITS = 7, 2


@pytest.fixture(scope="module")
def packed():
    """Seven candidates with two initial layers each, in lockstep and in chunks of two candidates."""
    normalizer = RestartingNormalizer()
    state = normalizer.init(KEY, CARTPOLE)
    k_first, k_weights, k_episodes = jax.random.split(KEY, 3)
    first = jax.random.normal(k_first, (INITS, 8, 4))
    weights = jax.random.normal(k_weights, (CANDIDATES, INITS, 8))

    def play(key, first, weights):
        act = normalizer.wrap(state, lambda key, obs: (weights @ jnp.tanh(first @ obs) > 0).astype(jnp.int32))
        return rollout(key, CARTPOLE, act, E, with_moments=True, keep=KEPT)

    over_candidates = jax.vmap(play, (None, None, 0))
    over_inits = jax.vmap(over_candidates, (0, 0, 1))

    def together(lanes):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(lockstep, "LANES", lanes)
            patch.setattr(lockstep, "SWEEP", 4)
            return jax.jit(lambda *args: over_inits(*args))(jax.random.split(k_episodes, INITS), first, weights)

    return together(10_000), together(2 * E + 1)


def test_packed_rollouts_play_the_episodes_of_lockstep(packed):
    """Bit for bit where XLA's rounding does not depend on the size of a batch; without its optimisation it does."""
    plain, packed = packed
    assert plain.returns.shape == (INITS, CANDIDATES, E)
    for name in ("returns", "lengths", "terminated"):
        np.testing.assert_array_equal(getattr(packed, name), getattr(plain, name))
    np.testing.assert_array_equal(packed.kept.steps, plain.kept.steps)
    close = functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6)
    jax.tree.map(close, packed.replace(executed=0), plain.replace(executed=0))


def test_packed_rollouts_compute_fewer_steps_and_no_fewer_than_the_live_ones(packed):
    plain, packed = packed
    longest = plain.lengths.max(-1)
    np.testing.assert_array_equal(plain.executed, E * longest.max())
    assert longest.mean() < 0.6 * longest.max()  # or there would be nothing to pack
    assert (E * longest).mean() <= packed.executed[0, 0] < 0.8 * plain.executed[0, 0]
    np.testing.assert_array_equal(packed.executed, packed.executed[0, 0])


def test_an_episode_does_not_depend_on_how_many_are_played():
    play = lambda n: rollout(KEY, POINT, random_policy(POINT.spec), n).returns  # noqa: E731
    np.testing.assert_allclose(play(5)[:2], play(2), rtol=1e-6)


def temporary_bytes(steps: int) -> int:
    env = Point(max_episode_steps=steps)
    compiled = jax.jit(lambda k: rollout(k, env, random_policy(env.spec), 64)).lower(KEY).compile()
    return compiled.memory_analysis().temp_size_in_bytes


def test_memory_does_not_grow_with_the_length_of_an_episode():
    assert temporary_bytes(5000) <= temporary_bytes(50) < 64 * 50 * 4


def test_the_length_of_an_episode_is_bounded_by_the_spec():
    class Late(Point):
        """Says only after 20 steps that it has ended."""

        def step(self, key, state, action):
            state, step = super().step(key, state, action)
            return state, step.replace(truncated=state[2] >= 20)

    env = Late(max_episode_steps=3)
    play = jax.jit(lambda k: rollout(k, env, random_policy(env.spec), 2))
    np.testing.assert_array_equal(play(KEY).lengths, 3)


def test_a_recorded_episode_is_the_rollouts(played):
    env, episodes, expected = played
    act = random_policy(env.spec)
    steps, actions, observations = jax.jit(lambda k: record_episode(k, env, act))(jax.random.fold_in(KEY, 1))
    total, length, _, seen, _ = expected[1]
    np.testing.assert_allclose(steps.reward[:length].sum(), total, rtol=1e-5)
    np.testing.assert_allclose(observations[:length], seen, rtol=1e-5)
    assert (steps.terminated | steps.truncated)[length - 1]
    assert len(actions) == len(observations) == env.spec.max_episode_steps
    assert episodes.lengths[1] == length


def test_visited_observations_come_from_live_steps_of_many_episodes():
    observations = np.asarray(jax.jit(lambda k: visited_observations(k, CARTPOLE, 30))(KEY))
    assert observations.shape == (30, 4)
    assert (np.abs(observations[:, 2]) <= 12 * np.pi / 180 + 1e-6).all()  # none after the fall
    assert len(np.unique(observations[:, 0])) == 30
    assert np.abs(observations[:, 2]).max() > 0.05  # not only first ones


def test_a_window_counts_completed_episodes_only():
    env = Point(max_episode_steps=4)
    stay = lambda key, obs: jnp.zeros(1)  # noqa: E731
    window = jax.jit(lambda k: rollout_window(k, env, stay, 2, 10))(KEY)
    assert window.episodes == 4  # two each; the last two steps belong to unfinished ones
    assert window.steps == 4 * 4
    expected = 0.0
    for e in range(2):
        k_env = jax.random.fold_in(KEY, e)
        k_resets = [jax.random.fold_in(k_env, 0), jax.random.split(jax.random.fold_in(k_env, 4), 3)[2]]
        for k_reset in k_resets:
            position, goal = env.reset(k_reset)[1]
            expected -= 4 * abs(float(goal - position))
    np.testing.assert_allclose(window.returns, expected, rtol=1e-5)


def test_random_policies_are_uniform():
    keys = jax.random.split(KEY, 3000)
    box = jax.vmap(lambda k: random_policy(POINT.spec)(k, jnp.zeros(2)))(keys)
    assert box.shape == (3000, 1)
    assert -1.0 <= box.min() < -0.99 < 0.99 < box.max() <= 1.0
    discrete = jax.vmap(lambda k: random_policy(CARTPOLE.spec)(k, jnp.zeros(4)))(keys)
    np.testing.assert_allclose(np.bincount(discrete) / 3000, 0.5, atol=0.05)


def undefined_from(step, undefined):
    """A policy on `point` whose action is undefined from some step on; the step is part of the observation."""
    return lambda key, obs: jnp.where(obs[-1] >= step, undefined, jnp.ones_like(undefined))


@dataclasses.dataclass(frozen=True)
class Counting(Point):
    """`point` with the number of the step as a further entry of the observation."""

    @property
    def spec(self):
        return dataclasses.replace(super().spec, obs_shape=(3,), observation_names=())

    def reset(self, key):
        state, obs = super().reset(key)
        return state, jnp.append(obs, 0.0)

    def step(self, key, state, action):
        after, step = super().step(key, state, action)
        return after, step.replace(obs=jnp.append(step.obs, after[2].astype(jnp.float32)))


@pytest.mark.parametrize(
    ("discrete", "undefined"), [(True, jnp.int32(-1)), (False, jnp.full(1, jnp.nan)), (False, jnp.full(1, -jnp.inf))]
)
def test_an_action_that_is_undefined_ends_an_episode_without_a_return(discrete, undefined):
    env = Counting(max_episode_steps=6, discrete=discrete)
    played = jax.jit(lambda k, step: rollout(k, env, undefined_from(step, undefined), 2))
    window = jax.jit(lambda k, step: rollout_window(k, env, undefined_from(step, undefined), 2, 6))
    assert np.isfinite(played(KEY, 6).returns).all()
    assert np.isfinite(window(KEY, 6).returns)
    broken = played(KEY, 2)
    assert np.isnan(broken.returns).all()
    np.testing.assert_array_equal(broken.lengths, 3)
    assert all(np.isnan(value).all() for value in broken.info_max.values())
    assert np.isnan(window(KEY, 2).returns)
    assert window(KEY, 2).episodes == 4
