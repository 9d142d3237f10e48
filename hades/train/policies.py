"""From a dataset file to an acting policy, and what it earns: three lines for a colleague.

dataset = hades.load_dataset("cartpole.safetensors")
policy = hades.train_policy(dataset, seed=0)
print(hades.evaluate(policy))
"""

import ast
import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from hades import registry
from hades.algorithms.keys import Step, Stream, indexed_keys, step_key, stream_key
from hades.algorithms.playing import map_chunks, play, sequential
from hades.data.dataset import DistilledDataset
from hades.environments.base import Environment
from hades.errors import ConfigError, DatasetError, offer
from hades.inner.behaviour_cloning import BehaviourCloning
from hades.normalizers.base import Normalizer, NormalizerState
from hades.policies.base import Policy
from hades.train.fingerprint import mismatch, unflat_params
from hades.train.statistics import ReturnSummary, summarize
from hades.types import Dataset, EnvSpec, Key, Moments, Params


@dataclasses.dataclass(frozen=True)
class TrainedPolicy:
    """A policy cloned from a dataset; `act` takes raw observations.

    Attributes:
        environment: what the dataset was distilled for.
        learner: the recipe it was trained by.
        params: its weights.
        loss: the final cloning loss.
    """

    environment: Environment
    learner: BehaviourCloning
    normalizer: Normalizer
    normalizer_state: NormalizerState
    params: Params
    loss: float

    def act(self, key: Key, observation: Array) -> Array:
        """An action for one raw observation f32[*obs_shape]."""
        return _act_for(self.learner, self.normalizer, self.normalizer_state, self.environment.spec)(self.params)(
            key, observation
        )


def train_policy(dataset: DistilledDataset, seed: int = 0, **changes: Any) -> TrainedPolicy:
    """Clone one policy from a dataset.

    Args:
        dataset: from `load_dataset`.
        seed: of the initial policy (HaDES-R) and of mini-batches.
        **changes: fields of the recipe to change, such as `policy=MLP(width=256)` or `learning_rate=0.01`.

    Raises:
        ConfigError: for an unknown field.
        DatasetError: when the initial weights of a HaDES-F dataset cannot be rebuilt here.
    """
    learner = changed_learner(dataset, changes)
    key = stream_key(jax.random.key(seed), Stream.REPORT)
    init = initial_policies(dataset, learner, step_key(key, Step.INITS), 1)
    params, metrics = _clone(
        learner, dataset.environment.spec, indexed_keys(step_key(key, Step.LEARN), 1), init, _pairs(dataset)
    )
    return TrainedPolicy(
        environment=dataset.environment,
        learner=learner,
        normalizer=dataset.normalizer,
        normalizer_state=normalizer_state(dataset),
        params=jax.tree.map(lambda x: x[0], params),
        loss=float(metrics["loss/final"][0]),
    )


def evaluate(policy: TrainedPolicy, num_episodes: int = 64, seed: int = 0) -> ReturnSummary:
    """Returns of whole episodes of one policy; every episode is its own unit in the interval."""
    key = step_key(stream_key(jax.random.key(seed), Stream.REPORT), Step.EPISODES)
    params = jax.tree.map(lambda x: x[None], policy.params)
    episodes = _play(
        policy.learner, policy.normalizer, policy.environment, num_episodes, key, params, policy.normalizer_state
    )
    return summarize(np.asarray(episodes.returns).T, np.asarray(episodes.lengths))


def evaluate_dataset(
    dataset: DistilledDataset, num_inits: int = 64, num_episodes: int = 4, seed: int = 0, **changes: Any
) -> ReturnSummary:
    """Train `num_inits` policies from a dataset and play whole episodes with each."""
    learner = changed_learner(dataset, changes)
    key = stream_key(jax.random.key(seed), Stream.REPORT)
    inits = initial_policies(dataset, learner, step_key(key, Step.INITS), num_inits)
    keys = indexed_keys(step_key(key, Step.LEARN), num_inits)
    params, _ = _clone(learner, dataset.environment.spec, keys, inits, _pairs(dataset))
    episodes = _play(
        learner,
        dataset.normalizer,
        dataset.environment,
        num_episodes,
        step_key(key, Step.EPISODES),
        params,
        normalizer_state(dataset),
    )
    return summarize(np.asarray(episodes.returns), np.asarray(episodes.lengths))


