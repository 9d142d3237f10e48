"""One generation: shared inits and episodes, no key that depends on chunks, and NaN that poisons nothing."""

import dataclasses

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hades.algorithms.distilling import for_report
from hades.algorithms.keys import Purpose, Stream, indexed_keys, purpose_key, stream_key
from hades.environments.point import Point
from hades.errors import ConfigError
from hades.fitness.episodic_return import EpisodicReturn
from hades.inner.identity import Identity
from hades.inner.init_scheme import FixedInit, RandomInit
from hades.normalizers.constant import ConstantNormalizer
from hades.normalizers.running import RunningNormalizer
from hades.outer.base import OuterOptimizer
from hades.outer.open_es import OpenES
from hades.outer.snes import SNES
from hades.policies.mlp import MLP
from hades.types import Moments
from tests.algorithms.search import FirstKernel, FirstNumber, run, score
from tests.support import CLONING, EVOLUTION, POINT, one_device_mesh, run_python

KEY = jax.random.key(11)
CHUNKS = [
    pytest.param(4, 0, marks=pytest.mark.slow),  # the others have chunks of both
    (2, 4),
    (6, 3),  # three does not divide the eight candidates
]


@pytest.fixture(scope="module")
def whole():
    """A run without chunks."""
    return run(EVOLUTION, KEY, 6)


