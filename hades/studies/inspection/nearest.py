"""Distances from synthetic observations to the states that policies trained on them visit.

The unit is the standard deviation of a feature over the visited states; a distance is the root mean square over the
features that vary. Cells of an image share one unit and all count, because a cell that is lit once in a thousand frames
would have a tiny unit and decide every distance, and one that never changes would not count at all. For scale: how far
a visited state is from the nearest one of another episode.
"""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from hades.algorithms.keys import Purpose, Stream, purpose_key, root_key, stream_key
from hades.data.dataset import DistilledDataset
from hades.environments.rollout import RunningAct, random_policy
from hades.errors import ConfigError
from hades.policy.trained_policy import TrainedPolicy, train_policy
from hades.studies.inspection.visited import MAX_STATES, Visited, visit
from hades.types import ActFn, Key, Params

VARIES = 1e-3
"""Least standard deviation of a feature that counts, in the dataset's normalised coordinates."""
NEAR = 0.95
"""A point lies among the visited states when it is no further off than this share of them is from another episode."""
ROUNDING = 1e-4
"""Distance that 32-bit numbers do not tell from 0: frames of games may all recur, which makes the band 0."""
_NEIGHBOURS = 512  # visited states whose neighbours are looked up for scale
_SAMPLE = 192  # visited states that pictures show


@dataclasses.dataclass(frozen=True)
class NearestState:
    """The visited state nearest to one synthetic observation.

    Attributes:
        distance: root mean square of `by_feature` over the features that vary.
        observation: raw, flat.
        policy, episode, step: where it was met; all count from 0.
        by_feature: synthetic minus visited in standard deviations, 0 where a feature never varies; empty for images.
        random_distance: to the nearest state that random actions led to, in the same unit.
        off_constant: the largest difference, in raw units, from a feature that never varies; 0 where all do.
    """

    distance: float
    observation: tuple[float, ...]
    policy: int
    episode: int
    step: int
    by_feature: tuple[float, ...]
    random_distance: float
    off_constant: float


@dataclasses.dataclass(frozen=True)
class Nearest:
    """Every synthetic observation beside the visited states.

    Attributes:
        pairs: one for each pair of the dataset.
        neighbour_median, neighbour_far: how far a visited state is from the nearest one of another episode: the
            median, and the distance that the share NEAR of them does not exceed.
        num_policies, num_episodes: who visited.
        num_steps, num_states: the states that were acted on, and how many of them were kept.
        num_constant: features that never vary and count in no distance; 0 for images.
        std: of every raw feature over the visited states; empty for images.
        low, high: their 1 and 99 % quantiles; empty for images.
        thirds: what a third and two thirds of the visited values are below, of every raw feature; empty for images.
        typical: the visited state nearest to the mean of all, raw; empty for images.
        sample: some visited states, raw, for pictures; empty for images.
    """

    pairs: tuple[NearestState, ...]
    neighbour_median: float
    neighbour_far: float
    num_policies: int
    num_episodes: int
    num_steps: int
    num_states: int
    num_constant: int
    std: tuple[float, ...] = ()
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    thirds: tuple[tuple[float, ...], ...] = ()
    typical: tuple[float, ...] = ()
    sample: tuple[tuple[float, ...], ...] = ()

    def is_visited(self, pair: int) -> bool:
        """True if a synthetic observation lies among the visited states."""
        return self.pairs[pair].distance <= self.neighbour_far + ROUNDING

    @staticmethod
    def from_json(values: dict[str, Any]) -> "Nearest":
        return Nearest(**{**values, "pairs": tuple(NearestState(**pair) for pair in values["pairs"])})


def measure_nearest(
    dataset: DistilledDataset, num_inits: int = 8, num_episodes: int = 4, seed: int = 0, max_states: int = MAX_STATES
) -> Nearest:
    """Train policies with the seeds `seed`, `seed + 1`, …, play whole episodes on report keys, and compare.

    Args:
        dataset: with statistics that are constant while a policy plays.
        num_inits: policies to train, and random ones for comparison.
        num_episodes: whole episodes of each.
        seed: of the first policy and of the episodes.
        max_states: kept of all episodes together, of trained policies and again of random ones.

    Raises:
        ConfigError: where fewer than two episodes are played, or a policy has a memory.
    """
    if num_inits * num_episodes < 2:
        raise ConfigError(
            f"{num_inits} policy with {num_episodes} episode leaves no other episode to compare with: play at least "
            "two (num_inits, num_episodes)."
        )
    key = purpose_key(stream_key(root_key(seed), Stream.REPORT), Purpose.EPISODES)
    policies = [train_policy(dataset, seed + i) for i in range(num_inits)]
    params = jax.tree.map(lambda *leaves: jnp.stack(leaves * 2), *(policy.params for policy in policies))
    is_random = jnp.arange(2 * num_inits) >= num_inits  # in one program with the trained ones: compiled once
    act_for = functools.partial(_trained_or_random, policies[0])
    met = visit(key, dataset.environment, act_for, (params, is_random), num_episodes, 2 * max_states)
    return compare_states(dataset, met.of_policies(0, num_inits), met.of_policies(num_inits, 2 * num_inits))


