"""Policies outside of JAX, as NumPy and as ONNX, against the actions that they have inside."""

import dataclasses
import pickle
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hades.environments.base import Environment
from hades.environments.gymnax import Gymnax
from hades.environments.point import Point
from hades.environments.tasks import Tasks
from hades.errors import ConfigError, MissingPackageError
from hades.inner.losses import MSE, CrossEntropy
from hades.normalizers.base import Normalizer
from hades.normalizers.constant import ConstantNormalizer
from hades.normalizers.none import NoNormalizer
from hades.normalizers.restarting import RestartingNormalizer
from hades.normalizers.running import RunningNormalizer
from hades.policies.base import ACTIVATIONS, Policy
from hades.policies.cnn import CNN
from hades.policies.mlp import MLP
from hades.policies.network_pool import NetworkPool
from hades.policies.wide_mlp import WideMLP
from hades.policy.policy_file import statistics
from hades.policy.trained_policy import TrainedPolicy
from hades.types import Discrete, EnvSpec
from tests.support import CLONING


@dataclasses.dataclass(frozen=True)
class Images(Point):
    """Observations of 7 × 6 × 2, for a network's sake; nobody plays it."""

    @property
    def spec(self) -> EnvSpec:  # type: ignore[override]  # Point keeps its own
        return EnvSpec(name="images", obs_shape=(7, 6, 2), action_space=Discrete(3), max_episode_steps=4)


TASK = Tasks((Point(discrete=True), Gymnax("CartPole-v1")), references=(1.0, 1.0), floors=(0.0, 0.0)).members[1]
POOL = NetworkPool((MLP(width=3, depth=1, activation="relu"), MLP(width=5, depth=2), MLP(width=4, depth=2)))
CASES: dict[str, tuple[Environment, Policy, Normalizer]] = {
    **{name: (Gymnax("CartPole-v1"), MLP(width=5, activation=name), NoNormalizer()) for name in ACTIVATIONS},
    "linear": (Gymnax("CartPole-v1"), MLP(depth=0), ConstantNormalizer(clip=0.0)),
    "box": (Gymnax("Pendulum-v1"), MLP(width=5, depth=1), RunningNormalizer(clip=1.0)),
    "image": (Images(), CNN(features=(3, 2), width=4, activation="silu"), ConstantNormalizer(clip=0.7)),
    "flat image": (Images(), MLP(width=4), NoNormalizer()),
    "pool": (Gymnax("Pendulum-v1"), POOL, NoNormalizer()),
    "task": (TASK, MLP(width=5), NoNormalizer()),
}


def made(env: Environment, policy: Policy, normalizer: Normalizer, seed: int = 0) -> TrainedPolicy:
    """A policy with weights and statistics that leave nothing out."""
    learner = CLONING.changed(policy=policy, loss=CrossEntropy() if env.spec.is_discrete else MSE())
    params = jax.jit(lambda key: policy.init(key, env.spec))(jax.random.key(seed))
    draw = np.random.default_rng(0).uniform
    # Zeros of a pool are padding, and those of others biases.
    kept = (lambda x: x == 0) if isinstance(policy, NetworkPool) else (lambda x: False)
    params = jax.tree.map(lambda x: jnp.where(kept(x), 0, x + draw(-0.5, 0.5, x.shape)).astype(np.float32), params)
    mean, std = (draw(0.5, 1.5, env.spec.obs_shape).astype(np.float32) for _ in range(2))
    return TrainedPolicy(env, learner, normalizer, statistics(mean, std), params, 0.0)


@pytest.fixture(params=CASES)
def policy(request: pytest.FixtureRequest) -> TrainedPolicy:
    return made(*CASES[request.param])


def observations(policy: TrainedPolicy) -> np.ndarray:
    return np.random.default_rng(1).normal(0, 3, (40, *policy.environment.spec.obs_shape)).astype(np.float32)


def output(policy: TrainedPolicy, x: np.ndarray) -> Any:
    """The network's output inside JAX."""
    normalized = policy.normalizer.apply(policy.normalizer_state, jnp.asarray(x))
    found: Any = policy.learner.policy.distribution(policy.params, normalized, policy.environment.spec)
    return found.logits if policy.environment.spec.is_discrete else found.mean


def test_numpy_acts_alike(policy: TrainedPolicy) -> None:
    x, exported = observations(policy), pickle.loads(pickle.dumps(policy.to_numpy()))
    np.testing.assert_allclose(exported.output(x), output(policy, x), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(exported(x), policy.predict(x), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(exported(x[0]), policy.predict(x)[0], rtol=1e-4, atol=1e-5)
    assert len(np.unique(exported(x))) > 1


def test_onnx_acts_alike(policy: TrainedPolicy, tmp_path: Path) -> None:
    reference = pytest.importorskip("onnx.reference", reason="onnx is an extra")
    x, path = observations(policy), policy.export_onnx(tmp_path / "policy.onnx")
    session = reference.ReferenceEvaluator(str(path))
    for rows in (x, x[:1]):
        actions, found = session.run(["actions", "output"], {"observations": rows})
        np.testing.assert_allclose(found, output(policy, rows), rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(actions, policy.predict(rows), rtol=1e-4, atol=1e-5)


def test_every_member_of_a_pool_is_exported_by_itself() -> None:
    env, pool, normalizer = CASES["pool"]
    policies = [made(env, pool, normalizer, seed) for seed in range(12)]
    assert {int(policy.params["member"].argmax()) for policy in policies} == {0, 1, 2}
    x = observations(policies[0])
    for policy in policies:
        np.testing.assert_allclose(policy.to_numpy()(x), policy.predict(x), rtol=1e-4, atol=1e-5)


def test_undefined_actions_are_none() -> None:
    exported = made(*CASES["tanh"]).to_numpy()
    assert exported(np.full(4, np.nan)) == -1


def test_what_cannot_leave_jax_is_refused() -> None:
    policy = made(Gymnax("CartPole-v1"), WideMLP(), NoNormalizer())
    with pytest.raises(ConfigError, match="WideMLP is no list of layers, so that it cannot leave JAX: MLP, CNN"):
        policy.to_numpy()
    env, mlp, _ = CASES["tanh"]
    with pytest.raises(ConfigError, match="RestartingNormalizer is no mean, deviation and bound"):
        made(env, mlp, RestartingNormalizer()).to_numpy()


def test_a_missing_onnx_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(MissingPackageError, match=r"pip install onnx, or hades-rl\[onnx\]"):
        made(*CASES["tanh"]).export_onnx(tmp_path / "policy.onnx")
    assert not list(tmp_path.iterdir())
