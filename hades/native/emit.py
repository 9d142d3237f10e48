"""A graph as LLVM's intermediate language: vectors of one value of LANES evaluations each.

Truth values are masks, 0 or -1 in each lane. A product that is added may be fused with the addition, as XLA does.
"""

from collections.abc import Callable, Sequence

import numpy as np

from hades.native import elementary
from hades.native.elementary import literal
from hades.native.graph import COMPARISONS, Graph, Scalar, UnsupportedError
from hades.native.schedule import Chunk, Pass, Plan, plan

LANES = 16
"""Evaluations side by side: two vectors of AVX2, whose latencies hide each other, or one of AVX-512."""

VF, VI, VB = f"<{LANES} x float>", f"<{LANES} x i32>", f"<{LANES} x i1>"
ALIGN = 4 * LANES
_INTRINSICS = {
    **{name: name for name in ("sqrt", "floor", "ceil", "tan", "asin", "acos", "exp", "log", "tanh", "pow")},
    "abs": "fabs",
    "round_even": "roundeven",
}
"""Operations of f32 that LLVM has by another name or the same; those that no vector unit has call C's."""


def emit(graph: Graph, inputs: Sequence[int], results: Sequence[int]) -> tuple[str, Plan]:
    """Definition of `void @block(ptr in, ptr slots, ptr out)`, and what it executes.

    It reads and writes a plane of LANES numbers for each node; as many as the plan has slots are its memory.
    """
    steps = plan(graph, results)
    return _Emitter(graph, inputs, steps).module(results), steps


