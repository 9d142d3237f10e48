"""Time of a generation: the whole against cloning, policy inference and environment steps, each alone.

All four are measured in turn within one process, so that their ratio holds on a shared machine.
"""

import dataclasses
import resource
import statistics
import time
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.sharding import Mesh

from hades.algorithms.evolution import Evolution, EvolutionState
from hades.algorithms.keys import indexed_keys
from hades.algorithms.playing import apply_in_chunks, chunk_size, map_chunks, sequential
from hades.contracts import single_precision
from hades.environments.base import EnvState
from hades.errors import ConfigError
from hades.runs.mesh import make_mesh
from hades.types import ActFn, Discrete, Key, Params, PyTree


@dataclasses.dataclass(frozen=True)
class Costs:
    """Median seconds of a generation and of its parts, and what it did."""

    generation: float
    cloning: float
    inference: float
    environment: float
    compile: float
    cpu_seconds: float
    env_steps: int
    executed_steps: int
    peak_rss_mib: float

    @property
    def ratio(self) -> float:
        """The generation over the sum of its parts."""
        return self.generation / (self.cloning + self.inference + self.environment)

    def __str__(self) -> str:
        parts = self.cloning + self.inference + self.environment
        return (
            f"generation {self.generation:.2f} s = {self.ratio:.2f} × ({self.cloning:.2f} cloning + "
            f"{self.inference:.2f} inference + {self.environment:.2f} environment = {parts:.2f} s); "
            f"{self.env_steps:,} live of {self.executed_steps:,} executed environment steps, "
            f"{self.env_steps / self.generation / 1e3:.0f} k steps/s, "
            f"{self.env_steps / self.cpu_seconds / 1e3:.1f} k steps per CPU-second; compile {self.compile:.1f} s"
        )


@single_precision
def generation_costs(algorithm: Evolution, repeats: int = 5, warm_up: int = 0) -> Costs:
    """Measure a generation, and as many live environment steps, actions and clonings as it has, each alone.

    Steps that a rollout executes after an episode has ended, because others of its batch have not, are overhead of the
    generation and no part of what it is compared with. With a WindowedReturn there are none. Of a sum of several terms
    that play, the first one's share of live steps counts for all.

    Raises:
        ConfigError: for a fitness that plays no episodes.
    """
    num_envs = algorithm.fitness.parallel_episodes(algorithm.spec)
    if not num_envs:
        raise ConfigError(
            f"{type(algorithm.fitness).__name__} plays no episodes, so there are no environment steps to measure: give "
            "the benchmark a fitness that plays, such as EpisodicReturn."
        )
    mesh = make_mesh()
    state = jax.jit(lambda: algorithm.init(jax.random.key(0)))()
    began = time.monotonic()
    step = jax.jit(lambda s: algorithm.step(s, mesh)).lower(state).compile()
    seconds_to_compile = time.monotonic() - began
    if warm_up:
        state = jax.block_until_ready(jax.jit(lambda s: _advance(algorithm, mesh, s, warm_up))(state))
    metrics = step(state)[1]
    env_steps = int(metrics["env_steps"])
    executed = round(env_steps / float(metrics.get("population/live_share", 1.0)))
    num_steps = -(-env_steps // (algorithm.outer.population_size * algorithm.num_inits * num_envs))
    peak = (
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    )  # of compiling and one generation, not of its parts
    key = jax.random.key(1)
    rows, asked = algorithm.outer.ask(key, state.outer)
    population = algorithm.outer.candidates(asked, rows)
    functions: dict[str, Callable[[], PyTree]] = {
        "generation": lambda: step(state),
        "cloning": _bound(jax.jit(lambda p: _clone(algorithm, key, p)), population),
        "inference": _bound(jax.jit(lambda k: _infer(algorithm, k, num_envs, num_steps)), key),
        "environment": _bound(jax.jit(lambda k: _play(algorithm, k, num_envs, num_steps)), key),
    }
    seconds = median_seconds(functions, repeats)
    return Costs(
        **{name: wall for name, (wall, _) in seconds.items()},
        compile=seconds_to_compile,
        cpu_seconds=seconds["generation"][1],
        env_steps=env_steps,
        executed_steps=executed,
        peak_rss_mib=peak,
    )


def median_seconds(functions: Mapping[str, Callable[[], PyTree]], repeats: int) -> dict[str, tuple[float, float]]:
    """Median wall and processor seconds of each function, called in turn `repeats` times after a first call."""
    for function in functions.values():
        jax.block_until_ready(function())
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in functions}
    for _ in range(repeats):
        for name, function in functions.items():
            cpu, wall = time.process_time(), time.monotonic()
            jax.block_until_ready(function())
            times[name].append((time.monotonic() - wall, time.process_time() - cpu))
    return {name: tuple(map(statistics.median, zip(*pairs, strict=True))) for name, pairs in times.items()}


