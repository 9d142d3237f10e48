"""From a dataset file to acting policies, and what they earn: three lines for a colleague.

dataset = hades.load_dataset("cartpole.safetensors")
policies = hades.train_policies(dataset, seeds=1000)
print(policies[0], hades.evaluate(policies))
"""

import ast
import dataclasses
import functools
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax import Array
from jax.custom_batching import sequential_vmap
from jax.typing import ArrayLike

from hades import registry
from hades.algorithms.base import Evaluation
from hades.algorithms.keys import Purpose, Stream, indexed_keys, purpose_key, root_key, stream_key
from hades.algorithms.playing import apply_in_chunks, is_usable, map_policies, play_tasks, sequential
from hades.contracts import single_precision
from hades.data.dataset import Described, DistilledDataset
from hades.data.header import trace_training
from hades.devices import check_devices
from hades.displayed import Displayed
from hades.environments.base import Environment
from hades.errors import ConfigError, DatasetError, HadesError, require, shown
from hades.fields import Count, Seed, checked
from hades.fitness.base import Fitness
from hades.fitness.episodic_return import EpisodicReturn
from hades.inner.base import InnerLearner
from hades.normalizers.base import Normalizer, NormalizerState
from hades.normalizers.constant import ConstantNormalizer
from hades.policies.base import Policy
from hades.policies.flax_module import as_policy
from hades.policy.acting import Acting, Network
from hades.policy.fingerprint import mismatch, unflat_params
from hades.policy.policy_file import read_policy, save_policy, statistics
from hades.policy.run_policy import RunPolicy
from hades.policy.statistics import ReturnSummary, summarize_evaluation, summarize_scores
from hades.types import ActFn, Candidate, Dataset, EnvSpec, Key, Metrics, Params, PyTree, Score

FROZEN_FLOOR = 1e-4
"""Least deviation of frozen statistics; the published normalisation has the same, from the 1e-8 in its square root."""


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class TrainedPolicy(Acting, Displayed):
    """A policy cloned from a dataset; `act` takes raw observations. It equals itself alone.

    Attributes:
        task: what it acts in: an environment, or a dataset or a policy's file that describes one, built at its first
            use.
        learner: the recipe it was trained by.
        params: its weights.
        loss: the final cloning loss; NaN where the learner has none.
    """

    task: Environment | Described
    learner: InnerLearner
    normalizer: Normalizer
    normalizer_state: NormalizerState
    params: Params
    loss: float

    def __repr__(self) -> str:
        return f"TrainedPolicy({_brief(self.task.spec, self.learner, self.loss)})"

    @property
    def environment(self) -> Environment:
        """The environment that it acts in."""
        return _environment(self.task)

    @property
    def network(self) -> Network:
        """The network, with its weights and statistics."""
        return Network(self.learner.policy, self.params, self.normalizer, self.normalizer_state, self.environment)

    def save(self, path: str | Path) -> Path:
        """Write a file that `hades.load_policy` reads: safetensors, without pickle.

        Raises:
            ConfigError: where it holds an object of the user's own that no file can rebuild.
        """
        return save_policy(path, self.network, self.learner, self.loss)

    @classmethod
    def load(cls, path: str | Path) -> "TrainedPolicy":
        """The policy in a file that `save` wrote; see `hades.load_policy`."""
        return cls(*read_policy(path))

    @property
    def act(self) -> ActFn:
        """`policy.act(key, observation)` is an action for one raw observation f32[*obs_shape].

        A RunningAct where the normaliser restarts at every evaluation: that one plays, but refuses single observations.
        """
        return _act_for(self.learner.policy, self.normalizer, self.normalizer_state, self.task.spec)(self.params)


