"""The two init schemes of the paper: HaDES-F keeps one initial policy, HaDES-R draws k fresh ones every generation."""

import dataclasses

import jax

from hades.errors import one_of
from hades.fields import Count, Seed
from hades.inner.base import InitScheme
from hades.policies.base import Policy
from hades.registry import register
from hades.types import EnvSpec, Key, Params

KEY_IMPLS = ("threefry2x32", "rbg", "unsafe_rbg")
"""JAX's own random bit generators."""


@register("InitScheme", "FixedInit")
@dataclasses.dataclass(frozen=True)
class FixedInit(InitScheme):
    """HaDES-F: the policy drawn from `seed`, whatever the generation.

    Attributes:
        seed: of the initial weights.
        key_impl: JAX's generator of the random bits, so that the same weights can be made again from a dataset file.
    """

    seed: Seed = 420
    key_impl: str = "threefry2x32"

    num_inits = 1
    is_fixed = True

    def __post_init__(self) -> None:
        one_of("FixedInit.key_impl", self.key_impl, KEY_IMPLS)

    def init(self, key: Key, policy: Policy, spec: EnvSpec) -> Params:
        del key
        return policy.init(jax.random.key(self.seed, impl=self.key_impl), spec)


@register("InitScheme", "RandomInit")
@dataclasses.dataclass(frozen=True)
class RandomInit(InitScheme):
    """HaDES-R: fresh policies every generation, the same ones for all candidates.

    Attributes:
        num_inits: k, policies of a generation (published: 2).
    """

    num_inits: Count = 2

    is_fixed = False

    def init(self, key: Key, policy: Policy, spec: EnvSpec) -> Params:
        return policy.init(key, spec)