class _Emitter:
    def __init__(self, graph: Graph, inputs: Sequence[int], steps: Plan):
        self.graph = graph
        self.plan = steps
        self.planes = {node: i for i, node in enumerate(inputs)}
        self.functions: list[str] = []
        self.declared = set[str]()
        self.lines: list[str] = []
        self.names: dict[int, str] = {}
        self.count = 0

    def module(self, results: Sequence[int]) -> str:
        calls = self.steps(self.plan.steps)
        self.begin()
        for i, node in enumerate(results):
            self.write(node, "%out", i)
        calls.append(self.end())
        block = ["define internal void @block(ptr %in, ptr %slots, ptr %out) {", "entry:", *calls, "ret void", "}"]
        declared = sorted(self.declared | elementary.declarations(LANES))
        return "\n".join([*declared, elementary.definitions(LANES), *self.functions, *block])

    def steps(self, steps: Sequence[Chunk | Pass]) -> list[str]:
        """Instructions of the block: a call for each chunk, around which loops go."""
        calls: list[str] = []
        for step in steps:
            calls += [self.chunk(step)] if isinstance(step, Chunk) else self.loop(step)
        return calls

    def loop(self, step: Pass) -> list[str]:
        carried = [int(step.loop.carried[i]) for i in step.used]
        start = self.copy([int(step.loop.starts[i]) for i in step.used], carried)
        body = self.steps(step.steps)
        end = self.copy([int(step.loop.ends[i]) for i in step.used], carried)
        n = len(self.functions)
        return [
            start,
            f"br label %before{n}\nbefore{n}:\nbr label %pass{n}\npass{n}:",
            f"%i{n} = phi i64 [0, %before{n}], [%next{n}, %last{n}]",
            *body,
            end,
            f"br label %last{n}\nlast{n}:\n%next{n} = add i64 %i{n}, 1",
            f"%more{n} = icmp ult i64 %next{n}, {step.loop.length}",
            f"br i1 %more{n}, label %pass{n}, label %done{n}\ndone{n}:",
        ]

    def chunk(self, chunk: Chunk) -> str:
        self.begin()
        for node in chunk.nodes:
            self.names[node] = self.operation(node)
            if node in self.plan.slots:
                self.store(node, self.slot(node))
        return self.end()

    def copy(self, sources: Sequence[int], targets: Sequence[int]) -> str:
        """A function that copies values into the slots of others; all are read before the first is written."""
        self.begin()
        for source in sources:
            self.value(source)
        for source, target in zip(sources, targets, strict=True):
            if source != target:
                self.store(source, self.slot(target))
        return self.end()

    def begin(self) -> None:
        self.lines, self.names = [], {}

    def end(self) -> str:
        name = f"@chunk{len(self.functions)}"
        head = f"define internal void {name}(ptr noalias %in, ptr noalias %slots, ptr noalias %out) noinline {{"
        self.functions.append("\n".join([head, *self.lines, "ret void", "}"]))
        return f"call void {name}(ptr %in, ptr %slots, ptr %out)"

    def make(self, instruction: str) -> str:
        self.count += 1
        self.lines.append(f"%v{self.count} = {instruction}")
        return f"%v{self.count}"

    def at(self, base: str, place: int) -> str:
        return self.make(f"getelementptr {VI}, ptr {base}, i64 {place}")

    def slot(self, node: int) -> str:
        return self.at("%slots", self.plan.slots[node])

    def store(self, node: int, place: str) -> None:
        self.lines.append(f"store {self.type(node)} {self.value(node)}, ptr {place}, align {ALIGN}")

    def write(self, node: int, base: str, place: int) -> None:
        value = self.value(node)
        self.lines.append(f"store {self.type(node)} {value}, ptr {self.at(base, place)}, align {ALIGN}")

    def type(self, node: int) -> str:
        return VF if self.graph.kinds[node] == "f" else VI

    def value(self, node: int) -> str:
        """The name of a value: a constant, one of this chunk, or one that is loaded."""
        if (constant := self.graph.constants.get(node)) is not None:
            return _constant(constant)
        if node not in self.names:
            self.names[node] = self.make(f"load {self.type(node)}, ptr {self.place(node)}, align {ALIGN}")
        return self.names[node]

    def place(self, node: int) -> str:
        if node in self.planes:
            return self.at("%in", self.planes[node])
        if self.graph.ops[node] == "after":
            scope, i = self.graph.operands[node]
            node = int(self.graph.loops[scope - 1].carried[i])
        return self.slot(node)

    def call(self, name: str, *arguments: str, result: str = VF) -> str:
        self.declared.add(f"declare {result} @{name}({', '.join([VF] * len(arguments))})")
        return self.make(f"call {result} @{name}({', '.join(f'{VF} {a}' for a in arguments)})")

    def mask(self, comparison: str, of: str, a: str, b: str) -> str:
        return self.make(f"sext {VB} {self.make(f'{comparison} {of} {a}, {b}')} to {VI}")

    def select(self, condition: str, of: str, a: str, b: str) -> str:
        """By a mask."""
        is_set = self.make(f"icmp slt {VI} {condition}, zeroinitializer")
        return self.make(f"select {VB} {is_set}, {of} {a}, {of} {b}")

    def operation(self, node: int) -> str:
        graph, op, kind = self.graph, self.graph.ops[node], self.graph.kinds[node]
        operands = graph.operands[node]
        values, source = [self.value(o) for o in operands], graph.kinds[operands[-1]]
        if op in COMPARISONS:
            return self.comparison(op, source, *values)
        if op == "select":
            return self.select(values[0], self.type(node), *values[1:])
        if op == "convert":
            return self.conversion(source, kind, *values)
        if op == "bitcast":
            return self.make(f"bitcast {VF if source == 'f' else VI} {values[0]} to {VF if kind == 'f' else VI}")
        if kind == "f":
            return self.float_operation(op, operands, values)
        return self.integer_operation(op, kind, values)

    def comparison(self, op: str, source: str, a: str, b: str) -> str:
        if source == "f":
            return self.mask(f"fcmp {'une' if op == 'ne' else 'o' + op}", VF, a, b)
        signed = "" if op in ("eq", "ne") else "s" if source == "i" else "u"
        return self.mask(f"icmp {signed}{op}", VI, a, b)

    def conversion(self, source: str, kind: str, value: str) -> str:
        if source == "b":
            one = self.make(f"and {VI} {value}, splat (i32 {_bits(np.float32(1)) if kind == 'f' else 1})")
            return self.make(f"bitcast {VI} {one} to {VF}") if kind == "f" else one
        if kind == "f":
            return self.make(f"{'s' if source == 'i' else 'u'}itofp {VI} {value} to {VF}")
        if source == "f":
            sign = "s" if kind == "i" else "u"
            return self.call(f"llvm.fpto{sign}i.sat.v{LANES}i32.v{LANES}f32", value, result=VI)
        return value  # i32 and u32 share their bits

    def float_operation(self, op: str, operands: Sequence[int], values: Sequence[str]) -> str:
        if op in ("add", "sub", "mul", "div"):
            return self.make(f"f{op} contract {VF} {values[0]}, {values[1]}")
        if op in ("neg", "rem"):
            return self.make(f"f{op} {VF} {', '.join(values)}")
        if op in ("max", "min"):
            return self.extreme(op, operands, values)
        if op in elementary.VECTOR_FUNCTIONS:
            return self.make(f"call {VF} @hades.{op}({', '.join(f'{VF} {value}' for value in values)})")
        if op == "log":  # C's function is wrong about denormal numbers where they are treated as 0
            size = self.call(f"llvm.fabs.v{LANES}f32", values[0])
            is_zero = self.make(f"fcmp olt {VF} {size}, splat (float {literal(2.0**-126)})")
            values = [self.make(f"select {VB} {is_zero}, {VF} zeroinitializer, {VF} {values[0]}")]
        return self.call(f"llvm.{_INTRINSICS[op]}.v{LANES}f32", *values)

    def extreme(self, op: str, operands: Sequence[int], values: Sequence[str]) -> str:
        """The larger or smaller of two, NaN where one is NaN, and either of 0 and -0.

        Vector units return the second operand where one is NaN.
        """
        first, second = values
        safe = [o in self.graph.constants and not np.isnan(self.graph.constants[o]) for o in operands]
        if safe[1]:
            first, second = second, first
        compared = self.make(f"fcmp {'ogt' if op == 'max' else 'olt'} {VF} {first}, {second}")
        extreme = self.make(f"select {VB} {compared}, {VF} {first}, {VF} {second}")
        if any(safe):
            return extreme
        is_nan = self.make(f"fcmp uno {VF} {first}, {first}")
        return self.make(f"select {VB} {is_nan}, {VF} {first}, {VF} {extreme}")

    def integer_operation(self, op: str, kind: str, values: Sequence[str]) -> str:
        if op in ("max", "min"):
            sign = "s" if kind == "i" else "u"
            name = f"llvm.{sign}{op}.v{LANES}i32"
            self.declared.add(f"declare {VI} @{name}({VI}, {VI})")
            return self.make(f"call {VI} @{name}({VI} {values[0]}, {VI} {values[1]})")
        if op in _INTEGER:
            return _INTEGER[op](self, *values)
        if op not in ("add", "sub", "mul", "and", "or", "xor"):
            raise UnsupportedError(f'the operation "{op}" of integers')
        return self.make(f"{op} {VI} {values[0]}, {values[1]}")


