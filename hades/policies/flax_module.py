"""The user's own flax module as a policy, for a session: no file could rebuild it."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array

from hades.errors import ConfigError, HadesError, require, shown
from hades.policies.base import Policy
from hades.policies.distributions import Distribution
from hades.types import EnvSpec, Key, Params

_ROWS = 3
"""Observations that a module is tried with; a module that mixes them up returns another number of rows."""


@dataclasses.dataclass(frozen=True)
class FlaxModule(Policy):
    """A module from observations f32[N, *obs_shape] to logits, or mean actions, f32[N, A].

    Attributes:
        module: of linen, or what stands for a module.
    """

    module: Any

    @property
    def session_only(self) -> str:
        """Why no file can hold it."""
        return f"it holds your own module {self.brief}, of which a file knows no more than the name"

    @property
    def brief(self) -> str:
        return self.module.brief if isinstance(self.module, NnxModule | LinenModule) else type(self.module).__name__

    @property
    def draws_weights(self) -> bool:
        return not isinstance(self.module, NnxModule) or self.module.draws_weights

    def network(self, spec: EnvSpec) -> nn.Module:
        _check(self, spec)
        return self.module

    def init(self, key: Key, spec: EnvSpec) -> Params:
        params = {"module": self.network(spec).init(key, jnp.zeros((1, *spec.obs_shape)))["params"]}
        if not spec.is_discrete:
            params["log_std"] = jnp.full(spec.action_space.size, self.log_std, jnp.float32)
        return params

    def distribution(self, params: Params, obs: Array, spec: EnvSpec) -> Distribution:
        batch = obs.shape[: obs.ndim - len(spec.obs_shape)]
        output: Any = self.network(spec).apply({"params": params["module"]}, obs.reshape(-1, *spec.obs_shape))
        return self.head(params, output.astype(jnp.float32).reshape(*batch, -1), spec)


@dataclasses.dataclass(frozen=True, eq=False)
class LinenModule:
    """A linen module whose fields are not hashable, such as the list of a Sequential: this equals itself alone."""

    module: nn.Module

    @property
    def brief(self) -> str:
        return type(self.module).__name__

    def init(self, key: Key, x: Array) -> Any:
        return self.module.init(key, x)

    def apply(self, variables: dict[str, Params], x: Array) -> Any:
        return self.module.apply(variables, x)


@dataclasses.dataclass(frozen=True)
class NnxModule:
    """The two functions of a linen module that FlaxModule calls, for a module of nnx.

    Attributes:
        make: from an nnx.Rngs to the module.
        brief: its name.
        draws_weights: False where `make` returns the same weights always.
    """

    make: Callable[[Any], Any]
    brief: str
    draws_weights: bool

    def init(self, key: Key, x: Array) -> dict[str, Params]:
        """Fresh weights by their paths."""
        from flax import nnx

        del x
        _, weights, *rest = nnx.split(self.make(nnx.Rngs(key)), nnx.Param, ...)
        kinds = sorted({type(variable).__name__ for part in rest for _, variable in nnx.to_flat_state(part)})
        require(not kinds, f"{self.brief} holds {', '.join(kinds)}; only its Param is trained: leave the others out.")
        return {"params": {"/".join(map(str, path)): leaf[...] for path, leaf in nnx.to_flat_state(weights)}}

    def apply(self, variables: dict[str, Params], x: Array) -> Array:
        """The output for observations."""
        from flax import nnx

        abstract = nnx.eval_shape(lambda: self.make(nnx.Rngs(0)))
        graph, state = nnx.split(abstract)
        leaves = [variables["params"]["/".join(map(str, path))] for path, _ in nnx.to_flat_state(state)]
        return nnx.merge(graph, jax.tree.unflatten(jax.tree.structure(state), leaves))(x)


def as_policy(given: Any, like: Policy) -> Any:
    """A flax module as a policy that acts like another one; anything else as it is.

    Args:
        given: a module of linen; a module of nnx, whose weights every training starts from; or a class or function
            that makes one from an nnx.Rngs.
        like: whose `acting` and `log_std` it takes.

    Raises:
        ConfigError: for the class of a linen module.
    """
    if isinstance(given, Policy | str) or not callable(given):
        return given
    if isinstance(given, type) and issubclass(given, nn.Module | Policy):
        raise ConfigError(f"policy is the class {given.__name__}; give an instance, such as {given.__name__}(…).")
    module: Any = given if isinstance(given, nn.Module) else _of_nnx(given)
    try:
        hash(module)
    except TypeError:
        module = LinenModule(given)
    return FlaxModule(module, acting=like.acting, log_std=like.log_std, learn_log_std=like.learn_log_std)


def _of_nnx(given: Any) -> NnxModule:
    from flax import nnx

    if not isinstance(given, nnx.Module):
        return NnxModule(given, getattr(given, "__name__", type(given).__name__), True)
    graph, state = nnx.split(given)
    # A copy of its weights: a later change of the module would not reach a program that is already compiled.
    state = jax.tree.map(jnp.array, state)
    return NnxModule(lambda rngs: nnx.merge(graph, state), type(given).__name__, False)


@functools.lru_cache(maxsize=64)
def _check(policy: FlaxModule, spec: EnvSpec) -> None:
    """Raise ConfigError where a module does not map the observations of an environment to its actions."""
    module, size = policy.module, spec.action_space.size
    taken = f"observations f32[N, {', '.join(map(str, spec.obs_shape))}] of {spec.name}"
    wanted = f"f32[N, {size}], {'a logit for each action' if spec.is_discrete else 'the mean action'}"
    x = jax.ShapeDtypeStruct((_ROWS, *spec.obs_shape), jnp.float32)
    key = jax.eval_shape(lambda: jax.random.key(0))
    try:
        variables = jax.eval_shape(module.init, key, x)
        others = sorted(set(variables) - {"params"})
        require(not others, f"policy is {policy.brief}, which has {', '.join(others)}; only its params are trained.")
        output = jax.eval_shape(lambda v, x: module.apply({"params": v["params"]}, x), variables, x)
    except HadesError:
        raise
    except Exception as error:  # the user's own code
        reason = f"{type(error).__name__}: {shown(str(error), 300)}"
        raise ConfigError(
            f"policy is {policy.brief}, which fails for {taken}: {reason}. It must return {wanted}."
        ) from error
    require(
        getattr(output, "shape", None) == (_ROWS, size),
        f"policy is {policy.brief}, which returns {_described(output)} for {_ROWS} {taken}; it must return {wanted}.",
    )


def _described(output: Any) -> str:
    if hasattr(output, "shape"):
        return f"{output.dtype}[{', '.join(map(str, output.shape))}]"
    return f"a {type(output).__name__} of {', '.join(_described(leaf) for leaf in jax.tree.leaves(output))}"
