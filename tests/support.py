"""What several tests share: one small example of every registered component, and how they are compared."""

import functools
import importlib.util
import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import chex
import jax
import numpy as np

from hades import registry
from hades.algorithms.evolution import Evolution
from hades.algorithms.gradient_distillation import GradientDistillation
from hades.algorithms.ppo import PPO
from hades.algorithms.teacher_matching import TeacherMatching
from hades.environments.base import Environment
from hades.environments.brax import Brax
from hades.environments.gymnasium import Gymnasium
from hades.environments.gymnax import Gymnax
from hades.environments.playground import Playground
from hades.environments.point import Point
from hades.environments.rendered import Rendered
from hades.environments.session_object import SessionObject
from hades.environments.tasks import Tasks
from hades.fitness.curriculum import Curriculum
from hades.fitness.episodic_return import EpisodicReturn
from hades.fitness.regularizers import DatasetL2
from hades.fitness.shaped_return import ShapedReturn
from hades.fitness.weighted_sum import WeightedSum
from hades.inner.behaviour_cloning import BehaviourCloning
from hades.inner.codes import Drawn
from hades.inner.identity import Identity
from hades.inner.init_scheme import FixedInit, RandomInit
from hades.inner.losses import MSE, CrossEntropy
from hades.inner.pairs import StartPairs
from hades.inner.region import NearStates
from hades.inner.ridge_cloning import RidgeCloning
from hades.inner.stage_record import StageRecord
from hades.inner.teacher import Teacher, TeacherRecord
from hades.inner.teacher_states import TeacherStates
from hades.normalizers.base import identity_state
from hades.normalizers.none import NoNormalizer
from hades.outer.evosax import Evosax
from hades.outer.snes import SNES
from hades.policies.cnn import CNN, NatureCNN
from hades.policies.impala import ImpalaCNN
from hades.policies.mlp import MLP
from hades.policies.network_pool import NetworkPool
from hades.policies.wide_mlp import WideMLP
from hades.runs.experiment import Experiment
from hades.types import Box, Discrete, EnvSpec, Params

ROOT = Path(__file__).parents[1]
HAS_PLAYGROUND = importlib.util.find_spec("mujoco_playground") is not None
"""MuJoCo Playground is an optional extra."""
POINT = Point(max_episode_steps=4)
POINT_DISCRETE = Point(discrete=True, max_episode_steps=4)
RENDERED = Rendered(Gymnax("CartPole-v1"), size=30, frames=2)
SMALL = MLP(width=8, depth=1)
IMAGE_SPEC = EnvSpec(name="image", obs_shape=(5, 6, 2), action_space=Discrete(3), max_episode_steps=4)
PICTURE_SPEC = EnvSpec(name="picture", obs_shape=(36, 38, 2), action_space=Discrete(3), max_episode_steps=4)
BOX_SPEC = EnvSpec(name="box", obs_shape=(3,), action_space=Box(2), max_episode_steps=4)
CLONING = BehaviourCloning(policy=SMALL, init_scheme=RandomInit(2), loss=MSE(), num_pairs=3, num_updates=4)
CLASSIFYING = BehaviourCloning(
    policy=SMALL, init_scheme=FixedInit(), loss=CrossEntropy(), num_pairs=4, targets="fixed", num_updates=4
)
EVOLUTION = Evolution(
    environment=POINT,
    learner=CLONING,
    outer=SNES(population_size=8),
    fitness=EpisodicReturn(num_episodes=2),
    normalizer=NoNormalizer(),
)
LEARNING = PPO(
    environment=POINT, actor=SMALL, normalizer=NoNormalizer(), num_envs=8, num_steps=3, num_epochs=2, num_minibatches=4
)
RIDGE = RidgeCloning(policy=SMALL, init_scheme=RandomInit(2), num_pairs=3)
BY_GRADIENT = GradientDistillation(
    environment=POINT,
    learner=RIDGE,
    normalizer=NoNormalizer(),
    num_envs=8,
    num_steps=3,
    num_epochs=2,
    num_minibatches=2,
)


def to_the_goal(env: Environment) -> Teacher:
    """A linear policy of `point` that goes to the goal."""
    gains = [[8.0, 0.0, -8.0], [-8.0, 0.0, 8.0]] if env.spec.is_discrete else [[-4.0], [4.0]]
    kernel = np.array(gains, np.float32)
    params: Params = {"layers_0": {"kernel": kernel, "bias": np.zeros(kernel.shape[1], np.float32)}}
    if not env.spec.is_discrete:
        params["log_std"] = np.full(1, -3.0, np.float32)
    records = (TeacherRecord("a test", "PPO", 640),)
    return Teacher.of(MLP(depth=0), params, NoNormalizer(), identity_state(env.spec.obs_shape), env.spec, records)


