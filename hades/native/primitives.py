"""JAX's primitives as scalar operations of a graph.

`trace` walks a jaxpr with arrays of nodes instead of numbers. Operations that only move elements are NumPy's own on
the nodes; loops over carried values alone stay loops, every other scan is unrolled.
"""

import functools
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax.extend import core
from jax.extend.random import threefry_prng_impl

from hades.native.graph import COMPARISONS, KINDS, Graph, Nodes, UnsupportedError
from hades.native.indexing import gathered, scattered


def trace(graph: Graph, closed: core.ClosedJaxpr, inputs: Sequence[Nodes], scope: int = 0) -> list[Nodes]:
    """The nodes of a function's results.

    Args:
        graph: takes the operations.
        closed: the function.
        inputs: nodes in the shapes of its arguments.
        scope: where a loop is opened.

    Raises:
        UnsupportedError: for a primitive, type, index or version of JAX that cannot be compiled, with its name.
    """
    known: dict[core.Var, Nodes] = {}
    tracer = _Tracer(graph, scope)

    def read(atom: Any) -> Nodes:
        return tracer.constants(np.asarray(atom.val, _type(atom))) if isinstance(atom, core.Literal) else known[atom]

    for variable, value in zip(closed.jaxpr.constvars, closed.consts, strict=True):
        known[variable] = tracer.constants(value)
    known.update(zip(closed.jaxpr.invars, inputs, strict=True))
    for equation in closed.jaxpr.eqns:
        name = equation.primitive.name
        rule = _RULES.get(name)
        if rule is None:
            raise UnsupportedError(f'the primitive "{name}" of JAX')
        try:
            results = rule(tracer, equation, *map(read, equation.invars))
        except KeyError as error:  # a parameter that another version of JAX names otherwise
            raise UnsupportedError(f'the primitive "{name}" without its parameter {error}') from error
        for variable, nodes in zip(equation.outvars, results, strict=True):
            if nodes.shape != _shape(variable):
                raise AssertionError(f"{name} made {nodes.shape} of {_shape(variable)}")
            known[variable] = nodes
    return [read(atom) for atom in closed.jaxpr.outvars]


class _Tracer:
    def __init__(self, graph: Graph, scope: int):
        self.graph = graph
        self.scope = scope

    def constants(self, value: Any) -> Nodes:
        values = np.asarray(value)
        return self.graph.array(values.astype(KINDS[kind(values.dtype)]))

    def into(self, body: core.ClosedJaxpr | core.Jaxpr, *inputs: Nodes) -> list[Nodes]:
        closed = body if isinstance(body, core.ClosedJaxpr) else core.ClosedJaxpr(body, ())
        return trace(self.graph, closed, inputs, self.scope)

    def known(self, nodes: Nodes, what: str) -> np.ndarray:
        """The constants behind nodes that decide what is computed."""
        values = self.graph.values(nodes, "i")
        if values is None:
            raise UnsupportedError(f"{what} that depends on data")
        return values


Rule = Callable[..., list[Nodes]]
_RULES: dict[str, Rule] = {}


def kind(dtype: Any) -> str:
    """NumPy's letter for a type.

    Raises:
        UnsupportedError: for a type that is not f32, i32, u32 or bool.
    """
    for letter, known in KINDS.items():
        if dtype == known:
            return letter
    raise UnsupportedError(f'the type "{dtype}"')


def supported() -> tuple[str, ...]:
    """Names of the primitives that can be compiled."""
    return tuple(sorted(_RULES))


def _rule(*names: str) -> Callable[[Rule], Rule]:
    def add(rule: Rule) -> Rule:
        _RULES.update(dict.fromkeys(names, rule))
        return rule

    return add


def _is_key(atom: Any) -> bool:
    return bool(jax.dtypes.issubdtype(atom.aval.dtype, jax.dtypes.prng_key))


def _type(atom: Any) -> Any:
    """A key of threefry is two words."""
    if not _is_key(atom):
        return atom.aval.dtype
    if str(atom.aval.dtype) != "key<fry>":
        raise UnsupportedError(f"random numbers by {atom.aval.dtype}")
    return np.dtype(np.uint32)


def _shape(atom: Any) -> tuple[int, ...]:
    return (*atom.aval.shape, 2) if _is_key(atom) else atom.aval.shape


