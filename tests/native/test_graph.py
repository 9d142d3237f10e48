"""Merging, folding and simplifying keep the bits of a result."""

import numpy as np
import pytest

from hades.native.graph import _FOLDED, _IN_DOUBLE, KINDS, Graph

SPECIAL = [np.float32(x) for x in (0.0, -0.0, 1.0, -1.0, 0.5, 3.0, 1e38, np.inf, -np.inf, np.nan)]


def constant_of(graph: Graph, node: int) -> np.generic:
    return graph.constants[node]


@pytest.fixture
def graph() -> Graph:
    return Graph()


def test_equal_operations_are_one_node(graph: Graph) -> None:
    x, y = graph.inputs(2, "f").tolist()
    for op in ("add", "mul", "max", "min"):
        assert graph.node(op, "f", x, y) == graph.node(op, "f", y, x)
    assert graph.node("sub", "f", x, y) != graph.node("sub", "f", y, x)
    assert graph.node("lt", "b", x, y) != graph.node("lt", "b", y, x)


@pytest.mark.parametrize(
    ("op", "constant", "is_left_away"),
    [
        ("add", 0.0, False),  # -0 + 0 is 0
        ("add", -0.0, True),
        ("sub", 0.0, True),
        ("sub", -0.0, False),  # -0 - -0 is 0
        ("mul", 1.0, True),
        ("mul", 0.0, False),  # NaN of infinity, -0 of negative numbers
        ("div", 1.0, True),
    ],
)
def test_an_operation_is_left_away_where_no_number_would_change(
    graph: Graph, op: str, constant: float, is_left_away: bool
) -> None:
    (x,) = graph.inputs(1, "f").tolist()
    assert (graph.node(op, "f", x, graph.constant(np.float32(constant))) == x) is is_left_away


def test_zero_may_be_added_to_what_is_never_minus_zero(graph: Graph) -> None:
    x, y = graph.inputs(2, "f").tolist()
    zero, one = graph.constant(np.float32(0)), graph.constant(np.float32(1))
    never = [graph.node("abs", "f", x), graph.node("mul", "f", x, x), graph.node("add", "f", x, one)]
    never.append(graph.node("sqrt", "f", never[0]))
    never.append(graph.node("max", "f", never[0], never[1]))
    for node in never:
        assert graph.node("add", "f", node, zero) == node
    for node in (x, graph.node("mul", "f", x, y), graph.node("sqrt", "f", x), graph.node("neg", "f", never[0])):
        assert graph.node("add", "f", node, zero) != node


def test_two_changes_of_sign_are_none(graph: Graph) -> None:
    (x,) = graph.inputs(1, "f").tolist()
    minus = graph.node("neg", "f", x)
    assert graph.node("neg", "f", minus) == x
    assert graph.node("mul", "f", x, graph.constant(np.float32(-1))) == minus


@pytest.mark.parametrize(
    ("divisor", "is_product"), [(4.0, True), (-0.5, True), (3.0, False), (0.0, False), (np.inf, False)]
)
def test_division_by_a_power_of_two_is_a_product(graph: Graph, divisor: float, is_product: bool) -> None:
    (x,) = graph.inputs(1, "f").tolist()
    node = graph.node("div", "f", x, graph.constant(np.float32(divisor)))
    assert graph.ops[node] == ("mul" if is_product else "div")


def test_selections_that_are_known(graph: Graph) -> None:
    x, y = graph.inputs(2, "f").tolist()
    (flag,) = graph.inputs(1, "b").tolist()
    yes, no = graph.constant(np.bool_(True)), graph.constant(np.bool_(False))
    assert [graph.node("select", "f", c, x, y) for c in (yes, no)] == [x, y]
    assert graph.node("select", "f", flag, x, x) == x
    assert (
        graph.node("and", "b", flag, yes) == graph.node("or", "b", flag, no) == graph.node("xor", "b", flag, no) == flag
    )
    assert (graph.node("and", "b", flag, no), graph.node("or", "b", flag, yes)) == (no, yes)
    assert graph.ops[graph.node("ne", "b", flag, yes)] == "not"


def test_nans_of_different_bits_and_zeros_of_both_signs_are_different_constants(graph: Graph) -> None:
    nans = np.array([0x7FC00000, 0xFFC00000], np.uint32).view(np.float32)
    assert len({graph.constant(x) for x in (*nans, np.float32(0.0), np.float32(-0.0))}) == 4


@pytest.mark.parametrize("op", [*sorted(set(_FOLDED) - {"and", "or", "xor", "not"} - _IN_DOUBLE), "div"])
def test_constants_become_what_numpy_makes_of_them(graph: Graph, op: str) -> None:
    function = _FOLDED.get(op, np.divide)
    for a in SPECIAL:
        for b in SPECIAL:
            values = (a, b)[: function.nin]
            with np.errstate(all="ignore"):
                expected = function(*values)
            kind = "b" if expected.dtype == bool else "f"
            folded = constant_of(graph, graph.node(op, kind, *map(graph.constant, values)))
            assert folded.dtype == KINDS[kind]
            assert np.array_equal(folded, expected, equal_nan=kind == "f")
            if op not in ("max", "min"):  # which of 0 and -0 is larger depends on their order
                assert np.isnan(expected) or folded.tobytes() == expected.tobytes()


@pytest.mark.parametrize(
    ("op", "a", "b", "expected"),
    [
        ("add", 2**31 - 1, 1, -(2**31)),
        ("mul", 2**16, 2**16, 0),
        ("div", -7, 2, -3),
        ("rem", -7, 2, -1),
        ("rem", 7, -2, 1),
    ],
)
def test_constant_integers(graph: Graph, op: str, a: int, b: int, expected: int) -> None:
    node = graph.node(op, "i", graph.constant(np.int32(a)), graph.constant(np.int32(b)))
    assert constant_of(graph, node) == expected


@pytest.mark.parametrize(
    ("value", "kind", "expected"),
    [
        (np.nan, "i", 0),
        (1e10, "i", 2**31 - 1),
        (-np.inf, "i", -(2**31)),
        (-3.7, "i", -3),
        (-3.7, "u", 0),
        (1e10, "u", 2**32 - 1),
    ],
)
def test_a_constant_number_becomes_the_nearest_integer_of_the_type(
    graph: Graph, value: float, kind: str, expected: int
) -> None:
    node = graph.node("convert", kind, graph.constant(np.float32(value)))
    assert constant_of(graph, node) == expected


def test_an_operation_belongs_to_the_innermost_loop_of_its_operands(graph: Graph) -> None:
    (x,) = graph.inputs(1, "f").tolist()
    outer = graph.begin_loop(3, np.array([x]), 0)
    inner = graph.begin_loop(2, np.array([x]), 1)
    in_outer, in_inner = (graph.node("neg", "f", int(loop.carried[0])) for loop in (outer, inner))
    assert [graph.scopes[n] for n in (graph.node("neg", "f", x), in_outer, in_inner)] == [0, 1, 2]
    (after,) = graph.end_loop(inner, np.array([in_inner]))
    assert graph.scopes[graph.node("add", "f", int(after), in_outer)] == 1
    graph.begin_loop(2, np.array([x]), 0)
    assert graph.is_within(2, 1)
    assert not graph.is_within(3, 1)
