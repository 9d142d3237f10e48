"""Assertions on the shapes that the interfaces promise. They run while a program is traced and cost it no time."""

from types import EllipsisType
from typing import Any

import chex

from hades.errors import ConfigError


def expect_shape(value: Any, shape: tuple[int | EllipsisType, ...], component: object, what: str) -> None:
    """Check the shape of an array that a component returned.

    Args:
        value: an array, a tracer or a `jax.ShapeDtypeStruct`.
        shape: what the interface promises; `...` stands for any leading axes.
        component: what returned it.
        what: how to call the array in the error, such as "candidates()".

    Raises:
        ConfigError: naming the component and both shapes.
    """
    try:
        chex.assert_shape(value, shape)
    except AssertionError as error:
        sizes = ", ".join("..." if size is ... else str(size) for size in shape)
        raise ConfigError(
            f"{type(component).__name__}: the shape of {what} must be ({sizes}), but it is {tuple(value.shape)}."
        ) from error


def expect_same_structure(value: Any, like: Any, component: object, what: str) -> None:
    """Check that a pytree that a component returned has the structure, shapes and dtypes of another one.

    Raises:
        ConfigError: naming the component and the leaves that differ.
    """
    try:
        chex.assert_trees_all_equal_shapes_and_dtypes(value, like)
    except AssertionError as error:
        raise ConfigError(
            f"{type(component).__name__}: {what} must keep its structure, shapes and dtypes. {error}"
        ) from error