@struct.dataclass
class TrainedPolicies:
    """n policies cloned from one dataset, a pytree: `policies[i]` is one, `policies[:10]` or `policies[indices]` some.

    One that diverged has weights or a loss that are not finite, and earns NaN. They equal themselves alone.

    Attributes:
        task, learner, normalizer, normalizer_state: as those of a TrainedPolicy.
        params: their weights, stacked.
        metrics: of their training, f32[n] each.
    """

    task: Environment | Described = struct.field(pytree_node=False)
    learner: InnerLearner = struct.field(pytree_node=False)
    normalizer: Normalizer = struct.field(pytree_node=False)
    normalizer_state: NormalizerState
    params: Params
    metrics: Metrics

    __eq__, __hash__ = object.__eq__, object.__hash__

    @property
    def environment(self) -> Environment:
        """The environment that they act in."""
        return _environment(self.task)

    @property
    def losses(self) -> Array:
        """The final cloning losses f32[n]; NaN where the learner has none."""
        return self.metrics.get("loss/final", jnp.full(len(self), jnp.nan))

    def __len__(self) -> int:
        return int(jax.tree.leaves(self.params)[0].shape[0])

    def __repr__(self) -> str:
        losses = () if isinstance(self.losses, jax.core.Tracer) else (self.losses.min(), self.losses.max())
        return f"TrainedPolicies({len(self):,} x {_brief(self.task.spec, self.learner, *losses)})"

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, int | np.integer):
            index = range(len(self))[index]  # JAX would take the last policy for any larger index
        take = _one_entry if isinstance(index, int) else _entries
        params, metrics = take((self.params, self.metrics), index)
        if jax.tree.leaves(params)[0].ndim >= jax.tree.leaves(self.params)[0].ndim:
            return self.replace(params=params, metrics=metrics)  # type: ignore[attr-defined]  # flax adds it
        return TrainedPolicy(
            task=self.task,
            learner=self.learner,
            normalizer=self.normalizer,
            normalizer_state=self.normalizer_state,
            params=params,
            loss=_on_host(metrics.get("loss/final", math.nan)),
        )

    @property
    def act_for(self) -> Callable[[Params], ActFn]:
        """A function from the weights of one of them to its act on raw observations."""
        return _act_for(self.learner.policy, self.normalizer, self.normalizer_state, self.task.spec)

    @single_precision
    def play(self, key: Key, num_episodes: int) -> Evaluation:
        """Whole episodes with each, a pure function: [n, num_episodes]."""
        static = (self.learner.policy, self.normalizer, self.environment.for_report, num_episodes)
        return _play(*static, key, self.params, self.metrics, self.normalizer_state)


@single_precision
def train_policies(
    dataset: DistilledDataset, seeds: int | Sequence[int] | ArrayLike, *, at_once: int = 1, **changes: Any
) -> TrainedPolicies:
    """Clone many policies from a dataset, in one compiled program.

    It is a pure function of the seeds, which may be traced: use it inside `jit`, `vmap` and `scan`.

    Args:
        dataset: from `load_dataset`.
        seeds: one for each policy, i32[n]; an integer n stands for 0 … n-1.
        at_once: policies that are trained side by side. Each policy of 1 is that of `train_policy`, bit for bit; more
            are faster, on an accelerator by far, and differ in rounding.
        **changes: fields of the recipe to change, as for `train_policy`.

    Raises:
        ConfigError: for seeds that are none, for several where all of the policies would be the same one, for an
            unknown field, or where JAX has no device.
        DatasetError: when the initial weights of a HaDES-F dataset cannot be rebuilt here.
    """
    check_devices()
    seeds, at_once = _seeds(seeds), checked(at_once, Count, "at_once")
    learner = changed_learner(dataset, changes)
    require(
        len(seeds) == 1 or learner.batch_size or (learner.policy.draws_weights and not learner.is_fixed),
        f"{len(seeds):,} seeds would train one and the same policy: {learner.label} with {learner.policy.brief} starts "
        "from the same weights for every seed, and its updates draw no mini-batches. Give one seed, or "
        "init_scheme=RandomInit(1) with a policy that draws its weights.",
    )
    k_init, k_learn = _seed_keys(seeds)
    return _together(dataset, learner, _cloned(dataset, learner, k_init, k_learn, at_once))


@single_precision
def draw_policies(dataset: DistilledDataset, key: Key, num_inits: int) -> TrainedPolicies:
    """Clone policies from a dataset on the keys of any stream; those of `train_policies` are report keys.

    Args:
        dataset: from `load_dataset`.
        key: of a stream.
        num_inits: policies to train.

    Raises:
        DatasetError: when the initial weights of a HaDES-F dataset cannot be rebuilt here.
    """
    check_devices()
    learner = changed_learner(dataset, {})
    return _together(dataset, learner, _drawn(key, dataset, learner, num_inits))


def _together(dataset: DistilledDataset, learner: InnerLearner, trained: tuple[Params, Metrics]) -> TrainedPolicies:
    """Stacked policies of a dataset."""
    params, metrics = trained
    return TrainedPolicies(
        task=dataset,
        learner=learner,
        normalizer=dataset.normalizer,
        normalizer_state=normalizer_state(dataset),
        params=params,
        metrics=metrics,
    )


