"""Order of a graph's operations, cut into chunks that LLVM compiles one by one.

LLVM's time grows faster than the length of a straight-line function, so that long ones are cut. A value that another
chunk needs lives in a slot of memory; slots are reused.
"""

import dataclasses
from collections import defaultdict
from collections.abc import Iterable, Sequence

from hades.native.graph import Graph, Loop

CHUNK = 2000
"""Operations in a chunk: LLVM took 12 s for humanoidstandup so, 14 s in chunks of 4000, 27 s for it whole."""


@dataclasses.dataclass
class Chunk:
    """Operations that follow each other."""

    nodes: list[int]


@dataclasses.dataclass
class Pass:
    """The nodes that one loop repeats; `used` lists the places of the carried values that somebody needs."""

    loop: Loop
    used: list[int]
    steps: list["Chunk | Pass"]
    begin: int = 0
    end: int = 0


@dataclasses.dataclass
class Plan:
    """The steps of a function.

    Attributes:
        steps: in their order.
        slots: of values that outlive their chunk, by node.
        num_slots: how many slots there are.
    """

    steps: list[Chunk | Pass]
    slots: dict[int, int]
    num_slots: int

    @property
    def operations(self) -> int:
        """Operations that are executed, those of loops once for each pass."""

        def count(step: Chunk | Pass) -> int:
            if isinstance(step, Chunk):
                return len(step.nodes)
            return step.loop.length * sum(map(count, step.steps))

        return sum(map(count, self.steps))


def reached(graph: Graph, results: Iterable[int]) -> set[int]:
    """The nodes that results depend on."""
    return _Needed(graph, results).nodes


def plan(graph: Graph, results: Sequence[int]) -> Plan:
    """Steps that compute the result nodes, and what leads to them alone."""
    needed = _Needed(graph, results)
    steps = _steps(graph, needed, 0, [*dict.fromkeys(results)])
    slots, num_slots = _slots(graph, steps, set(results))
    return Plan(steps, slots, num_slots)


class _Needed:
    """The nodes that results depend on, through loops too."""

    def __init__(self, graph: Graph, results: Iterable[int]):
        self.graph = graph
        self.nodes: set[int] = set()
        self.place = {int(node): (loop, i) for loop in graph.loops for i, node in enumerate(loop.carried)}
        self.used: dict[int, list[int]] = defaultdict(list)
        self.outside: dict[int, list[int]] = {}
        self._add(results)

    def _add(self, results: Iterable[int]) -> None:
        graph, waiting = self.graph, list(results)
        while waiting:
            node = waiting.pop()
            if node in self.nodes:
                continue
            self.nodes.add(node)
            if graph.ops[node] == "after":
                scope, i = graph.operands[node]
                waiting.append(int(graph.loops[scope - 1].carried[i]))
            elif graph.ops[node] == "carried":
                loop, i = self.place[node]
                self.used[graph.scopes[node]].append(i)
                waiting += [int(loop.starts[i]), int(loop.ends[i])]
            else:
                waiting += graph.operands[node]


def _steps(graph: Graph, needed: _Needed, scope: int, roots: Sequence[int]) -> list[Chunk | Pass]:
    """Depth first from the roots, so that a value is made shortly before it is used."""
    steps: list[Chunk | Pass] = []
    chunk: list[int] = []
    begun, loops = set[int](), set[int]()
    for root in roots:
        if root in begun:
            continue
        begun.add(root)
        stack = [(root, iter(_operands(graph, needed, root, scope)))]
        while stack:
            node, operands = stack[-1]
            following = next((o for o in operands if o not in begun and _is_computed(graph, o, scope)), None)
            if following is not None:
                begun.add(following)
                stack.append((following, iter(_operands(graph, needed, following, scope))))
                continue
            stack.pop()
            if not _is_computed(graph, node, scope):
                continue
            if graph.ops[node] == "after":
                inner = graph.operands[node][0]
                if inner not in loops:
                    loops.add(inner)
                    steps += [Chunk(chunk)] if chunk else []
                    chunk = []
                    steps.append(_pass(graph, needed, inner))
                continue
            chunk.append(node)
            if len(chunk) == CHUNK:
                steps.append(Chunk(chunk))
                chunk = []
    return [*steps, Chunk(chunk)] if chunk else steps