def _out(equation: core.JaxprEqn) -> tuple[str, tuple[int, ...]]:
    variable = equation.outvars[0]
    return kind(_type(variable)), _shape(variable)


# Elementwise ---------------------------------------------------------------------------------------------------------

_ELEMENTWISE = (
    *("add", "sub", "mul", "div", "rem", "neg", "abs", "max", "min", "sqrt", "floor", "ceil"),
    *("sin", "cos", "tan", "asin", "acos", "atan2", "exp", "log", "tanh", "pow"),
    *("and", "or", "xor", "not", "lt", "le", "gt", "ge", "eq", "ne"),
    *("shift_left", "shift_right_logical"),
)


@_rule(*_ELEMENTWISE)
def _elementwise(tracer: _Tracer, equation: core.JaxprEqn, *operands: Nodes) -> list[Nodes]:
    name = equation.primitive.name
    if name not in COMPARISONS and name == "pow":
        return [_power(tracer, *operands)]
    return [tracer.graph.apply(name, _out(equation)[0], *operands)]


def _power(tracer: _Tracer, base: Nodes, exponent: Nodes) -> Nodes:
    graph = tracer.graph
    if graph.kinds[exponent.flat[0]] == "i":
        exponent = graph.apply("convert", "f", exponent)
    shape = np.broadcast_shapes(base.shape, exponent.shape)
    base, exponent = np.broadcast_to(base, shape), np.broadcast_to(exponent, shape)

    def one(x: int, y: int) -> int:
        constant = graph.constants.get(y)
        if constant is not None and constant in (0, 1, 2, 3):
            return _whole_power(graph, x, int(constant))
        return graph.node("pow", "f", x, y)

    pairs = zip(base.reshape(-1).tolist(), exponent.reshape(-1).tolist(), strict=True)
    return np.array([one(x, y) for x, y in pairs], np.int64).reshape(shape)


def _whole_power(graph: Graph, base: int, exponent: int) -> int:
    """By squaring, as XLA does."""
    letter = graph.kinds[base]
    one = graph.constant(KINDS[letter].type(1))
    result, square, left = one, base, abs(exponent)
    while left:
        if left & 1:
            result = square if result == one else graph.node("mul", letter, result, square)
        left >>= 1
        if left:
            square = graph.node("mul", letter, square, square)
    return graph.node("div", letter, one, result) if exponent < 0 else result


@_rule("integer_pow")
def _integer_pow(tracer: _Tracer, equation: core.JaxprEqn, x: Nodes) -> list[Nodes]:
    powers = [_whole_power(tracer.graph, node, equation.params["y"]) for node in x.reshape(-1).tolist()]
    return [np.array(powers, np.int64).reshape(x.shape)]


@_rule("square")
def _square(tracer: _Tracer, equation: core.JaxprEqn, x: Nodes) -> list[Nodes]:
    return [tracer.graph.apply("mul", _out(equation)[0], x, x)]


@_rule("rsqrt")
def _rsqrt(tracer: _Tracer, equation: core.JaxprEqn, x: Nodes) -> list[Nodes]:
    return [tracer.graph.apply("div", "f", tracer.constants(np.float32(1)), tracer.graph.apply("sqrt", "f", x))]


@_rule("erf_inv")
def _erf_inv(tracer: _Tracer, equation: core.JaxprEqn, x: Nodes) -> list[Nodes]:
    """Giles (2010), "Approximating the erfinv function", single precision, as XLA has it."""
    graph = tracer.graph

    def apply(op: str, *operands: Nodes) -> Nodes:
        return graph.apply(op, "f", *operands)

    def number(value: float) -> Nodes:
        return tracer.constants(np.float32(value))

    one = number(1)
    w = apply("neg", apply("log", apply("mul", apply("sub", one, x), apply("add", one, x))))
    is_central = graph.apply("lt", "b", w, number(5))
    argument = apply("select", is_central, apply("sub", w, number(2.5)), apply("sub", apply("sqrt", w), number(3)))
    value = apply("select", is_central, *map(number, _ERF_INV[0]))
    for central, tail in _ERF_INV[1:]:
        coefficient = apply("select", is_central, number(central), number(tail))
        value = apply("add", coefficient, apply("mul", value, argument))
    at_end = graph.apply("eq", "b", apply("abs", x), one)
    return [apply("select", at_end, apply("mul", x, number(np.inf)), apply("mul", value, x))]


