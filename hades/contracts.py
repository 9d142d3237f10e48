"""Assertions on shapes that the interfaces promise, run while a program is traced; and the precision of programs."""

import functools
from collections.abc import Callable
from types import EllipsisType
from typing import Any, ParamSpec, TypeVar

import jax

from hades.errors import ConfigError

P = ParamSpec("P")
R = TypeVar("R")


def expect_shape(value: Any, shape: tuple[int | EllipsisType, ...], component: object, what: str) -> None:
    """Check the shape of an array that a component returned.

    Args:
        value: an array, a tracer or a `jax.ShapeDtypeStruct`.
        shape: what the interface promises; `...` at its beginning stands for any leading axes.
        component: what returned it.
        what: how to call the array in the error, such as "candidates()".

    Raises:
        ConfigError: naming the component and both shapes.
    """
    found, last = tuple(value.shape), shape[1:] if shape[:1] == (...,) else shape
    if found != shape and (shape == last or len(found) < len(last) or found[len(found) - len(last) :] != last):
        sizes = ", ".join("..." if size is ... else str(size) for size in shape)
        raise ConfigError(f"{type(component).__name__}: the shape of {what} must be ({sizes}), but it is {found}.")


def expect_same_structure(value: Any, like: Any, component: object, what: str) -> None:
    """Check that a pytree that a component returned has the structure, shapes and dtypes of another one.

    Raises:
        ConfigError: naming the component and the leaves that differ.
    """
    import chex  # of searches alone: training from a dataset need not wait for it

    try:
        chex.assert_trees_all_equal_shapes_and_dtypes(value, like)
    except AssertionError as error:
        raise ConfigError(
            f"{type(component).__name__}: {what} must keep its structure, shapes and dtypes. {error}"
        ) from error


def single_precision(function: Callable[P, R]) -> Callable[P, R]:
    """Run a function without JAX's 64-bit types, also where the process has switched them on (jax_enable_x64).

    The states of a search are float32 and int32 throughout, and a loop refuses a state whose types change.
    """

    @functools.wraps(function)
    def in_single_precision(*args: P.args, **kwargs: P.kwargs) -> R:
        with jax.enable_x64(False):
            return function(*args, **kwargs)

    return in_single_precision
