"""From a dataset file to an acting policy, and what it earns: three lines for a colleague.

dataset = hades.load_dataset("cartpole.safetensors")
policy = hades.train_policy(dataset, seed=0)
print(hades.evaluate(policy))
"""

import ast
import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from hades import registry
from hades.algorithms.keys import Purpose, Stream, indexed_keys, purpose_key, root_key, stream_key
from hades.algorithms.playing import is_usable, map_chunks, map_policies, play_tasks, sequential
from hades.contracts import single_precision
from hades.data.dataset import DistilledDataset
from hades.devices import check_devices
from hades.displayed import Displayed
from hades.environments.base import Environment
from hades.errors import ConfigError, DatasetError, require, shown
from hades.fitness.base import Fitness
from hades.fitness.episodic_return import EpisodicReturn
from hades.inner.base import InnerLearner
from hades.normalizers.base import Normalizer, NormalizerState
from hades.normalizers.constant import ConstantNormalizer
from hades.policies.base import Policy
from hades.policy.fingerprint import mismatch, unflat_params
from hades.policy.run_policy import RunPolicy
from hades.policy.statistics import ReturnSummary, summarize_evaluation, summarize_scores
from hades.types import ActFn, Candidate, Dataset, EnvSpec, Key, Metrics, Moments, Params, Score

FROZEN_FLOOR = 1e-4
"""Least deviation of frozen statistics; the published normalisation has the same, from the 1e-8 in its square root."""


@dataclasses.dataclass(frozen=True, eq=False)
class TrainedPolicy(Displayed):
    """A policy cloned from a dataset; `act` takes raw observations. It equals itself alone.

    Attributes:
        environment: what the dataset was distilled for.
        learner: the recipe it was trained by.
        params: its weights.
        loss: the final cloning loss; NaN where the learner has none.
    """

    environment: Environment
    learner: InnerLearner
    normalizer: Normalizer
    normalizer_state: NormalizerState
    params: Params
    loss: float

    @property
    def act(self) -> ActFn:
        """`policy.act(key, observation)` is an action for one raw observation f32[*obs_shape].

        A RunningAct where the normaliser restarts at every evaluation: that one plays, but refuses single observations.
        """
        return _act_for(self.learner.policy, self.normalizer, self.normalizer_state, self.environment.spec)(self.params)


@single_precision
def train_policy(dataset: DistilledDataset, seed: int = 0, **changes: Any) -> TrainedPolicy:
    """Clone one policy from a dataset.

    Args:
        dataset: from `load_dataset`.
        seed: of the initial policy (HaDES-R) and of mini-batches.
        **changes: fields of the recipe to change, such as `policy=MLP(width=256)` or `learning_rate=0.01`.

    Raises:
        ConfigError: for an unknown field, where the training diverges, or where JAX has no device.
        DatasetError: when the initial weights of a HaDES-F dataset cannot be rebuilt here.
    """
    check_devices()
    learner = changed_learner(dataset, changes)
    key = stream_key(root_key(seed), Stream.REPORT)
    init = initial_policies(dataset, learner, purpose_key(key, Purpose.INITS), 1)
    trained = _clone(
        learner, dataset.environment.spec, indexed_keys(purpose_key(key, Purpose.LEARN), 1), init, _pairs(dataset)
    )
    params, metrics = jax.tree.map(lambda x: x[0], trained)
    if not is_usable(params, metrics):
        loss = f", and the final loss is {metrics['loss/final']}" if "loss/final" in metrics else ""
        raise ConfigError(
            f"The training of this policy diverged: some of its weights are not finite{loss}. Use a lower "
            "learning_rate, fewer updates, or another recipe than "
            f"{learner}."
        )
    return TrainedPolicy(
        environment=dataset.environment,
        learner=learner,
        normalizer=dataset.normalizer,
        normalizer_state=normalizer_state(dataset),
        params=params,
        loss=float(metrics["loss/final"]) if "loss/final" in metrics else math.nan,
    )


@single_precision
def evaluate(policy: TrainedPolicy | RunPolicy, num_episodes: int = 64, seed: int = 0) -> ReturnSummary:
    """Returns of whole episodes of one policy; every episode is its own unit in the interval.

    Under a RestartingNormalizer the episodes share its statistics, and are units that lean on each other.

    Args:
        policy: from `train_policy` or `load_policy`.
        num_episodes: whole episodes to play.
        seed: of the episodes.
    """
    key = purpose_key(stream_key(root_key(seed), Stream.REPORT), Purpose.EPISODES)
    if isinstance(policy, RunPolicy):
        return summarize_evaluation(policy.play(key, num_episodes), policy.environment, one_policy=True)
    params = jax.tree.map(lambda x: x[None], policy.params)
    static = (policy.learner.policy, policy.normalizer, policy.environment, num_episodes)
    played = _play(*static, key, params, {}, policy.normalizer_state)
    return summarize_evaluation(jax.tree.map(lambda x: x.T, played), policy.environment, one_policy=True)


