"""A trained policy in a file: it comes back as it was, and nothing else is taken for one."""

import json
import math
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

import hades
from hades.data.tensor_file import parse_tensors, tensor_bytes
from hades.environments.gymnax import Gymnax
from hades.errors import CheckpointError, ConfigError, DatasetError
from hades.inner.init_scheme import RandomInit
from hades.inner.losses import CrossEntropy
from hades.normalizers.constant import ConstantNormalizer
from hades.optimizers import Transformation
from hades.policies.mlp import MLP
from hades.policies.wide_mlp import WideMLP
from hades.policy.policy_file import statistics
from hades.policy.trained_policy import TrainedPolicy
from tests.support import CLONING, RIDGE

Change = Callable[[dict[str, Any], dict[str, np.ndarray]], object]


def made(policy: Any = MLP(width=4, depth=1), **params: Any) -> TrainedPolicy:  # noqa: B008  # it is frozen
    env, learner = Gymnax("CartPole-v1"), CLONING.changed(policy=policy, loss=CrossEntropy(), init_scheme=RandomInit(1))
    draw = np.random.default_rng(0).normal
    shapes = jax.eval_shape(lambda key: learner.init_params(key, env.spec), jax.random.key(0))
    weights = jax.tree.map(lambda x: draw(size=x.shape).astype(np.float32), shapes)
    state = statistics(draw(size=4).astype(np.float32), np.full(4, 0.5, np.float32))
    return TrainedPolicy(env, learner, ConstantNormalizer(clip=3.0), state, {**weights, **params}, 0.25)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return made().save(tmp_path / "policy.safetensors")


def test_a_policy_comes_back_as_it_was(path: Path, tmp_path: Path) -> None:
    policy, loaded = made(), hades.load_policy(path)
    assert isinstance(loaded, TrainedPolicy)
    assert repr(loaded) == "TrainedPolicy(CartPole-v1, MLP 4x1 tanh, HaDES-R, loss 0.25)"
    assert (loaded.environment, loaded.learner, loaded.normalizer) == (
        policy.environment,
        policy.learner,
        policy.normalizer,
    )
    assert jax.tree.all(jax.tree.map(np.array_equal, loaded.params, policy.params))
    observations = np.random.default_rng(1).normal(size=(50, 4))
    actions = loaded.predict(observations)
    assert set(actions) == {0, 1}
    np.testing.assert_array_equal(actions, policy.predict(observations))
    assert loaded.save(tmp_path / "again").read_bytes() == path.read_bytes()


def test_a_wide_policy_keeps_the_pairs_that_it_stands_on(tmp_path: Path) -> None:
    learner = RIDGE.changed(policy=WideMLP())
    params = {"basis": np.ones((5, 4), np.float32), "coefficients": np.ones((5, 2), np.float32)}
    policy = made()
    wide = TrainedPolicy(policy.environment, learner, policy.normalizer, policy.normalizer_state, params, math.nan)
    loaded = hades.load_policy(wide.save(tmp_path / "wide"))
    assert loaded.predict(np.ones(4)) == wide.predict(np.ones(4))
    assert math.isnan(loaded.loss)  # type: ignore[union-attr]  # it is a TrainedPolicy


def test_another_reader_opens_it(path: Path) -> None:
    from safetensors.numpy import load_file

    tensors = load_file(path)
    assert tensors["params/layers_0/kernel"].shape == (4, 4)
    (length,) = struct.unpack("<Q", path.read_bytes()[:8])
    header = json.loads(json.loads(path.read_bytes()[8 : 8 + length])["__metadata__"]["hades"])
    assert (header["content"], header["spec"]["name"]) == ("policy", "CartPole-v1")


