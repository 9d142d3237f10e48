"""The union of datasets: where the numbers lie, how tasks are balanced, and what is refused."""

import dataclasses

import numpy as np
import pytest

import hades
from hades import zoo
from hades.data.dataset import DistilledDataset
from hades.errors import ConfigError, DatasetError
from hades.normalizers.restarting import RestartingNormalizer
from hades.policy.merge import merge
from hades.registry import describe


@pytest.fixture(scope="module")
def pair() -> tuple[DistilledDataset, DistilledDataset]:
    return zoo.load("cartpole-hades-r-d2"), zoo.load("acrobot-hades-r-d3")


@pytest.fixture(scope="module")
def merged(pair) -> DistilledDataset:
    return merge(pair, floors=(0.0, -500.0))


def test_pairs_lie_in_their_own_blocks_and_are_balanced(pair, merged):
    cartpole, acrobot = pair
    assert (merged.observations.shape, merged.targets.shape) == ((12, 10), (12, 5))
    np.testing.assert_array_equal(merged.observations[:6, :4], np.tile(cartpole.observations, (3, 1)))
    np.testing.assert_array_equal(merged.observations[6:, 4:], np.tile(acrobot.observations, (2, 1)))
    np.testing.assert_array_equal(merged.targets[:6, :2], np.tile(cartpole.targets, (3, 1)))
    np.testing.assert_array_equal(merged.targets[6:, 2:], np.tile(acrobot.targets, (2, 1)))
    for rest in (merged.observations[:6, 4:], merged.observations[6:, :4], merged.targets[:6, 2:]):
        np.testing.assert_array_equal(rest, 0.0)


def test_what_it_says_of_itself(pair, merged):
    assert merged.environment.spec.name == "CartPole-v1 + Acrobot-v1"
    assert merged.environment.references == (500.0, round(pair[1].returns["mean"], 4))
    assert merged.learner.num_pairs == 12
    assert merged.learner.num_updates == 2 * pair[0].learner.num_updates
    assert merged.metadata["training"]["env_steps"] == {"search": 0}
    assert merged.returns == {}


def test_it_is_an_ordinary_dataset_file(merged, tmp_path):
    again = hades.load_dataset(merged.save(tmp_path / "merged.safetensors"))
    assert again.environment == merged.environment
    assert again.learner == merged.learner
    np.testing.assert_array_equal(again.observations, merged.observations)


def test_a_token_and_overlapping_entries(pair):
    merged = merge(pair, floors=(0.0, -500.0), layout="overlap", task_token=True)
    assert merged.observations.shape == (12, 6 + 2)
    np.testing.assert_array_equal(merged.observations[:6, -2:], [[1.0, 0.0]] * 6)
    np.testing.assert_array_equal(merged.targets[:6, 2:], 0.0)


def test_a_policy_cloned_from_the_union_plays_both_tasks(merged):
    summary = hades.evaluate_dataset(merged, num_inits=4, num_episodes=2, seed=3)
    assert summary.tasks["CartPole-v1"].mean > 400
    assert summary.tasks["Acrobot-v1"].mean > -150
    policy = hades.train_policy(merged)
    assert hades.evaluate(policy, num_episodes=4).tasks["CartPole-v1"].num_inits == 4


def test_what_cannot_be_merged_is_refused_with_the_reason(pair):
    cartpole, acrobot = pair
    with pytest.raises(DatasetError, match=r"two.*\b1\b"):
        merge([cartpole])
    with pytest.raises(DatasetError, match=r"CartPole-v1.*discrete.*hopper.*continuous"):
        merge([cartpole, zoo.load("hopper-hades-r-d4")])
    with pytest.raises(DatasetError, match=r"CartPole-v1.*more than once"):
        merge([cartpole, cartpole])
    with pytest.raises(DatasetError, match=r"Acrobot-v1.*floor 0"):
        merge([cartpole, acrobot])
    with pytest.raises(DatasetError, match=r"Freeway-MinAtar.*HaDES-F"):
        merge([cartpole, zoo.load("freeway-hades-f-d6")])
    with pytest.raises(DatasetError, match=r"CartPole-v1.*return"):
        merge([dataclasses.replace(cartpole, metadata={**cartpole.metadata, "returns": {}}), acrobot])
    restarting = {**cartpole.metadata, "normalizer": describe(RestartingNormalizer())}
    with pytest.raises(DatasetError, match=r"CartPole-v1.*RestartingNormalizer"):
        merge([dataclasses.replace(cartpole, metadata=restarting), acrobot])


def test_sizes_that_would_blow_up_are_refused(pair):
    cartpole, acrobot = pair
    many = [np.tile(x, (499, 1))[:997] for x in (cartpole.observations, cartpole.targets)]
    large = dataclasses.replace(cartpole, observations=many[0], targets=many[1])
    more = [np.tile(x, (400, 1))[:991] for x in (acrobot.observations, acrobot.targets)]
    with pytest.raises(DatasetError, match=r"997, 991.*988,027"):
        merge([large, dataclasses.replace(acrobot, observations=more[0], targets=more[1])], floors=(0.0, -500.0))


def test_a_recipe_that_does_not_fit_is_refused(pair):
    learner = dataclasses.replace(zoo.load("hopper-hades-r-d4").learner, targets="evolved")
    with pytest.raises(ConfigError, match=r"MSE.*Box"):
        merge(pair, learner, floors=(0.0, -500.0))