def compare_states(dataset: DistilledDataset, visited: Visited, at_random: Visited) -> Nearest:
    """The synthetic observations beside states that trained and random policies visited."""
    is_image, scale = dataset.environment.spec.is_image, scale_of(dataset, visited)
    raw, states = _flat(raw_observations(dataset)), _flat(visited.observations)
    varies, unit, places = scale.varies, scale.unit, scale.places(states)
    at, distance = nearest_places(scale.places(raw), places)
    away = nearest_places(scale.places(raw), scale.places(at_random.observations))[1]
    median, far = band(places, visited.episode_index)
    pairs = [
        NearestState(
            distance=_short(distance[i]),
            observation=_shorts(states[j]),
            policy=int(visited.policy[j]),
            episode=int(visited.episode[j]),
            step=int(visited.step[j]),
            by_feature=()
            if is_image
            else _shorts(np.where(varies, raw[i] - states[j], 0.0) / np.where(varies, unit, 1)),
            random_distance=_short(away[i]),
            off_constant=_short(np.abs((raw[i] - states[j])[~varies]).max(initial=0.0)),
        )
        for i, j in enumerate(at)
    ]
    return Nearest(
        pairs=tuple(pairs),
        neighbour_median=_short(median),
        neighbour_far=_short(far),
        num_policies=visited.returns.shape[0],
        num_episodes=visited.returns.shape[1],
        num_steps=visited.num_steps,
        num_states=len(visited),
        num_constant=int((~varies).sum()),
        **({} if is_image else _surroundings(states, places)),
    )


@dataclasses.dataclass(frozen=True, eq=False)
class Scale:
    """The unit of distances between states.

    Attributes:
        unit: f64[O], standard deviation of each raw feature over visited states; of images one for all cells.
        varies: bool[O], the features that count.
    """

    unit: np.ndarray
    varies: np.ndarray

    def places(self, observations: np.ndarray) -> np.ndarray:
        """Raw observations [M, *obs_shape] as points f64[M, V] whose root-mean-square difference is their distance."""
        places: np.ndarray = _flat(observations)[:, self.varies] / self.unit[self.varies]
        return places


def scale_of(dataset: DistilledDataset, visited: Visited) -> Scale:
    """The unit of distances among states that a dataset's policies visited.

    Raises:
        ConfigError: where nothing varies in them.
    """
    std = _flat(visited.observations).std(0)
    varies = std > VARIES * dataset.obs_std.reshape(-1)
    if not varies.any():
        raise ConfigError(
            f"Nothing varies in {len(visited)} visited states of {dataset.environment.spec.name}, so there is no unit "
            "to measure distances in: play more or longer episodes."
        )
    if dataset.environment.spec.is_image:
        return Scale(np.full(std.shape, np.sqrt(np.square(std[varies]).mean())), np.ones_like(varies))
    return Scale(std, varies)


def raw_observations(dataset: DistilledDataset) -> np.ndarray:
    """The synthetic observations [N, *obs_shape] in the environment's own units."""
    raw: np.ndarray = dataset.observations * dataset.obs_std + dataset.obs_mean
    return raw


def band(places: np.ndarray, episode: np.ndarray) -> tuple[float, float]:
    """Median distance of visited states to the nearest one of another episode, and what the share NEAR stays within."""
    median, far = np.quantile(neighbour_distances(places, episode, _NEIGHBOURS), [0.5, NEAR])
    return float(median), float(far)


def _trained_or_random(policy: TrainedPolicy, of: tuple[Params, Array]) -> ActFn:
    """Act like a policy with the given params, or a uniformly random one where bool[] is True."""
    params, is_random = of
    trained, at_random = dataclasses.replace(policy, params=params).act, random_policy(policy.environment.spec)
    if isinstance(trained, RunningAct):
        return trained

    def act(key: Key, obs: Array) -> Array:
        return jnp.where(is_random, at_random(key, obs), trained(key, obs))

    return act


def _surroundings(states: np.ndarray, places: np.ndarray) -> dict[str, Any]:
    """Facts about visited vectors f64[M, O] that pictures need; `places` are the same vectors in units of distance."""
    low, third, two_thirds, high = np.quantile(states, [0.01, 1 / 3, 2 / 3, 0.99], axis=0)
    typical = states[np.square(places - places.mean(0)).sum(-1).argmin()]
    sample = states[np.linspace(0, len(states) - 1, min(_SAMPLE, len(states))).astype(int)]
    return {
        "std": _shorts(states.std(0)),
        "low": _shorts(low),
        "high": _shorts(high),
        "thirds": (_shorts(third), _shorts(two_thirds)),
        "typical": _shorts(typical),
        "sample": tuple(_shorts(row) for row in sample),
    }


def nearest_places(points: np.ndarray, states: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Index of the nearest state i64[N] for each point f64[N, V], and the root-mean-square distance f64[N]."""
    at = np.array([np.square(states - point).sum(-1).argmin() for point in points])
    return at, np.sqrt(np.square(points - states[at]).mean(-1))


def neighbour_distances(places: np.ndarray, episode: np.ndarray, most: int) -> np.ndarray:
    """f64[≤ most]: of evenly drawn states, to the nearest state of another episode."""
    some = np.linspace(0, len(places) - 1, min(most, len(places))).astype(int)
    squares, found = np.square(places).sum(-1), []
    for rows in np.array_split(some, -(-len(some) // _NEIGHBOURS)):
        # |a - b|² = |a|² + |b|² - 2ab finds the neighbour; the distance to it is then taken exactly.
        apart = squares[rows, None] + squares[None] - 2.0 * places[rows] @ places.T
        apart[episode[rows, None] == episode[None]] = np.inf
        found.append(np.sqrt(np.square(places[rows] - places[apart.argmin(1)]).mean(-1)))
    return np.concatenate(found)


def _flat(observations: np.ndarray) -> np.ndarray:
    return np.asarray(observations, np.float64).reshape(len(observations), -1)


def _short(x: float) -> float:
    """Seven digits are all that 32-bit numbers hold; a file needs no more."""
    return float(f"{float(x):.7g}")


def _shorts(values: np.ndarray) -> tuple[float, ...]:
    return tuple(_short(x) for x in values)