def _pass(graph: Graph, needed: _Needed, scope: int) -> Pass:
    loop = graph.loops[scope - 1]
    used = sorted(needed.used[scope])
    ends = [int(loop.ends[i]) for i in used]
    return Pass(loop, used, _steps(graph, needed, scope, [*dict.fromkeys(ends)]))


def _is_computed(graph: Graph, node: int, scope: int) -> bool:
    return graph.scopes[node] == scope and graph.ops[node] not in ("constant", "input", "carried")


def _operands(graph: Graph, needed: _Needed, node: int, scope: int) -> list[int]:
    """Nodes that have to be computed before a node in its scope."""
    if graph.ops[node] != "after":
        return list(graph.operands[node])
    inner = graph.operands[node][0]
    return _from_outside(graph, needed, inner)


def _from_outside(graph: Graph, needed: _Needed, inner: int) -> list[int]:
    """Values of outer scopes that a loop needs."""
    if inner in needed.outside:
        return needed.outside[inner]
    loop = graph.loops[inner - 1]
    within = [graph.is_within(scope, inner) for scope in range(len(graph.enclosing))]
    inside = [node for node in needed.nodes if within[graph.scopes[node]]]
    read = {o for node in inside if graph.ops[node] not in ("after", "carried") for o in graph.operands[node]}
    read |= {int(n) for i in needed.used[inner] for n in (loop.starts[i], loop.ends[i])}
    needed.outside[inner] = sorted(node for node in read if not within[graph.scopes[node]])
    return needed.outside[inner]


def _slots(graph: Graph, steps: Sequence[Chunk | Pass], results: set[int]) -> tuple[dict[int, int], int]:
    """A slot for each value that outlives its chunk, and their number."""
    made: dict[int, int] = {}
    last: dict[int, int] = {}
    time = 0

    def use(node: int, now: int) -> None:
        if graph.ops[node] == "after":
            scope, i = graph.operands[node]
            node = int(graph.loops[scope - 1].carried[i])
        if graph.ops[node] not in ("constant", "input"):
            last[node] = max(last.get(node, now), now)

    def walk(steps: Sequence[Chunk | Pass]) -> None:
        nonlocal time
        for step in steps:
            time += 1
            if isinstance(step, Chunk):
                for node in step.nodes:
                    made[node] = time
                    for operand in graph.operands[node]:
                        use(operand, time)
                continue
            step.begin = time
            carried = [int(step.loop.carried[i]) for i in step.used]
            for i, node in zip(step.used, carried, strict=True):
                made[node] = time
                use(int(step.loop.starts[i]), time)
            before = set(made)
            walk(step.steps)
            time += 1
            step.end = time
            for i, node in zip(step.used, carried, strict=True):
                use(int(step.loop.ends[i]), time)
                use(node, time)
            for node in before:  # what a pass reads, the next one reads again
                if last.get(node, 0) > step.begin:
                    last[node] = max(last[node], time)

    walk(steps)
    for node in results:
        use(node, time + 1)
    slots: dict[int, int] = {}
    free: list[int] = []
    ending: dict[int, list[int]] = defaultdict(list)
    num_slots = 0
    by_time: dict[int, list[int]] = defaultdict(list)
    for node, at in made.items():
        if last.get(node, at) > at or graph.ops[node] == "carried":
            by_time[at].append(node)
    for now in range(time + 2):
        for node in by_time[now]:
            if not free:
                free.append(num_slots)
                num_slots += 1
            slots[node] = free.pop()
            ending[last.get(node, now)].append(slots[node])
        free += ending.pop(now, [])
    return slots, num_slots
