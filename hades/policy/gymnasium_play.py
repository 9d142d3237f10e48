"""Play a policy in an environment of Gymnasium, which the package gymnasium brings (the extra of that name)."""

import math
from typing import Any

import numpy as np

from hades.algorithms.keys import root_key
from hades.environments.gymnasium import made
from hades.errors import require
from hades.fields import Count, checked
from hades.policy.acting import Acting
from hades.policy.statistics import ReturnSummary, summarize
from hades.types import Discrete, EnvSpec


def evaluate_in_gymnasium(policy: Acting, env: Any, num_episodes: int = 10, seed: int = 0) -> ReturnSummary:
    """Returns of whole greedy episodes in an environment of Gymnasium, another implementation than the policy's own.

    It is slow: Python steps one environment at a time, and the policy is called for each observation.

    Args:
        policy: from `train_policy` or `load_policy`.
        env: an environment of Gymnasium, or the id of one, such as "CartPole-v1".
        num_episodes: how many; episode i is reset with seed + i. One that neither terminates nor is truncated ends
            after as many steps as in the policy's own environment.
        seed: of the first episode.

    Raises:
        ConfigError: for an unknown id, and for observations or actions of other sizes than the policy's.
        MissingPackageError: where an id is given and gymnasium is not installed.
    """
    num_episodes, spec = checked(num_episodes, Count, "num_episodes"), policy.network.environment.spec
    root_key(seed)  # refuses what is no seed
    played = made(env, {}) if isinstance(env, str) else env
    try:
        first = _check(played, spec)
        episodes = [_episode(policy, played, spec, seed + i, first) for i in range(num_episodes)]
    finally:
        if played is not env:
            played.close()
    returns, lengths = (np.array(column, np.float64)[:, None] for column in zip(*episodes, strict=True))
    return summarize(returns, lengths, one_policy=True)


def _check(env: Any, spec: EnvSpec) -> int:
    """The number of the first action. Raises ConfigError where the spaces are not of the policy's sizes."""
    size = math.prod(env.observation_space.shape or ())
    require(
        size == spec.obs_size,
        f"The observations of this environment are {env.observation_space}; the policy takes {spec.obs_size} numbers, "
        f"as in {spec.name}.",
    )
    space, own = env.action_space, spec.action_space
    discrete = isinstance(own, Discrete)
    fits = getattr(space, "n", None) == own.n if isinstance(own, Discrete) else space.shape == (own.size,)
    require(fits, f"The actions of this environment are {space}; the policy, of {spec.name}, has {own}.")
    return int(getattr(space, "start", 0)) if discrete else 0


def _episode(policy: Acting, env: Any, spec: EnvSpec, seed: int, first: int) -> tuple[float, int]:
    """Return and length of one episode."""
    observation, _ = env.reset(seed=seed)
    total, length, over = 0.0, 0, False
    while not over and length < spec.max_episode_steps:
        action = policy.predict(np.reshape(observation, spec.obs_shape))
        observation, reward, terminated, truncated, _ = env.step(action + first if first else action)
        total, length, over = total + float(reward), length + 1, terminated or truncated
    return total, length