_ERF_INV = (
    (2.81022636e-08, -0.000200214257),
    (3.43273939e-07, 0.000100950558),
    (-3.5233877e-06, 0.00134934322),
    (-4.39150654e-06, -0.00367342844),
    (0.00021858087, 0.00573950773),
    (-0.00125372503, -0.0076224613),
    (-0.00417768164, 0.00943887047),
    (0.246640727, 1.00167406),
    (1.50140941, 2.83297682),
)
"""Coefficients in the middle and in the tails."""


@_rule("sign")
def _sign(tracer: _Tracer, equation: core.JaxprEqn, x: Nodes) -> list[Nodes]:
    graph, (letter, _) = tracer.graph, _out(equation)
    zero, one, minus = (tracer.constants(KINDS[letter].type(v)) for v in (0, 1, -1 if letter != "u" else 1))
    positive, negative = graph.apply("gt", "b", x, zero), graph.apply("lt", "b", x, zero)
    return [graph.apply("select", letter, positive, one, graph.apply("select", letter, negative, minus, x))]


@_rule("is_finite")
def _is_finite(tracer: _Tracer, equation: core.JaxprEqn, x: Nodes) -> list[Nodes]:
    infinity = tracer.constants(np.float32(np.inf))
    return [tracer.graph.apply("lt", "b", tracer.graph.apply("abs", "f", x), infinity)]


@_rule("round")
def _round(tracer: _Tracer, equation: core.JaxprEqn, x: Nodes) -> list[Nodes]:
    if int(equation.params["rounding_method"]) != 1:
        raise UnsupportedError("rounding away from zero")
    return [tracer.graph.apply("round_even", "f", x)]


@_rule("clamp")
def _clamp(tracer: _Tracer, equation: core.JaxprEqn, low: Nodes, x: Nodes, high: Nodes) -> list[Nodes]:
    graph, (letter, _) = tracer.graph, _out(equation)
    return [graph.apply("min", letter, graph.apply("max", letter, low, x), high)]


@_rule("select_n")
def _select_n(tracer: _Tracer, equation: core.JaxprEqn, which: Nodes, *cases: Nodes) -> list[Nodes]:
    return [_select(tracer, which, cases, _out(equation)[0])]


def _select(tracer: _Tracer, which: Nodes, cases: Sequence[Nodes], letter: str) -> Nodes:
    graph = tracer.graph
    if len(cases) == 2 and all(graph.kinds[node] == "b" for node in which.reshape(-1)):
        return graph.apply("select", letter, which, cases[1], cases[0])
    result = cases[-1]
    for i in range(len(cases) - 2, -1, -1):
        result = graph.apply(
            "select", letter, graph.apply("le", "b", which, tracer.constants(np.int32(i))), cases[i], result
        )
    return result


@_rule("convert_element_type")
def _convert(tracer: _Tracer, equation: core.JaxprEqn, x: Nodes) -> list[Nodes]:
    graph, letter = tracer.graph, _out(equation)[0]
    source = kind(_type(equation.invars[0]))
    if letter == "b" and source != "b":
        return [graph.apply("ne", "b", x, tracer.constants(KINDS[source].type(0)))]
    if source == letter:
        return [x]
    return [graph.apply("convert", letter, x)]


@_rule("bitcast_convert_type")
def _bitcast(tracer: _Tracer, equation: core.JaxprEqn, x: Nodes) -> list[Nodes]:
    return [tracer.graph.apply("bitcast", _out(equation)[0], x)]


@_rule("copy", "device_put", "stop_gradient", "optimization_barrier")
def _same(tracer: _Tracer, equation: core.JaxprEqn, *operands: Nodes) -> list[Nodes]:
    return list(operands)


# Moving elements -----------------------------------------------------------------------------------------------------


@_rule("broadcast_in_dim")
def _broadcast_in_dim(tracer: _Tracer, equation: core.JaxprEqn, x: Nodes) -> list[Nodes]:
    shape = equation.params["shape"]
    sizes = [1] * len(shape)
    for size, dimension in zip(x.shape, equation.params["broadcast_dimensions"], strict=True):
        sizes[dimension] = size
    return [np.broadcast_to(x.reshape(sizes), shape)]


@_rule("reshape", "squeeze")
def _reshape(tracer: _Tracer, equation: core.JaxprEqn, x: Nodes) -> list[Nodes]:
    return [x.reshape(_out(equation)[1])]


