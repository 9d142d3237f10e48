"""Pairs to start a search from: the most central states that a policy visits, with what it does there."""

import dataclasses
from collections.abc import Callable

import jax.numpy as jnp
from jax import Array, lax

from hades.environments.base import Environment
from hades.environments.rollout import rollout, visited_observations
from hades.errors import require
from hades.fields import Count
from hades.inner.pairs import Start
from hades.inner.teacher import Teacher, TeacherRecord
from hades.registry import register
from hades.types import EnvSpec, Key


@register("StartPairs", "TeacherStates")
@dataclasses.dataclass(frozen=True)
class TeacherStates(Start):
    """k-medoids of the states of a teacher's episodes, in the coordinates of the dataset.

    The episodes are played where the search begins, and count nowhere, as those of a normaliser's estimate.

    Attributes:
        teacher: whose. None: the policy that the dataset of the stage before trains with seed 0. That stage may then
            have another number of pairs.
        num_episodes: whole episodes that it plays.
        states_each: states that are kept of each, evenly; distances of all to all are held at once.
    """

    teacher: Teacher | None = None
    num_episodes: Count = 16
    states_each: Count = 64

    @property
    def teachers(self) -> tuple[TeacherRecord, ...]:
        return () if self.teacher is None else self.teacher.records

    @property
    def needs_teacher(self) -> bool:
        return self.teacher is None

    def taught_by(self, teacher: Teacher) -> "TeacherStates":
        return dataclasses.replace(self, teacher=teacher)

    def check_count(self, learner: str, num_pairs: int) -> None:
        most = self.num_episodes * self.states_each
        require(
            num_pairs <= most,
            f"{learner}.num_pairs is {num_pairs}, but TeacherStates keeps at most {self.num_episodes} × "
            f"{self.states_each} = {most} states: raise num_episodes or states_each.",
        )

    def check(self, spec: EnvSpec) -> None:
        if self.teacher is not None:
            self.teacher.check(spec)

    def pairs(
        self, key: Key, env: Environment, num_pairs: int, normalize: Callable[[Array], Array]
    ) -> tuple[Array, Array]:
        spec, teacher = env.spec, self.teacher
        if teacher is None:  # a plan or a benchmark of this stage alone; `run` refuses it
            return normalize(visited_observations(key, env, num_pairs)), self._indifferent(num_pairs, spec)

        raw, usable = visited_by(teacher, key, env, self.num_episodes, self.states_each)
        observations = normalize(raw)
        chosen = medoids(observations.reshape(len(raw), -1), usable, num_pairs)
        targets = teacher.targets(raw[chosen], spec)
        return observations[chosen], jnp.exp(targets) if spec.is_discrete else targets

    def _indifferent(self, num_pairs: int, spec: EnvSpec) -> Array:
        """Targets that prefer no action."""
        size = spec.action_space.size
        return jnp.full((num_pairs, size), 1.0 / size if spec.is_discrete else 0.0)


def visited_by(
    teacher: Teacher, key: Key, env: Environment, num_episodes: int, states_each: int
) -> tuple[Array, Array]:
    """States of a teacher's whole episodes, an even sample of each.

    Returns:
        Raw observations f32[M, *obs_shape], M = num_episodes × states_each, and which of these rows a state fills,
        bool[M]: an episode may be shorter than its sample.
    """

    def act(key: Key, obs: Array) -> Array:
        return teacher.act(key, obs, env.spec)

    kept = rollout(key, env, act, num_episodes, keep=states_each).kept
    assert kept is not None
    return kept.observations.reshape(-1, *env.spec.obs_shape), kept.steps.reshape(-1) >= 0


def medoids(x: Array, usable: Array, count: int) -> Array:
    """Rows of f32[M, O] to which the usable rows bool[M] are near, chosen one after another: i32[count].

    The greedy phase of PAM (Kaufman and Rousseeuw, 1990, BUILD) with Euclidean distances.
    """
    squares = jnp.square(x).sum(-1)
    distance = jnp.sqrt(jnp.maximum(squares[:, None] + squares - 2.0 * x @ x.T, 0.0))

    def choose(carry: tuple[Array, Array], _: None) -> tuple[tuple[Array, Array], Array]:
        nearest, free = carry
        total = jnp.where(usable[:, None], jnp.minimum(nearest[:, None], distance), 0.0).sum(0)
        chosen = jnp.argmin(jnp.where(free, total, jnp.inf))
        return (jnp.minimum(nearest, distance[:, chosen]), free.at[chosen].set(False)), chosen

    start = jnp.full(len(x), jnp.inf), usable
    return lax.scan(choose, start, None, length=count)[1]
