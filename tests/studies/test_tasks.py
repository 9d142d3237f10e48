"""Mergers: what each task keeps, against single-task policies of the same size."""

import numpy as np
import pytest

from hades import zoo
from hades.data.dataset import DistilledDataset, describe_spec
from hades.environments.point import Point
from hades.errors import ConfigError, DatasetError
from hades.inner.behaviour_cloning import BehaviourCloning
from hades.inner.init_scheme import RandomInit
from hades.inner.losses import CrossEntropy
from hades.normalizers.none import NoNormalizer
from hades.policies.mlp import MLP
from hades.policy.trained_policy import evaluate_dataset
from hades.registry import describe
from hades.studies.tasks.numbers import Multitask, multitask

GOAL_RIGHT = np.array([[-0.5, 0.5], [0.5, -0.5], [0.0, 0.0]], np.float32)
LABELS = np.array([[0, 0, 1], [1, 0, 0], [0, 1, 0]], np.float32)  # right, left, stay


def dataset(env: Point, returns: float, width: int = 64) -> DistilledDataset:
    """Three pairs that make a policy go to the goal."""
    learner = BehaviourCloning(
        policy=MLP(width=width, depth=2),
        init_scheme=RandomInit(1),
        loss=CrossEntropy(),
        num_pairs=3,
        num_updates=64,
        learning_rate=0.01,
    )
    metadata = {
        "environment": describe(env),
        "spec": describe_spec(env.spec),
        "learner": describe(learner),
        "normalizer": describe(NoNormalizer()),
        "init": {"kind": "random"},
        "returns": {"mean": returns},
        "versions": {},
    }
    return DistilledDataset(GOAL_RIGHT, LABELS, np.zeros(2, np.float32), np.ones(2, np.float32), metadata)


POINT = Point(discrete=True, max_episode_steps=6)
"""Random play earns about -4."""


@pytest.fixture(scope="module")
def point() -> DistilledDataset:
    return dataset(POINT, -1.5)


def mean_of(result: Multitask, name: str) -> float:
    (merger,) = result.mergers
    return merger.returns[name].mean


@pytest.fixture(scope="module")
def measured(point) -> Multitask:
    seen: list[tuple[int, int]] = []
    result = multitask(
        {"one": point, "two": zoo.load("cartpole-hades-r-d2")},
        4,
        8,
        progress=lambda done, total: seen.append((done, total)),
    )
    assert seen == [(i, 3) for i in range(4)]
    return result


def test_single_policies_are_those_of_the_dataset_alone(measured, point):
    policy = zoo.load("cartpole-hades-r-d2").learner.policy
    assert measured.singles["one"] == evaluate_dataset(point, 4, 8, seed=1, policy=policy)


def test_retention_is_a_share_between_random_play_and_the_single_policy(measured):
    reference = measured.references["one"]
    share = (mean_of(measured, "one") - reference.floor) / (measured.singles["one"].mean - reference.floor)
    assert measured.matrix[0, 1] == pytest.approx(share)
    assert reference.floor < measured.singles["one"].mean - 1
    assert np.isnan(measured.matrix[0, 0])
    assert measured.median == pytest.approx(np.mean([measured.matrix[0, 1], measured.matrix[1, 0]]))


def test_blocks_keep_nearly_everything(measured):
    assert measured.matrix[0, 1] > 0.8
    assert measured.matrix[1, 0] > 0.8


def test_recipes_with_networks_of_two_sizes_share_one(measured):
    policy = measured.mergers[0].dataset.learner.policy
    assert policy == zoo.load("cartpole-hades-r-d2").learner.policy  # both use Adam and 64 updates; its rate is lower
    assert measured.protocol["policy"] == repr(policy)


def test_it_can_be_written(measured):
    described = measured.describe()
    assert described["env_steps_of_training"] == 0
    assert described["mergers"][0]["retention"]["one"] == pytest.approx(measured.matrix[0, 1])
    assert measured.union is None


def test_bad_choices_are_refused_before_anything_is_measured(point):
    seen: list[tuple[int, int]] = []
    with pytest.raises(ConfigError, match=r"two.*\b1\b"):
        multitask({"one": point})
    with pytest.raises(DatasetError, match=r"point-discrete.*more than once"):
        multitask({"one": point, "two": point}, progress=lambda *count: seen.append(count))
    assert seen == []
