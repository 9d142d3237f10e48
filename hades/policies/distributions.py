"""Action distributions: the two that policies need, in the order (parameters) -> sample, mode, log-probability.

distrax would be the library for this, but it depends on a nightly build of TensorFlow Probability.
"""

import jax
import jax.numpy as jnp
from flax import struct
from jax import Array

from hades.types import Key

LOG_2PI = 1.8378770664093453
NO_ACTION = -1
"""In the place of a discrete action that logits do not define; `argmax` would return 0, an action like any other."""


@struct.dataclass
class Categorical:
    """Over A actions. Where the logits are not all finite, `sample` and `mode` return NO_ACTION."""

    logits: Array  # f32[..., A]

    def sample(self, key: Key) -> Array:
        """i32[...]"""
        return self._defined(jax.random.categorical(key, self.logits))

    def mode(self) -> Array:
        """i32[...]"""
        return self._defined(jnp.argmax(self.logits, axis=-1))

    def _defined(self, action: Array) -> Array:
        return jnp.where(jnp.isfinite(self.logits).all(-1), action, NO_ACTION)

    def log_prob(self, action: Array) -> Array:
        """Log-probability of actions i32[...]: f32[...]."""
        return jnp.take_along_axis(self.log_probs(), action[..., None], axis=-1)[..., 0]

    def log_probs(self) -> Array:
        """f32[..., A]"""
        return jax.nn.log_softmax(self.logits)

    def entropy(self) -> Array:
        """f32[...]"""
        log_probs = self.log_probs()
        return -(jnp.exp(log_probs) * log_probs).sum(-1)


@struct.dataclass
class DiagonalGaussian:
    """Independent normal actions; `log_std` does not depend on the state."""

    mean: Array  # f32[..., A]
    log_std: Array  # f32[A]

    def sample(self, key: Key) -> Array:
        """f32[..., A]"""
        return self.mean + jnp.exp(self.log_std) * jax.random.normal(key, self.mean.shape)

    def mode(self) -> Array:
        """f32[..., A]"""
        return self.mean

    def log_prob(self, action: Array) -> Array:
        """Log-density of actions f32[..., A], summed over the action entries: f32[...]."""
        z = (action - self.mean) * jnp.exp(-self.log_std)
        return -0.5 * (jnp.square(z) + LOG_2PI).sum(-1) - self.log_std.sum(-1)

    def entropy(self) -> Array:
        """f32[...]"""
        return jnp.broadcast_to(0.5 * (1.0 + LOG_2PI) * self.log_std.size + self.log_std.sum(), self.mean.shape[:-1])


@struct.dataclass
class Stacked:
    """k distributions side by side, whose arrays all have k as their first axis, as `vmap` returns them."""

    parts: Categorical | DiagonalGaussian

    def sample(self, key: Key) -> Array:
        """[k, ...]"""
        count = jax.tree.leaves(self.parts)[0].shape[0]
        return jax.vmap(lambda part, key: part.sample(key))(self.parts, jax.random.split(key, count))

    def mode(self) -> Array:
        """[k, ...]"""
        return self.parts.mode()

    def log_prob(self, action: Array) -> Array:
        """Log-probabilities f32[k, ...] of actions [k, ...]."""
        return jax.vmap(lambda part, action: part.log_prob(action))(self.parts, action)

    def entropy(self) -> Array:
        """f32[k, ...]"""
        return jax.vmap(lambda part: part.entropy())(self.parts)


Distribution = Categorical | DiagonalGaussian