@single_precision
def evaluate_dataset(
    dataset: DistilledDataset,
    num_inits: int = 64,
    num_episodes: int = 4,
    seed: int = 0,
    protocol: Fitness | None = None,
    **changes: Any,
) -> ReturnSummary:
    """Train `num_inits` policies from a dataset and measure each.

    Args:
        dataset: from `load_dataset`.
        num_inits: policies to train.
        num_episodes: whole episodes to play with each, where no protocol says otherwise.
        seed: of the initial policies and the episodes.
        protocol: how to measure a policy, which becomes the unit of the interval; any Fitness that scores episodes.
            None: as the file's own returns were measured. `EpisodicReturn(4)` plays whole episodes in any case.
        **changes: fields of the recipe to change.

    Raises:
        ConfigError: for an unknown field, or where a policy completed no episode under the protocol.
        DatasetError: when the initial weights of a HaDES-F dataset cannot be rebuilt here.
    """
    check_devices()
    learner, env, state = changed_learner(dataset, changes), dataset.environment, normalizer_state(dataset)
    protocol = protocol or dataset.protocol or EpisodicReturn(num_episodes)
    protocol.check(env.spec)
    key = stream_key(root_key(seed), Stream.REPORT)
    trained = _cloned(key, dataset, learner, num_inits)
    k_play = purpose_key(key, Purpose.EPISODES)
    if protocol.num_plain_episodes:
        played = _play(learner.policy, dataset.normalizer, env, protocol.num_plain_episodes, k_play, *trained, state)
        return summarize_evaluation(played, env)
    scores = _measure(learner.policy, dataset.normalizer, env, protocol, k_play, *trained, state)
    lengths = scores.metrics.get("episode_length", scores.env_steps / jnp.maximum(scores.episodes, 1))
    values, episodes = np.asarray(scores.value), np.asarray(scores.episodes)
    return summarize_scores(values, episodes, np.asarray(lengths), repr(protocol))


@single_precision
def freeze_statistics(
    dataset: DistilledDataset, num_inits: int = 16, num_episodes: int = 4, seed: int = 0
) -> DistilledDataset:
    """The same dataset with constant statistics: of all observations in whole episodes of freshly trained policies.

    That makes a dataset of the RestartingNormalizer stand alone. Nothing is clipped or floored, and `returns` is empty,
    because nothing was measured under the new statistics.

    Raises:
        ConfigError: where no policy earns a finite return.
    """
    learner, env, state = changed_learner(dataset, {}), dataset.environment, normalizer_state(dataset)
    key = stream_key(root_key(seed), Stream.SEARCH)
    trained = _cloned(key, dataset, learner, num_inits)
    k_play, whole = purpose_key(key, Purpose.EPISODES), EpisodicReturn(num_episodes)
    scores = _measure(learner.policy, dataset.normalizer, env, whole, k_play, *trained, state, with_moments=True)
    assert scores.moments is not None
    finite = jnp.isfinite(scores.value)
    require(finite.any(), f"None of the {num_inits} policies earned a finite return, so nothing can be frozen.")
    moments = scores.moments.where(finite).merge_axis()
    variance = np.maximum(np.asarray(moments.variance), FROZEN_FLOOR**2)
    metadata = {name: value for name, value in dataset.metadata.items() if name != "evaluation"}
    normalizer = ConstantNormalizer(floor=FROZEN_FLOOR, clip=0.0)
    metadata |= {"normalizer": registry.describe(normalizer), "returns": {}}
    return dataclasses.replace(dataset, obs_mean=np.asarray(moments.mean), obs_std=np.sqrt(variance), metadata=metadata)


def changed_learner(dataset: DistilledDataset, changes: dict[str, Any]) -> InnerLearner:
    """The dataset's recipe with some fields changed.

    Raises:
        ConfigError: for an unknown field, naming the known ones.
    """
    changed = dataset.learner.sized(len(dataset), **changes)
    changed.check(dataset.environment.spec)
    return changed


