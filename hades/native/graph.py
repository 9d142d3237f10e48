"""Graph of scalar operations, in which equal operations are one node.

Nodes are numbers: a traced array is a NumPy array of node numbers, so that slicing, gathering and reshaping cost what
they cost in NumPy. Every rule that merges or folds keeps the bits of a result: NaN, infinities and the sign of zero
included (x + 0 is not x where x is -0, and x · 0 is not 0 where x is infinite).

A loop is a scope. An operation belongs to the innermost scope that one of its operands belongs to; what does not
change in a loop is computed before it.
"""

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray

Nodes = NDArray[np.int64]
"""Numbers of nodes, in the shape of the array whose elements they stand for."""

KINDS = {"f": np.dtype(np.float32), "i": np.dtype(np.int32), "u": np.dtype(np.uint32), "b": np.dtype(np.bool_)}
"""Types of a node by NumPy's letter for their kind."""

Scalar = Any
"""A NumPy scalar of one of these types."""

COMMUTATIVE = frozenset({"add", "mul", "max", "min", "and", "or", "xor", "eq", "ne"})
COMPARISONS = frozenset({"lt", "le", "gt", "ge", "eq", "ne"})

_FOLDED = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "neg": np.negative,
    "abs": np.abs,
    "sqrt": np.sqrt,
    "floor": np.floor,
    "ceil": np.ceil,
    "round_even": np.rint,
    "rem": np.fmod,
    "max": np.maximum,
    "min": np.minimum,
    "and": np.bitwise_and,
    "or": np.bitwise_or,
    "xor": np.bitwise_xor,
    "not": np.invert,
    "lt": np.less,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
    "eq": np.equal,
    "ne": np.not_equal,
    "sin": np.sin,
    "cos": np.cos,
    "tan": np.tan,
    "asin": np.arcsin,
    "acos": np.arccos,
    "atan2": np.arctan2,
    "exp": np.exp,
    "log": np.log,
    "tanh": np.tanh,
    "pow": np.power,
}
"""The operations that fold constants; other operations on constants stay operations."""

_IN_DOUBLE = frozenset({"sin", "cos", "tan", "asin", "acos", "atan2", "exp", "log", "tanh", "pow"})
"""Folded in double precision: NumPy's own single precision is off by up to 4 units in the last place."""


class UnsupportedError(Exception):
    """A function contains what cannot be compiled; the message names it."""


@dataclasses.dataclass(eq=False)
class Loop:
    """A loop of a fixed number of passes over carried values.

    Attributes:
        length: passes.
        carried: nodes of op "carried" that stand for the values at the beginning of a pass.
        starts: nodes of the values before the first pass.
        ends: nodes of the values at the end of a pass.
    """

    length: int
    carried: Nodes
    starts: Nodes
    ends: Nodes