EXAMPLES: dict[str, Any] = {
    "Brax": Brax("inverted_pendulum", episode_length=12),
    "Gymnasium": Gymnasium("CartPole-v1"),
    "Gymnax": Gymnax("CartPole-v1"),
    "Playground": Playground("CartpoleBalance"),
    "Tasks": Tasks((POINT, Gymnax("Pendulum-v1")), references=(0.0, -150.0), floors=(-4.0, -1200.0)),
    "Evosax": Evosax("SimpleGA", population_size=8),
    "Curriculum": Curriculum(stages=(ShapedReturn(2, horizon=2), ShapedReturn(2)), generations=(1,)),
    "WeightedSum": WeightedSum(terms=(EpisodicReturn(2), DatasetL2()), weights=(1.0, 0.1)),
    "BehaviourCloning": CLONING,
    "RidgeCloning": RIDGE,
    "SessionObject": SessionObject.of(Point(), "a test"),
    "StartPairs": StartPairs(num_pairs=1, observations=(0.5, -0.5), targets=(1.0, -1.0), source="a test"),
    "NearStates": NearStates(2, states=(0.0, 0.0, 1.0, 1.0), unit=(1.0, 0.5), radius=(0.0, 0.1, 9.0)),
    "StageRecord": StageRecord("HaDES-R", "BehaviourCloning of MLP", (), 1, 640, 64, 1.0),
    "TeacherRecord": TeacherRecord("a test", "PPO", 640),
    "Teacher": to_the_goal(POINT),
    "TeacherStates": TeacherStates(to_the_goal(POINT), num_episodes=2, states_each=3),
    "TeacherMatching": TeacherMatching(
        environment=POINT,
        learner=RIDGE,
        normalizer=NoNormalizer(),
        teacher=to_the_goal(POINT),
        num_envs=8,
        num_steps=3,
        num_epochs=2,
        num_minibatches=2,
    ),
    "Identity": Identity(policy=SMALL),
    "MLP": SMALL,
    "WideMLP": WideMLP(width=8),
    "NetworkPool": NetworkPool(members=(SMALL, MLP(width=4, depth=1, activation="relu"))),
    "CNN": CNN(features=(2,), width=4),
    "NatureCNN": NatureCNN(features=(2, 2, 2), width=4),
    "ImpalaCNN": ImpalaCNN(features=(2,), blocks=1, width=4),
    "Rendered": RENDERED,
    "Drawn": Drawn(RENDERED),
    "Evolution": EVOLUTION,
    "PPO": LEARNING,
    "GradientDistillation": BY_GRADIENT,
    "Experiment": Experiment(algorithm=EVOLUTION, generations=3),
}
"""Components that cannot be built from their defaults, or would be slow to test with them."""


def example(interface: str, name: str) -> Any:
    """A small instance of a registered component."""
    if name in EXAMPLES:
        return EXAMPLES[name]
    try:
        return registry.get(interface, name)()
    except TypeError as error:
        raise AssertionError(
            f'"{name}" has no defaults for every field: add an example to tests/support.py.'
        ) from error


def weak_types(tree: Any) -> list[bool]:
    """Of every leaf; where they change from one step to the next, the next one is compiled anew."""
    return [leaf.weak_type for leaf in jax.tree.leaves(tree)]


def assert_rows_agree(tree: Any, first: int, second: int) -> None:
    """Two rows of a batch made from the same key agree (not bit for bit: XLA may vectorise rows differently)."""
    rows = (jax.tree.map(lambda x, row=row: x[row], tree) for row in (first, second))
    chex.assert_trees_all_close(*rows, rtol=1e-3, atol=1e-5)


def random_actions(key: jax.Array, env: Environment, num: int) -> jax.Array:
    """i32[num] or f32[num, A]"""
    space = env.spec.action_space
    if isinstance(space, Discrete):
        return jax.random.randint(key, (num,), 0, space.n)
    return jax.random.uniform(key, (num, space.size), minval=-1.0, maxval=1.0)


@functools.cache
def one_device_mesh() -> jax.sharding.Mesh:
    return jax.make_mesh((1,), ("population",), axis_types=(jax.sharding.AxisType.Auto,), devices=jax.devices()[:1])


def run_python(code: str, *, timeout: float = 240.0, **environment: str) -> Any:
    """Run code in a fresh interpreter at the root of the checkout; what it prints last must be JSON."""
    variables = {**os.environ, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu", **environment}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=variables, capture_output=True, text=True, timeout=timeout
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout.strip().splitlines()[-1])


def free_port() -> int:
    """Of this machine, for two processes to meet at."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port