def train_policy(dataset: DistilledDataset, seed: int = 0, **changes: Any) -> TrainedPolicy:
    """Clone one policy from a dataset.

    Args:
        dataset: from `load_dataset`.
        seed: of the initial policy (HaDES-R) and of mini-batches.
        **changes: fields of the recipe to change, such as `policy=MLP(width=256)` or `learning_rate=0.01`. A policy may
            be a flax module from f32[N, *obs_shape] to logits or mean actions f32[N, A] (linen; nnx, or what makes one
            from an nnx.Rngs), an optimizer an optax transformation, and a learning rate a schedule.

    Raises:
        ConfigError: for an unknown field, where the training diverges, or where JAX has no device.
        DatasetError: when the initial weights of a HaDES-F dataset cannot be rebuilt here.
    """
    trained = train_policies(dataset, (checked(seed, Seed, "seed"),), **changes)
    policy: TrainedPolicy = trained[0]
    final = trained.metrics.get("loss/final", ())
    if not all(np.isfinite(x).all() for x in jax.tree.leaves((policy.params, final))):  # NumPy has nothing to compile
        loss = f", and the final loss is {policy.loss}" if "loss/final" in trained.metrics else ""
        raise ConfigError(
            f"The training of this policy diverged: some of its weights are not finite{loss}. Use a lower "
            "learning_rate, fewer updates, or another recipe than "
            f"{policy.learner}."
        )
    return policy


@single_precision
def evaluate(
    policy: TrainedPolicy | RunPolicy | TrainedPolicies, num_episodes: int | None = None, seed: int = 0
) -> ReturnSummary:
    """Returns of whole episodes.

    Every episode of one policy is a unit of the interval; of many policies, every policy is. Under a
    RestartingNormalizer the episodes share its statistics, and are units that lean on each other.

    Args:
        policy: from `train_policy`, `load_policy` or `train_policies`.
        num_episodes: whole episodes to play with each policy; None: 64 with one policy, 4 with each of many.
        seed: of the episodes.
    """
    many = isinstance(policy, TrainedPolicies)
    num_episodes = checked((4 if many else 64) if num_episodes is None else num_episodes, Count, "num_episodes")
    key = purpose_key(stream_key(root_key(seed), Stream.REPORT), Purpose.EPISODES)
    if isinstance(policy, TrainedPolicies):
        return summarize_evaluation(policy.play(key, num_episodes), policy.environment)
    if isinstance(policy, RunPolicy):
        return summarize_evaluation(policy.play(key, num_episodes), policy.environment, one_policy=True)
    params = jax.tree.map(lambda x: x[None], policy.params)
    static = (policy.learner.policy, policy.normalizer, policy.environment.for_report, num_episodes)
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
    learner, state = changed_learner(dataset, changes), normalizer_state(dataset)
    env = dataset.environment.for_report
    protocol = protocol or dataset.protocol or EpisodicReturn(num_episodes)
    protocol.check(env.spec)
    key = stream_key(root_key(seed), Stream.REPORT)
    trained = _drawn(key, dataset, learner, num_inits)
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
    trained = _drawn(key, dataset, learner, num_inits)
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
    """The dataset's recipe with some fields changed; those that depend on the changed ones are made to fit.

    Raises:
        ConfigError: for an unknown field, naming the known ones, and for one with which training fails.
    """
    if "policy" in changes:
        changes = {**changes, "policy": as_policy(changes["policy"], dataset.learner.policy)}
    changed, spec = dataset.learner.sized(len(dataset), **changes), dataset.spec
    changed.check(spec)
    if changes:
        try:
            trace_training(changed, spec, len(dataset))
        except HadesError:
            raise
        except Exception as error:  # modules and transformations of the user's own raise anything
            what = ", ".join(f"{name}={shown(value)}" for name, value in changes.items())
            reason = f"{type(error).__name__}: {shown(str(error), 300)}"
            raise ConfigError(f"A policy cannot be trained with {what}: {reason}.") from error
    return changed


def initial_policies(dataset: DistilledDataset, learner: InnerLearner, keys: Key) -> Params:
    """An initial policy for each key, stacked; those of a HaDES-F dataset are the ones it was made for.

    Raises:
        DatasetError: when rebuilt weights differ from the dataset's fingerprint.
    """
    spec = dataset.spec
    needs_own = learner.is_fixed and learner.policy == dataset.learner.policy
    expected = dataset.metadata["init"].get("fingerprint")
    if not (needs_own and (dataset.init or expected)):
        return _initialize(learner, spec, keys)
    if dataset.init:
        own = unflat_params(dataset.init)
    else:
        with jax.ensure_compile_time_eval():  # they depend on no key, and this may run inside a trace
            own = jax.tree.map(lambda x: x[0], _initialize(learner, spec, indexed_keys(root_key(0), 1)))
        difference = mismatch(own, expected)
        if difference:
            raise DatasetError(
                f"This {learner.label} dataset needs the initial weights it was evolved for, but its recipe makes "
                f"others here: {difference}. It was made with {dataset.metadata['versions']}; use those versions, or "
                "a file that embeds the weights (export it there with embed_init=True)."
            )
    return jax.tree.map(lambda x: jnp.broadcast_to(x, (len(keys), *x.shape)), own)


