"""What XLA calls: every size of batch and row, under every transformation, in several threads."""

import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jax
import jax.ffi
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array

from hades.native import handler
from hades.native.function import NativeFunction, compile_function
from tests.support import run_python

HEADER = (
    (Path(jax.ffi.include_dir()) / "xla/ffi/api/c_api.h")
    .read_text()
    .replace("XLA_FFI_InternalExtension", "XLA_FFI_Extension_Base")  # its name from JAX 0.11 on
    .replace("XLA_FFI_Extension_Base_Type", "XLA_FFI_Extension_Type")
)


def fields(struct: str) -> list[tuple[str, int, str]]:
    """(name, offset, type) of a struct of the header, and its end as a last field of no name."""
    found = re.search(rf"struct {struct} \{{(.*?)\}}", HEADER, re.DOTALL)
    assert found, struct
    enums = set(re.findall(r"\} (\w+);", " ".join(re.findall(r"typedef enum \{.*?\} \w+;", HEADER, re.DOTALL))))
    at, result = 0, []
    for line in re.sub(r"//.*", "", found[1]).split(";"):
        words = line.split()
        if not words:
            continue
        function = re.match(r"_XLA_FFI_API_STRUCT_FIELD\((\w+)\)", words[0])
        type_, name = ("*", function[1]) if function else (" ".join(words[:-1]), words[-1])
        kind = type_.removeprefix("const ")
        size = 8
        if not kind.endswith("*") and (kind == "int" or kind in enums or kind == "XLA_FFI_Handler_Traits"):
            size = 4
        elif kind.startswith("XLA_FFI_") and not kind.endswith("*"):
            size = fields(kind)[-1][1]
        step = min(size, 8)
        at = -(-at // step) * step
        result.append((name, at, kind))
        at += size
    return [*result, ("", -(-at // 8) * 8, "")]


@pytest.mark.parametrize(("struct", "field"), handler.OFFSETS)
def test_fields_lie_where_the_installed_header_has_them(struct: str, field: str) -> None:
    assert {name: at for name, at, _ in fields(struct)}[field] == handler.OFFSETS[struct, field]


def test_sizes_and_versions_are_those_of_the_installed_header() -> None:
    assert fields("XLA_FFI_ThreadPool_Schedule_Args")[-1][1] == handler.SCHEDULE_SIZE
    assert fields("XLA_FFI_ThreadPool_NumThreads_Args")[-1][1] == handler.NUM_THREADS_SIZE
    assert [name for name, *_ in fields("XLA_FFI_ThreadPool_Schedule_Args")] == [
        *("struct_size", "extension_start", "ctx", "task", "data", ""),
    ]
    version = tuple(int(re.search(rf"#define XLA_FFI_API_{part} (\d+)", HEADER)[1]) for part in ("MAJOR", "MINOR"))  # type: ignore[index]
    assert version[0] == handler.API_VERSION[0]
    assert version[1] >= handler.API_VERSION[1]  # XLA calls handlers of older minor versions
    assert re.search(rf"ExecutionStage_EXECUTE = {handler.EXECUTE}\b", HEADER)
    assert re.search(rf"Extension_Metadata = {handler.METADATA}\b", HEADER)


def mixture(x: Array, y: Array, flags: Array, n: Array) -> list[Array]:
    """Rows of 1, 7, 8, 9 and 30 elements, numbers, integers and truth values, in and out."""
    return [
        jnp.sin(x) * y[:, None],
        x.sum(1) + y,
        jnp.where(flags, 1.5, -y),
        ~flags,
        n[:8] + 1,
        (x > 0).reshape(-1)[:9],
        y[0] * 2,
        jnp.concatenate([x.reshape(-1), y[:2]])[1:10],
        n > 3,
    ]


SHAPES = [((3, 10), jnp.float32), ((3,), jnp.float32), ((3,), jnp.bool_), ((9,), jnp.int32)]


def batch(*size: int) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [(4 * rng.normal(size=(*size, *shape))).astype(dtype) for shape, dtype in SHAPES]


@pytest.fixture(scope="module")
def native() -> NativeFunction:
    return compile_function(mixture, *(jax.ShapeDtypeStruct(shape, dtype) for shape, dtype in SHAPES))


@pytest.fixture(scope="module")
def batched(native: NativeFunction) -> Callable[..., tuple[Array, ...]]:
    return jax.jit(jax.vmap(lambda *a: tuple(native(*a))))


@pytest.fixture(scope="module")
def reference() -> Callable[..., list[Array]]:
    return jax.jit(jax.vmap(mixture))


@pytest.fixture(scope="module")
def expected(reference: Callable[..., list[Array]]) -> list[np.ndarray]:
    """What JAX makes of 1000 evaluations."""
    return [np.asarray(a) for a in reference(*batch(1000))]


def assert_close(native: Sequence[Array], expected: Sequence[Array | np.ndarray]) -> None:
    for a, b in zip(native, expected, strict=True):
        assert (a.dtype, a.shape) == (b.dtype, b.shape)
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("size", [0, 1, 15, 16, 17, 1000])
def test_batches_of_every_size(
    batched: Callable[..., tuple[Array, ...]], expected: list[np.ndarray], size: int
) -> None:
    assert_close(batched(*(a[:size] for a in batch(1000))), [a[:size] for a in expected])


def test_one_evaluation_needs_no_batch(native: NativeFunction, expected: list[np.ndarray]) -> None:
    assert_close(native(*(a[0] for a in batch(1000))), [a[0] for a in expected])


def test_batches_in_batches(native: NativeFunction, reference: Callable[..., list[Array]]) -> None:
    x, y, flags, n = batch(5, 200)
    inner = jax.vmap(lambda *a: tuple(native(*a)), in_axes=(0, 0, None, 0))
    found = jax.jit(jax.vmap(inner, in_axes=(0, None, 0, 0)))(x, y[0], flags[:, 0], n)
    whole = [x, np.broadcast_to(y[0], y.shape), np.broadcast_to(flags[:, :1], flags.shape), n]
    expected = reference(*(a.reshape(1000, *a.shape[2:]) for a in whole))
    assert_close([a.reshape(1000, *a.shape[2:]) for a in found], expected)


def test_a_scan_calls_it_again(native: NativeFunction) -> None:
    x, y, flags, n = batch(20)

    def play(call: Callable[..., Sequence[Array]]) -> Callable[[Array], Array]:
        def step(y: Array, _: None) -> tuple[Array, Array]:
            return 0.5 * jax.vmap(lambda *a: call(*a)[1])(x, y, flags, n), y

        return jax.jit(lambda y: jax.lax.scan(step, y, None, 3)[1])

    np.testing.assert_allclose(play(native)(y), play(mixture)(y), rtol=1e-5, atol=1e-5)


def test_many_blocks_are_computed_as_one_is(native: NativeFunction, batched: Callable[..., tuple[Array, ...]]) -> None:
    """A batch of a million elements is shared among threads; a block of 16 is not."""
    arguments = batch(16)
    repeated = [np.tile(a, (4000, *[1] * (a.ndim - 1))) for a in arguments]
    for one, many in zip(batched(*arguments), batched(*repeated), strict=True):
        assert np.tile(np.asarray(one), (4000, *[1] * (one.ndim - 1))).tobytes() == np.asarray(many).tobytes()


def test_threads_call_it_at_the_same_time(batched: Callable[..., tuple[Array, ...]]) -> None:
    arguments = batch(3000)
    expected = [np.asarray(a).tobytes() for a in batched(*arguments)]
    with ThreadPoolExecutor(8) as pool:
        calls = [pool.submit(lambda: [np.asarray(a).tobytes() for a in batched(*arguments)]) for _ in range(40)]
    assert all(call.result() == expected for call in calls)


def test_denormal_numbers_are_zero_inside_and_as_before_outside(batched: Callable[..., tuple[Array, ...]]) -> None:
    x, y, flags, n = batch(16)
    y[:] = 1e-40
    assert not np.asarray(batched(x, y, ~flags & False, n)[6]).any()
    assert np.float32(1e-40) * np.float32(2) > 0


def test_outputs_that_are_arguments_or_constants() -> None:
    def function(x: Array, y: Array) -> list[Array]:
        return [y, jnp.float32(jnp.nan) + jnp.zeros(2), x[:0], jnp.arange(3), x * 1, jnp.array([True, False])]

    shape = jax.ShapeDtypeStruct((4,), jnp.float32)
    compiled = compile_function(function, shape, shape)
    assert compiled.results == ()
    x, y = np.random.default_rng(0).normal(size=(2, 6, 4)).astype(np.float32)
    found = jax.jit(jax.vmap(lambda *a: tuple(compiled(*a))))(x, y)
    for a, b in zip(found, jax.vmap(function)(x, y), strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)


def test_arguments_without_elements() -> None:
    shapes = [jax.ShapeDtypeStruct(s, jnp.float32) for s in ((0,), (2, 0), ())]
    compiled = compile_function(lambda a, b, c: [c + 1, b.sum(1) + c, a], *shapes)
    found = jax.vmap(lambda *a: tuple(compiled(*a)))(
        np.zeros((3, 0)), np.zeros((3, 2, 0)), np.arange(3, dtype=np.float32)
    )
    assert [a.tolist() for a in found] == [[1, 2, 3], [[0, 0], [1, 1], [2, 2]], [[], [], []]]


def test_states_that_exploded_do_no_harm(
    batched: Callable[..., tuple[Array, ...]], reference: Callable[..., list[Array]]
) -> None:
    rng = np.random.default_rng(0)
    special = np.array([np.nan, np.inf, -np.inf, 3e38, -3e38, 1e-45, 0.0], np.float32)
    x, y, flags, n = batch(1000)
    x, y = rng.choice(special, x.shape), rng.choice(special, y.shape)
    found = [np.asarray(a) for a in batched(x, y, flags, n)]
    for place, (a, b) in enumerate(zip(found, reference(x, y, flags, n), strict=True)):
        if place != 1:  # whether a sum overflows before it meets the other infinity depends on its order
            np.testing.assert_array_equal(np.isnan(a), np.isnan(b))


@pytest.mark.system
def test_several_devices_compute_what_one_does() -> None:
    code = """
import jax, jax.numpy as jnp, json, numpy as np
from jax.sharding import PartitionSpec as P
from hades.native.function import compile_function
f = lambda x, y: [jnp.sin(x) * y, x > 0]
compiled = compile_function(f, *[jax.ShapeDtypeStruct((3,), jnp.float32)] * 2)
call = jax.vmap(lambda *a: tuple(compiled(*a)))
x, y = np.random.default_rng(0).normal(size=(2, 4000, 3)).astype(np.float32)
mesh = jax.sharding.Mesh(np.array(jax.devices()), ("d",))
shared = jax.jit(jax.shard_map(call, mesh=mesh, in_specs=P("d"), out_specs=P("d")))
same = [bool((np.asarray(a) == np.asarray(b)).all()) for a, b in zip(shared(x, y), jax.jit(call)(x, y))]
print(json.dumps([jax.device_count(), *same]))
"""
    assert run_python(code, XLA_FLAGS="--xla_force_host_platform_device_count=2") == [2, True, True]
