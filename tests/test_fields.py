"""Fields of components: converted to their annotated types, or refused with the field named."""

import dataclasses
import fractions
import time
import typing

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import hades
from hades import registry
from hades.algorithms.advantages import linear_decay
from hades.algorithms.keys import root_key
from hades.environments.gymnax import Gymnax
from hades.errors import ConfigError, HadesError, shown
from hades.fields import checked
from hades.fitness.curriculum import Curriculum
from hades.inner.init_scheme import FixedInit
from hades.machines.sweep import split_flags
from hades.normalizers.constant import ConstantNormalizer
from hades.outer.evosax import Evosax
from hades.outer.open_es import OpenES
from hades.outer.snes import SNES
from hades.policies.cnn import CNN
from hades.policies.mlp import MLP
from hades.policy.trained_policy import parse_policy
from hades.studies.generalization.grid import Grid, parse_grid
from hades.studies.plan_runs import parse_pair, parse_seeds
from tests.fuzz.components import CHEAP, HOSTILE, changed, fault_of
from tests.support import CLONING, EXAMPLES, LEARNING

NAN, RUN = float("nan"), EXAMPLES["Experiment"]
REFUSED = [
    (lambda: dataclasses.replace(CLONING, loss="mse"), r"BehaviourCloning.loss is 'mse'; .* a Loss, such as @MSE\(\)"),
    (lambda: dataclasses.replace(RUN, target_return="5"), r"Experiment.target_return is '5'; .* a number, or None"),
    (lambda: dataclasses.replace(RUN, target_return=NAN), r"target_return is nan; .* a finite number, or None"),
    (lambda: dataclasses.replace(RUN, max_seconds=-1), r"Experiment.max_seconds is -1; .* above 0, or None"),
    (lambda: dataclasses.replace(RUN, max_env_steps="9"), r"max_env_steps is '9'; .* an integer of at least 1"),
    (lambda: dataclasses.replace(RUN, algorithm="PPO"), r"Experiment.algorithm is 'PPO'; .* an Algorithm"),
    (lambda: dataclasses.replace(RUN, seed=2**32), r"Experiment.seed is 4294967296; .* below 2³²"),
    (lambda: SNES(sigma=NAN), r"SNES.sigma is nan; it must be a finite number above 0"),
    (lambda: SNES(sigma=1e-60), r"SNES.sigma is 1e-60; it must be above 0"),
    (lambda: SNES(sigma=1e39), r"SNES.sigma is 1e\+39; it must be a finite number"),
    (lambda: SNES(learning_rate=-1.0), r"SNES.learning_rate is -1.0; it must be above 0"),
    (lambda: OpenES(sigma_min=NAN), r"OpenES.sigma_min is nan"),
    (lambda: Evosax("CMA_ES", sigma=-1.0), r"Evosax.sigma is -1.0"),
    (lambda: Evosax("CMA_ES", params={"std_init": -1.0}), r"Evosax.params\['std_init'\] is -1.0; .*at least 0"),
    (lambda: Evosax("PGPE", optimizer_options={"b1": "x"}, optimizer="adam"), r"optimizer_options.*'x'.*fails"),
    (lambda: dataclasses.replace(CLONING, optimizer_options={"eps": -1}), r"optimizer_options\['eps'\] is -1"),
    (lambda: dataclasses.replace(CLONING, optimizer_options={"nesterov": 3}), r"\['nesterov'\] is 3; .*True or False"),
    (lambda: dataclasses.replace(CLONING, num_updates=10**9), r"num_updates is 1000000000; .*at most 10,000,000"),
    (lambda: ConstantNormalizer(mean=(0.0,), std=(-1.0,)), r"ConstantNormalizer.std\[0\] is -1.0; .*at least 0"),
    (lambda: ConstantNormalizer(mean=(NAN,), std=(1.0,)), r"ConstantNormalizer.mean\[0\] is nan"),
    (lambda: ConstantNormalizer(mean="12", std="34"), r"mean is '12'; it must be a tuple, each entry a number"),
    (
        lambda: Gymnax("CartPole-v1", params={"max_steps_in_episode": -5}),
        r"'max_steps_in_episode'\] is -5; .*at least 1",
    ),
    (
        lambda: Gymnax("CartPole-v1", params={"gravity": [9.8]}).spec,
        r"Gymnax.params\['gravity'\] is \(9.8,\); .*number",
    ),
    (lambda: Gymnax("CartPole-v1", params={1: 2}), r"Gymnax.params is \{1: 2\}; .*mapping of different names"),
    (lambda: MLP(width=10**23), r"MLP.width is 1000.*; .*below 2³¹"),
    (lambda: MLP(width=10**6), r"MLP would have 1,000,001,000,000 weights"),
    (lambda: CNN(features=(10**5, 10**5)), r"CNN would have"),
    (lambda: Curriculum(stages=("x",), generations=()), r"Curriculum.stages\[0\] is 'x'; .*a ShapedReturn"),
    (lambda: FixedInit(seed=-1), r"FixedInit.seed is -1; it must be at least 0 and below 2³²"),
    (lambda: Grid(widths=5), r"Grid.widths is 5; it must be a tuple"),
    (lambda: parse_grid({"learning_rates": ["1e999"]}), r"Grid.learning_rates\[0\] is inf"),
    (lambda: parse_policy("MLP(activation={[]: 1})"), "is no policy: write one of CNN, "),
    (lambda: parse_policy(f"MLP(width={'-' * 5000}1)"), "is no policy"),
    (lambda: parse_policy("MLP(width=99999999999999999999999)"), "MLP.width is 99999999999999999999999"),
    (lambda: split_flags("it's"), '--launcher_flags: "it\'s" is not quoted as in a shell'),
    (lambda: parse_seeds(["4294967296", "0"]), "--seeds is 4294967296"),
    (lambda: parse_seeds(["99999999999"]), "--seeds: '99999999999' is neither a count"),
    (lambda: parse_pair(["9" * 5000, "1"], "report"), "--report"),
    (lambda: registry.build({"interface": [], "name": "MLP"}), "described by its interface and name"),
]


