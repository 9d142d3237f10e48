"""The engines of Brax beside each other: environment steps per CPU-second, the error of one step, and returns.

The truth of a step is XLA's in double precision, of the same bodies (constants of single precision).
"""

import copy
import dataclasses
import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from numpy.typing import NDArray
from scipy.stats import fisher_exact

from hades.data.dataset import DistilledDataset
from hades.environments.base import EnvState
from hades.environments.brax import Brax
from hades.environments.rollout import random_policy, rollout
from hades.policy.trained_policy import train_policy
from hades.text import markdown_table
from hades.types import ActFn, Params

TASKS = (
    *("hopper", "walker2d", "halfcheetah", "ant", "humanoid", "reacher", "inverted_double_pendulum"),
    "humanoidstandup",
)
"""The published tasks of Brax."""
QUANTILES = (0.5, 0.9, 0.99, 0.999, 1.0)
EPISODES = 100
"""Episodes side by side from which states are taken."""

Errors = NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class Rates:
    """Environment steps per CPU-second and per second, by engine and batch."""

    per_cpu_second: Mapping[tuple[str, int], float]
    per_second: Mapping[tuple[str, int], float]

    def ratio(self, batch: int) -> float:
        """Native over XLA, in CPU time."""
        return self.per_cpu_second["native", batch] / self.per_cpu_second["xla", batch]


def by_engine(env: Brax) -> dict[str, Brax]:
    """The environment with each engine by name."""
    return {engine: dataclasses.replace(env, engine=engine) for engine in ("native", "xla")}


