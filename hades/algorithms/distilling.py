"""From a genome to trained policies: what every algorithm that searches for a dataset shares."""

import functools
from collections.abc import Callable

from jax import Array

from hades.algorithms.base import Distilled, Evaluation, Solution
from hades.algorithms.keys import Purpose, indexed_keys, purpose_key
from hades.algorithms.playing import map_chunks, play_tasks, sequential
from hades.environments.base import Environment
from hades.inner.base import InnerLearner
from hades.normalizers.base import Normalizer, NormalizerState
from hades.types import ActFn, EnvSpec, Key, Metrics, Params


def initial_policies(key: Key, learner: InnerLearner, spec: EnvSpec, count: int) -> Params:
    """Initial weights of `count` policies, stacked."""
    return sequential(lambda k: learner.init_params(k, spec), indexed_keys(key, count))


def acting(
    learner: InnerLearner, normalizer: Normalizer, state: NormalizerState, spec: EnvSpec
) -> Callable[[Params], ActFn]:
    """A function from weights to an act on raw observations of a task."""
    policy = learner.policy

    def act_for(params: Params) -> ActFn:
        def act(key: Key, obs: Array) -> Array:
            return policy.act(key, params, obs, spec)

        return normalizer.wrap(state, act)

    return act_for


def distilled(solution: Solution, learner: InnerLearner, normalizer: Normalizer, spec: EnvSpec) -> Distilled | None:
    """See Algorithm.distilled."""
    pairs = learner.dataset(solution.genome, spec)
    if pairs is None:
        return None
    return Distilled(pairs, learner.constant(solution.genome), normalizer)


def evaluate(
    key: Key,
    solution: Solution,
    learner: InnerLearner,
    normalizer: Normalizer,
    environment: Environment,
    num_inits: int,
    num_episodes: int,
    learn_batch: int,
) -> Evaluation:
    """Train and play `num_inits` policies, `learn_batch` at a time (0: all). See Algorithm.evaluate."""
    spec = environment.spec
    inits = initial_policies(purpose_key(key, Purpose.INITS), learner, spec, num_inits)
    keys = indexed_keys(purpose_key(key, Purpose.LEARN), num_inits)

    def learn(pair: tuple[Key, Params]) -> tuple[Params, Metrics]:
        trained, metrics = learner.learn(pair[0], solution.genome, pair[1], spec)
        return learner.assemble(pair[1], trained), metrics

    params, metrics = map_chunks(learn, (keys, inits), learn_batch)
    act_for = functools.partial(acting, learner, normalizer, solution.normalizer)
    return play_tasks(purpose_key(key, Purpose.EPISODES), environment, act_for, params, num_episodes, metrics)


def one_policy(key: Key, solution: Solution, learner: InnerLearner, normalizer: Normalizer, spec: EnvSpec) -> ActFn:
    """See Algorithm.policy."""
    init = learner.init_params(purpose_key(key, Purpose.INITS), spec)
    trained, _ = learner.learn(purpose_key(key, Purpose.LEARN), solution.genome, init, spec)
    return acting(learner, normalizer, solution.normalizer, spec)(learner.assemble(init, trained))