def _shift(name: str) -> Callable[..., str]:
    """Shifting by 32 or more leaves 0."""

    def emit(self: _Emitter, a: str, b: str) -> str:
        inside = self.make(f"icmp ult {VI} {b}, splat (i32 32)")
        by = self.make(f"select {VB} {inside}, {VI} {b}, {VI} zeroinitializer")
        return self.make(f"select {VB} {inside}, {VI} {self.make(f'{name} {VI} {a}, {by}')}, {VI} zeroinitializer")

    return emit


_INTEGER: dict[str, Callable[..., str]] = {
    "not": lambda self, a: self.make(f"xor {VI} {a}, splat (i32 -1)"),
    "neg": lambda self, a: self.make(f"sub {VI} zeroinitializer, {a}"),
    "abs": lambda self, a: self.select(a, VI, self.make(f"sub {VI} zeroinitializer, {a}"), a),
    "shift_left": _shift("shl"),
    "shift_right_logical": _shift("lshr"),
}


def _constant(value: Scalar) -> str:
    if value.dtype.kind == "f":
        return f"splat (float {literal(float(value))})"
    if value.dtype.kind == "b":
        return f"splat (i32 {-1 if value else 0})"
    return f"splat (i32 {_bits(value)})"


def _bits(value: Scalar) -> int:
    return int(np.asarray(value).view(np.int32))
