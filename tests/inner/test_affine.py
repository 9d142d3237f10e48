import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from hades.inner.affine import affine_fit, indifferent_at

KEY = jax.random.key(0)
WEIGHTS = jax.random.normal(KEY, (6, 2))
BIAS = jnp.asarray([0.5, -2.0])


def test_the_nearest_affine_policy_has_the_mean_derivative_and_the_mean_output() -> None:
    """Of states with fewer rows than entries, and shaped like images."""
    states = jax.random.normal(jax.random.key(1), (4, 3, 2))

    def policy(obs: Array) -> Array:
        x = obs.reshape(-1)
        return x @ WEIGHTS + BIAS + jnp.asarray([0.0, 1.0]) * (x @ x)

    weights, bias = affine_fit(policy, states)
    x = states.reshape(4, 6)
    np.testing.assert_allclose(weights[:, 0], WEIGHTS[:, 0], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(weights[:, 1], WEIGHTS[:, 1] + 2.0 * x.mean(0), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose((x @ weights + bias).mean(0), jax.vmap(policy)(states).mean(0), rtol=1e-4, atol=1e-5)


def test_the_centre_is_the_nearest_observation_without_a_preference() -> None:
    centre, left = indifferent_at(WEIGHTS, BIAS)
    np.testing.assert_allclose(centre @ WEIGHTS + BIAS, 0.0, atol=1e-5)
    np.testing.assert_allclose(left, 0.0, atol=1e-5)
    across = jnp.eye(6) - WEIGHTS @ jnp.linalg.pinv(WEIGHTS)  # projects on observations that change no output
    np.testing.assert_allclose(across @ centre, 0.0, atol=1e-5)


def test_what_the_observation_cannot_balance_is_left() -> None:
    weights = WEIGHTS.at[:, 1].set(1e-3 * WEIGHTS[:, 1])  # hardly moves the second output
    centre, left = indifferent_at(weights, BIAS)
    assert jnp.linalg.norm(centre) < 1.0
    np.testing.assert_allclose(left, [0.0, BIAS[1]], atol=0.01)