@_rule("transpose")
def _transpose(tracer: _Tracer, equation: core.JaxprEqn, x: Nodes) -> list[Nodes]:
    return [x.transpose(equation.params["permutation"])]


@_rule("rev")
def _rev(tracer: _Tracer, equation: core.JaxprEqn, x: Nodes) -> list[Nodes]:
    return [np.flip(x, equation.params["dimensions"])]


@_rule("slice")
def _slice(tracer: _Tracer, equation: core.JaxprEqn, x: Nodes) -> list[Nodes]:
    params = equation.params
    strides = params["strides"] or (1,) * x.ndim
    return [x[tuple(map(slice, params["start_indices"], params["limit_indices"], strides))]]


@_rule("concatenate")
def _concatenate(tracer: _Tracer, equation: core.JaxprEqn, *operands: Nodes) -> list[Nodes]:
    return [np.concatenate(operands, equation.params["dimension"])]


@_rule("stack")
def _stack(tracer: _Tracer, equation: core.JaxprEqn, *operands: Nodes) -> list[Nodes]:
    return [np.stack(operands, equation.params["axis"])]


@_rule("unstack")
def _unstack(tracer: _Tracer, equation: core.JaxprEqn, x: Nodes) -> list[Nodes]:
    return list(np.moveaxis(x, equation.params["axis"], 0))


@_rule("tile")
def _tile(tracer: _Tracer, equation: core.JaxprEqn, x: Nodes) -> list[Nodes]:
    return [np.tile(x, equation.params["reps"])]


@_rule("split")
def _split(tracer: _Tracer, equation: core.JaxprEqn, x: Nodes) -> list[Nodes]:
    return np.split(x, np.cumsum(equation.params["sizes"])[:-1], equation.params["axis"])


@_rule("pad")
def _pad(tracer: _Tracer, equation: core.JaxprEqn, x: Nodes, filling: Nodes) -> list[Nodes]:
    padded = np.full(_out(equation)[1], filling[()])
    into, source = [], []
    for size, whole, (low, _, interior) in zip(x.shape, padded.shape, equation.params["padding_config"], strict=True):
        places = low + (interior + 1) * np.arange(size)
        inside = (places >= 0) & (places < whole)
        into.append(places[inside])
        source.append(np.arange(size)[inside])
    padded[np.ix_(*into)] = x[np.ix_(*source)]
    return [padded]


@_rule("iota")
def _iota(tracer: _Tracer, equation: core.JaxprEqn, *operands: Nodes) -> list[Nodes]:
    letter, shape = _out(equation)
    return [tracer.constants(np.indices(shape)[equation.params["dimension"]].astype(KINDS[letter]))]


@_rule("gather")
def _gather(tracer: _Tracer, equation: core.JaxprEqn, x: Nodes, indices: Nodes) -> list[Nodes]:
    params, (letter, shape) = equation.params, _out(equation)
    places = tracer.known(indices, "an index of gather").astype(np.int64)
    at = gathered(x.shape, places, params["dimension_numbers"], params["slice_sizes"], params["mode"], shape)
    filling = params["fill_value"]
    if filling is None:
        filling = {"f": np.nan, "i": -(2**31), "u": 2**32 - 1, "b": True}[letter]
    if (at >= 0).all():
        return [x.reshape(-1)[at]]
    return [np.where(at >= 0, x.reshape(-1)[at], tracer.constants(KINDS[letter].type(filling)))]


@_rule("scatter", "scatter-add", "scatter-sub", "scatter-mul", "scatter-min", "scatter-max")
def _scatter(tracer: _Tracer, equation: core.JaxprEqn, x: Nodes, indices: Nodes, updates: Nodes) -> list[Nodes]:
    params, graph = equation.params, tracer.graph
    places = tracer.known(indices, "an index of scatter").astype(np.int64)
    at = scattered(x.shape, places, params["dimension_numbers"], params["mode"], updates.shape)
    operation = equation.primitive.name.partition("-")[2]
    letter, result = _out(equation)[0], x.reshape(-1).copy()
    for place, node in zip(at.reshape(-1).tolist(), updates.reshape(-1).tolist(), strict=True):
        if place >= 0:
            result[place] = graph.node(operation, letter, int(result[place]), node) if operation else node
    return [result.reshape(x.shape)]