def measure_rates(env: Brax, batches: Sequence[int], repeats: int) -> Rates:
    """Time steps through the adapter, with constant random actions; the engines take turns, the best time counts."""
    cpu: dict[tuple[str, int], float] = {}
    wall: dict[tuple[str, int], float] = {}
    for batch in batches:
        plays, steps = {}, {}
        for engine, one in by_engine(env).items():
            steps[engine] = max(1, (16_384 if engine == "native" else 1024) // batch)
            plays[engine] = _compiled_steps(one, batch, steps[engine])
        times: dict[str, list[tuple[float, float]]] = {engine: [] for engine in plays}
        for _ in range(repeats):
            for engine, play in plays.items():
                began = time.process_time(), time.monotonic()
                jax.block_until_ready(play())
                times[engine].append((time.process_time() - began[0], time.monotonic() - began[1]))
        for engine, pairs in times.items():
            cpu[engine, batch], wall[engine, batch] = (
                batch * steps[engine] / min(seconds) for seconds in zip(*pairs, strict=True)
            )
    return Rates(cpu, wall)


def _compiled_steps(env: Brax, batch: int, steps: int) -> Callable[[], Any]:
    keys = jax.random.split(jax.random.key(0), batch)
    state = jax.jit(jax.vmap(env.reset))(keys)[0]
    actions = jax.vmap(lambda k: random_policy(env.spec)(k, jnp.zeros(0)))(keys)

    def play(state: EnvState) -> tuple[EnvState, Array]:
        def advance(carry: tuple[EnvState, Array], _: None) -> tuple[tuple[EnvState, Array], None]:
            state, step = jax.vmap(env.step, (None, 0, 0))(keys[0], carry[0], actions)
            return (state, carry[1] + step.reward), None

        return lax.scan(advance, (state, jnp.zeros(batch)), None, length=steps)[0]

    compiled = jax.jit(play).lower(state).compile()
    jax.block_until_ready(compiled(state))
    return lambda: compiled(state)


def visited_states(env: Brax, acts: Sequence[ActFn], count: int) -> tuple[EnvState, Array]:
    """States that policies meet, an equal number for each, and their actions there.

    Episodes that end begin anew. Every policy plays EPISODES of them side by side, from which states are taken at even
    distances of 10 steps.
    """
    each = -(-count // len(acts))
    rounds = -(-each // EPISODES)
    found = [
        jax.jit(lambda key, act=act: _visited(env, act, rounds, key))(jax.random.key(i)) for i, act in enumerate(acts)
    ]
    return jax.tree.map(lambda *parts: jnp.concatenate([p.reshape(-1, *p.shape[2:])[:each] for p in parts]), *found)


def _visited(env: Brax, act: ActFn, rounds: int, key: Array) -> tuple[EnvState, Array]:
    def advance(carry: tuple[EnvState, Array], key: Array) -> tuple[tuple[EnvState, Array], None]:
        state, obs = carry
        k_act, k_reset = jax.random.split(key)
        actions = jax.vmap(act)(jax.random.split(k_act, EPISODES), obs)
        state, step = jax.vmap(env.step, (None, 0, 0))(key, state, actions)
        fresh = jax.vmap(env.reset)(jax.random.split(k_reset, EPISODES))
        done = step.terminated | step.truncated

        def begin_anew(new: Array, old: Array) -> Array:
            return jnp.where(done.reshape(-1, *[1] * (old.ndim - 1)), new, old)

        return jax.tree.map(begin_anew, fresh, (state, step.obs)), None

    def some(carry: tuple[EnvState, Array], key: Array) -> tuple[tuple[EnvState, Array], tuple[EnvState, Array]]:
        k_steps, k_act = jax.random.split(key)
        carry, _ = lax.scan(advance, carry, jax.random.split(k_steps, 10))
        return carry, (carry[0], jax.vmap(act)(jax.random.split(k_act, EPISODES), carry[1]))

    k_first, k_rounds = jax.random.split(key)
    first = jax.vmap(env.reset)(jax.random.split(k_first, EPISODES))
    return lax.scan(some, first, jax.random.split(k_rounds, rounds))[1]


def one_step_errors(env: Brax, states: EnvState, actions: Array) -> dict[str, Errors]:
    """Largest absolute error of a coordinate of (q, qd) after one step from each state, by engine."""
    truth = _exact(env, states, actions)
    errors = {}
    for engine, one in by_engine(env).items():
        after = jax.jit(jax.vmap(one.step, (None, 0, 0)))(jax.random.key(0), states, actions)[0]
        errors[engine] = np.abs(_coordinates(after.native.pipeline_state) - truth).max(1)
    return errors


def _coordinates(state: Any) -> Errors:
    return np.concatenate([np.asarray(state.q, np.float64), np.asarray(state.qd, np.float64)], 1)


def _exact(env: Brax, states: EnvState, actions: Array) -> Errors:
    with jax.enable_x64(True):
        simulator = copy.copy(env.native)
        simulator.sys = jax.tree.map(_double, simulator.sys)
        state, action = jax.tree.map(_double, (states.native, jnp.clip(actions, -1, 1)))
        step = jax.jit(lambda s, a: lax.map(lambda sa: simulator.step(*sa).pipeline_state, (s, a), batch_size=100))
        return _coordinates(step(state, action))


def _double(x: Any) -> Any:
    is_single = getattr(x, "dtype", None) == np.float32
    return jnp.asarray(np.asarray(x), jnp.float64) if is_single else x


def returns_by_engine(dataset: DistilledDataset, num_policies: int, num_episodes: int) -> dict[str, Errors]:
    """Returns of whole episodes by engine: of the same policies, cloned from a dataset for Brax, with the same keys."""
    policies = [train_policy(dataset, seed) for seed in range(num_policies)]
    keys = jax.random.split(jax.random.key(1), num_policies)
    returns = {}
    task: Any = dataset.environment
    for engine, env in by_engine(task).items():

        @jax.jit
        def play(params: Params, key: Array, env: Brax = env) -> Array:
            return rollout(key, env, dataclasses.replace(policies[0], params=params).act, num_episodes).returns

        returns[engine] = np.concatenate([play(p.params, key) for p, key in zip(policies, keys, strict=True)])
    return returns


def mujoco_rate(env: Brax, seconds: float = 1.0) -> float:
    """Environment steps of MuJoCo's own C code per CPU-second: as many of its steps as Brax makes; other physics."""
    import mujoco

    model = env.native.sys.mj_model
    data = mujoco.MjData(model)
    rng = np.random.default_rng(0)
    steps, began = 0, time.process_time()
    while time.process_time() - began < seconds:
        if steps % 100 == 0:
            mujoco.mj_resetData(model, data)
        data.ctrl[:] = rng.uniform(-1, 1, model.nu)
        mujoco.mj_step(model, data, env.native._n_frames)
        steps += 1
    return steps / (time.process_time() - began)


def rates_table(rates: Mapping[str, Rates], anchors: Mapping[str, float]) -> str:
    """Thousands of steps per CPU-second by task, batch and engine, in Markdown."""
    rows = [
        [
            task,
            str(batch),
            *(f"{found.per_cpu_second[engine, batch] / 1e3:.1f}" for engine in ("xla", "native")),
            f"{found.ratio(batch):.1f}",
            f"{anchors[task] / 1e3:.1f}",
        ]
        for task, found in rates.items()
        for batch in sorted({batch for _, batch in found.per_cpu_second})
    ]
    return markdown_table(["task", "batch", "xla", "native", "native / xla", "MuJoCo in C"], rows)


def returns_table(returns: Mapping[str, Mapping[str, Errors]]) -> str:
    """Means with standard errors by dataset and engine, and episodes below half of XLA's mean, in Markdown.

    The last columns tell whether the engines differ: the distance of the means in standard errors, and the probability
    of so different numbers of failures where there is no difference (Fisher's exact test).
    """
    rows = []
    for name, found in returns.items():
        native, xla = found["native"], found["xla"]
        failures = [int((r < xla.mean() - abs(xla.mean()) / 2).sum()) for r in (native, xla)]
        spread = [float(r.std(ddof=1) / np.sqrt(r.size)) for r in (native, xla)]
        distance = abs(float(native.mean() - xla.mean())) / max(math.hypot(*spread), 1e-12)
        p = fisher_exact([[f, r.size - f] for f, r in zip(failures, (native, xla), strict=True)]).pvalue
        means = [f"{r.mean():.1f} ± {e:.1f}" for r, e in zip((native, xla), spread, strict=True)]
        rows.append([name, str(xla.size), *means, f"{distance:.2f}", *map(str, failures), f"{p:.2f}"])
    heads = ["dataset", "episodes", "native", "xla", "standard errors apart", "failures", "by xla", "p"]
    return markdown_table(heads, rows)


def errors_table(errors: Mapping[str, Mapping[str, Errors]]) -> str:
    """Quantiles of the errors of one step by task, as native (XLA) and their largest ratio, in Markdown."""
    rows = []
    for task, found in errors.items():
        native, xla = (np.quantile(found[engine], QUANTILES) for engine in ("native", "xla"))
        cells = [f"{n:.1e} ({x:.1e})" for n, x in zip(native, xla, strict=True)]
        rows.append([task, f"{len(found['xla']):,}", *cells, f"{(native / xla).max():.2f}"])
    heads = ["task", "states", *(f"{q:.1%}".replace(".0%", "%") for q in QUANTILES), "largest ratio"]
    return markdown_table(heads, rows)
