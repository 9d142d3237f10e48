"""A pool of networks: every draw of initial weights also draws which network they are of.

A dataset that is searched for with one network fits that network. HaDES-R over a pool asks for pairs that train all of
its members. Their weights lie in arrays of the largest sizes, padded with zeros that stay zero in training, so that
one compiled program serves all members, in any mixture, under `vmap` and `scan`.
"""

import dataclasses
from typing import cast

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from hades.errors import require
from hades.policies.base import Policy, activation
from hades.policies.layers import Layer
from hades.policies.mlp import MLP, flatten
from hades.registry import register
from hades.types import EnvSpec, Key, Params


@register("Policy", "NetworkPool")
@dataclasses.dataclass(frozen=True)
class NetworkPool(Policy):
    """An MLP drawn from `members` with its initial weights.

    Use it with RandomInit: each of the `num_inits` networks of a generation is drawn anew, all members alike. Widths,
    depths, activations and initial gains are the members'; how actions are taken, and `log_std`, are the pool's.

    Attributes:
        members: MLPs of at least one hidden layer. A layer costs as much as its widest member's.

    Raises:
        ConfigError: for an empty pool, a member that is no MLP or has no hidden layer, or one that is named twice.
    """

    members: tuple[Policy, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.members, "NetworkPool.members is (); a pool has members, such as (@narrow/MLP(), @wide/MLP()).")
        for i, member in enumerate(self.members):
            require(
                type(member) is MLP and member.depth > 0,
                f"NetworkPool.members[{i}] is {member}; members are MLPs of at least one hidden layer.",
            )
        kinds = [_kind(member) for member in self._members]
        for i, kind in enumerate(kinds):
            first = kinds.index(kind)
            require(first == i, f"NetworkPool.members[{i}] is the network of members[{first}]; name each once.")

    @property
    def networks(self) -> tuple[Policy, ...]:
        return self.members

    @property
    def _members(self) -> tuple[MLP, ...]:
        return cast(tuple[MLP, ...], self.members)

    def network(self, spec: EnvSpec) -> "_Pool":
        return _Pool(obs_shape=spec.obs_shape, outputs=spec.action_space.size, kinds=tuple(map(_kind, self._members)))

    def init(self, key: Key, spec: EnvSpec) -> Params:
        k_member, k_weights = jax.random.split(key)
        drawn = jax.random.randint(k_member, (), 0, len(self.members))
        branches = [lambda k, i=i: self._padded(i, k, spec) for i in range(len(self.members))]
        params = dict(lax.switch(drawn, branches, k_weights))
        if not spec.is_discrete:
            params["log_std"] = jnp.full(spec.action_space.size, self.log_std, jnp.float32)
        return params

    def kernel(self, params: Params, obs: Array, spec: EnvSpec) -> Array:
        features = self._features(params, obs, spec)
        return features @ features.T

    def fitted(self, params: Params, obs: Array, coefficients: Array, spec: EnvSpec) -> Params:
        weights = self._features(params, obs, spec).T @ coefficients
        return {**params, "output": {"kernel": weights[:-1], "bias": weights[-1]}}

    def layers(self, params: Params, spec: EnvSpec) -> tuple[Layer, ...]:
        i = int(jnp.argmax(params["member"]))
        member, first = self._members[i], sum(self.network(spec).reads[: self._members[i].depth - 1])
        sizes = (spec.obs_size, *(member.width,) * member.depth)
        own = {f"layers_{n}": _cut(params[f"layers_{n}"], 0, *sizes[n : n + 2]) for n in range(member.depth)}
        output = _cut(params["output"], first, member.width, spec.action_space.size)
        return member.layers({**own, f"layers_{member.depth}": output}, spec)

    def _features(self, params: Params, obs: Array, spec: EnvSpec) -> Array:
        """Features that the last layer weighs, its bias as a last column of ones: f32[N, H + 1]."""
        weights = {k: v for k, v in params.items() if k != "log_std"}
        hidden = cast(Array, self.network(spec).apply({"params": weights}, obs, method="features"))
        return jnp.concatenate([hidden, jnp.ones((*hidden.shape[:-1], 1))], axis=-1)

    def _padded(self, i: int, key: Key, spec: EnvSpec) -> Params:
        """Fresh weights of member i in the arrays of the pool."""
        member, network = self._members[i], self.network(spec)
        weights = member.init(key, spec)
        empty = jax.eval_shape(network.init, key, jnp.zeros(spec.obs_shape))["params"]
        params = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), dict(empty))
        for layer in range(member.depth):
            params[f"layers_{layer}"] = _pad(weights[f"layers_{layer}"], params[f"layers_{layer}"])
        first = sum(network.reads[: member.depth - 1])  # of the units of the layer that this member's output reads
        params["output"] = _pad(weights[f"layers_{member.depth}"], params["output"], first)
        return {**params, "member": jax.nn.one_hot(i, len(self.members))}


