"""sin, cos and atan2 against NumPy in double precision."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from hades.native.function import compile_function

SMALLEST = 2.0**-126
Function = Callable[[np.ndarray, np.ndarray], list[np.ndarray]]


@pytest.fixture(scope="module")
def functions() -> Function:
    """sin y, cos y and atan2(y, x) of vectors."""
    number = jax.ShapeDtypeStruct((), np.float32)
    compiled = compile_function(lambda y, x: [lax.sin(y), lax.cos(y), lax.atan2(y, x)], number, number)
    call = jax.jit(jax.vmap(lambda y, x: tuple(compiled(y, x))))
    return lambda y, x: [np.asarray(a) for a in call(y.astype(np.float32), x.astype(np.float32))]


def all_sizes(number: int, seed: int) -> np.ndarray:
    """Random bits: every exponent and sign alike, denormal numbers and NaN left away."""
    bits = np.random.default_rng(seed).integers(0, 2**32, number).astype(np.uint32)
    x = bits.view(np.float32)
    return np.where(np.isfinite(x) & (np.abs(x) > SMALLEST), x, np.float32(1))


def largest_error(result: np.ndarray, exact: np.ndarray) -> float:
    """In units in the last place."""
    unit = np.spacing(np.maximum(np.abs(exact), SMALLEST).astype(np.float32)).astype(np.float64)
    return float((np.abs(result.astype(np.float64) - exact) / unit).max())


def multiples_of_a_quarter_turn() -> np.ndarray:
    exact = (np.arange(-50_000, 50_000) * (np.pi / 2)).astype(np.float32)
    return np.concatenate([exact, np.nextafter(exact, np.float32(np.inf)), np.nextafter(exact, np.float32(-np.inf))])


@pytest.mark.parametrize(
    "angles",
    [
        np.linspace(-4, 4, 400_001),
        np.random.default_rng(0).uniform(-1e4, 1e4, 200_000),
        multiples_of_a_quarter_turn(),
        all_sizes(200_000, seed=1),
        np.array([1e30, -1e30, 3e38, 2.0**30, 2.0**31]),
    ],
    ids=["turns", "many turns", "multiples", "all sizes", "far"],
)
def test_sines_and_cosines(functions: Function, angles: np.ndarray) -> None:
    sine, cosine, _ = functions(angles, angles)
    exact = angles.astype(np.float32).astype(np.float64)
    assert largest_error(sine, np.sin(exact)) <= 1.6
    assert largest_error(cosine, np.cos(exact)) <= 1.6


def test_a_lane_does_not_depend_on_its_neighbours(functions: Function) -> None:
    angles = np.linspace(-3, 3, 160)
    disturbed = angles.copy()
    disturbed[::5] = 1e30  # in every block
    (a, b, _), (c, d, _) = functions(angles, angles), functions(disturbed, angles)
    quiet = np.arange(160) % 5 != 0
    assert a[quiet].tobytes() == c[quiet].tobytes()
    assert b[quiet].tobytes() == d[quiet].tobytes()


@pytest.mark.parametrize("kind", ["directions", "all sizes", "similar sizes"])
def test_angles_of_directions(functions: Function, kind: str) -> None:
    y, x = all_sizes(300_000, seed=2), all_sizes(300_000, seed=3)
    if kind == "directions":
        y, x = np.random.default_rng(0).normal(size=(2, 400_000)).astype(np.float32)
    if kind == "similar sizes":
        x = (
            (y.astype(np.float64) * np.random.default_rng(0).uniform(0.2, 5, y.size))
            .clip(-3e38, 3e38)
            .astype(np.float32)
        )
        x = np.where(np.abs(x) > SMALLEST, x, y)
    exact = np.arctan2(y.astype(np.float64), x.astype(np.float64))
    assert largest_error(functions(y, x)[2], np.where(np.abs(exact) < SMALLEST, 0, exact)) <= 2


def test_angles_of_axes_zeros_infinities_and_nan(functions: Function) -> None:
    special = np.array([0.0, -0.0, 1, -1, 2.0**-126, 3e38, -3e38, np.inf, -np.inf, np.nan], np.float32)
    y, x = np.array(np.meshgrid(special, special)).reshape(2, -1)
    exact = np.arctan2(y.astype(np.float64), x.astype(np.float64)).astype(np.float32)
    result = functions(y, x)[2]
    np.testing.assert_allclose(result, exact, rtol=1.3e-7, atol=SMALLEST)
    signs = ~np.isnan(exact)
    assert np.array_equal(np.signbit(result)[signs], np.signbit(exact)[signs])


def test_sines_of_zeros_infinities_and_nan(functions: Function) -> None:
    special = np.array([0.0, -0.0, np.inf, -np.inf, np.nan], np.float32)
    sine, cosine, _ = functions(special, special)
    assert sine[:2].tobytes() == special[:2].tobytes()
    assert np.array_equal(cosine[:2], [1, 1])
    assert np.isnan([sine[2:], cosine[2:]]).all()


def test_constants_are_exact_functions_of_theirs() -> None:
    number = np.float32(0.7)
    compiled = compile_function(lambda x: [lax.exp(jnp.full_like(x, number))], jax.ShapeDtypeStruct((), np.float32))
    assert compiled(jnp.float32(0))[0] == np.float32(np.exp(float(number)))
