"""Every configuration that cannot run is refused at construction, with the value and the remedy named."""

import dataclasses

import jax
import jax.numpy as jnp
import pytest

from hades.environments.gymnax import Gymnax
from hades.environments.point import Point
from hades.errors import ConfigError, HadesError, offer
from hades.fitness.episodic_return import EpisodicReturn
from hades.fitness.weighted_sum import WeightedSum
from hades.fitness.windowed_return import WindowedReturn
from hades.inner.init_scheme import FixedInit, RandomInit
from hades.inner.losses import Huber
from hades.normalizers.constant import ConstantNormalizer
from hades.normalizers.running import RunningNormalizer
from hades.optimizers import check_optimizer, make_optimizer, optimizer_names
from hades.outer.evosax import Evosax
from hades.outer.open_es import OpenES
from hades.outer.snes import SNES
from hades.policies.cnn import CNN
from hades.policies.mlp import MLP
from tests.support import CLONING


def evolving(option, value, optimizer="adam"):
    """A recipe that evolves one option of its optimiser."""
    return dataclasses.replace(CLONING, optimizer=optimizer, optimizer_options={option: value}, evolve=(option,))


REFUSED = [
    (lambda: Point(max_episode_steps=0), r"Point.max_episode_steps is 0; .* at least 1"),
    (lambda: Gymnax("MNISTBandit-bsuite"), r'"MNISTBandit-bsuite" is not offered: .*downloads MNIST'),
    (lambda: MLP(acting="argmax"), r'MLP.acting is "argmax"; it must be "sample" or "greedy"'),
    (lambda: MLP(activation="tan"), r'"tan". Did you mean "tanh"\? Known: tanh, relu'),
    (lambda: MLP(width=0), r"MLP.width is 0; .*at least 1 and below 2³¹"),
    (lambda: MLP(depth=-1), r"MLP.depth is -1; .*at least 0 and at most 1,000"),
    (lambda: CNN(features=()), r"CNN.features is \(\)"),
    (lambda: CNN(features=(4, 0)), r"CNN.features\[1\] is 0; .*at least 1"),
    (lambda: CNN(width=0), r"CNN.width is 0; .*at least 1"),
    (lambda: CNN(activation="sigmoidal"), r'"sigmoidal".*Known: tanh'),
    (lambda: ConstantNormalizer(mean=(1.0,)), r"mean has 1 numbers and .std has 0; they must match"),
    (lambda: ConstantNormalizer(floor=0.0), r"ConstantNormalizer.floor is 0.0; .*above 0"),
    (lambda: ConstantNormalizer(clip=-1.0), r"clip is -1.0; .*at least 0"),
    (lambda: ConstantNormalizer(episodes=0), r"ConstantNormalizer.episodes is 0; .*at least 1"),
    (lambda: RunningNormalizer(max_count=0.0), r"RunningNormalizer.max_count is 0.0; .*at least 1"),
    (lambda: RunningNormalizer(floor=-0.5), r"RunningNormalizer.floor is -0.5"),
    (lambda: RunningNormalizer(episodes=0), r"RunningNormalizer.episodes is 0"),
    (lambda: RandomInit(0), r"RandomInit.num_inits is 0; .*at least 1"),
    (lambda: FixedInit(key_impl="threefry"), r'key_impl is "threefry". Did you mean "threefry2x32"'),
    (lambda: Huber(0.0), r"Huber.delta is 0.0; .*above 0"),
    (lambda: dataclasses.replace(CLONING, targets="soft"), r'targets is "soft".*Known: evolved, hard, fixed'),
    (lambda: dataclasses.replace(CLONING, start="zero"), r'start is "zero". Did you mean "zeros"'),
    (
        lambda: dataclasses.replace(CLONING, optimizer="adan2"),
        r'BehaviourCloning.optimizer is "adan2".*Did you mean "ada',
    ),
    (
        lambda: dataclasses.replace(CLONING, optimizer_options={"b4": 0.9}),
        r'optimizer_options has "b4", which optax.adam does not take. Did you mean "b.".*Known: b1, b2, eps',
    ),
    (lambda: dataclasses.replace(CLONING, num_pairs=0), r"num_pairs is 0"),
    (lambda: dataclasses.replace(CLONING, num_updates=-1), r"num_updates is -1"),
    (
        lambda: dataclasses.replace(CLONING, pair_weights=(1.0, 2.0)),
        r"BehaviourCloning.pair_weights has 2 entries, but there are 3 pairs: give one for each, or none",
    ),
    (lambda: dataclasses.replace(CLONING, pair_weights=(1.0, -1.0, 1.0)), r"pair_weights.* -1.0; .*at least 0"),
    (lambda: dataclasses.replace(CLONING, pair_weights=(0.0,) * 3), r"pair_weights are all 0: nothing would be learnt"),
    (
        lambda: dataclasses.replace(CLONING, pair_weights=(1.0,) * 3, evolve=("pair_weights",)),
        r'evolve names "pair_weights", which start at 1: leave BehaviourCloning.pair_weights empty',
    ),
    (lambda: dataclasses.replace(CLONING, batch_size=4), r"batch_size is 4, but there are 3 pairs; use 0"),
    (
        lambda: dataclasses.replace(CLONING, evolve=("b1",)),
        r'evolve names "b1".*Known: target_scale, log_std, learning_rate',
    ),
    (lambda: evolving("b1", 1.0), r'evolve names "b1", which is 1.0; .*strictly between 0.0 and 1.0'),
    (lambda: evolving("b1", 0.0), r'evolve names "b1", which is 0.0; .*strictly between 0.0 and 1.0'),
    (lambda: evolving("b1", -0.5), r'evolve names "b1", which is -0.5; .*strictly between 0.0 and 1.0'),
    (lambda: evolving("b1", 1), r'evolve names "b1", which is 1; .*a float strictly between 0.0 and 1.0'),
    (lambda: evolving("nesterov", True), r'evolve names "nesterov", which is True; .*a float'),
    (lambda: evolving("eps", 0.0), r'evolve names "eps", which is 0.0; .*strictly between 0.0 and inf'),
    (lambda: evolving("decay_rate", 1.5, "adafactor"), r'evolve names "decay_rate", which is 1.5; .*0.0 and 1.0'),
    (lambda: evolving("beta", 1.0, "signum"), r'evolve names "beta", which is 1.0; .*0.0 and 1.0'),
    (lambda: evolving("eta_plus", 0.9, "rprop"), r'evolve names "eta_plus", which is 0.9; .*1.0 and inf'),
    (
        lambda: dataclasses.replace(CLONING, learning_rate=0.0, evolve=("learning_rate",)),
        r"BehaviourCloning.learning_rate is 0.0; .*above 0",
    ),
    (lambda: dataclasses.replace(CLONING, span_first_layer=True), r"span_first_layer is exact only .*optimizer adam"),
    (lambda: OpenES(population_size=1), r"OpenES.population_size is 1; .*at least 2"),
    (
        lambda: OpenES(population_size=9),
        r"OpenES.population_size is 9, which is odd.* use 10, or set OpenES.antithetic",
    ),
    (lambda: OpenES(sigma=0.0), r"OpenES.sigma is 0.0; .*above 0"),
    (lambda: OpenES(shaping="ranks"), r'OpenES.shaping is "ranks".*Known: centered_rank, standardized, raw'),
    (lambda: OpenES(optimizer="Adam2"), r'OpenES.optimizer is "Adam2".*Did you mean "adam'),
    (lambda: SNES(population_size=1), r"SNES.population_size is 1"),
    (lambda: SNES(population_size=9, antithetic=True), r"SNES.population_size is 9, which is odd"),
    (lambda: SNES(sigma=-1.0), r"SNES.sigma is -1.0"),
    (lambda: SNES(temperature=-1.0), r"SNES.temperature is -1.0; .*at least 0"),
    (lambda: SNES(pull=1.0), r"SNES.pull is 1.0; it must be at least 0 and below 1"),
    (lambda: Evosax("CMAES"), r'no strategy "CMAES". Did you mean "\w*CMA_ES"\? Known: ARS'),
    (lambda: Evosax("CMA_ES", constructor={"elites": 3}), r'CMA_ES takes no "elites".*Known: '),
    (lambda: Evosax("CMA_ES", constructor={"population_size": 3}), r'CMA_ES takes no "population_size"'),
    (lambda: Evosax("CMA_ES", population_size=1), r"Evosax.population_size is 1"),
    (lambda: Evosax("Open_ES", population_size=9), r"Evosax.population_size is 9, which is odd"),
    (lambda: Evosax("CMA_ES", optimizer="adam"), r"CMA_ES follows no optimizer"),
    (lambda: Evosax("Open_ES", optimizer="adma"), r'Evosax.optimizer is "adma"'),
    (lambda: Evosax("SV_CMA_ES", population_size=9), r"population_size is 9, not divisible by num_populations 2"),
    (lambda: EpisodicReturn(0), r"EpisodicReturn.num_episodes is 0; .*at least 1"),
    (lambda: WindowedReturn(num_envs=0), r"WindowedReturn.num_envs is 0"),
    (lambda: WindowedReturn(num_steps=0), r"WindowedReturn.num_steps is 0"),
    (lambda: WeightedSum((EpisodicReturn(),), ()), r"1 terms and 0 weights; give one weight a term"),
    (lambda: WeightedSum((), ()), r"0 terms"),
    (lambda: MLP(widht=64), r'^MLP has no field "widht"\. Did you mean "width"\? Known: '),  # type: ignore[call-arg]
    (lambda: dataclasses.replace(CLONING, num_points=3), r'no field "num_points"\. It is called num_pairs now\.$'),
    (lambda: MLP(width="64"), r"MLP.width is '64'; it must be an integer"),
    (lambda: MLP(width=64.0), r"MLP.width is 64.0; it must be an integer"),
    (lambda: MLP(True), r"MLP.width is True; it must be an integer"),
    (lambda: SNES(sigma="big"), r"SNES.sigma is 'big'; it must be a number above 0"),
    (lambda: OpenES(antithetic=1), r"OpenES.antithetic is 1; it must be True or False"),
    (lambda: Gymnax(3), r"Gymnax.env_id is 3; it must be a string"),
]