def initial_policies(dataset: DistilledDataset, learner: InnerLearner, key: Key, count: int) -> Params:
    """`count` initial policies, stacked; those of a HaDES-F dataset are the ones it was made for.

    Raises:
        DatasetError: when rebuilt weights differ from the dataset's fingerprint.
    """
    spec = dataset.environment.spec
    needs_own = learner.is_fixed and learner.policy == dataset.learner.policy
    if dataset.init and needs_own:
        return jax.tree.map(lambda x: jnp.broadcast_to(x, (count, *x.shape)), unflat_params(dataset.init))
    params = _initialize(learner, spec, indexed_keys(key, count))
    expected = dataset.metadata["init"].get("fingerprint")
    if expected and needs_own:
        difference = mismatch(jax.tree.map(lambda x: x[0], params), expected)
        if difference:
            raise DatasetError(
                f"This {learner.label} dataset needs the initial weights it was evolved for, but its recipe makes "
                f"others here: {difference}. It was made with {dataset.metadata['versions']}; use those versions, or "
                "a file that embeds the weights (export it there with embed_init=True)."
            )
    return params


def parse_policy(text: str) -> Policy:
    """A policy from text such as "MLP(width=256, depth=1)": a registered name and literal arguments.

    Raises:
        ConfigError: for anything else, naming the known policies.
    """
    name, arguments = parse_call(text)
    if not name:
        known = ", ".join(registry.names("Policy"))
        raise ConfigError(f'{shown(text)} is no policy: write one of {known} like "MLP(width=256)".')
    try:
        return registry.get("Policy", name)(**arguments)
    except TypeError as error:
        raise ConfigError(f"{shown(text)}: {error}.") from error


def parse_call(text: str) -> tuple[str, dict[str, Any]]:
    """The name and the literal keyword arguments of "MLP(width=256)" or "MLP"; no name where the text is neither."""
    try:
        call = ast.parse(text.strip(), mode="eval").body
        if isinstance(call, ast.Name):
            return call.id, {}
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and not call.args:
            return call.func.id, {str(k.arg): ast.literal_eval(k.value) for k in call.keywords}
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError):  # the parser's own, for any text
        pass
    return "", {}


def normalizer_state(dataset: DistilledDataset) -> NormalizerState:
    """The statistics that a dataset file carries."""
    mean, std = jnp.asarray(dataset.obs_mean), jnp.asarray(dataset.obs_std)
    return NormalizerState(mean=mean, std=std, moments=Moments.zeros(mean.shape))


def _cloned(key: Key, dataset: DistilledDataset, learner: InnerLearner, num_inits: int) -> tuple[Params, Metrics]:
    """`num_inits` trained policies and the metrics of their training, stacked."""
    inits = initial_policies(dataset, learner, purpose_key(key, Purpose.INITS), num_inits)
    keys = indexed_keys(purpose_key(key, Purpose.LEARN), num_inits)
    return _clone(learner, dataset.environment.spec, keys, inits, _pairs(dataset))


def _pairs(dataset: DistilledDataset) -> Dataset:
    return Dataset(observations=jnp.asarray(dataset.observations), targets=jnp.asarray(dataset.targets))


def _act_for(
    policy: Policy, normalizer: Normalizer, state: NormalizerState, spec: EnvSpec
) -> Callable[[Params], ActFn]:
    return lambda params: normalizer.wrap(state, lambda key, obs: policy.act(key, params, obs, spec))


@functools.partial(jax.jit, static_argnums=(0, 1))
def _initialize(learner: InnerLearner, spec: EnvSpec, keys: Key) -> Params:
    return sequential(lambda key: learner.init_params(key, spec), keys)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _clone(learner: InnerLearner, spec: EnvSpec, keys: Key, inits: Params, pairs: Dataset) -> Any:
    return map_chunks(lambda pair: learner.clone(pair[0], pairs, pair[1], spec), (keys, inits), 8)


@functools.partial(jax.jit, static_argnums=(0, 1, 2, 3))
def _play(
    policy: Policy,
    normalizer: Normalizer,
    env: Environment,
    num_episodes: int,
    key: Key,
    params: Params,
    metrics: Metrics,
    state: NormalizerState,
) -> Any:
    return play_tasks(key, env, functools.partial(_act_for, policy, normalizer, state), params, num_episodes, metrics)


@functools.partial(jax.jit, static_argnums=(0, 1, 2, 3), static_argnames="with_moments")
def _measure(
    policy: Policy,
    normalizer: Normalizer,
    env: Environment,
    protocol: Fitness,
    key: Key,
    params: Params,
    metrics: Metrics,
    state: NormalizerState,
    *,
    with_moments: bool = False,
) -> Score:
    """Score[I] of I stacked policies, with the moments of what they observed where `with_moments` is true."""
    act_for = _act_for(policy, normalizer, state, env.spec)

    def one(key: Key, params: Params) -> Score:
        candidate = Candidate(genome=(), params=params, metrics={})
        return protocol(key, env, act_for(params), candidate, with_moments=with_moments)

    scores = map_policies(one, key, params)
    return dataclasses.replace(scores, value=jnp.where(jax.vmap(is_usable)(params, metrics), scores.value, jnp.nan))
