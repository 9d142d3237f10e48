"""Datasets from arrays of one's own: what they hold, and what is refused by both shapes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hades
from hades.errors import ConfigError, DatasetError
from hades.inner.init_scheme import FixedInit
from hades.inner.losses import MSE, CrossEntropy
from hades.normalizers.none import NoNormalizer
from hades.policies.mlp import MLP
from hades.policy.trained_policy import normalizer_state
from tests.support import CLONING, POINT, POINT_DISCRETE

STATES = [[0.5, -0.5], [-0.5, 0.5], [0.0, 0.0]]  # position, goal
LABELS = [0, 2, 1]  # left, right, stay
ACTIONS = [[-1.0], [1.0], [0.0]]


def test_two_arrays_make_a_dataset_like_any_other(tmp_path):
    dataset = hades.make_dataset(STATES, LABELS, POINT_DISCRETE, num_updates=200)
    assert (dataset.learner.policy, dataset.learner.loss) == (MLP(width=64, depth=1, acting="greedy"), CrossEntropy())
    np.testing.assert_array_equal(dataset.targets, np.eye(3)[LABELS])
    assert (dataset.normalizer, dataset.obs_mean.tolist(), dataset.obs_std.tolist()) == (NoNormalizer(), [0, 0], [1, 1])
    assert hades.load_dataset(dataset.save(tmp_path / "x.safetensors")) == dataset
    policy = hades.train_policy(dataset)
    assert [int(policy.act(jax.random.key(0), obs)) for obs in jnp.asarray(STATES)] == LABELS


def test_the_loss_and_the_statistics_follow_what_is_given():
    dataset = hades.make_dataset(np.array(STATES), ACTIONS, POINT, mean=[1.0, 0.0], std=2.0)
    assert (dataset.learner.loss, dataset.learner.num_pairs) == (MSE(), 3)
    np.testing.assert_allclose(dataset.observations, (np.array(STATES) - [1.0, 0.0]) / 2.0)
    normalized = hades.make_dataset(STATES, ACTIONS, POINT, mean=[1.0, 0.0], std=2.0, normalized=True)
    np.testing.assert_allclose(normalized.observations, STATES)
    seen = normalized.normalizer.apply(normalizer_state(normalized), jnp.asarray([101.0, 60.0]))
    np.testing.assert_allclose(seen, [50.0, 30.0])  # nothing is clipped


def test_a_recipe_is_taken_whole_or_changed_in_fields():
    dataset = hades.make_dataset(STATES, ACTIONS, POINT, learner=CLONING, num_updates=7, init_scheme=FixedInit(seed=1))
    assert dataset.learner == CLONING.changed(num_updates=7, init_scheme=FixedInit(seed=1))
    assert dataset.metadata["init"]["kind"] == "fixed"
    assert "layers_0/kernel" in dataset.metadata["init"]["fingerprint"]
    with pytest.raises(ConfigError, match=r'no field "num_update".*"num_updates"'):
        hades.make_dataset(STATES, ACTIONS, POINT, num_update=7)


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((np.zeros((3, 4)), ACTIONS), {}, r"observations have shape \(3, 4\), but point needs \(N, 2\)"),
        ((np.zeros(()), ACTIONS), {}, r"observations have shape \(\), but point needs"),
        ((np.zeros((0, 2)), ACTIONS), {}, r"observations have shape \(0, 2\), but .* with N >= 1"),
        ((STATES, np.zeros((3, 2))), {}, r"targets have shape \(3, 2\), but 3 pairs with Box\(size=1\) need \(3, 1\)"),
        ((STATES, [0.0, 1.0, 0.0]), {}, r"targets have shape \(3,\), but 3 pairs .* need \(3, 1\)"),
        ((STATES, ACTIONS), {"mean": np.zeros(3)}, r"the mean has shape \(3,\), but the .*deviation \(2,\)"),
        ((STATES, ACTIONS), {"mean": [0, 0, 0], "std": [1, 1, 1]}, r"obs_mean has shape \(3,\), .* has \(2,\)"),
        ((STATES, ACTIONS), {"std": [1.0, 0.0]}, r"deviation is 0\.0 somewhere; it must be above 0"),
        (([["a", "b"]], ACTIONS), {}, r"observations is \[\['a', 'b'\]\]; it must be an array of numbers"),
        ((STATES, [[np.nan]] * 3), {}, r"targets hold 3 non-finite numbers"),
    ],
)
def test_arrays_that_do_not_fit_are_refused_with_both_shapes(arguments, options, message):
    with pytest.raises(DatasetError, match=message):
        hades.make_dataset(*arguments, POINT, **options)


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        ([0, 1, 3], r"the label 3; point-discrete has the actions 0 to 2"),
        ([0, 1, 0.5], r"the label 0\.5"),
        ([0, 1], r"targets have shape \(2, 3\), but 3 pairs with Discrete\(n=3\) need \(3, 3\)"),
        ([[1, 0, 0], [0, 2, -1], [0, 0, 1]], r"row 1 is \[0\.0, 2\.0, -1\.0\], .*softmax of logits"),
        ([[1, 0, 0], [0, 1, 0], [3, 1, 0]], r"row 2 is \[3\.0, 1\.0, 0\.0\]"),
    ],
)
def test_targets_of_discrete_actions_are_labels_or_probabilities(targets, message):
    with pytest.raises(DatasetError, match=message):
        hades.make_dataset(STATES, targets, POINT_DISCRETE)