def _bound(function: Callable[[PyTree], PyTree], argument: PyTree) -> Callable[[], PyTree]:
    return lambda: function(argument)


def _policies(algorithm: Evolution, key: Key) -> tuple[Params, int]:
    """The largest chunk of policies, k stacked outside chunk, and the number of chunks."""
    size, count = algorithm.outer.population_size, algorithm.num_inits
    chunk = chunk_size(size, algorithm.rollout_batch)
    inits = sequential(lambda k: algorithm.learner.init_params(k, algorithm.spec), indexed_keys(key, count))
    stacked = jax.tree.map(lambda x: jnp.broadcast_to(x[:, None], (count, chunk, *x.shape[1:])) + 0.0, inits)
    return stacked, -(-size // chunk)


def _clone(algorithm: Evolution, key: Key, population: Array) -> Array:
    """Every network of a generation; a number that depends on all of their weights."""
    count, learner = algorithm.num_inits, algorithm.learner
    inits = sequential(lambda k: learner.init_params(k, algorithm.spec), indexed_keys(key, count))
    keys = indexed_keys(key, count)

    def one(genome: Array) -> Array:
        trained = jax.vmap(lambda k, p: learner.learn(k, algorithm.unravel(genome), p, algorithm.spec)[0])(keys, inits)
        return jnp.stack([leaf.sum() for leaf in jax.tree.leaves(trained)]).sum()

    return map_chunks(one, population, max(1, algorithm.learn_batch // count) if algorithm.learn_batch else 0)


def _infer(algorithm: Evolution, key: Key, num_envs: int, num_steps: int) -> Array:
    """Infer as many actions as a generation takes, on observations that change a little each time.

    A few more where the last chunk of a generation is smaller than the others.
    """
    spec, policy = algorithm.spec, algorithm.learner.policy
    params, chunks = _policies(algorithm, key)
    obs = jax.random.normal(key, (*jax.tree.leaves(params)[0].shape[:2], num_envs, *spec.obs_shape))

    def act(params: Params, obs: Array, key: Key) -> Array:
        action = policy.act(key, params, obs, spec)
        drift = action if isinstance(spec.action_space, Discrete) else action.sum(-1)
        return obs + 1e-6 * drift.reshape(drift.shape + (1,) * len(spec.obs_shape))

    def step(obs: Array, t: Array) -> tuple[Array, None]:
        return jax.vmap(jax.vmap(act, in_axes=(0, 0, None)), in_axes=(0, 0, None))(
            params, obs, jax.random.fold_in(key, t)
        ), None

    return lax.map(lambda i: lax.scan(step, obs + i, jnp.arange(num_steps))[0].sum(), jnp.arange(chunks, dtype=float))


def _play(algorithm: Evolution, key: Key, num_envs: int, num_steps: int) -> Array:
    """A generation's live environment steps with an action that costs nothing but looks at the observation.

    No environment begins anew where an episode ends: resets are not part of the figure.
    """
    spec, env = algorithm.spec, algorithm.environment
    size, count = algorithm.outer.population_size, algorithm.num_inits

    def act_for(offset: Array) -> ActFn:
        def act(key: Key, obs: Array) -> Array:
            del key
            total = jnp.abs(obs).sum() + offset
            if isinstance(spec.action_space, Discrete):
                return total.astype(jnp.int32) % spec.action_space.n
            return jnp.full(spec.action_space.size, jnp.sin(total))

        return act

    def one(key: Key, offset: Array) -> Array:
        act, keys = act_for(offset), indexed_keys(key, num_envs)

        def advance(carry: tuple[EnvState, Array], t: Array) -> tuple[tuple[EnvState, Array], Array]:
            state, obs = carry
            k_step = jax.vmap(jax.random.fold_in, in_axes=(0, None))(keys, t)
            state, step = jax.vmap(env.step)(k_step, state, jax.vmap(act)(keys, obs))
            return (state, step.obs), step.reward.sum()

        return lax.scan(advance, jax.vmap(env.reset)(keys), jnp.arange(num_steps))[1].sum()

    play = jax.vmap(jax.vmap(one, in_axes=(None, 0)), in_axes=(0, None), out_axes=1)
    offsets = jnp.arange(size, dtype=jnp.float32)
    return apply_in_chunks(lambda some: play(indexed_keys(key, count), some), offsets, algorithm.rollout_batch)


def _advance(algorithm: Evolution, mesh: Mesh, state: EvolutionState, generations: int) -> EvolutionState:
    return lax.fori_loop(0, generations, lambda _, s: algorithm.step(s, mesh)[0], state)
