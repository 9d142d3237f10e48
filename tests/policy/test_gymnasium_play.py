"""Policies in the environments of Gymnasium."""

import sys
from typing import Any

import gymnasium
import numpy as np
import pytest

from hades.environments.base import Environment
from hades.environments.gymnax import Gymnax
from hades.errors import ConfigError, MissingPackageError
from hades.inner.losses import MSE, CrossEntropy
from hades.normalizers.none import NoNormalizer
from hades.policies.mlp import MLP
from hades.policy.gymnasium_play import evaluate_in_gymnasium
from hades.policy.policy_file import statistics
from hades.policy.trained_policy import TrainedPolicy
from tests.support import CLONING, POINT


def linear(env: Environment, kernel: list[list[float]]) -> TrainedPolicy:
    """A policy whose output is its observation times a matrix."""
    weights = np.asarray(kernel, np.float32)
    size = env.spec.action_space.size
    params = {"layers_0": {"kernel": weights, "bias": np.zeros(size, np.float32)}, "log_std": np.zeros(size)}
    learner = CLONING.changed(policy=MLP(depth=0), loss=CrossEntropy() if env.spec.is_discrete else MSE())
    state = statistics(np.zeros(env.spec.obs_shape), np.ones(env.spec.obs_shape))
    return TrainedPolicy(env, learner, NoNormalizer(), state, params, 0.0)


BALANCING = linear(Gymnax("CartPole-v1"), [[0, 0], [0, 0.1], [0, 1], [0, 1]])


def test_a_policy_balances_in_gymnasium() -> None:
    summary = evaluate_in_gymnasium(BALANCING, "CartPole-v1", num_episodes=3, seed=5)
    assert (summary.num_inits, summary.num_episodes, summary.one_policy) == (3, 1, True)
    assert summary.worst_init > 150
    own = gymnasium.make("CartPole-v1")
    observation, _ = own.reset(seed=5)
    steps, over = 0, False
    while not over:
        steps += 1
        observation, _, terminated, truncated, _ = own.step(int(observation @ [0, 0.1, 1, 1] > 0))
        over = terminated or truncated
    assert summary.per_init[0] == steps
    assert evaluate_in_gymnasium(BALANCING, own, 1, seed=5).mean == steps


class Bounds(gymnasium.Env[Any, Any]):
    """Pays the action, and never ends."""

    observation_space = gymnasium.spaces.Box(-1, 1, (1, 3))

    def __init__(self, action_space: gymnasium.Space[Any]):
        self.action_space = action_space

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        return np.array([[0.75, 0.0, 0.0]]), {}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        assert self.action_space.contains(action), action
        return np.array([[0.75, 0.0, 0.0]]), float(np.sum(action)), False, False, {}


def test_actions_are_in_the_bounds_of_the_environment_and_an_episode_ends() -> None:
    pendulum = linear(Gymnax("Pendulum-v1"), [[1], [0], [0]])
    summary = evaluate_in_gymnasium(pendulum, Bounds(gymnasium.spaces.Box(-2, 2, (1,))), 1)
    assert (summary.mean, summary.mean_length) == (200 * 1.5, 200)
    shifted = linear(Gymnax("MountainCar-v0", {"max_steps_in_episode": 4}), [[0, 1, 0], [0, 0, 0]])
    env = Bounds(gymnasium.spaces.Discrete(3, start=5))
    env.observation_space = gymnasium.spaces.Box(-1, 1, (2,))
    env.reset = lambda **_: (np.array([1.0, 0.0]), {})  # type: ignore[method-assign]
    env.step = lambda action: (np.array([1.0, 0.0]), float(action), False, False, {})  # type: ignore[method-assign]
    assert evaluate_in_gymnasium(shifted, env, 1).mean == 4 * 6


@pytest.mark.parametrize(
    ("policy", "env", "message"),
    [
        (BALANCING, "CartPol-v1", r"gymnasium.make\('CartPol-v1'\) fails: .*CartPol"),
        (BALANCING, "MountainCar-v0", "observations of this environment are Box.*takes 4 numbers, as in CartPole-v1"),
        (linear(POINT, [[1], [1]]), "MountainCar-v0", r"actions of this environment are Discrete\(3\).*Box\(size=1\)"),
    ],
)
def test_another_environment_is_refused(policy: TrainedPolicy, env: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        evaluate_in_gymnasium(policy, env)


def test_a_missing_gymnasium_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gymnasium", None)
    with pytest.raises(MissingPackageError, match=r"pip install gymnasium, or hades-rl\[gymnasium\]"):
        evaluate_in_gymnasium(BALANCING, "CartPole-v1")
