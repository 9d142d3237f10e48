"""From a genome to trained policies: what every algorithm that searches through an inner learner shares."""

import dataclasses
import functools
from collections.abc import Callable
from typing import ClassVar

from jax import Array

from hades.algorithms.base import Algorithm, Distilled, Evaluation, Solution, in_environment
from hades.algorithms.keys import Purpose, indexed_keys, purpose_key
from hades.algorithms.playing import map_chunks, play_tasks, sequential
from hades.environments.base import Environment
from hades.errors import require
from hades.inner.base import InnerLearner
from hades.inner.stage_record import StageRecord
from hades.inner.teacher import TeacherRecord
from hades.normalizers.base import Normalizer, NormalizerState
from hades.policies.base import Policy
from hades.types import ActFn, EnvSpec, Key, Metrics, Params


class Distilling:
    """Methods of an algorithm with these fields. `learn_batch` networks are cloned at a time (0: all)."""

    environment: Environment
    learner: InnerLearner
    normalizer: Normalizer
    learn_batch: int

    how: ClassVar[str] = ""
    """The label of the search."""

    @property
    def label(self) -> str:
        return f"{self.learner.label}{self.how}" + (" from a teacher" if self.learner.teachers else "")

    @property
    def teachers(self) -> tuple[TeacherRecord, ...]:
        return self.learner.teachers

    @property
    def stages(self) -> tuple[StageRecord, ...]:
        return self.learner.stages

    def check_normalizer(self) -> None:
        """Raise ConfigError where the learner makes raw observations, but policies see others."""
        require(
            not self.learner.makes_raw_observations or not self.normalizer.changes_observations,
            f"{type(self).__name__}.normalizer is {type(self.normalizer).__name__}, but the learner's code makes raw "
            "observations: use NoNormalizer.",
        )

    def initial_policies(self, key: Key, count: int) -> Params:
        """Initial weights of `count` policies, stacked."""
        spec = self.environment.spec
        return sequential(lambda k: self.learner.init_params(k, spec), indexed_keys(key, count))

    def act_for(self, normalizer: NormalizerState, spec: EnvSpec) -> Callable[[Params], ActFn]:
        """A function from weights to an act on raw observations of a task."""
        policy = self.learner.policy

        def from_weights(params: Params) -> ActFn:
            def act(key: Key, obs: Array) -> Array:
                return policy.act(key, params, obs, spec)

            return self.normalizer.wrap(normalizer, act)

        return from_weights

    def distilled(self, solution: Solution) -> Distilled | None:
        pairs = self.learner.dataset(solution.genome, self.environment.spec)
        if pairs is None:
            return None
        return Distilled(
            pairs, self.learner.constant(solution.genome), self.normalizer, self.learner.codes(solution.genome)
        )

    def evaluate(self, key: Key, solution: Solution, num_inits: int, num_episodes: int) -> Evaluation:
        inits = self.initial_policies(purpose_key(key, Purpose.INITS), num_inits)
        keys = indexed_keys(purpose_key(key, Purpose.LEARN), num_inits)

        def learn(pair: tuple[Key, Params]) -> tuple[Params, Metrics]:
            trained, metrics = self.learner.learn(pair[0], solution.genome, pair[1], self.environment.spec)
            return self.learner.assemble(pair[1], trained), metrics

        params, metrics = map_chunks(learn, (keys, inits), self.learn_batch)
        act_for = functools.partial(self.act_for, solution.normalizer)
        return play_tasks(purpose_key(key, Purpose.EPISODES), self.environment, act_for, params, num_episodes, metrics)

    def network(self, key: Key, solution: Solution) -> tuple[Policy, Params]:
        spec = self.environment.spec
        init = self.learner.init_params(purpose_key(key, Purpose.INITS), spec)
        trained, _ = self.learner.learn(purpose_key(key, Purpose.LEARN), solution.genome, init, spec)
        return self.learner.policy, self.learner.assemble(init, trained)

    def policy(self, key: Key, solution: Solution) -> ActFn:
        return self.act_for(solution.normalizer, self.environment.spec)(self.network(key, solution)[1])


def for_report(algorithm: Algorithm) -> Algorithm:
    """The algorithm as a report measures it, with the environment and the learner that are for reports."""
    measured = in_environment(algorithm, algorithm.environments[0].for_report)
    if not isinstance(measured, Distilling):
        return measured
    return dataclasses.replace(measured, learner=measured.learner.for_report)  # type: ignore[type-var]  # a dataclass