def parse_policy(text: str, like: Policy | None = None) -> Policy:
    """A policy from text such as "MLP(width=256, depth=1)": a registered name and literal arguments.

    Args:
        text: what to parse.
        like: the policy from which it takes what the text leaves out of how it acts and of the gains that it starts
            with, which are the fields of every policy; None: their defaults.

    Raises:
        ConfigError: for anything else, naming the known policies.
    """
    name, arguments = parse_call(text)
    if not name:
        known = ", ".join(registry.names("Policy"))
        raise ConfigError(f'{shown(text)} is no policy: write one of {known} like "MLP(width=256)".')
    try:
        kept = {field.name: getattr(like, field.name) for field in dataclasses.fields(Policy)} if like else {}
        return registry.get("Policy", name)(**(kept | arguments))
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
    return statistics(dataset.obs_mean, dataset.obs_std)


def _drawn(key: Key, dataset: DistilledDataset, learner: InnerLearner, num_inits: int) -> tuple[Params, Metrics]:
    """`num_inits` policies trained from one key, and the metrics of their training, stacked."""
    k_init, k_learn = (indexed_keys(purpose_key(key, purpose), num_inits) for purpose in (Purpose.INITS, Purpose.LEARN))
    return _cloned(dataset, learner, k_init, k_learn, 8)


def _cloned(
    dataset: DistilledDataset, learner: InnerLearner, k_init: Key, k_learn: Key, at_once: int
) -> tuple[Params, Metrics]:
    """A trained policy for each pair of keys, and the metrics of their training, stacked."""
    inits = initial_policies(dataset, learner, k_init)
    return _clone(learner, dataset.spec, at_once, k_learn, inits, _pairs(dataset))


def _seeds(seeds: int | Sequence[int] | ArrayLike) -> Array:
    """One u32 for each policy.

    Raises:
        ConfigError: for none, for another shape, and for a number that is no seed, unless it is traced.
    """
    if isinstance(seeds, jax.core.Tracer):
        whole = jnp.issubdtype(seeds.dtype, jnp.integer) and seeds.ndim == 1 and seeds.size
        require(whole, f"seeds is {seeds.aval.str_short()}; it must be i32[n] with n of at least 1.")
        return seeds.astype(jnp.uint32)
    if isinstance(seeds, int | np.integer):
        return jnp.arange(checked(seeds, Count, "seeds"), dtype=jnp.uint32)
    given = checked(seeds, tuple[Seed, ...], "seeds")
    require(given, "seeds is empty; give at least one, or how many policies to train.")
    return jax.device_put(np.asarray(given, np.uint32))  # jnp.asarray compiles a program


def _on_host(number: Any) -> Any:
    """A float, unless the number is traced."""
    return number if isinstance(number, jax.core.Tracer) else float(number)


def _entries(tree: PyTree, index: Any) -> PyTree:
    return jax.tree.map(lambda x: x[index], tree)


_one_entry = jax.jit(_entries)  # compiled once, not once for each leaf


def _environment(task: Environment | Described) -> Environment:
    return task.environment if isinstance(task, Described) else task


def _brief(spec: EnvSpec, learner: InnerLearner, *losses: float | Array) -> str:
    loss = " to ".join(dict.fromkeys(f"{float(loss):.3g}" for loss in losses))
    return ", ".join((spec.name, learner.policy.brief, learner.label, *([f"loss {loss}"] if loss else [])))


def _pairs(dataset: DistilledDataset) -> Dataset:
    observations, targets = jax.device_put((dataset.observations, dataset.targets))
    return Dataset(observations=observations, targets=targets)


def _act_for(
    policy: Policy, normalizer: Normalizer, state: NormalizerState, spec: EnvSpec
) -> Callable[[Params], ActFn]:
    return lambda params: normalizer.wrap(state, lambda key, obs: policy.act(key, params, obs, spec))


@jax.jit
def _seed_keys(seeds: Array) -> tuple[Key, Key]:
    """Keys of the initial policy and of the training for each seed."""

    def keys(seed: Array) -> tuple[Key, Key]:
        key = stream_key(jax.random.key(seed), Stream.REPORT)
        k_init, k_learn = (purpose_key(key, purpose) for purpose in (Purpose.INITS, Purpose.LEARN))
        return jax.random.fold_in(k_init, 0), jax.random.fold_in(k_learn, 0)

    return jax.vmap(keys)(seeds)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _initialize(learner: InnerLearner, spec: EnvSpec, keys: Key) -> Params:
    return sequential(sequential_vmap(lambda key: learner.init_params(key, spec)), keys)


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _clone(learner: InnerLearner, spec: EnvSpec, at_once: int, keys: Key, inits: Params, pairs: Dataset) -> Any:
    clone = jax.vmap(lambda pair: learner.clone(pair[0], pairs, pair[1], spec))
    return apply_in_chunks(clone, (keys, inits), at_once)


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