def rewritten(path: Path, change: Change) -> Path:
    """The file with its header and tensors changed, and a digest that fits."""
    file = parse_tensors(path.read_bytes(), str(path), "policy")
    change(file.metadata, file.tensors)
    path.write_bytes(tensor_bytes(file.metadata, file.tensors))
    return path


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda h, t: h.pop("learner"), "metadata lacks learner; it must hold environment, spec, learner, nor"),
        (lambda h, t: h.update(loss="low"), 'loss is "low"; it must be a number or null'),
        (lambda h, t: h["learner"].update(name="Cloner"), "policy's learner cannot be used: There is no InnerLearner"),
        (lambda h, t: h.update(learner=h["environment"]), "describes a Gymnax, which is no InnerLearner"),
        (lambda h, t: h["learner"]["policy"].update(depth=1000), "depth is 1000; the most that a dataset file may"),
        (lambda h, t: h["learner"]["policy"].update(width=9_000_000, depth=1), "has 63,000,002 weights; the most"),
        (lambda h, t: t.pop("params/layers_1/bias"), "It lacks params/layers_1/bias"),
        (lambda h, t: t.pop("normalizer/std"), "It lacks normalizer/std"),
        (lambda h, t: t.update({"params/more": np.ones(1)}), "policy has no weights more"),
        (lambda h, t: t.update({"params/layers_1/bias": np.array([np.nan, 0])}), "bias holds 1 non-finite"),
        (lambda h, t: t.update({"params/layers_0/kernel": np.ones((3, 4))}), "weights cannot be used: TypeError"),
        (lambda h, t: t.update({"params/layers_1/kernel": np.ones((4, 3))}), "weights cannot be used"),
        (lambda h, t: t.update({"normalizer/std": np.zeros(4)}), "normalizer/mean: .* must be above 0"),
        (lambda h, t: t.update({n: np.ones(3) for n in ("normalizer/mean", "normalizer/std")}), r"has shape \(3,\)"),
        (lambda h, t: h.update(content="recipe"), "holds a recipe, not a policy: give another file"),
    ],
)
def test_a_file_that_cannot_act_is_refused_by_the_field(path: Path, change: Change, message: str) -> None:
    with pytest.raises(DatasetError, match=message) as error:
        hades.load_policy(rewritten(path, change))
    assert str(path) in str(error.value)


def test_opening_a_file_builds_no_environment(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def built(self: Gymnax) -> None:
        raise AssertionError("built")

    monkeypatch.setattr(Gymnax, "spec", property(built))
    loaded = hades.load_policy(path)
    assert "CartPole-v1" in repr(loaded)
    loaded.act(jax.random.key(0), np.ones(4, np.float32))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda h, t: h["environment"].update(env_id="CartPol"), "policy's environment cannot be used: gymnax has no"),
        (lambda h, t: h["environment"].update(env_id="Acrobot-v1"), "spec.action_size is 2, but Acrobot-v1 has 3"),
    ],
)
def test_an_environment_that_cannot_be_meant_is_refused_when_it_is_built(
    path: Path, change: Change, message: str
) -> None:
    loaded = hades.load_policy(rewritten(path, change))
    with pytest.raises(DatasetError, match=message) as error:
        loaded.predict(np.ones(4))
    assert str(error.value).startswith(f"{path}: ")


def test_a_damaged_file_is_refused(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[:-4] + b"\0\0\0?")
    with pytest.raises(DatasetError, match="was changed or damaged after it was written"):
        hades.load_policy(path)
    for part in (content[:-3], content[:100], b"", b"[]" * 40):
        path.write_bytes(part)
        with pytest.raises(DatasetError, match="is not a complete hades policy file"):
            hades.load_policy(path)


def test_a_dataset_is_no_policy_and_a_policy_no_dataset(path: Path) -> None:
    with pytest.raises(DatasetError, match=r"holds a dataset, not a policy: hades.load_dataset reads it, and hades.tr"):
        hades.load_policy(hades.zoo.path("cartpole-hades-r-d2"))
    with pytest.raises(DatasetError, match=r"holds a policy, not a dataset: hades\.load_policy reads it"):
        hades.load_dataset(path)


def test_neither_a_file_nor_a_run_is_explained(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"There is no file and no run in .*policy\.save"):
        hades.load_policy(tmp_path / "nothing")
    with pytest.raises(CheckpointError, match="There is no run in"):
        hades.load_policy(tmp_path)


def test_what_no_file_can_hold_is_not_saved(tmp_path: Path) -> None:
    import optax

    own = made().learner.changed(optimizer=optax.sgd(0.1))
    assert isinstance(own.optimizer, Transformation)  # type: ignore[attr-defined]  # of BehaviourCloning
    policy = made()
    with pytest.raises(ConfigError, match="Transformation cannot be written into a file: it is your own"):
        TrainedPolicy(
            policy.environment, own, policy.normalizer, policy.normalizer_state, policy.params, policy.loss
        ).save(tmp_path / "x")
    with pytest.raises(ConfigError, match="weights that are not finite"):
        made(layers_1={"kernel": np.full((4, 2), np.nan), "bias": np.zeros(2)}).save(tmp_path / "x")
    assert not (tmp_path / "x").exists()
