"""Communication between the devices of a run: the collectives of a compiled program, with their sizes."""

import dataclasses
import math
import re
from collections.abc import Sequence

_COLLECTIVE = re.compile(r"= (.*?) (all-reduce|all-gather|reduce-scatter|all-to-all|collective-permute)(-start)?\(")
_SHAPE = re.compile(r"(pred|bf16|[suf]\d+)\[([\d,]*)\]")
_LOOP = "while/body"


@dataclasses.dataclass(frozen=True)
class Collective:
    """One of a program's instructions in which devices exchange data.

    Attributes:
        kind: XLA's name, such as "all-reduce".
        num_bytes: of its result, on every device.
        loops: how many loops it is inside of; in more than one it is carried out more than once a generation.
    """

    kind: str
    num_bytes: int
    loops: int


def collectives(program: str) -> list[Collective]:
    """Collectives in an optimised HLO module's text, `compiled.as_text()`."""
    found = []
    for line in program.splitlines():
        if match := _COLLECTIVE.search(line):
            shapes = _SHAPE.findall(match.group(1))
            if match.group(3) and match.group(2) != "all-reduce":
                shapes = shapes[len(shapes) // 2 :]  # the start of one lists operands before results
            found.append(Collective(match.group(2), sum(_num_bytes(*shape) for shape in shapes), line.count(_LOOP)))
    return found


def describe(found: Sequence[Collective], num_devices: int) -> str:
    """Lines for `--dry_run --compile`, of a block of generations: its loop over them is one loop."""
    lines = [f"communication of a generation, {num_devices} devices:"]
    for one in sorted(found, key=lambda c: -c.num_bytes):
        often = " (in a loop within the generation)" if one.loops > 1 else ""
        lines.append(f"  {one.kind:<20}{one.num_bytes:>12,} B{often}")
    lines.append(f"  {'in all':<20}{sum(one.num_bytes for one in found):>12,} B in {len(found)} collectives")
    return "\n".join(lines)


def _num_bytes(kind: str, shape: str) -> int:
    bits = 8 if kind == "pred" else int(re.sub(r"\D", "", kind))
    return math.prod(int(size) for size in shape.split(",") if size) * bits // 8