def _kind(member: MLP) -> tuple[int, int, str, float, float]:
    return member.width, member.depth, member.activation, member.hidden_scale, member.output_scale


def _pad(small: Params, large: Params, first: int = 0) -> Params:
    """A dense layer's weights at row `first` of a larger one's, which are zero elsewhere."""
    rows, columns = small["kernel"].shape
    kernel = large["kernel"].at[first : first + rows, :columns].set(small["kernel"])
    return {"kernel": kernel, "bias": large["bias"].at[:columns].set(small["bias"])}


def _cut(large: Params, first: int, rows: int, columns: int) -> Params:
    """The dense layer that `_pad` put into a larger one."""
    return {"kernel": large["kernel"][first : first + rows, :columns], "bias": large["bias"][:columns]}


class _Pool(nn.Module):
    """All members in one network. The output reads the last hidden layer of the member that it is: others are 0."""

    obs_shape: tuple[int, ...]
    outputs: int
    kinds: tuple[tuple[int, int, str, float, float], ...]

    @property
    def sizes(self) -> tuple[int, ...]:
        """Units of each layer: of the widest member that has it."""
        deepest = max(depth for _, depth, *_ in self.kinds)
        return tuple(max(width for width, depth, *_ in self.kinds if depth > layer) for layer in range(deepest))

    @property
    def reads(self) -> tuple[int, ...]:
        """Units of each layer that an output reads: of the widest member for which it is the last."""
        layers = range(1, len(self.sizes) + 1)
        return tuple(max((width for width, depth, *_ in self.kinds if depth == last), default=0) for last in layers)

    def setup(self) -> None:
        self.layers = [nn.Dense(size) for size in self.sizes]
        self.output = nn.Dense(self.outputs)
        self.member = self.param("member", nn.initializers.zeros, (len(self.kinds),))

    def __call__(self, obs: Array) -> Array:
        return self.output(self.features(obs))

    def features(self, obs: Array) -> Array:
        """The units that the output reads, of all layers side by side: f32[..., sum of `reads`], 0 but the member's."""
        is_member = jax.nn.one_hot(jnp.argmax(self.member), len(self.kinds))  # no gradient, whatever training does
        depths = np.array([depth for _, depth, *_ in self.kinds])
        names = sorted({name for _, _, name, *_ in self.kinds})
        uses = np.array([[kind[2] == name for name in names] for kind in self.kinds], np.float32)
        shares = is_member @ uses
        # A unit that is none of the member's has no weights, so that it is 0 behind every activation, and stays so.
        x, read = flatten(obs, self.obs_shape), []
        for last, (layer, size) in enumerate(zip(self.layers, self.reads, strict=True), start=1):
            x = layer(x)
            x = jnp.stack([share * activation(name)(x) for share, name in zip(shares, names, strict=True)]).sum(0)
            read.append((is_member @ (depths == last).astype(np.float32)) * x[..., :size])
            x = x[..., : self.sizes[last]] if last < len(self.sizes) else x
        return jnp.concatenate(read, axis=-1)