@_rule("dynamic_slice")
def _dynamic_slice(tracer: _Tracer, equation: core.JaxprEqn, x: Nodes, *starts: Nodes) -> list[Nodes]:
    return [x[_window(tracer, starts, x.shape, equation.params["slice_sizes"])]]


@_rule("dynamic_update_slice")
def _dynamic_update_slice(
    tracer: _Tracer, equation: core.JaxprEqn, x: Nodes, update: Nodes, *starts: Nodes
) -> list[Nodes]:
    result = x.copy()
    result[_window(tracer, starts, x.shape, update.shape)] = update
    return [result]


def _window(tracer: _Tracer, starts: Sequence[Nodes], shape: Sequence[int], sizes: Sequence[int]) -> tuple[slice, ...]:
    places = (int(tracer.known(start, "the start of a slice")) for start in starts)
    begins = (min(max(at, 0), whole - size) for at, whole, size in zip(places, shape, sizes, strict=True))
    return tuple(slice(begin, begin + size) for begin, size in zip(begins, sizes, strict=True))


# Reductions ----------------------------------------------------------------------------------------------------------

_REDUCTIONS = {"sum": "add", "max": "max", "min": "min", "prod": "mul", "and": "and", "or": "or"}


@_rule(*(f"reduce_{name}" for name in _REDUCTIONS))
def _reduce(tracer: _Tracer, equation: core.JaxprEqn, x: Nodes) -> list[Nodes]:
    letter, shape = _out(equation)
    axes = equation.params["axes"]
    kept = [d for d in range(x.ndim) if d not in axes]
    operation = equation.primitive.name.removeprefix("reduce_")
    columns = x.transpose(*kept, *axes).reshape(*shape, math.prod(x.shape[d] for d in axes))
    if not columns.shape[-1]:
        if operation in ("max", "min"):
            raise UnsupportedError(f'the primitive "{equation.primitive.name}" of nothing')
        neutral = {"sum": 0, "prod": 1, "and": -1, "or": 0}[operation]
        return [np.broadcast_to(tracer.constants(np.int32(neutral).astype(KINDS[letter])), shape)]
    return [_accumulated(tracer.graph, _REDUCTIONS[operation], letter, columns)]


def _accumulated(graph: Graph, op: str, letter: str, columns: Nodes) -> Nodes:
    return functools.reduce(lambda a, b: graph.apply(op, letter, a, b), np.moveaxis(columns, -1, 0))


@_rule("cumsum", "cumprod", "cummax", "cummin")
def _cumulative(tracer: _Tracer, equation: core.JaxprEqn, x: Nodes) -> list[Nodes]:
    params, letter = equation.params, _out(equation)[0]
    op = {"cumsum": "add", "cumprod": "mul", "cummax": "max", "cummin": "min"}[equation.primitive.name]
    rows = list(np.moveaxis(x, params["axis"], 0))[:: -1 if params["reverse"] else 1]
    sums = list(itertools.accumulate(rows, lambda a, b: tracer.graph.apply(op, letter, a, b)))
    return [np.stack(sums[:: -1 if params["reverse"] else 1], params["axis"])]


@_rule("argmax", "argmin")
def _argmax(tracer: _Tracer, equation: core.JaxprEqn, x: Nodes) -> list[Nodes]:
    graph = tracer.graph
    (axis,) = equation.params["axes"]
    letter, source = _out(equation)[0], kind(_type(equation.invars[0]))
    rows = np.moveaxis(x, axis, 0)
    better = "gt" if equation.primitive.name == "argmax" else "lt"
    best, index = rows[0], np.broadcast_to(tracer.constants(KINDS[letter].type(0)), rows[0].shape)
    for i, row in enumerate(rows[1:], 1):
        # The first of equal values wins, and NaN wins over numbers.
        is_better = graph.apply(better, "b", row, best)
        if source == "f":
            is_number = graph.apply("eq", "b", best, best)
            is_better = graph.apply(
                "and", "b", is_number, graph.apply("or", "b", is_better, graph.apply("ne", "b", row, row))
            )
        best = graph.apply("select", source, is_better, row, best)
        index = graph.apply("select", letter, is_better, tracer.constants(KINDS[letter].type(i)), index)
    return [index]


