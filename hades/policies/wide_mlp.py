"""The MLP of infinite width: a policy that training turns into kernel regression on the pairs it has seen.

A wide network barely moves while it is trained, so that it stays linear in its weights, and its trained output is a
formula of the neural tangent kernel (Jacot et al., 2018, arXiv 1806.07572; Lee et al., 2019, arXiv 1902.06720). The
kernel of ReLU layers is Cho and Saul's arc-cosine kernel (2009, "Kernel Methods for Deep Learning"), that of error
functions is Williams' (1997, "Computing with Infinite Networks").
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import Annotated

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array

from hades.errors import ConfigError, offer
from hades.fields import Count, Range
from hades.policies.base import Policy
from hades.policies.distributions import Distribution
from hades.policies.mlp import flatten
from hades.registry import register
from hades.types import EnvSpec, Key, Params

_EDGE = 1e-5
"""Distance from ±1 at which a cosine is cut off: the derivative of its angle is infinite there."""
_LEAST_SQUARE = 1e-6
"""Least squared norm of an observation: the derivative of a norm at 0 is undefined."""


@register("Policy", "WideMLP")
@dataclasses.dataclass(frozen=True)
class WideMLP(Policy):
    """The limit of `MLP` with the same fields as its width grows, trained by squared error to convergence.

    It has no weights of its own: its parameters are N observations and a coefficient of each for each action, which
    `RidgeCloning` computes. The mean initial output, which is 0, takes the place of a random one.

    Attributes:
        width: sets the scale of the hidden units; it matters for "tanh" alone.
        depth: hidden layers.
        activation: "relu" or "tanh"; in the place of tanh stands erf(x √π / 2), which has its slope and its bounds.
        hidden_scale: gain of the initial weights of hidden layers.
        output_scale: gain of those of the last layer. All layers are trained; the lower ones take part in proportion to
            its square, which at 0.01 leaves the last layer alone.
    """

    width: Count = 512
    depth: Annotated[int, Range(least=1, most=100)] = 1
    activation: str = "relu"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.activation not in _MOMENTS:
            raise ConfigError(
                f'WideMLP.activation is "{self.activation}", whose kernel has no formula here. '
                f"{offer(self.activation, _MOMENTS)}"
            )

    @property
    def draws_weights(self) -> bool:
        return False

    def network(self, spec: EnvSpec) -> nn.Module:
        """The last layer alone, for readers of its size: the rest is a formula."""
        return nn.Dense(spec.action_space.size)

    def init(self, key: Key, spec: EnvSpec) -> Params:
        """The untrained policy, whose output is 0 everywhere."""
        del key
        size = spec.action_space.size
        params: dict[str, Array] = {"basis": jnp.zeros((1, spec.obs_size)), "coefficients": jnp.zeros((1, size))}
        if not spec.is_discrete:
            params["log_std"] = jnp.full(size, self.log_std, jnp.float32)
        return params

    def distribution(self, params: Params, obs: Array, spec: EnvSpec) -> Distribution:
        x = flatten(obs, spec.obs_shape)
        return self.head(params, self._tangent_kernel(x, params["basis"]) @ params["coefficients"], spec)

    def kernel(self, params: Params, obs: Array, spec: EnvSpec) -> Array:
        del params
        x = flatten(obs, spec.obs_shape)
        return self._tangent_kernel(x, x)

    def fitted(self, params: Params, obs: Array, coefficients: Array, spec: EnvSpec) -> Params:
        return {**params, "basis": flatten(obs, spec.obs_shape), "coefficients": coefficients}

    def _tangent_kernel(self, a: Array, b: Array) -> Array:
        """f32[..., N] of observations f32[..., O] and f32[N, O]."""
        size = max(self.width, a.shape[-1])  # an orthogonal kernel keeps norms up to the smaller of its sides
        gain, moments = self.hidden_scale**2, _MOMENTS[self.activation]
        of_a, of_b = (jnp.square(x).sum(-1) + _LEAST_SQUARE for x in (a[..., None, :], b))
        product = a @ b.T
        layers = []
        for _ in range(self.depth):
            inputs = product
            scale = gain / size  # of squared pre-activations, per unit
            product, slope = moments(scale * product, scale * of_a, scale * of_b)
            (of_a, _), (of_b, _) = (moments(scale * x, scale * x, scale * x) for x in (of_a, of_b))
            product, of_a, of_b = (self.width * x for x in (product, of_a, of_b))
            layers.append((inputs, slope))
            size = self.width
        kernel, passed = product + 1.0, jnp.asarray(self.output_scale**2)
        for inputs, slope in reversed(layers):
            passed = passed * slope
            kernel = kernel + passed * (inputs + 1.0)
            passed = passed * gain
        return kernel


def _relu_moments(product: Array, of_a: Array, of_b: Array) -> tuple[Array, Array]:
    """E[φ(u) φ(v)] and E[φ′(u) φ′(v)] of normal u and v with these second moments."""
    norm = jnp.sqrt(of_a * of_b)
    cosine = jnp.clip(product / norm, -1.0 + _EDGE, 1.0 - _EDGE)
    return norm * _arc_cosine(cosine) / (2.0 * math.pi), _supplement(cosine) / (2.0 * math.pi)


@jax.custom_jvp
def _arc_cosine(cosine: Array) -> Array:
    """√(1 - c²) + c (π - arccos c), whose derivative is π - arccos c: the rest cancels out."""
    return jnp.sqrt(1.0 - jnp.square(cosine)) + cosine * _supplement(cosine)


@_arc_cosine.defjvp
def _arc_cosine_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    (cosine,), (tangent,) = primals, tangents
    supplement = _supplement(cosine)
    return jnp.sqrt(1.0 - jnp.square(cosine)) + cosine * supplement, supplement * tangent


def _polynomial(coefficients: Sequence[float], x: Array) -> Array:
    """By Horner's rule; `jnp.polyval` is jitted, and mixes up what it compiled in single and double precision."""
    value = jnp.full_like(x, coefficients[0])
    for coefficient in coefficients[1:]:
        value = value * x + coefficient
    return value


@jax.custom_jvp
def _supplement(cosine: Array) -> Array:
    """π - arccos c, by Abramowitz and Stegun 4.4.46 (error 2e-8): `jnp.arccos` is much slower on a CPU."""
    size = jnp.abs(cosine)
    angle = jnp.sqrt(1.0 - size) * _polynomial(_ARC_COSINE, size)
    return jnp.where(cosine < 0, angle, math.pi - angle)


@_supplement.defjvp
def _supplement_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    (cosine,), (tangent,) = primals, tangents
    return _supplement(cosine), tangent / jnp.sqrt(1.0 - jnp.square(cosine))


_ARC_COSINE = (
    *(-0.0012624911, 0.0066700901, -0.0170881256, 0.0308918810),
    *(-0.0501743046, 0.0889789874, -0.2145988016, 1.5707963050),
)


def _erf_moments(product: Array, of_a: Array, of_b: Array) -> tuple[Array, Array]:
    scale = math.pi / 4.0  # of erf(√(π / 4) x), whose slope at 0 is 1
    numerator, of_both = 2.0 * scale * product, (1.0 + 2.0 * scale * of_a) * (1.0 + 2.0 * scale * of_b)
    cosine = jnp.clip(numerator / jnp.sqrt(of_both), -1.0 + _EDGE, 1.0 - _EDGE)
    return 2.0 / math.pi * jnp.arcsin(cosine), 1.0 / jnp.sqrt(of_both - jnp.square(numerator))


_MOMENTS = {"relu": _relu_moments, "tanh": _erf_moments}
