"""Train and play many recipes at once: those that differ in numbers alone are rows of one compiled program.

Initial weights and the numbers that a learner can trace (learning rate and number of updates of behaviour cloning) are
operands of the program, so that a group of recipes compiles once. Two groups are in work at a time: one compiles while
the other one runs. Row (recipe, init i) has exactly the keys that `evaluate_dataset` gives to init i.
"""

import concurrent.futures
import dataclasses
import functools
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax import Array

from hades.algorithms.keys import Purpose, Stream, indexed_keys, purpose_key, root_key, stream_key
from hades.algorithms.playing import is_usable, map_chunks
from hades.contracts import single_precision
from hades.data.dataset import DistilledDataset
from hades.environments.base import Environment
from hades.environments.rollout import rollout
from hades.inner.base import InnerLearner
from hades.normalizers.base import Normalizer, NormalizerState
from hades.policies.base import Policy
from hades.policy.trained_policy import initial_policies, normalizer_state
from hades.types import ActFn, Dataset, EnvSpec, Key, Metrics, Params

CLONE_BATCH, PLAY_BATCH = 8, 64
"""Policies at a time: cloning likes few, whose weights stay in cache, stepping likes many."""
THREADS = 2


@dataclasses.dataclass(frozen=True)
class Timing:
    """Seconds of one group."""

    learner: InnerLearner
    policies: int
    compiling: float
    running: float


@struct.dataclass
class _Rows:
    """B trainings."""

    init: Array  # i32[B], which init
    scale: Array  # i32[B], which of the stacked initialisation scales
    numbers: dict[str, Array]  # f32[B] or i32[B] each, fields of the learner


@struct.dataclass
class _Shared:
    """Settings that all rows of a group share."""

    inits: Params  # initial policies with leading axes [S, I]
    pairs: Dataset
    state: NormalizerState
    k_learn: Key
    k_play: Key


