"""Flax modules, optax transformations and schedules of the user's own, as policies and optimisers of a session."""

import dataclasses
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import hades
from hades import registry
from hades.data.dataset import DistilledDataset
from hades.errors import ConfigError
from hades.inner.behaviour_cloning import BehaviourCloning
from hades.inner.losses import CrossEntropy
from hades.policies.flax_module import as_policy
from hades.policy.trained_policy import changed_learner, train_policies, train_policy
from tests.support import BOX_SPEC, CLONING, IMAGE_SPEC, SMALL


class Linen(nn.Module):
    outputs: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        return nn.Dense(self.outputs)(nn.relu(nn.Dense(4)(x.reshape(len(x), -1))))


class Nnx(nnx.Module):
    def __init__(self, rngs: nnx.Rngs, inputs: int = 2, dropout: bool = False):
        self.layers = nnx.List([nnx.Linear(inputs, 4, rngs=rngs), nnx.Linear(4, 1, rngs=rngs)])
        self.dropout = nnx.Dropout(0.5, rngs=rngs) if dropout else None

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.layers[1](nnx.tanh(self.layers[0](x)))


class Pair(nn.Module):
    @nn.compact
    def __call__(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        return nn.Dense(2)(x), nn.Dense(1)(x)


class Normed(nn.Module):
    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        return nn.Dense(2)(nn.BatchNorm(use_running_average=True)(x))


@pytest.fixture(scope="module")
def dataset(finished: Path) -> DistilledDataset:
    return hades.load_dataset(finished / "dataset.safetensors")


@pytest.mark.parametrize(
    "module",
    [Linen(1), nn.Sequential([nn.Dense(4), nn.tanh, nn.Dense(1)]), Nnx, lambda rngs: Nnx(rngs)],
    ids=["linen", "with a list", "nnx class", "function"],
)
def test_a_module_is_trained_and_acts(dataset: DistilledDataset, module: Any) -> None:
    trained, untrained = (train_policies(dataset, 2, policy=module, num_updates=n) for n in (40, 0))
    assert (trained.losses < untrained.losses).all()
    assert trained.losses[0] != trained.losses[1]
    assert trained[0].predict(np.zeros((3, 2))).shape == (3, 1)
    assert trained[0].learner.policy.acting == dataset.learner.policy.acting


def test_a_module_of_nnx_that_is_made_starts_from_its_weights(dataset: DistilledDataset) -> None:
    module = Nnx(nnx.Rngs(5))
    policy = train_policy(dataset, policy=module, num_updates=0)
    observations = np.full((1, 2), 0.1)
    expected = np.asarray(module(jnp.asarray(observations)))
    np.testing.assert_allclose(policy.predict(observations), expected, atol=1e-6)
    module.layers[1].bias[...] = jnp.full(1, 0.5)
    changed = train_policy(dataset, policy=module, num_updates=0)
    np.testing.assert_allclose(changed.predict(observations), expected + 0.5, atol=1e-6)
    with pytest.raises(ConfigError, match=r"2 seeds would train one and the same policy: HaDES-R with Nnx"):
        train_policies(dataset, 2, policy=module)


def test_any_leading_axes_reach_a_module_as_one(key: jax.Array) -> None:
    policy = as_policy(Linen(3), SMALL)
    params = policy.init(key, IMAGE_SPEC)
    observations = jax.random.normal(key, (2, 4, *IMAGE_SPEC.obs_shape))
    assert policy.distribution(params, observations, IMAGE_SPEC).logits.shape == (2, 4, 3)
    assert policy.act(key, params, observations[0, 0], IMAGE_SPEC).shape == ()
    assert policy == as_policy(Linen(3), SMALL)  # it is compiled once
    box = as_policy(Linen(2), dataclasses.replace(SMALL, log_std=-1.0)).init(key, BOX_SPEC)
    np.testing.assert_array_equal(box["log_std"], [-1.0, -1.0])


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (
            Linen(3),
            r"Linen, which returns float32\[3, 3\] for 3 observations f32\[N, 3\] of box; it must return f32\[N, 2\]",
        ),
        (Pair(), r"returns a tuple of float32\[3, 2\], float32\[3, 1\].*must return f32\[N, 2\], the mean action"),
        (Nnx, r"Nnx, which fails for observations f32\[N, 3\] of box: TypeError.*\(3,\) and \(2,\)"),
        (lambda rngs: Nnx(rngs, 3, True), r"<lambda> holds RngCount, RngKey; only its Param is trained"),
        (Normed(), "Normed, which has batch_stats; only its params are trained"),
    ],
)
def test_a_module_that_does_not_fit_the_environment_is_refused(module: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        as_policy(module, SMALL).network(BOX_SPEC)


@pytest.mark.parametrize(
    ("module", "message"),
    [(Linen, r"policy is the class Linen; give an instance, such as Linen\(…\)"), (type(SMALL), "is the class MLP")],
)
def test_a_class_is_no_policy(module: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        as_policy(module, SMALL)


def test_a_transformation_and_a_schedule_train(dataset: DistilledDataset) -> None:
    schedule = optax.exponential_decay(0.1, 4, 0.5)
    named = train_policy(dataset, learning_rate=0.1)
    assert train_policy(dataset, optimizer=optax.adam(0.1)).loss == named.loss
    scheduled = train_policy(dataset, learning_rate=schedule)
    assert train_policy(dataset, optimizer=optax.adam(schedule)).loss == scheduled.loss != named.loss


def test_options_stay_with_their_optimizer_and_the_span_with_its_layer(dataset: DistilledDataset) -> None:
    learner = dataset.learner.changed(optimizer="sgd", optimizer_options=(("momentum", 0.9),), span_first_layer=True)
    assert learner.sized(4) == learner
    assert learner.sized(4, optimizer="adam").optimizer_options == ()
    assert not learner.sized(4, policy=as_policy(Linen(1), SMALL)).span_first_layer
    with_schedule = learner.sized(4, learning_rate=optax.constant_schedule(0.1))
    assert (with_schedule.optimizer_options, with_schedule.span_first_layer) == ((), False)


def broken(updates: Any, state: Any, params: Any = None) -> Any:
    raise ZeroDivisionError("nothing to divide by")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"optimizer": optax.sgd(0.1), "learning_rate": 0.1}, "learning_rate has no effect"),
        ({"optimizer": optax.sgd(0.1), "optimizer_options": {"momentum": 0.9}}, "optimizer_options has no effect"),
        ({"optimizer": optax.adam}, "optimizer is <function adam.*must be a string, or a Transformation"),
        ({"optimizer": optax.GradientTransformation(lambda p: (), broken)}, "nothing to divide by"),
        ({"learning_rate": lambda: 0.1}, r"cannot be trained with learning_rate=<function.*TypeError"),
        ({"optimizer": "adan2", "learning_rate": lambda t: 0.1}, 'optimizer is "adan2".*Did you mean'),
    ],
)
def test_what_cannot_train_is_refused(dataset: DistilledDataset, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        changed_learner(dataset, changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"policy": as_policy(Linen(1), SMALL)},
            "FlaxModule cannot be written into a file: it holds your own module Lin",
        ),
        ({"optimizer": optax.sgd(0.1)}, "Transformation cannot be written into a file: it is your own optax"),
        ({"learning_rate": optax.constant_schedule(0.1)}, "Transformation cannot be written into a file"),
    ],
)
def test_no_file_holds_them(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        registry.describe(CLONING.changed(**changes))


def test_they_are_no_suggestion_for_a_file() -> None:
    with pytest.raises(ConfigError, match=r"must be a Policy, such as @CNN\(\)"):
        BehaviourCloning(policy="FlaxModul", init_scheme=CLONING.init_scheme, loss=CrossEntropy(), num_pairs=1)  # type: ignore[arg-type]