@pytest.mark.parametrize(("learn", "rollout"), CHUNKS)
def test_chunks_change_no_key(whole, learn, rollout):
    state, metrics = whole
    chunked = dataclasses.replace(EVOLUTION, learn_batch=learn, rollout_batch=rollout)
    other_state, other_metrics = run(chunked, KEY, 6)
    for name in ("fitness/mean", "fitness/std", "population/loss/final"):
        np.testing.assert_allclose(other_metrics[name], metrics[name], rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(other_metrics["env_steps"], metrics["env_steps"])
    np.testing.assert_allclose(other_state.outer.mean, state.outer.mean, atol=1e-5)
    assert np.ptp(metrics["fitness/mean"]) > 0.01


def test_chunks_hold_whole_antithetic_pairs():
    paired = dataclasses.replace(EVOLUTION, outer=SNES(population_size=8, antithetic=True))
    (_, whole), (_, chunked) = (run(dataclasses.replace(paired, rollout_batch=n), KEY, 2) for n in (0, 4))
    np.testing.assert_allclose(chunked["fitness/mean"], whole["fitness/mean"], rtol=1e-5)
    np.testing.assert_allclose(chunked["fitness/std"], whole["fitness/std"], rtol=1e-4)


def test_a_generation_counts_and_reports(whole):
    state, metrics = whole
    assert (int(state.generation), int(state.failures)) == (6, 0)
    chex.assert_trees_all_equal(state.key, KEY)
    np.testing.assert_array_equal(metrics["env_steps"], 8 * 2 * 2 * 4)  # candidates, inits, episodes, steps
    np.testing.assert_array_equal(metrics["episodes"], 8 * 2 * 2)
    np.testing.assert_array_equal(metrics["fitness/nonfinite"], 0)
    np.testing.assert_array_equal(metrics["fitness/tied"], 0)
    np.testing.assert_allclose(metrics["outer/sigma_ratio"], metrics["outer/sigma"] / EVOLUTION.outer.sigma, rtol=1e-6)
    assert (metrics["fitness/min"] < metrics["fitness/mean"]).all()
    assert (metrics["fitness/mean"] < metrics["fitness/max"]).all()
    np.testing.assert_allclose(metrics["population/return"], metrics["fitness/mean"], rtol=1e-5)
    chex.assert_tree_all_finite(metrics)


def test_a_report_measures_all_pairs_of_a_nested_dataset():
    nested = dataclasses.replace(EVOLUTION, learner=dataclasses.replace(EVOLUTION.learner, prefixes=(1, 3)))
    assert for_report(nested) == for_report(EVOLUTION) == EVOLUTION != nested


def test_runs_are_deterministic_in_the_key(whole):
    again, other = (run(EVOLUTION, key, 6) for key in (KEY, jax.random.key(12)))
    chex.assert_trees_all_equal(again, whole)
    assert not np.allclose(other[0].outer.mean, again[0].outer.mean)


def test_equal_genomes_of_a_generation_get_equal_fitness(whole, mesh):
    state = whole[0]
    population = jax.random.normal(KEY, (8, 9)).at[5].set(jnp.arange(9.0)).at[2].set(jnp.arange(9.0))
    scores = jax.jit(lambda key: EVOLUTION._scores(key, population, state, mesh).value)
    first, later = (np.asarray(scores(stream_key(KEY, Stream.SEARCH, generation))) for generation in (0, 1))
    assert first[5] == pytest.approx(first[2], rel=1e-6)
    assert later[5] == pytest.approx(later[2], rel=1e-6)
    assert len(np.unique(first.round(4))) == 7
    assert later[5] != pytest.approx(first[5], rel=1e-3)


@pytest.mark.parametrize("scheme", [FixedInit(), RandomInit(2)], ids=["HaDES-F", "HaDES-R"])
def test_hades_f_keeps_its_initial_policy_and_hades_r_draws_new_ones(scheme):
    learner = dataclasses.replace(CLONING, init_scheme=scheme, num_updates=0)
    evolution = dataclasses.replace(EVOLUTION, learner=learner, fitness=FirstKernel())
    _, metrics = run(evolution, KEY, 3)
    expected = []
    for generation in range(3):
        keys = indexed_keys(purpose_key(stream_key(KEY, Stream.SEARCH, generation), Purpose.INITS), scheme.num_inits)
        inits = [learner.init_params(key, POINT.spec)["layers_0"]["kernel"].sum() for key in keys]
        expected.append(np.mean(inits))
    np.testing.assert_allclose(metrics["fitness/mean"], expected, rtol=1e-4)
    np.testing.assert_allclose(metrics["fitness/std"], 0.0, atol=1e-5)  # shared by all candidates
    assert (np.ptp(expected) == 0.0) == (scheme == FixedInit())


@pytest.fixture(scope="module")
def first_number():
    """A search for a small first number, its first state, and a compiled generation."""
    outer = OpenES(population_size=8, sigma=0.5, shaping="raw")  # passes on whatever is not a number
    evolution = dataclasses.replace(
        EVOLUTION, outer=outer, fitness=FirstNumber(), normalizer=ConstantNormalizer(episodes=2)
    )
    return evolution, jax.jit(evolution.init)(KEY), jax.jit(lambda s: evolution.step(s, one_device_mesh()))


def test_a_candidate_that_is_not_a_number_ranks_last_and_is_counted(first_number):
    evolution, state, step = first_number
    next_state, metrics = step(state)
    key = stream_key(KEY, Stream.SEARCH, 0)
    population, asked = evolution.outer.ask(purpose_key(key, Purpose.ASK), state.outer)
    genomes = evolution.outer.candidates(asked, population)
    fitness = np.array([float(evolution.unravel(genome).observations[0, 0]) for genome in genomes])
    bad = fitness > 0
    assert 1 < bad.sum() < 7
    usable = np.where(bad, fitness[~bad].min(), fitness)
    expected, _ = evolution.outer.tell(
        purpose_key(key, Purpose.TELL), asked, population, jnp.asarray(usable, jnp.float32)
    )
    np.testing.assert_allclose(next_state.outer.mean, expected.mean, atol=1e-5)
    assert metrics["fitness/nonfinite"] == bad.sum()
    np.testing.assert_allclose(metrics["fitness/mean"], fitness[~bad].mean(), rtol=1e-5)
    np.testing.assert_allclose(metrics["fitness/max"], fitness[~bad].max(), rtol=1e-5)
    assert next_state.failures == 0


def test_a_generation_without_any_number_leaves_the_search_as_it_is_and_is_counted(first_number):
    _, state, step = first_number
    first = state.replace(outer=state.outer.replace(mean=state.outer.mean + 100.0))  # no candidate is a number here
    second, metrics = step(first)
    third, _ = step(second)
    chex.assert_trees_all_equal((third.outer, third.normalizer), (first.outer, first.normalizer))
    assert [int(s.failures) for s in (first, second, third)] == [0, 1, 2]
    assert [int(s.generation) for s in (first, second, third)] == [0, 1, 2]
    assert metrics["fitness/nonfinite"] == 8
    assert np.isnan(metrics["fitness/mean"])
    assert np.isnan(metrics["fitness/max"])
    recovered, _ = step(third.replace(outer=state.outer))
    assert recovered.failures == 0
    chex.assert_tree_all_finite(recovered.outer)
    assert not np.allclose(recovered.outer.mean, state.outer.mean)


def test_a_running_normaliser_counts_every_observation_of_a_generation():
    evolution = dataclasses.replace(EVOLUTION, normalizer=RunningNormalizer(episodes=3))
    state, metrics = run(evolution, KEY, 2)
    np.testing.assert_allclose(state.normalizer.moments.count, 3 * 4 + np.sum(metrics["env_steps"]))
    np.testing.assert_allclose(state.normalizer.std, np.sqrt(state.normalizer.moments.variance), rtol=1e-5)


@dataclasses.dataclass(frozen=True)
class Told(EpisodicReturn):
    """Moments that the first number of the dataset decides, and a fitness that is finite where `measured` is true.

    The mean is `huge` where the first number is positive, else the number itself.
    """

    huge: float = 3e19
    measured: bool = True

    def __call__(self, key, env, act, candidate, *, with_moments=False):
        first = candidate.genome.observations[0, 0]
        value = jnp.where((first > 0) & (not self.measured), jnp.nan, first)
        rows = jnp.stack([jnp.where(first > 0, self.huge, first), first])[None] + jnp.zeros((3, 1))
        rows = rows.at[0].add(jnp.where(first > 0, self.huge, 0.0) * jnp.asarray([1.0, 0.0]))
        return score(value).replace(moments=Moments.of(rows, jnp.ones(3, bool)))


@pytest.fixture(scope="module", params=["moments", "fitness"])
def told(request):
    """One generation in which some candidates have moments, or a fitness, that are not finite."""
    fitness = Told() if request.param == "moments" else Told(huge=100.0, measured=False)
    evolution = dataclasses.replace(EVOLUTION, normalizer=RunningNormalizer(episodes=3), fitness=fitness)
    state = jax.jit(evolution.init)(KEY)
    asked, outer = evolution.outer.ask(purpose_key(stream_key(KEY, Stream.SEARCH, 0), Purpose.ASK), state.outer)
    genomes = evolution.outer.candidates(outer, asked)
    first = np.array([float(evolution.unravel(genome).observations[0, 0]) for genome in genomes])
    return state, first, jax.jit(lambda s: evolution.step(s, one_device_mesh()))(state)


def test_moments_of_a_candidate_that_is_not_finite_are_left_out_and_counted(told):
    state, first, (after, metrics) = told
    bad = first > 0
    assert 0 < bad.sum() < 8
    assert (metrics["normalizer/rejected"], metrics["normalizer/refused"]) == (bad.sum(), 0)
    before = state.normalizer.moments
    inits = EVOLUTION.num_inits
    np.testing.assert_allclose(after.normalizer.moments.count, before.count + 3 * inits * (~bad).sum())
    expected = (before.mean * before.count + 3 * inits * first[~bad].sum()) / after.normalizer.moments.count
    np.testing.assert_allclose(after.normalizer.mean, expected, rtol=1e-4)
    assert after.failures == 0


@dataclasses.dataclass(frozen=True)
class Blind(RunningNormalizer):
    """Its statistics never stay finite."""

    def update(self, state, moments):
        return state.replace(mean=state.mean + 1.0, std=state.std * jnp.inf)


def test_statistics_that_would_not_be_finite_are_refused_and_shown():
    evolution = dataclasses.replace(EVOLUTION, normalizer=Blind(episodes=3))
    state, metrics = run(evolution, KEY, 2)
    chex.assert_trees_all_equal(state.normalizer, jax.jit(evolution.init)(KEY).normalizer)
    np.testing.assert_array_equal(metrics["normalizer/refused"], 1)
    np.testing.assert_array_equal(metrics["normalizer/rejected"], 0)
    assert state.failures == 0


def test_a_normaliser_that_asks_for_no_moments_reports_none(whole):
    assert not [name for name in whole[1] if name.startswith("normalizer/")]


@dataclasses.dataclass(frozen=True)
class BrokenBehindTheEnd(Point):
    """Episodes of one or more steps; whatever is seen after their end is not a number."""

    radius: float = 0.5

    def step(self, key, state, action):
        over = jnp.abs(state[1] - state[0]) < self.radius
        state, step = super().step(key, state, action)
        return state, step.replace(obs=jnp.where(over & (state[2] > 1), jnp.nan, step.obs))


def test_what_is_seen_behind_the_end_of_an_episode_does_not_count():
    normalizer = RunningNormalizer(episodes=16)
    evolution = dataclasses.replace(
        EVOLUTION, environment=BrokenBehindTheEnd(max_episode_steps=6), normalizer=normalizer
    )
    state, metrics = run(evolution, KEY, 3)
    chex.assert_tree_all_finite(state.normalizer)
    np.testing.assert_array_equal(metrics["normalizer/rejected"], 0)
    assert (state.failures, metrics["fitness/nonfinite"].sum()) == (0, 0)


@dataclasses.dataclass(frozen=True)
class Drawing(OuterOptimizer):
    """A random search that draws from a key in its own state."""

    population_size: int = 8

    def init(self, key, mean, unravel):
        return {"key": key, "mean": mean}

    def ask(self, key, state):
        k_next, k_draw = jax.random.split(state["key"])
        noise = jax.random.normal(k_draw, (self.population_size, state["mean"].size))
        return state["mean"] + noise, state | {"key": k_next}

    def tell(self, key, state, population, fitness):
        return {"key": jax.random.split(state["key"])[0], "mean": population[jnp.argmax(fitness)]}, {}

    def solution(self, state):
        return state["mean"]


@pytest.fixture(scope="module")
def drawing():
    evolution = dataclasses.replace(
        EVOLUTION, outer=Drawing(), fitness=FirstNumber(), normalizer=ConstantNormalizer(episodes=2)
    )
    return jax.jit(evolution.init)(KEY), jax.jit(lambda s: evolution.step(s, one_device_mesh()))


def test_a_key_in_the_state_of_an_outer_optimiser_advances(drawing):
    first, step = drawing
    second, _ = step(first)
    expected = first.outer["key"]
    for _ in range(2):  # once to ask and once to tell
        expected = jax.random.split(expected)[0]
    chex.assert_trees_all_equal(second.outer["key"], expected)
    chex.assert_trees_all_equal(second.key, KEY)


def test_a_key_of_an_outer_optimiser_stays_where_no_fitness_is_finite(drawing):
    first, step = drawing
    first = first.replace(outer=first.outer | {"mean": first.outer["mean"] + 100.0})
    second, _ = step(first)
    assert second.failures == 1
    chex.assert_trees_all_equal((second.outer, second.key), (first.outer, KEY))


def test_policies_see_normalised_observations():
    """A constant shift of all observations, undone by the normaliser, changes nothing."""

    @dataclasses.dataclass(frozen=True)
    class Shifted(Point):
        def reset(self, key):
            state, obs = super().reset(key)
            return state, obs + 100.0

        def step(self, key, state, action):
            state, step = super().step(key, state, action)
            return state, step.replace(obs=step.obs + 100.0)

    plain = dataclasses.replace(EVOLUTION, normalizer=ConstantNormalizer(mean=(0.0, 0.0), std=(1.0, 1.0)))
    shifted = dataclasses.replace(
        EVOLUTION,
        environment=Shifted(max_episode_steps=4),
        normalizer=ConstantNormalizer(mean=(100.0, 100.0), std=(1.0, 1.0)),
    )
    curves = [run(evolution, KEY, 3)[1]["fitness/mean"] for evolution in (plain, shifted)]
    np.testing.assert_allclose(*curves, atol=1e-3)


def test_a_population_that_the_devices_cannot_share_is_refused():
    mesh = jax.sharding.AbstractMesh((3,), ("population",))
    with pytest.raises(ConfigError, match=r"population_size 8.*3 devices.*\b9\b"):
        jax.eval_shape(lambda k: EVOLUTION.step(EVOLUTION.init(k), mesh), KEY)


def test_more_steps_than_the_counter_holds_are_refused():
    with pytest.raises(ConfigError, match=r"3,200,000,000.*int32"):
        dataclasses.replace(EVOLUTION, fitness=EpisodicReturn(50_000_000))


def test_components_that_do_not_fit_are_refused_at_construction():
    with pytest.raises(ConfigError, match=r"MSE.*Box.*point-discrete.*Discrete\(n=3\)"):
        dataclasses.replace(EVOLUTION, environment=Point(discrete=True))


def test_evaluations_of_an_init_do_not_depend_on_how_many_there_are(whole):
    solution = EVOLUTION.solution(whole[0])
    few, many = (jax.jit(lambda s, n=n: EVOLUTION.evaluate(KEY, s, n, 3))(solution) for n in (2, 4))
    assert many.returns.shape == many.lengths.shape == (4, 3)
    np.testing.assert_allclose(few.returns, many.returns[:2], rtol=1e-4)
    assert len(np.unique(many.returns)) == 12
    assert (many.lengths == 4).all()
    assert many.metrics["loss/final"].shape == (4,)


def test_direct_es_evaluates_its_one_policy(mesh):
    evolution = dataclasses.replace(EVOLUTION, learner=Identity(MLP(width=4, depth=1, acting="greedy")))
    state, metrics = run(evolution, KEY, 2)
    chex.assert_tree_all_finite(metrics)
    solution = evolution.solution(state)
    evaluation = jax.jit(lambda s: evolution.evaluate(KEY, s, 3, 2))(solution)
    assert evaluation.returns.shape == (3, 2)
    act = evolution.policy(KEY, solution)
    expected = evolution.learner.policy.act(KEY, solution.genome, jnp.ones(2), POINT.spec)
    np.testing.assert_array_equal(act(KEY, jnp.ones(2)), expected)


def test_the_policy_is_cloned_from_the_solution(whole):
    solution = EVOLUTION.solution(whole[0])
    params = CLONING.init_params(purpose_key(KEY, Purpose.INITS), POINT.spec)
    dataset = CLONING.dataset(solution.genome, POINT.spec)
    params, _ = jax.jit(lambda p: CLONING.clone(purpose_key(KEY, Purpose.LEARN), dataset, p, POINT.spec))(params)
    expected = CLONING.policy.act(KEY, params, jnp.ones(2), POINT.spec)
    act = jax.jit(lambda s: EVOLUTION.policy(KEY, s)(KEY, jnp.ones(2)))
    np.testing.assert_allclose(act(solution), expected, rtol=1e-4)


@pytest.mark.system
def test_initialising_many_wide_policies_does_not_hang():
    """A vmapped orthogonal initialisation waits for ever on a CPU of few cores (batched QR)."""
    code = """
import dataclasses, jax, json
from hades.environments.gymnax import Gymnax
from hades.inner.init_scheme import RandomInit
from hades.policies.mlp import MLP
from tests.support import CLASSIFYING, EVOLUTION
env = Gymnax("Catch-bsuite", params={"max_steps_in_episode": 2})  # 50 inputs and 3 outputs: small ones do not hang
learner = dataclasses.replace(CLASSIFYING, policy=MLP(width=512), init_scheme=RandomInit(4), num_updates=1)
evolution = dataclasses.replace(EVOLUTION, environment=env, learner=learner)
evaluate = jax.jit(lambda k: evolution.evaluate(k, evolution.solution(evolution.init(k)), 4, 1))
print(json.dumps(evaluate(jax.random.key(0)).returns.tolist()))
"""
    assert np.isfinite(run_python(code, timeout=120.0)).all()


@dataclasses.dataclass(frozen=True)
class Spoiled(Identity):
    """Direct ES whose policies have, where their first number is positive, a weight or a loss that is not finite."""

    what: str = "weight"

    def learn(self, key, genome, params, spec):
        bad = genome["layers_0"]["bias"][0] > 0
        if self.what == "loss":
            return genome, {"loss/final": jnp.where(bad, jnp.inf, 0.0)}
        return genome | {"unused": jnp.where(bad, jnp.nan, 0.0)}, {}


@pytest.mark.parametrize("what", ["weight", "loss"])
def test_a_policy_with_a_weight_or_a_loss_that_is_not_finite_earns_nothing(what, mesh):
    learner = Spoiled(policy=MLP(width=2, depth=1, acting="greedy"), what=what)
    evolution = dataclasses.replace(
        EVOLUTION, environment=Point(discrete=True, max_episode_steps=4), learner=learner, outer=SNES(population_size=8)
    )
    state = evolution.init(KEY)
    population = jax.random.normal(KEY, (8, state.outer.mean.size))
    scores = jax.jit(lambda p: evolution._scores(KEY, p, state, mesh).value)(population)
    bad = np.array([float(evolution.unravel(row)["layers_0"]["bias"][0]) > 0 for row in population])
    assert 0 < bad.sum() < 8
    np.testing.assert_array_equal(np.isnan(scores), bad)
    evaluate = jax.jit(lambda s: evolution.evaluate(KEY, s, 1, 2).returns)
    for row, is_bad in zip(population, bad, strict=True):
        solution = dataclasses.replace(evolution.solution(state), genome=evolution.unravel(row))
        assert np.isnan(evaluate(solution)).all() == is_bad


@dataclasses.dataclass(frozen=True)
class Overshooting(Drawing):
    """A search that becomes infinite with its second update; a number in its state is infinite from the start."""

    def init(self, key, mean, unravel):
        return super().init(key, mean, unravel) | {"best": jnp.inf, "updates": jnp.zeros(())}

    def tell(self, key, state, population, fitness):
        told, metrics = super().tell(key, state, population, fitness)
        updates = state["updates"] + 1
        return told | {"best": fitness.max(), "updates": jnp.where(updates > 1, jnp.inf, updates)}, metrics


def test_an_update_that_makes_the_search_infinite_is_dropped_and_counted():
    evolution = dataclasses.replace(EVOLUTION, outer=Overshooting())
    step = jax.jit(lambda s: evolution.step(s, one_device_mesh()))
    once, _ = step(jax.jit(evolution.init)(KEY))
    twice, _ = step(once)
    state, metrics = step(twice)
    assert (int(state.generation), int(once.failures), int(state.failures)) == (3, 0, 2)
    chex.assert_trees_all_equal(state.outer, once.outer)
    assert metrics["fitness/nonfinite"] == 0


def test_a_candidate_with_an_infinite_reward_is_counted_apart():
    @dataclasses.dataclass(frozen=True)
    class Rewarding(Point):
        def step(self, key, state, action):
            state, step = super().step(key, state, action)
            return state, step.replace(reward=jnp.where(state[0] > state[1], jnp.inf, step.reward))

    _, metrics = run(dataclasses.replace(EVOLUTION, environment=Rewarding(max_episode_steps=4)), KEY, 1)
    assert 0 < metrics["fitness/infinite"][0] <= metrics["fitness/nonfinite"][0]