@pytest.mark.parametrize(("make", "message"), REFUSED, ids=[message[:40] for _, message in REFUSED])
def test_it_is_refused_by_name(make, message):
    with pytest.raises(ConfigError, match=message) as caught:
        make()
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 1500


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Evosax("CMA_ES", params={"sigma": 1.0}), r'CMA_ES has no param "sigma".*Known: std_init'),
        (
            lambda: Evosax("LM_MA_ES", population_size=64),
            r"population_size 64 and 4 coordinates.*Use at most 8 candidates",
        ),
    ],
)
def test_what_depends_on_the_genome_is_refused_when_the_search_starts(make, message, key):
    with pytest.raises(ConfigError, match=message):
        make().init(key, jnp.zeros(4), lambda x: x)


def test_an_integer_is_a_number():
    assert SNES(sigma=1).sigma == 1


def test_offers_name_the_nearest_and_all():
    assert offer("snes", ("OpenES", "SNES")) == 'Did you mean "SNES"? Known: OpenES, SNES.'
    assert offer("zzz", ("OpenES", "SNES")) == "Known: OpenES, SNES."


def test_config_errors_are_value_errors_that_launchers_print():
    assert issubclass(ConfigError, HadesError)
    assert issubclass(ConfigError, ValueError)


def test_optimisers_are_those_that_need_a_learning_rate_alone():
    names = optimizer_names()
    assert {"adam", "sgd", "adamw", "rmsprop", "lion"} <= set(names)
    assert not {"clip_by_global_norm", "scale_by_adam", "scale_by_learning_rate", "chain"} & set(names)


@pytest.mark.parametrize("name", optimizer_names())
def test_every_offered_optimiser_is_made_from_names_and_numbers(name):
    check_optimizer("Test", name, ())
    optimizer = make_optimizer(name, 0.1, max_grad_norm=1.0)
    weights = {"w": jnp.ones((2, 3)), "b": jnp.ones(3)}
    updates = jax.eval_shape(lambda w: optimizer.update(w, optimizer.init(w), w)[0], weights)
    assert jax.tree.map(jnp.shape, updates) == jax.tree.map(jnp.shape, weights)
