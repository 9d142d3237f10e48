"""Networks: initialisation as published, acting, and where the log-std comes from."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hades.errors import ConfigError
from hades.policies.cnn import CNN, NatureCNN, patches
from hades.policies.impala import ImpalaCNN
from hades.policies.mlp import MLP
from tests.support import BOX_SPEC, IMAGE_SPEC, POINT_DISCRETE

OBS = jnp.array([[0.3, -0.2, 0.7], [1.0, 0.5, -1.0]])


@pytest.fixture(scope="module")
def params():
    return MLP(width=16).init(jax.random.key(0), BOX_SPEC)


def test_initial_weights_are_orthogonal_with_the_published_gains(params):
    wide = params["layers_1"]["kernel"]
    np.testing.assert_allclose(wide.T @ wide, 2.0 * np.eye(16), atol=1e-5)
    last = params["layers_2"]["kernel"]
    np.testing.assert_allclose(last.T @ last, 1e-4 * np.eye(2), atol=1e-7)
    assert all((params[f"layers_{i}"]["bias"] == 0).all() for i in range(3))


def test_an_mlp_is_what_its_formula_says(params):
    x = np.asarray(OBS)
    for i in range(3):
        x = x @ np.asarray(params[f"layers_{i}"]["kernel"]) + np.asarray(params[f"layers_{i}"]["bias"])
        x = np.tanh(x) if i < 2 else x
    np.testing.assert_allclose(MLP(width=16).distribution(params, OBS, BOX_SPEC).mean, x, rtol=1e-4, atol=1e-6)


def test_the_distribution_continues_from_the_first_layers_pre_activations(params):
    policy = MLP(width=16)
    first = params[policy.first_layer]
    after = policy.after_first_layer(params, OBS @ first["kernel"] + first["bias"], BOX_SPEC)
    np.testing.assert_allclose(after.mean, policy.distribution(params, OBS, BOX_SPEC).mean, atol=1e-7)


def test_depth_zero_is_linear(key):
    policy = MLP(depth=0)
    params = policy.init(key, BOX_SPEC)
    np.testing.assert_allclose(
        policy.distribution(params, OBS, BOX_SPEC).mean, OBS @ params["layers_0"]["kernel"], atol=1e-7
    )


def test_greedy_acting_is_the_mode_and_sampling_is_not(params, key):
    greedy, sampled = (MLP(width=16, acting=a).act(key, params, OBS, BOX_SPEC) for a in ("greedy", "sample"))
    mean = MLP(width=16).distribution(params, OBS, BOX_SPEC).mean
    np.testing.assert_array_equal(greedy, mean)
    np.testing.assert_allclose(sampled - mean, jax.random.normal(key, mean.shape), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("learned", [True, False])
def test_log_std_is_learned_or_fixed(params, learned):
    policy = MLP(width=16, log_std=-1.5, learn_log_std=learned)
    np.testing.assert_array_equal(policy.init(jax.random.key(0), BOX_SPEC)["log_std"], [-1.5, -1.5])
    whole = dataclasses.replace(policy, log_std=-1).init(jax.random.key(0), BOX_SPEC)["log_std"]
    assert whole.dtype == jnp.float32  # an integer in a gin file must not make integer weights
    changed = {**params, "log_std": jnp.array([0.25, 0.5])}
    expected = [0.25, 0.5] if learned else [-1.5, -1.5]
    np.testing.assert_array_equal(policy.distribution(changed, OBS, BOX_SPEC).log_std, expected)


def test_images_are_flattened_for_an_mlp(key):
    policy = MLP(width=4, depth=1)
    params = jax.eval_shape(lambda k: policy.init(k, IMAGE_SPEC), key)
    assert params["layers_0"]["kernel"].shape == (60, 4)


def test_a_convolution_by_patches_equals_xlas():
    x = jax.random.normal(jax.random.key(0), (2, 5, 6, 3))
    kernel = jax.random.normal(jax.random.key(1), (3, 3, 3, 4))
    expected = jax.lax.conv_general_dilated(x, kernel, (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC"))
    np.testing.assert_allclose(patches(x, 3) @ kernel.reshape(27, 4), expected, rtol=1e-4, atol=1e-4)


def test_a_strided_convolution_by_patches_equals_xlas():
    x = jax.random.normal(jax.random.key(0), (2, 13, 14, 3))  # of which a row and two columns are left over
    kernel = jax.random.normal(jax.random.key(1), (8, 8, 3, 4))
    expected = jax.lax.conv_general_dilated(x, kernel, (4, 4), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC"))
    by_blocks = kernel.reshape(2, 4, 2, 4, 3, 4).swapaxes(1, 2).reshape(-1, 4)  # the blocks of a window, row by row
    np.testing.assert_allclose(patches(x, 8, 4) @ by_blocks, expected, rtol=1e-3, atol=1e-3)


@pytest.mark.slow
def test_a_cnn_sees_where_things_are(key):
    policy = CNN(features=(4, 2), width=8)
    params = policy.init(key, IMAGE_SPEC)
    here, there = (jnp.zeros(IMAGE_SPEC.obs_shape).at[1, column, 0].set(1.0) for column in (1, 4))
    logits = [policy.distribution(params, obs, IMAGE_SPEC).logits for obs in (here, there)]
    assert not np.allclose(logits[0], logits[1])


@pytest.mark.parametrize("spec", [POINT_DISCRETE.spec, dataclasses.replace(IMAGE_SPEC, obs_shape=(4, 9, 1))])
def test_a_cnn_refuses_what_is_no_image_or_too_small(spec):
    with pytest.raises(ConfigError, match="MLP"):
        CNN(features=(4, 4)).network(spec)


@pytest.mark.parametrize(("policy", "least"), [(NatureCNN(), 36), (ImpalaCNN(features=(2, 2)), 4)])
@pytest.mark.parametrize("shape", [(4,), (3, 50, 1)])
def test_a_network_for_pictures_refuses_what_is_none(policy, least, shape):
    spec = dataclasses.replace(IMAGE_SPEC, obs_shape=shape)
    with pytest.raises(ConfigError, match=f"at least {least} × {least} pixels; observations of image have shape"):
        policy.network(spec)


def test_the_nature_cnn_has_the_published_sizes(key):
    spec = dataclasses.replace(IMAGE_SPEC, obs_shape=(84, 84, 4))
    params = jax.eval_shape(lambda k: NatureCNN().init(k, spec), key)
    sizes = [params[f"Dense_{i}"]["kernel"].shape for i in range(5)]
    assert sizes == [(256, 32), (512, 64), (576, 64), (3136, 512), (512, 3)]


def test_the_impala_cnn_has_the_published_sizes(key):
    spec = dataclasses.replace(IMAGE_SPEC, obs_shape=(84, 84, 4))
    params = jax.eval_shape(lambda k: ImpalaCNN().init(k, spec), key)
    assert len(params) == 3 * 5 + 2
    assert params["Dense_15"]["kernel"].shape == (11 * 11 * 32, 256)


@pytest.mark.parametrize("policy", [NatureCNN, ImpalaCNN])
def test_a_network_that_no_device_holds_is_refused(policy):
    with pytest.raises(ConfigError, match="weights or more"):
        policy(features=(50_000, 50_000, 50_000))


@pytest.mark.parametrize("policy", [CNN(features=(3, 2), width=4), ImpalaCNN(features=(2,), blocks=1, width=4)])
def test_a_fitted_convolutional_policy_is_its_kernel_times_the_coefficients(policy, key):
    spec, (k_init, k_obs, k_fit) = dataclasses.replace(IMAGE_SPEC, obs_shape=(6, 6, 1)), jax.random.split(key, 3)

    @jax.jit
    def both(params, obs, coefficients):
        fitted = policy.fitted(params, obs, coefficients, spec)
        return policy.distribution(fitted, obs, spec).logits, policy.kernel(params, obs, spec) @ coefficients

    params = jax.jit(lambda k: policy.init(k, spec))(k_init)
    logits, expected = both(params, jax.random.normal(k_obs, (3, 6, 6, 1)), jax.random.normal(k_fit, (3, 3)))
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-4)
