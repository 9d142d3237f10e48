"""Every primitive that can be compiled against JAX, and the names of those that cannot."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array, lax
from jax._src.interpreters import mlir

from hades.native import primitives
from hades.native.function import compile_function
from hades.native.graph import UnsupportedError

SPECIAL = [
    0.0,
    -0.0,
    1.0,
    -1.0,
    0.5,
    2.5,
    -3.5,
    1e-38,
    -1e-45,
    1e38,
    -3e38,
    1e10,
    2.0**31,
    2.0**32,
    np.inf,
    -np.inf,
    np.nan,
]
INTEGERS = [0, 1, -1, 2, -5, 31, 32, 33, 64, 2**31 - 1, -(2**31)]


def numbers() -> list[np.ndarray]:
    """f32 x and y (special values with each other, then random ones), i32 i and j, u32 k."""
    rng = np.random.default_rng(0)
    pairs = np.array(np.meshgrid(SPECIAL, SPECIAL)).reshape(2, -1)
    random = rng.normal(size=(2, 300)) * 10 ** rng.uniform(-4, 4, (2, 300))
    x, y = np.concatenate([pairs, random], 1).astype(np.float32)
    i, j, k = rng.choice(np.array(INTEGERS, np.int32), (3, x.size))
    return [x, y, i, j, k.view(np.uint32)]


def assert_same(native: Any, expected: Any, name: str = "") -> None:
    """Equal up to rounding, NaN in the same places; a denormal number may be 0."""
    native, expected = np.asarray(native), np.asarray(expected)
    assert (native.dtype, native.shape) == (expected.dtype, expected.shape), name
    if native.dtype == np.float32:
        np.testing.assert_allclose(native, expected, rtol=4e-6, atol=1.2e-38, err_msg=name)
    else:
        np.testing.assert_array_equal(native, expected, err_msg=name)


def check(function: Callable[..., Sequence[Array]], *arguments: np.ndarray) -> None:
    """Compare a function of unbatched arrays, compiled, with JAX."""
    compiled = compile_function(function, *(jax.ShapeDtypeStruct(a.shape[1:], a.dtype) for a in arguments))
    native = jax.jit(jax.vmap(lambda *a: tuple(compiled(*a))))(*arguments)
    for place, (a, b) in enumerate(zip(native, jax.jit(jax.vmap(function))(*arguments), strict=True)):
        assert_same(a, b, f"output {place}")


def rows(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(20, *shape)).astype(np.float32)


ELEMENTWISE: dict[str, Callable[[Any, Any, Any, Any, Any], Array]] = {
    "add": lambda x, y, i, j, k: x + y,
    "sub": lambda x, y, i, j, k: x - y,
    "mul": lambda x, y, i, j, k: x * y,
    "div": lambda x, y, i, j, k: x / y,
    "rem": lambda x, y, i, j, k: lax.rem(x, y),
    "neg": lambda x, y, i, j, k: -x,
    "abs": lambda x, y, i, j, k: abs(x),
    "max": lambda x, y, i, j, k: lax.max(x, y),
    "min": lambda x, y, i, j, k: lax.min(x, y),
    "max of a constant": lambda x, y, i, j, k: lax.max(x, jnp.float32(0.5)),
    "min of a constant": lambda x, y, i, j, k: lax.min(jnp.float32(0.5), x),
    "sqrt": lambda x, y, i, j, k: lax.sqrt(x),
    "floor": lambda x, y, i, j, k: lax.floor(x),
    "ceil": lambda x, y, i, j, k: lax.ceil(x),
    "sin": lambda x, y, i, j, k: lax.sin(x),
    "cos": lambda x, y, i, j, k: lax.cos(x),
    "tan": lambda x, y, i, j, k: lax.tan(x),
    "asin": lambda x, y, i, j, k: lax.asin(x),
    "acos": lambda x, y, i, j, k: lax.acos(x),
    "atan2": lambda x, y, i, j, k: lax.atan2(jnp.where(abs(x) < 1.2e-38, 0.0, x), y),
    "exp": lambda x, y, i, j, k: lax.exp(x),
    "log": lambda x, y, i, j, k: lax.log(x),
    "tanh": lambda x, y, i, j, k: lax.tanh(x),
    "pow": lambda x, y, i, j, k: lax.pow(x, y),
    "pow of an integer": lambda x, y, i, j, k: lax.pow(x, i),
    "pow of a constant": lambda x, y, i, j, k: lax.pow(x, jnp.float32(3)),
    "integer_pow": lambda x, y, i, j, k: lax.integer_pow(x, 5),
    "integer_pow of -2": lambda x, y, i, j, k: lax.integer_pow(x, -2),
    "square": lambda x, y, i, j, k: lax.square(x),
    "rsqrt": lambda x, y, i, j, k: lax.rsqrt(x),
    "sign": lambda x, y, i, j, k: lax.sign(x),
    "is_finite": lambda x, y, i, j, k: lax.is_finite(x),
    "round": lambda x, y, i, j, k: lax.round(x, lax.RoundingMethod.TO_NEAREST_EVEN),
    "clamp": lambda x, y, i, j, k: lax.clamp(jnp.float32(-1), x, y),
    "lt": lambda x, y, i, j, k: x < y,
    "le": lambda x, y, i, j, k: x <= y,
    "gt": lambda x, y, i, j, k: x > y,
    "ge": lambda x, y, i, j, k: x >= y,
    "eq": lambda x, y, i, j, k: x == y,
    "ne": lambda x, y, i, j, k: x != y,
    "select_n": lambda x, y, i, j, k: jnp.where(x < y, x, y),
    "select_n of three": lambda x, y, i, j, k: lax.select_n(lax.clamp(jnp.int32(0), i, jnp.int32(2)), x, y, x + y),
    "f32 to i32": lambda x, y, i, j, k: x.astype(jnp.int32),
    "f32 to u32": lambda x, y, i, j, k: x.astype(jnp.uint32),
    "f32 to bool": lambda x, y, i, j, k: x.astype(bool),
    "i32 to f32": lambda x, y, i, j, k: i.astype(jnp.float32),
    "u32 to f32": lambda x, y, i, j, k: k.astype(jnp.float32),
    "i32 to u32": lambda x, y, i, j, k: i.astype(jnp.uint32) < k,
    "u32 to i32": lambda x, y, i, j, k: k.astype(jnp.int32) < i,
    "bool to f32": lambda x, y, i, j, k: (i < j).astype(jnp.float32),
    "bool to i32": lambda x, y, i, j, k: (i < j).astype(jnp.int32),
    "bitcast_convert_type": lambda x, y, i, j, k: (
        lax.bitcast_convert_type(jnp.where(jnp.isnan(x), 0.0, y), jnp.int32) & i
    ),
    "bits as a number": lambda x, y, i, j, k: lax.bitcast_convert_type((i & 0xFF) | 0x3F800000, jnp.float32),
    "integer add": lambda x, y, i, j, k: i + j,
    "integer sub": lambda x, y, i, j, k: i - j,
    "integer mul": lambda x, y, i, j, k: i * j,
    "integer neg": lambda x, y, i, j, k: -i,
    "integer abs": lambda x, y, i, j, k: abs(i),
    "integer max": lambda x, y, i, j, k: lax.max(i, j),
    "integer min": lambda x, y, i, j, k: lax.min(i, j),
    "integer sign": lambda x, y, i, j, k: lax.sign(i),
    "integer clamp": lambda x, y, i, j, k: lax.clamp(jnp.int32(-3), i, jnp.int32(5)),
    "unsigned max": lambda x, y, i, j, k: lax.max(k, k + jnp.uint32(7)),
    "unsigned sign": lambda x, y, i, j, k: lax.sign(k),
    "unsigned lt": lambda x, y, i, j, k: k < k * jnp.uint32(3),
    "and": lambda x, y, i, j, k: i & j,
    "or": lambda x, y, i, j, k: i | j,
    "xor": lambda x, y, i, j, k: i ^ j,
    "not": lambda x, y, i, j, k: ~i,
    "bool logic": lambda x, y, i, j, k: ((i < j) & ~(x < y)) ^ ((k < 5) | (i == j)),
    "bool eq": lambda x, y, i, j, k: (i < j) == (x < y),
    "bool lt": lambda x, y, i, j, k: lax.lt(i < j, x < y),
    "shift_left": lambda x, y, i, j, k: lax.shift_left(i, j),
    "shift_right_logical": lambda x, y, i, j, k: lax.shift_right_logical(i, j),
}


@pytest.fixture(scope="module")
def elementwise() -> dict[str, tuple[Array, Array]]:
    """What the compiled function and JAX make of `numbers`, by name."""
    functions, arguments = list(ELEMENTWISE.values()), numbers()

    def together(*values: Any) -> list[Array]:
        return [function(*values) for function in functions]

    compiled = compile_function(together, *(jax.ShapeDtypeStruct((), a.dtype) for a in arguments))
    native = jax.jit(jax.vmap(lambda *a: tuple(compiled(*a))))(*arguments)
    return dict(zip(ELEMENTWISE, zip(native, jax.jit(jax.vmap(together))(*arguments), strict=True), strict=True))


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_elementwise_operations(elementwise: dict[str, tuple[Array, Array]], name: str) -> None:
    assert_same(*elementwise[name], name)


def test_operations_that_move_elements() -> None:
    def move(x: Array, y: Array) -> list[Array]:
        return [
            x.T,
            x.reshape(2, 6),
            jnp.flip(x, 1),
            x[1:, ::2],
            jnp.concatenate([x, y], 1),
            jnp.stack([x, y], 1),
            jnp.unstack(x, axis=1)[1],
            jnp.tile(x, (2, 1)),
            *jnp.split(y, [1, 3], 1),
            jnp.broadcast_to(x[:, None], (3, 2, 4)),
            lax.pad(x, jnp.float32(7), [(1, -1, 1), (-1, 2, 0)]),
            lax.pad(x, y[0, 0], [(0, 0, 2), (2, 0, 0)]),
            jnp.squeeze(x[:1]),
            jnp.expand_dims(x, 1),
            lax.dynamic_slice(x, (2, 9), (2, 3)),
            lax.dynamic_update_slice(x, y[:2, :2], (-1, 3)),
            x + lax.broadcasted_iota(jnp.float32, (3, 4), 1),
        ]

    check(move, rows(3, 4), rows(3, 4, seed=1))


def test_reductions() -> None:
    def reduce(x: Array, flags: Array) -> list[Array]:
        i = x.astype(jnp.int32)
        return [
            x.sum(0),
            x.max((0, 2)),
            x.min(1),
            (1 + 0.1 * x).prod(),
            flags.all(0),
            flags.any(),
            i.sum(1),
            i.max(),
            flags.max(0),
            jnp.sum(x[:0], 0),
            jnp.cumsum(x, 1),
            lax.cumprod(x, 0, reverse=True),
            lax.cummax(x, 2),
            lax.cummin(x, 1, reverse=True),
            jnp.argmax(x, 1),
            jnp.argmin(x, 0),
            jnp.argmax(flags, 0),
            jnp.einsum("ijk,ilk->ijl", x, 2 * x),
            jnp.tensordot(x, x, ((0, 2), (0, 2))),
            jnp.dot(x[0, 0], x[1, 0]),
            x[:, :, :0] @ jnp.zeros((0, 4)),
        ]

    x = rows(2, 3, 4).round(0)  # ties for argmax
    x[3, 0, 0, 0], x[4, 1, 2] = np.nan, np.nan
    check(reduce, x, x > 0)


@pytest.mark.parametrize("mode", ["clip", "fill", "promise_in_bounds"])
def test_gather_and_scatter(mode: str) -> None:
    rng = np.random.default_rng(0)
    far = 0 if mode == "promise_in_bounds" else 3
    a, b, c = (rng.integers(-far, n + far, (2, 3)) for n in (3, 4, 5))
    once = np.array([4, 0, 2])

    def move(x: Array, y: Array) -> list[Array]:
        out = "drop" if mode == "fill" else mode
        chosen: dict[str, Any] = {"mode": mode, "wrap_negative_indices": False}
        written: dict[str, Any] = {"mode": out, "wrap_negative_indices": False}
        return [
            x.at[a].get(**chosen),
            x.at[:, b].get(**chosen),
            x.at[a, :, c].get(**chosen),
            x.at[a, b, c].get(**chosen),
            x.astype(jnp.int32).at[:, b, 1:3].get(**chosen),
            jax.vmap(lambda row, at: row.at[at].get(**chosen))(x[:2], b),
            x.at[a].add(y[:, :, :, None], **written),
            x.at[:, b].min(0.1, **written),
            x.at[:, b].subtract(0.1, **written),
            x.at[a, :, c].max(y[:, :, :1], **written),
            x.at[a, b, c].multiply(2.0, **written),
            x.at[:, :, once].set(y[0, :, None, None, 0], **written)
            if mode != "fill"
            else x.at[2, 9].set(1.0, **written),
            jax.vmap(lambda row, at: row.at[at[0]].set(3.0, **written))(x[:2], b),
        ]

    check(move, rows(3, 4, 5), rows(2, 3, 4, seed=1))


def test_loops() -> None:
    """Swapped, counted, constant, reset and passed values; values between loops, loops in loops, unrolled ones."""

    def repeat(n: int, body: Callable[..., Any], *carry: Array) -> Any:
        return lax.scan(lambda c, _: (body(*c), None), carry, None, length=n)[0]

    def loops(x: Array, y: Array) -> list[Array]:
        a, b, i, k = repeat(3, lambda a, b, i, k: (b * 1.5, a + y, i + 1, k), x, y, jnp.int32(0), x)
        between = a * 2 + b
        (c,) = repeat(4, lambda c: (0.1 * c * between + jnp.sin(c),), between)
        w = c + between
        d, e = repeat(2, lambda d, e: (repeat(3, lambda q, r: (q + r * 0.5, r - 0.1 * w), d, e)[0], d * w), w, x)
        g, h = repeat(5, lambda g, h: (h, x), y, y)
        s, t = repeat(3, lambda s, t: (t, s), x, y)
        last, stacked = lax.scan(lambda c, v: (c + v, c * v), x[0], y)
        first, reverse = lax.scan(lambda c, v: (c + v, c * v), x[0], y, reverse=True)
        nothing, none = lax.scan(lambda c, v: (c + v, c), x, y[:0])
        counted = lax.fori_loop(0, 4, lambda i, v: v + i.astype(jnp.float32), x)
        return [a, b, i, k, c, d, e, g, h, s, t, last, stacked, first, reverse, nothing, none, counted]

    check(loops, rows(3), rows(3, seed=1))


def test_branches_and_calls() -> None:
    @jax.custom_jvp
    def own(x: Array) -> Array:
        return x * 3

    own.defjvps(lambda t, ans, x: 3 * t)

    def branch(x: Array, which: Array) -> list[Array]:
        cases = [jnp.sin, lambda v: v + 1, lambda v: v * v]
        return [
            lax.cond(True, lambda v: v + 1, lambda v: v - 1, x),
            lax.cond(x[0] > 0, lambda v: (v + 1, v > 0), lambda v: (v - 1, v < 0), x)[0],
            lax.switch(which, cases, x),
            lax.switch(1, cases, x),
            jax.jit(jnp.cos)(x),
            jax.checkpoint(jnp.sin)(x),
            own(x),
            lax.stop_gradient(x) + lax.optimization_barrier(x),
            lax.platform_dependent(x, cpu=lambda v: v + 1, default=lambda v: v),
        ]

    check(branch, rows(3), np.arange(-5, 15, dtype=np.int32))


@pytest.mark.parametrize(
    ("function", "named"),
    [
        (lambda x: [jnp.sort(x)], '"sort"'),
        (lambda x: [lax.while_loop(lambda v: v.sum() < 3, lambda v: v + 1, x)], '"while"'),
        (lambda x: [x.astype(jnp.float16)], '"float16"'),
        (lambda x: [x[x[:2].astype(jnp.int32)]], "index of gather that depends on data"),
        (lambda x: [x.at[x[0].astype(jnp.int32)].set(1)], "index of scatter that depends on data"),
        (lambda x: [lax.dynamic_slice(x, (x[0].astype(jnp.int32),), (2,))], "start of a slice that depends on data"),
        (lambda x: [lax.div(x.astype(jnp.int32), jnp.int32(3))], '"div" of integers'),
        (lambda x: [lax.rem(x.astype(jnp.int32), jnp.int32(3))], '"rem" of integers'),
        (lambda x: [lax.round(x)], "rounding away from zero"),
        (lambda x: [x + jax.random.uniform(jax.random.key(0), (3,))], "random"),
        (lambda x: [lax.reduce_max_p.bind(x[:0], axes=(0,), out_sharding=None) + x], "of nothing"),
    ],
)
def test_what_cannot_be_compiled_is_named(function: Callable[[Array], list[Array]], named: str) -> None:
    with pytest.raises(UnsupportedError, match=named):
        compile_function(function, jax.ShapeDtypeStruct((3,), jnp.float32))


def test_a_type_that_cannot_be_an_argument_is_named() -> None:
    with pytest.raises(UnsupportedError, match='the type "uint8"'):
        compile_function(lambda x: [x + 1], jax.ShapeDtypeStruct((3,), jnp.uint8))


def test_a_parameter_that_jax_names_otherwise_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(primitives._RULES, "sin", lambda tracer, equation, x: equation.params["accuracies"])
    with pytest.raises(UnsupportedError, match="\"sin\" without its parameter 'accuracies'"):
        compile_function(lambda x: [jnp.sin(x)], jax.ShapeDtypeStruct((3,), jnp.float32))


def test_what_can_be_compiled_is_what_jax_has_by_that_name() -> None:
    known = {p.name for p in mlir._lowerings} | {p.name for d in mlir._platform_specific_lowerings.values() for p in d}
    until_0_10, since_0_11 = {"closed_call"}, {"unstack"}
    assert set(primitives.supported()) - known <= until_0_10 | since_0_11


@pytest.mark.parametrize("seed", range(4))
def test_random_functions(seed: int) -> None:
    """Functions of random structure, at numbers of every size."""
    rng = np.random.default_rng(seed)
    steps = [
        (lambda a, b: a + b),
        (lambda a, b: a - b),
        (lambda a, b: a * b),
        (lambda a, b: a / (1 + jnp.abs(b))),
        (lambda a, b: jnp.maximum(a, b)),
        (lambda a, b: jnp.where(a < b, a, -b)),
        (lambda a, b: jnp.clip(a, -2, 2) * 0.5),
        (lambda a, b: jnp.flip(a) + 0.0),
        (lambda a, b: jnp.roll(a, 1) * 1.0),
        (lambda a, b: jnp.cross(a, b)),
        (lambda a, b: a * jnp.dot(a, b)),
        (lambda a, b: a.at[jnp.array([2, 0])].add(b[:2])),
        (lambda a, b: jnp.sqrt(jnp.abs(a)) + b.sum()),
        (lambda a, b: jnp.floor(a) - b),
    ]
    chosen = [(steps[rng.integers(len(steps))], *rng.integers(0, 3 + n, 2)) for n in range(24)]

    def function(*arguments: Array) -> list[Array]:
        values = list(arguments)
        for step, a, b in chosen:
            values.append(step(values[a], values[b]))
        return values[3:]

    arguments = [rng.choice(np.array(SPECIAL, np.float32), (33, 3)) for _ in range(3)]
    compiled = compile_function(function, *[jax.ShapeDtypeStruct((3,), jnp.float32)] * 3)
    native = jax.jit(jax.vmap(lambda *a: tuple(compiled(*a))))
    assert len(native(*arguments)) == 24
    ordinary = [rng.integers(-3, 4, (33, 3)).astype(np.float32) / 2 for _ in range(3)]
    for a, b in zip(native(*ordinary), jax.vmap(function)(*ordinary), strict=True):
        scale = 1e-4 * max(1.0, float(np.nanmax(np.abs(b), initial=0.0, where=np.isfinite(b))))
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=scale)


def test_random_numbers_are_those_of_jax(key) -> None:
    """Bits and keys are equal; what is computed from bits may be rounded otherwise."""

    def draw(data):
        key = jax.random.wrap_key_data(data)
        first, second = jax.random.split(key, 2)
        folded = jax.random.fold_in(first, 7)
        return [
            jax.random.key_data(folded),
            jax.random.bits(second, (5,)),
            jax.random.uniform(folded, (3, 2), minval=-1.0, maxval=3.0),
            jax.random.normal(second, (50,)),
        ]

    compiled = compile_function(draw, jax.ShapeDtypeStruct((2,), jnp.uint32))
    data = jax.random.key_data(jax.random.split(key, 40))
    ours, theirs = jax.jit(jax.vmap(compiled))(data), jax.jit(jax.vmap(draw))(data)
    for mine, other in zip(ours[:2], theirs[:2], strict=True):
        np.testing.assert_array_equal(mine, other)
    for mine, other in zip(ours[2:], theirs[2:], strict=True):
        np.testing.assert_allclose(mine, other, rtol=2e-6, atol=1e-6)


def test_the_inverse_of_the_error_function_is_xlas() -> None:
    x = jnp.concatenate([jnp.linspace(-1, 1, 2001), jnp.array([1 - 6e-8, -1 + 6e-8, 1e-30, -0.0, jnp.nan, 1.5])])
    compiled = compile_function(lambda x: [jax.lax.erf_inv(x)], jax.ShapeDtypeStruct((), jnp.float32))
    np.testing.assert_allclose(jax.vmap(compiled)(x)[0], jax.lax.erf_inv(x), rtol=2e-6)


def test_random_numbers_of_another_generator_are_named() -> None:
    def draw(data):
        return [jax.random.uniform(jax.random.wrap_key_data(data, impl="rbg"))]

    with pytest.raises(UnsupportedError, match="key<rbg>"):
        compile_function(draw, jax.ShapeDtypeStruct((4,), jnp.uint32))