def measure_cells(
    dataset: DistilledDataset,
    learners: Sequence[InnerLearner],
    num_inits: int,
    num_episodes: int,
    seed: int,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[np.ndarray, list[Timing]]:
    """Mean returns f64[C, I] of I policies trained by each of C recipes, and how long each group took.

    Args:
        dataset: what is cloned.
        learners: the recipes.
        num_inits: I.
        num_episodes: whole episodes of each policy.
        seed: of initial policies, mini-batches and episodes, on report keys.
        progress: called after each group with the number of policies measured and their total.
    """
    same_updates = len({learner.num_updates for learner in learners}) == 1
    groups: dict[InnerLearner, list[int]] = {}
    for i, learner in enumerate(learners):
        groups.setdefault(_program(learner, same_updates), []).append(i)
    returns, timing, total = np.empty((len(learners), num_inits)), [], len(learners) * num_inits
    group = _Measurement(dataset, num_inits, num_episodes, seed)
    pool = concurrent.futures.ThreadPoolExecutor(THREADS)
    try:
        waiting = {
            pool.submit(group.measure, program, [learners[i] for i in members], same_updates): members
            for program, members in groups.items()
        }
        for future in concurrent.futures.as_completed(waiting):
            measured, took = future.result()
            returns[waiting[future]] = measured
            timing.append(took)
            if progress:
                progress(sum(t.policies for t in timing), total)
    finally:
        pool.shutdown(cancel_futures=True)
    return returns, timing


def count_programs(learners: Sequence[InnerLearner]) -> int:
    """Number of groups that `measure_cells` compiles."""
    same_updates = len({learner.num_updates for learner in learners}) == 1
    return len({_program(learner, same_updates) for learner in learners})


def _operands(learner: InnerLearner, same_updates: bool) -> tuple[str, ...]:
    """Fields that are operands of a program; a number of updates that all recipes share is a constant of it."""
    return tuple(name for name in learner.traceable if name != "num_updates" or not same_updates)


def _program(learner: InnerLearner, same_updates: bool) -> InnerLearner:
    """The recipe that stands for all that share one compilation; numbers that are operands are 1 in it.

    So is the gain of initial weights, which are operands too; a policy that draws none, as a kernel, acts by its gain.
    """
    policy = learner.policy
    if policy.draws_weights:
        policy = dataclasses.replace(policy, hidden_scale=1.0)
    return learner.changed(policy=policy, **dict.fromkeys(_operands(learner, same_updates), 1))


class _Measurement:
    """Settings of all groups of a call; `measure` is called from several threads."""

    def __init__(self, dataset: DistilledDataset, num_inits: int, num_episodes: int, seed: int):
        self._dataset, self._num_inits, self._num_episodes = dataset, num_inits, num_episodes
        self._key = stream_key(root_key(seed), Stream.REPORT)
        self._known: dict[tuple[type, Policy], Params] = {}
        self._lock = threading.Lock()

    @single_precision
    def measure(
        self, program: InnerLearner, learners: Sequence[InnerLearner], same_updates: bool
    ) -> tuple[np.ndarray, Timing]:
        """Mean returns f64[C, I] of the recipes of one group."""
        operands = self._shared(learners), self._rows(learners, same_updates)
        began = time.monotonic()
        static = (program, self._dataset.normalizer, self._dataset.environment.for_report, self._num_episodes)
        compiled = _clone_and_play.lower(*static, *operands).compile()
        done = time.monotonic()
        returns = np.asarray(compiled(*operands), np.float64).mean(1)
        took = Timing(program, len(returns), done - began, time.monotonic() - done)
        return returns.reshape(len(learners), self._num_inits), took

    def _inits(self, learner: InnerLearner) -> Params:
        """Initial policies, made once for all recipes that begin at the same ones."""
        like = learner.changed(policy=learner.policy.same_init)
        known = (type(learner), like.policy)
        with self._lock:
            if known not in self._known:
                k_inits = purpose_key(self._key, Purpose.INITS)
                keys = indexed_keys(k_inits, self._num_inits)
                self._known[known] = initial_policies(self._dataset, like, keys)
            return self._known[known]

    def _shared(self, learners: Sequence[InnerLearner]) -> _Shared:
        scales = {learner.policy.hidden_scale: learner for learner in learners}
        return _Shared(
            inits=jax.tree.map(lambda *x: jnp.stack(x), *map(self._inits, scales.values())),
            pairs=Dataset(*map(jnp.asarray, (self._dataset.observations, self._dataset.targets))),
            state=normalizer_state(self._dataset),
            k_learn=purpose_key(self._key, Purpose.LEARN),
            k_play=purpose_key(self._key, Purpose.EPISODES),
        )

    def _rows(self, learners: Sequence[InnerLearner], same_updates: bool) -> _Rows:
        """One for each recipe and init, the inits of a recipe together."""
        scales = list(dict.fromkeys(learner.policy.hidden_scale for learner in learners))
        each = functools.partial(np.repeat, repeats=self._num_inits)
        return _Rows(
            init=jnp.tile(jnp.arange(self._num_inits), len(learners)),
            scale=jnp.asarray(each([scales.index(learner.policy.hidden_scale) for learner in learners])),
            numbers={
                name: jnp.asarray(each([getattr(learner, name) for learner in learners]))
                for name in _operands(learners[0], same_updates)
            },
        )


@functools.partial(jax.jit, static_argnums=(0, 1, 2, 3))
def _clone_and_play(
    learner: InnerLearner,
    normalizer: Normalizer,
    env: Environment,
    num_episodes: int,
    shared: _Shared,
    rows: _Rows,
) -> Array:
    """Returns f32[B, E]."""

    def clone(row: _Rows) -> tuple[Params, Metrics]:
        start = jax.tree.map(lambda x: x[row.scale, row.init], shared.inits)
        clone: Any = learner.clone  # takes what `traceable` names as keywords
        return clone(jax.random.fold_in(shared.k_learn, row.init), shared.pairs, start, env.spec, **row.numbers)

    def act_for(params: Params, spec: EnvSpec) -> ActFn:
        return normalizer.wrap(shared.state, lambda key, obs: learner.policy.act(key, params, obs, spec))

    def returns(pair: tuple[_Rows, tuple[Params, Metrics]]) -> Array:
        row, (params, metrics) = pair
        key = jax.random.fold_in(shared.k_play, row.init)
        played: list[Any] = [rollout(key, m, act_for(params, m.spec), num_episodes).returns for m in env.members]
        return jnp.where(is_usable(params, metrics), env.combine(played), jnp.nan)

    trained = map_chunks(clone, rows, CLONE_BATCH)
    return map_chunks(returns, (rows, trained), PLAY_BATCH)