@pytest.mark.parametrize(("make", "message"), REFUSED, ids=[message[:40] for _, message in REFUSED])
def test_what_cannot_be_meant_is_refused_by_name(make, message):
    with pytest.raises(ConfigError, match=message) as caught:
        make()
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("seed", [-1, 2**32, 2**32 + 5, 2**63, 1.5, "3", True, NAN])
def test_a_seed_has_a_key_of_its_own_or_is_refused(seed):
    dataset = hades.zoo.load("cartpole-hades-r-d2")
    for use in (
        root_key,
        lambda s: hades.train_policy(dataset, seed=s),
        lambda s: hades.evaluate_dataset(dataset, seed=s),
    ):
        with pytest.raises(ConfigError, match=r"seed is .*; it must be .*at least 0 and below 2³²"):
            use(seed)


def test_numpy_and_jax_numbers_lists_and_arrays_are_converted():
    policy = MLP(width=np.int64(8), depth=jnp.asarray(1), log_std=np.float32(0.5), learn_log_std=np.bool_(True))
    assert policy == MLP(width=8, depth=1, log_std=0.5)
    assert [type(v) for v in (policy.width, policy.depth, policy.log_std, policy.learn_log_std)] == [
        int,
        int,
        float,
        bool,
    ]
    for mean in ([0.0, 1.0], np.arange(2), jnp.arange(2.0), range(2)):
        assert hash(ConstantNormalizer(mean=mean, std=[1, 1])) == hash(
            ConstantNormalizer(mean=(0.0, 1.0), std=(1.0, 1.0))
        )
    assert type(SNES(sigma=fractions.Fraction(1, 2)).sigma) is float


def test_a_literal_a_pair_and_a_union_are_checked():
    assert checked(np.str_("a"), typing.Literal["a", "b"], "x") == "a"
    assert checked([1, 2.5], tuple[int, float], "x") == (1, 2.5)
    assert checked(None, int | None, "x") is None
    for value, kind in (("c", typing.Literal["a"]), ((1,), tuple[int, int]), ("1", int | float)):
        with pytest.raises(ConfigError, match=r"x is .*; it must be "):
            checked(value, kind, "x")


def test_what_a_message_shows_is_short_and_never_fails():
    class Broken:
        def __repr__(self):
            raise RuntimeError

    assert shown(Broken()) == "<Broken>"
    assert shown(10**5000) == "<int>"
    assert len(shown("x\n" * 10**6)) < 100


def test_a_rate_may_fall_over_more_steps_than_int32_holds():
    assert float(linear_decay(0.1, jnp.array(5e9), 10**10)) == pytest.approx(0.05)
    assert dataclasses.replace(LEARNING, anneal_steps=10**10).anneal_steps == 10**10


@settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(st.sampled_from(CHEAP), st.sampled_from(HOSTILE) | st.integers() | st.floats() | st.text(max_size=5))
def test_any_value_of_any_field_is_refused_by_name_or_makes_a_component_that_can_be_written(row, value):
    interface, name, field = row
    began = time.monotonic()
    refusal = ""
    try:
        component = changed(interface, name, field, value)
    except HadesError as error:
        refusal = str(error)
    else:
        assert not fault_of(component)
    assert len(refusal) < 2500
    assert time.monotonic() - began < 10