@_rule("dot_general")
def _dot_general(tracer: _Tracer, equation: core.JaxprEqn, a: Nodes, b: Nodes) -> list[Nodes]:
    letter, shape = _out(equation)
    (a_sum, b_sum), (a_batch, b_batch) = equation.params["dimension_numbers"]
    a_free = [d for d in range(a.ndim) if d not in (*a_sum, *a_batch)]
    b_free = [d for d in range(b.ndim) if d not in (*b_sum, *b_batch)]
    batch, length = [a.shape[d] for d in a_batch], math.prod(a.shape[d] for d in a_sum)
    if not length:
        return [np.broadcast_to(tracer.constants(KINDS[letter].type(0)), shape)]
    a = a.transpose(*a_batch, *a_free, *a_sum).reshape(*batch, math.prod(a.shape[d] for d in a_free), 1, length)
    b = b.transpose(*b_batch, *b_free, *b_sum).reshape(*batch, 1, math.prod(b.shape[d] for d in b_free), length)
    products = tracer.graph.apply("mul", letter, a, b)
    return [_accumulated(tracer.graph, "add", letter, products).reshape(shape)]


# Random numbers ------------------------------------------------------------------------------------------------------


@_rule("random_wrap", "random_unwrap", "random_clone")
def _same_key(tracer: _Tracer, equation: core.JaxprEqn, key: Nodes) -> list[Nodes]:
    _out(equation)  # refuses other generators
    return [key]


@_rule("random_split", "random_bits", "random_fold_in")
def _random(tracer: _Tracer, equation: core.JaxprEqn, key: Nodes, *data: Nodes) -> list[Nodes]:
    """By JAX's own definitions, of which `threefry2x32` is the only new primitive."""
    if key.shape != (2,):
        raise UnsupportedError("random numbers of several keys at once")
    params, words = equation.params, jax.ShapeDtypeStruct((2,), np.uint32)
    if equation.primitive.name == "random_split":
        closed = jax.make_jaxpr(lambda k: threefry_prng_impl.split(k, params["shape"]))(words)
    elif equation.primitive.name == "random_bits":
        bits, shape = params["bit_width"], params["shape"]
        closed = jax.make_jaxpr(lambda k: threefry_prng_impl.random_bits(k, bits, shape))(words)
    else:
        word = jax.ShapeDtypeStruct((), np.uint32)
        closed = jax.make_jaxpr(threefry_prng_impl.fold_in)(words, word)
    return tracer.into(closed, key, *data)


@_rule("iota_2x32_shape")
def _iota_2x32(tracer: _Tracer, equation: core.JaxprEqn) -> list[Nodes]:
    """The words of a 64-bit counter."""
    shape = equation.params["shape"]
    low = np.arange(math.prod(shape), dtype=np.uint32).reshape(shape)
    return [tracer.constants(np.zeros_like(low)), tracer.constants(low)]


@_rule("threefry2x32")
def _threefry(tracer: _Tracer, equation: core.JaxprEqn, k0: Nodes, k1: Nodes, x0: Nodes, x1: Nodes) -> list[Nodes]:
    """Threefry-2x32 of 20 rounds (Salmon et al., 2011)."""
    graph = tracer.graph

    def word(value: int) -> Nodes:
        return tracer.constants(np.uint32(value))

    def rotated(x: Nodes, by: int) -> Nodes:
        high = graph.apply("shift_left", "u", x, word(by))
        return graph.apply("or", "u", high, graph.apply("shift_right_logical", "u", x, word(32 - by)))

    k2 = graph.apply("xor", "u", graph.apply("xor", "u", k0, k1), word(0x1BD11BDA))
    keys = (k0, k1, k2)
    x0, x1 = graph.apply("add", "u", x0, k0), graph.apply("add", "u", x1, k1)
    for i in range(5):
        for by in ((13, 15, 26, 6), (17, 29, 16, 24))[i % 2]:
            x0 = graph.apply("add", "u", x0, x1)
            x1 = graph.apply("xor", "u", rotated(x1, by), x0)
        x0 = graph.apply("add", "u", x0, keys[(i + 1) % 3])
        x1 = graph.apply("add", "u", x1, graph.apply("add", "u", keys[(i + 2) % 3], word(i + 1)))
    return [x0, x1]


# Control -------------------------------------------------------------------------------------------------------------