class Graph:
    """Scalar operations, each with the numbers of its operands, its kind and its scope."""

    def __init__(self) -> None:
        self.ops: list[str] = []
        self.operands: list[tuple[int, ...]] = []
        self.kinds: list[str] = []
        self.scopes: list[int] = []
        self.never_minus_zero: list[bool] = []
        self.constants: dict[int, Scalar] = {}
        self.loops: list[Loop] = []
        self.enclosing = [0]  # of each scope, the one around it; scope 0 is the function itself
        self._known: dict[tuple[object, ...], int] = {}

    def __len__(self) -> int:
        return len(self.ops)

    def constant(self, value: Scalar) -> int:
        """The node of one constant; NaNs of different bits are different constants."""
        key = (value.dtype.char, value.tobytes())
        if (node := self._known.get(key)) is None:
            node = self._known[key] = self._add("constant", (), value.dtype.kind, 0)
            self.constants[node] = value
            self.never_minus_zero[node] = value.dtype.kind != "f" or not (value == 0 and bool(np.signbit(value)))
        return node

    def array(self, values: np.ndarray) -> Nodes:
        """The nodes of constants."""
        return np.array([self.constant(value) for value in values.reshape(-1)], np.int64).reshape(values.shape)

    def values(self, nodes: Nodes, kind: str) -> np.ndarray | None:
        """The constants that nodes stand for, or None where one is no constant."""
        constants = self.constants
        try:
            flat = [constants[node] for node in nodes.reshape(-1).tolist()]
        except KeyError:
            return None
        return np.array(flat, KINDS[kind]).reshape(nodes.shape)

    def inputs(self, number: int, kind: str) -> Nodes:
        """New nodes that stand for values from outside."""
        return np.array([self._add("input", (), kind, 0) for _ in range(number)], np.int64)

    def begin_loop(self, length: int, starts: Nodes, around: int) -> Loop:
        """Open a scope; its carried values are of the kinds of `starts`."""
        scope = len(self.enclosing)
        self.enclosing.append(around)
        carried = [self._add("carried", (), self.kinds[node], scope) for node in starts.tolist()]
        loop = Loop(length, np.array(carried, np.int64), starts, np.zeros_like(starts))
        self.loops.append(loop)
        return loop

    def end_loop(self, loop: Loop, ends: Nodes) -> Nodes:
        """Close a loop, and return the nodes of its values after the last pass."""
        scope = self.loops.index(loop) + 1
        loop.ends = ends
        around = self.enclosing[scope]
        return np.array([self._add("after", (scope, i), self.kinds[n], around) for i, n in enumerate(ends)], np.int64)

    def apply(self, op: str, kind: str, *operands: Nodes) -> Nodes:
        """One operation on every element of arrays of nodes, which are broadcast."""
        arrays = np.broadcast_arrays(*operands)
        shape, node = arrays[0].shape, self.node
        rows = zip(*(array.reshape(-1).tolist() for array in arrays), strict=True)
        return np.array([node(op, kind, *row) for row in rows], np.int64).reshape(shape)

    def node(self, op: str, kind: str, *operands: int) -> int:
        """The node of one operation, simplified where the result's bits stay the same."""
        if op in COMMUTATIVE and operands[0] > operands[1]:
            operands = (operands[1], operands[0])
        key = (op, kind, operands)
        if (known := self._known.get(key)) is not None:
            return known
        constants = self.constants
        if all(operand in constants for operand in operands):
            node = self._fold(op, kind, *(constants[operand] for operand in operands))
        else:
            node = self._simplified(op, kind, operands)
        if node is None:
            node = self._add(op, operands, kind, self._innermost(operands))
            self.never_minus_zero[node] = self._is_never_minus_zero(op, kind, operands)
        self._known[key] = node
        return node

    def _add(self, op: str, operands: tuple[int, ...], kind: str, scope: int) -> int:
        self.ops.append(op)
        self.operands.append(operands)
        self.kinds.append(kind)
        self.scopes.append(scope)
        self.never_minus_zero.append(kind != "f")
        return len(self.ops) - 1

    def is_within(self, scope: int, outer: int) -> bool:
        """Tell whether a scope is another one or nested in it."""
        while scope > outer:
            scope = self.enclosing[scope]
        return scope == outer

    def _innermost(self, operands: tuple[int, ...]) -> int:
        return max((self.scopes[operand] for operand in operands), default=0)  # an inner scope has the larger number

    def _fold(self, op: str, kind: str, *values: Scalar) -> int | None:
        with np.errstate(all="ignore"):
            if op == "select":
                return self.constant(values[1] if values[0] else values[2])
            if op == "convert":
                return self.constant(_converted(values[0], kind))
            if op == "bitcast":
                return self.constant(values[0].view(KINDS[kind]))
            if op in ("div", "rem") and kind != "f":
                return (
                    None if values[1] in (0, -1) else self.constant(KINDS[kind].type(_quotient(op, *map(int, values))))
                )
            if op == "div":
                return self.constant(np.divide(*values))
            if op in _IN_DOUBLE:
                return self.constant(KINDS[kind].type(_FOLDED[op](*(np.float64(value) for value in values))))
            if op in _FOLDED:
                return self.constant(KINDS[kind].type(_FOLDED[op](*values)))
        return None

    def _simplified(self, op: str, kind: str, operands: tuple[int, ...]) -> int | None:
        first = operands[0]
        value = self.constants.get(first)
        other = self.constants.get(operands[1]) if len(operands) > 1 else None
        if op == "select":
            if value is not None:
                return operands[1] if value else operands[2]
            return operands[1] if operands[1] == operands[2] else None
        if op == "neg":
            return self.operands[first][0] if self.ops[first] == "neg" else None
        if op == "convert":
            return first if self.kinds[first] == kind else None
        if op in ("max", "min", "and", "or") and first == operands[1]:
            return first
        if kind == "b" and op in ("and", "or", "xor", "ne") and self.kinds[first] == "b":
            return self._simplified_logic(op, operands, value, other)
        if kind != "f":
            return None
        if op == "add":
            return self._sum(operands[1], value) if value is not None else self._sum(first, other)
        if op == "sub" and other is not None and other == 0 and not np.signbit(other):
            return first
        if op == "mul":
            return self._product(operands[1], value) if value is not None else self._product(first, other)
        if op == "div" and other is not None:
            mantissa, exponent = np.frexp(other)
            if abs(mantissa) == 0.5 and abs(exponent) < 120:  # its inverse is exact
                return self.node("mul", "f", first, self.constant(np.float32(1) / other))
        return None

    def _simplified_logic(
        self, op: str, operands: tuple[int, ...], value: Scalar | None, other: Scalar | None
    ) -> int | None:
        if value is None and other is None:
            return None
        known, unknown = (bool(value), operands[1]) if value is not None else (bool(other), operands[0])
        if op in ("xor", "ne"):
            return self.node("not", "b", unknown) if known else unknown
        decides = op == "or"
        return self.constant(np.bool_(known)) if known == decides else unknown

    def _sum(self, node: int, constant: Scalar | None) -> int | None:
        if constant is None or constant != 0:
            return None
        return node if np.signbit(constant) or self.never_minus_zero[node] else None

    def _product(self, node: int, constant: Scalar | None) -> int | None:
        if constant is None:
            return None
        if constant == 1:
            return node
        return self.node("neg", "f", node) if constant == -1 else None

    def _is_never_minus_zero(self, op: str, kind: str, operands: tuple[int, ...]) -> bool:
        if kind != "f" or op in ("abs", "exp", "convert"):
            return True
        never = [self.never_minus_zero[operand] for operand in operands]
        if op == "add":  # -0 + -0 alone is -0
            return any(never)
        if op == "mul":
            return operands[0] == operands[1]
        if op in ("select", "max", "min"):
            return all(never[-2:])
        return op == "sqrt" and never[0]


def _converted(value: Scalar, kind: str) -> Scalar:
    """As XLA and LLVM do it: what is too large for an integer becomes the nearest one, and NaN 0."""
    to = KINDS[kind].type
    if value.dtype.kind != "f" or kind not in "iu":
        return value.astype(to)
    low, high = (-(2**31), 2**31 - 1) if kind == "i" else (0, 2**32 - 1)
    return to(0 if np.isnan(value) else int(np.clip(float(value), low, high)))


def _quotient(op: str, a: int, b: int) -> int:
    """Divide integers, rounding towards 0, or take the remainder."""
    quotient = abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)
    return quotient if op == "div" else a - b * quotient