def changed_learner(dataset: DistilledDataset, changes: dict[str, Any]) -> BehaviourCloning:
    """The dataset's recipe with some fields changed.

    Raises:
        ConfigError: for an unknown field, naming the known ones.
    """
    learner = dataset.learner
    if not isinstance(learner, BehaviourCloning):
        raise DatasetError(f"Policies are trained by BehaviourCloning, but the dataset names {type(learner).__name__}.")
    known = [f.name for f in dataclasses.fields(learner)]
    for name in changes:
        if name not in known:
            raise ConfigError(f'The recipe has no field "{name}". {offer(name, known)}')
    changed = dataclasses.replace(learner, **{"num_points": len(dataset), **changes})
    changed.check(dataset.environment.spec)
    return changed


def initial_policies(dataset: DistilledDataset, learner: BehaviourCloning, key: Key, count: int) -> Params:
    """`count` initial policies, stacked; those of a HaDES-F dataset are the ones it was made for.

    Raises:
        DatasetError: when rebuilt weights differ from the dataset's fingerprint.
    """
    spec = dataset.environment.spec
    same_policy = isinstance(dataset.learner, BehaviourCloning) and learner.policy == dataset.learner.policy
    if dataset.init and same_policy and learner.init_scheme.is_fixed:
        like = jax.eval_shape(lambda k: learner.init_params(k, spec), key)
        params = unflat_params(dict(dataset.init), like)
        return jax.tree.map(lambda x: jnp.broadcast_to(jnp.asarray(x), (count, *x.shape)), params)
    params = _initialize(learner, spec, indexed_keys(key, count))
    expected = dataset.metadata["init"].get("fingerprint")
    if expected and same_policy and learner.init_scheme.is_fixed:
        difference = mismatch(jax.tree.map(lambda x: x[0], params), expected)
        if difference:
            raise DatasetError(
                f"This HaDES-F dataset needs the initial weights it was evolved for, but {learner.init_scheme} makes "
                f"others "
                f"here: {difference}. It was made with {dataset.metadata['versions']}; use those versions, or a file "
                f"that "
                "embeds the weights (export it there with embed_init=True)."
            )
    return params


def parse_policy(text: str) -> Policy:
    """A policy from text such as "MLP(width=256, depth=1)": a registered name and literal arguments.

    Raises:
        ConfigError: for anything else, naming the known policies.
    """
    known = registry.names("Policy")
    try:
        call = ast.parse(text.strip(), mode="eval").body
        name = call.func.id if isinstance(call, ast.Call) else call.id  # type: ignore[attr-defined]
        arguments = {str(k.arg): ast.literal_eval(k.value) for k in call.keywords} if isinstance(call, ast.Call) else {}
    except (SyntaxError, ValueError, AttributeError) as error:
        raise ConfigError(f'"{text}" is no policy: write one of {", ".join(known)} like "MLP(width=256)".') from error
    try:
        return registry.get("Policy", name)(**arguments)
    except TypeError as error:
        raise ConfigError(f'"{text}": {error}.') from error


def normalizer_state(dataset: DistilledDataset) -> NormalizerState:
    """The statistics that a dataset file carries."""
    mean, std = jnp.asarray(dataset.obs_mean), jnp.asarray(dataset.obs_std)
    return NormalizerState(mean=mean, std=std, moments=Moments.zeros(mean.shape))


def _pairs(dataset: DistilledDataset) -> Dataset:
    return Dataset(observations=jnp.asarray(dataset.observations), targets=jnp.asarray(dataset.targets))


def _act_for(learner: BehaviourCloning, normalizer: Normalizer, state: NormalizerState, spec: EnvSpec) -> Any:
    return lambda params: lambda key, obs: learner.policy.act(key, params, normalizer.apply(state, obs), spec)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _initialize(learner: BehaviourCloning, spec: EnvSpec, keys: Key) -> Params:
    return sequential(lambda key: learner.init_params(key, spec), keys)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _clone(learner: BehaviourCloning, spec: EnvSpec, keys: Key, inits: Params, pairs: Dataset) -> Any:
    return map_chunks(lambda pair: learner.clone(pair[0], pairs, pair[1], spec), (keys, inits), 8)


@functools.partial(jax.jit, static_argnums=(0, 1, 2, 3))
def _play(
    learner: BehaviourCloning,
    normalizer: Normalizer,
    env: Environment,
    num_episodes: int,
    key: Key,
    params: Params,
    state: NormalizerState,
) -> Any:
    return play(key, env, _act_for(learner, normalizer, state, env.spec), params, num_episodes)