@_rule("jit", "closed_call", "remat2", "custom_jvp_call", "custom_vjp_call")
def _call(tracer: _Tracer, equation: core.JaxprEqn, *operands: Nodes) -> list[Nodes]:
    params = equation.params
    return tracer.into(next(params[name] for name in ("jaxpr", "call_jaxpr", "fun_jaxpr") if name in params), *operands)


@_rule("platform_index")
def _platform_index(tracer: _Tracer, equation: core.JaxprEqn) -> list[Nodes]:
    platforms = equation.params["platforms"]
    named = [i for i, names in enumerate(platforms) if names is not None and "cpu" in names]
    default = [i for i, names in enumerate(platforms) if names is None]
    return [tracer.constants(np.int32((named + default)[0]))]


@_rule("cond")
def _cond(tracer: _Tracer, equation: core.JaxprEqn, which: Nodes, *operands: Nodes) -> list[Nodes]:
    graph, branches = tracer.graph, equation.params["branches"]
    chosen = graph.values(which, graph.kinds[int(which)])
    if chosen is not None:
        return tracer.into(branches[min(max(int(chosen), 0), len(branches) - 1)], *operands)
    cases = zip(*(tracer.into(branch, *operands) for branch in branches), strict=True)
    letters = [kind(_type(variable)) for variable in equation.outvars]
    return [_select(tracer, which, case, letter) for case, letter in zip(cases, letters, strict=True)]


@_rule("scan")
def _scan(tracer: _Tracer, equation: core.JaxprEqn, *operands: Nodes) -> list[Nodes]:
    params = equation.params
    consts, carry, rows = _cut(operands, *_scan_counts(params))
    body, length = params["jaxpr"], params["length"]
    if not rows and len(equation.outvars) == len(carry) and length > 1:
        return _loop(tracer, body, length, consts, carry)
    stacked = []
    for i in range(length)[:: -1 if params["reverse"] else 1]:
        results = tracer.into(body, *consts, *carry, *(row[i] for row in rows))
        carry = results[: len(carry)]
        stacked.append(results[len(carry) :])
    stacked = stacked[:: -1 if params["reverse"] else 1]
    return [
        *carry,
        *(
            np.stack([row[i] for row in stacked]) if stacked else np.zeros(_shape(variable), np.int64)
            for i, variable in enumerate(equation.outvars[len(carry) :])
        ),
    ]


def _scan_counts(params: Mapping[str, Any]) -> tuple[int, int]:
    """Numbers of constants and of carried arrays, which JAX 0.11 keeps in a tree of its arguments."""
    if "ft_in" in params:
        consts, carry, _ = params["ft_in"].unpack()
        return len(consts), len(carry)
    return params["num_consts"], params["num_carry"]


def _cut(operands: Sequence[Nodes], num_consts: int, num_carry: int) -> tuple[list[Nodes], list[Nodes], list[Nodes]]:
    end = num_consts + num_carry
    return list(operands[:num_consts]), list(operands[num_consts:end]), list(operands[end:])


def _loop(
    tracer: _Tracer, body: core.ClosedJaxpr, length: int, consts: Sequence[Nodes], carry: Sequence[Nodes]
) -> list[Nodes]:
    """A loop of the graph; what a pass leaves as it was is not carried."""
    graph = tracer.graph
    starts = np.concatenate([nodes.reshape(-1) for nodes in carry])
    shapes = [nodes.shape for nodes in carry]
    changes = np.ones(starts.shape, bool)
    while True:
        loop = graph.begin_loop(length, starts[changes], tracer.scope)
        scope = len(graph.loops)
        values = starts.copy()
        values[changes] = loop.carried
        results = trace(graph, body, [*consts, *_shaped(values, shapes)], scope)
        ends = np.concatenate([nodes.reshape(-1) for nodes in results])
        same = changes & ((ends == values) | (ends == starts))
        if not same.any():
            break
        changes &= ~same  # this pass stays in the graph; nothing needs it
    after = values.copy()
    after[changes] = graph.end_loop(loop, ends[changes])
    return _shaped(after, shapes)


def _shaped(flat: Nodes, shapes: Sequence[tuple[int, ...]]) -> list[Nodes]:
    sizes = [int(np.prod(shape)) for shape in shapes]
    pieces = np.split(flat, np.cumsum(sizes)[:-1])
    return [piece.reshape(shape) for piece, shape in zip(pieces, shapes, strict=True)]
