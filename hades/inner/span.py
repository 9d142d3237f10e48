"""Train a dense first layer in the span of the dataset's observations.

Every gradient of the first kernel is Xᵀδ, a combination of the N observations. For plain and momentum SGD the update
is linear in the gradients, so the kernel stays W₀ + XᵀC and C [N, H] can be trained in its place: the forward pass
needs X W₀ (once) and the Gram matrix XXᵀ C, and the gradient of C is δ itself. Same trajectory, O/N times less work.
Adam divides each entry by its own scale and leaves the span; so do weight decay and clipping by norm.

Acting gains as much: all candidates of a generation share W₀, so a whole population's first layer is one matrix product
with one kernel that stays in cache, plus a product with N directions each.
"""

import jax
import jax.numpy as jnp
from jax import Array

from hades.inner.losses import Loss, weighted_mean
from hades.policies.base import Policy
from hades.types import Dataset, EnvSpec, Params

SPAN_OPTIMIZERS = ("sgd",)


class SpanProblem:
    """Cloning with the first kernel replaced by its coefficients."""

    def __init__(
        self, policy: Policy, loss: Loss, params: Params, dataset: Dataset, spec: EnvSpec, pair_weights: Array | None
    ):
        assert policy.first_layer is not None
        self._layer = policy.first_layer
        self._policy, self._loss, self._targets, self._spec = policy, loss, dataset.targets, spec
        self._pair_weights = pair_weights
        self._x = dataset.observations.reshape(dataset.observations.shape[0], -1)
        self._kernel = params[self._layer]["kernel"]
        self._fixed = self._x @ self._kernel
        self._gram = self._x @ self._x.T
        coefficients = jnp.zeros((self._x.shape[0], self._kernel.shape[1]))
        self.start = {**params, self._layer: {"bias": params[self._layer]["bias"], "kernel": coefficients}}

    def loss(self, weights: Params, rows: Array | None) -> Array:
        first = weights[self._layer]
        pre_activation = self._fixed + _in_span(self._gram, first["kernel"]) + first["bias"]
        pairs = pre_activation, self._targets, self._pair_weights
        if rows is not None:
            pairs = jax.tree.map(lambda x: x[rows], pairs)

        def loss(pre_activation: Array, targets: Array) -> Array:
            return self._loss(self._policy.after_first_layer(weights, pre_activation, self._spec), targets)

        return weighted_mean(loss, *pairs)

    def trained(self, weights: Params) -> Params:
        """The weights without the initial kernel: its change as `basis` and `coefficients`."""
        first = weights[self._layer]
        return {**weights, self._layer: {"bias": first["bias"], "basis": self._x, "coefficients": first["kernel"]}}


def with_kernel(params: Params, trained: Params, layer: str) -> Params:
    """Trained weights on top of the initial kernel, still factored."""
    return {**trained, layer: {**trained[layer], "kernel": params[layer]["kernel"]}}


def dense(params: Params, layer: str) -> Params:
    """The same weights with the kernel multiplied out."""
    first = params[layer]
    kernel = first["kernel"] + first["basis"].T @ first["coefficients"]
    return {**params, layer: {"kernel": kernel, "bias": first["bias"]}}


@jax.custom_vjp
def _in_span(gram: Array, coefficients: Array) -> Array:
    return gram @ coefficients


def _in_span_forward(gram: Array, coefficients: Array) -> tuple[Array, None]:
    return gram @ coefficients, None


def _in_span_backward(_: None, delta: Array) -> tuple[None, Array]:
    return None, delta  # the gradient of the kernel is Xᵀδ, whose coefficients are δ, not gram @ δ


_in_span.defvjp(_in_span_forward, _in_span_backward)
