"""The kinds of hostile inputs by name, and the loop that tries them."""

import copy
import dataclasses
import faulthandler
import importlib
import random
import shutil
import signal
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from hades.errors import HadesError

MODULES = ("datasets", "arrays", "pickles", "components", "texts", "workdirs")
"""Modules of this folder that register kinds."""
MOST_SECONDS = 10.0
"""For one input."""
LONGEST_MESSAGE = 4000
"""Characters of an error's text."""


@dataclasses.dataclass(frozen=True)
class Attempt:
    """One hostile input.

    Attributes:
        description: of the input, for a report of its failure.
        call: what is tried; it may raise HadesError and nothing else.
        accept: what is wrong with the result of the call; "" where it is as it should be.
    """

    description: str
    call: Callable[[], Any]
    accept: Callable[[Any], str] = lambda result: ""


@dataclasses.dataclass(frozen=True)
class Failure:
    """An input that did not end as it should, with what happened."""

    kind: str
    seed: int
    description: str
    what: str

    def __str__(self) -> str:
        command = f"python -m tests.fuzz --kinds={self.kind} --seed={self.seed} --count=1"
        return f"FAILED {self.kind}, seed {self.seed}: {self.description[:300]}\n{self.what}\nrepeat: {command}"


@dataclasses.dataclass
class Tally:
    """Number of inputs by kind and outcome ("refused" or "accepted"), the slowest one, and the failures."""

    outcomes: Counter[tuple[str, str]] = dataclasses.field(default_factory=Counter)
    slowest: tuple[float, str] = (0.0, "")
    failures: list[Failure] = dataclasses.field(default_factory=list)

    def __str__(self) -> str:
        kinds = dict.fromkeys(kind for kind, _ in self.outcomes)
        lines = [
            f"{kind}: " + ", ".join(f"{count} {what}" for (k, what), count in self.outcomes.items() if k == kind)
            for kind in kinds
        ]
        total = f"{sum(self.outcomes.values())} inputs, {len(self.failures)} failures"
        return "\n".join([*lines, f"{total}; the slowest took {self.slowest[0]:.2f} s ({self.slowest[1]})"])


Content = TypeVar("Content", str, bytes)
Maker = Callable[[random.Random, Path], Attempt]
_KINDS: dict[str, Maker] = {}


def kind(name: str) -> Callable[[Maker], Maker]:
    """Function decorator: make a kind of inputs known by a name."""

    def decorate(make: Maker) -> Maker:
        _KINDS[name] = make
        return make

    return decorate


def kinds() -> dict[str, Maker]:
    """The makers of all kinds by name."""
    for module in MODULES:
        importlib.import_module(f"tests.fuzz.{module}")
    return dict(_KINDS)


def run(
    names: Iterable[str],
    seeds: Iterable[int],
    *,
    seconds: float = float("inf"),
    report: Callable[[Failure], object] = lambda failure: None,
) -> Tally:
    """Try one input of each kind with each seed until the time is up; `report` gets each failure at once."""
    makers, tally, end = kinds(), Tally(), time.monotonic() + seconds
    names = list(names)
    with warnings.catch_warnings(), tempfile.TemporaryDirectory() as folder:
        warnings.simplefilter("ignore")
        for seed, name in ((seed, name) for seed in seeds for name in names):
            if time.monotonic() > end:
                break
            known = len(tally.failures)
            _try(makers[name], name, seed, Path(folder) / "input", tally)
            for failure in tally.failures[known:]:
                report(failure)
    return tally


def _try(make: Maker, name: str, seed: int, folder: Path, tally: Tally) -> None:
    """Try the input of one kind and seed."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    (folder.parent / "current").write_text(f"{name} {seed}\n")  # remains where the process dies
    attempt = make(random.Random(f"{name} {seed}"), folder)
    began = time.monotonic()
    outcome, what = "accepted", ""
    try:
        with _alarm(MOST_SECONDS):
            wrong = attempt.accept(attempt.call())
        what = f"It was accepted, but {wrong}" if wrong else ""
    except HadesError as error:
        outcome, what = "refused", _fault_of_message(str(error))
    except (Exception, Hang) as error:
        what = "".join(traceback.format_exception(error)[-6:])
    taken = time.monotonic() - began
    tally.slowest = max(tally.slowest, (taken, f"{name}, seed {seed}"))
    tally.outcomes[name, "failed" if what else outcome] += 1
    if what:
        tally.failures.append(Failure(name, seed, attempt.description, what))


def _fault_of_message(text: str) -> str:
    if len(text) > LONGEST_MESSAGE:
        return f"The message has {len(text)} characters: {text[:200]}…"
    if any(not (c.isprintable() or c == "\n") for c in text):
        return f"The message holds control characters: {text[:200]!r}"
    return "" if text else "The message is empty."


class Hang(BaseException):
    """An input takes too long; no Exception, so that nothing on the way catches it."""


class _alarm:
    """Raise Hang in the block after some seconds, and end the process where that does not help."""

    def __init__(self, seconds: float):
        self._seconds = seconds

    def __enter__(self) -> None:
        def late(*_: object) -> None:
            raise Hang(f"It did not end within {self._seconds} s.")

        self._handler = signal.signal(signal.SIGALRM, late)
        self._timer = signal.setitimer(signal.ITIMER_REAL, self._seconds)  # __exit__ gives pytest its own back
        faulthandler.dump_traceback_later(3 * self._seconds, exit=True)

    def __exit__(self, *_: object) -> None:
        faulthandler.cancel_dump_traceback_later()
        signal.setitimer(signal.ITIMER_REAL, *self._timer)
        signal.signal(signal.SIGALRM, self._handler)


NUMBERS = (0, -1, 1, 2**31, 2**63, 10**9, 10**30, -(10**9), 0.5, 1e-300, 1e300, float("nan"), float("inf"))
TEXTS = ("", "text", "é\u202e\x1b[31m\n", "x" * 20_000)
VALUES: tuple[Any, ...] = (None, True, False, *TEXTS, [], [[]], {}, {"": 0}, [1, "a"])
"""Values that take the place of others."""


def mutated_json(rng: random.Random, value: Any) -> tuple[str, Any]:
    """A JSON value with one part of it changed, and the change in words."""
    value = copy.deepcopy(value)
    places = list(_places(value))
    if not places:
        return "replaced", rng.choice(VALUES)
    path, holder, name = rng.choice(places)
    what = rng.choice(("number", "value", "remove", "nest", "scale", "swap", "rename", "extend"))
    old = holder[name]
    if what == "remove":
        del holder[name]
    elif what == "nest":
        for _ in range(rng.choice((1, 50, 250))):
            old = [old] if rng.random() < 0.5 else {"x": old}
        holder[name] = old
    elif what == "scale" and isinstance(old, int | float):
        holder[name] = old * rng.choice((-1, 2, 10**6, 10**12))
    elif what == "swap":
        _, other, there = rng.choice(places)
        holder[name], other[there] = copy.deepcopy(other[there]), copy.deepcopy(old)
    elif what == "rename" and isinstance(holder, dict):
        holder[mutated(rng, str(name))] = holder.pop(name)
    elif what == "extend" and isinstance(old, list):
        holder[name] = old * rng.choice((2, 1000))
    elif what == "value":
        holder[name] = copy.deepcopy(rng.choice(VALUES))
    else:
        holder[name] = rng.choice(NUMBERS)
    return f"{path}: {what}", value


def _places(value: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Every part of a JSON value, as the dict or list that holds it and its name or position there."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, part in list(items):
        yield f"{path}.{name}", value, name
        yield from _places(part, f"{path}.{name}")


def mutated(rng: random.Random, content: Content) -> Content:
    """Text or bytes with one to three changes: bits flipped, a part cut, repeated, moved, or replaced by noise."""
    data = bytearray(content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass"))
    for _ in range(rng.choice((1, 1, 2, 3))):
        at, size = rng.randrange(len(data) + 1), min(rng.choice((1, 1, 4, 16, 300)), len(data))
        what = rng.choice(("flip", "flip", "flip", "cut", "end", "repeat", "move", "noise", "extend"))
        if what == "flip" and data:
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        elif what == "cut":
            del data[at : at + size]
        elif what == "end":
            del data[at:]
        elif what == "repeat":
            data[at:at] = data[at : at + size] * rng.choice((1, 2, 100))
        elif what == "move":
            start = rng.randrange(len(data) + 1)
            data[at : at + size] = data[start : start + size]
        elif what == "noise":
            data[at : at + size] = rng.randbytes(size)
        else:
            data += rng.randbytes(size)
    return bytes(data) if isinstance(content, bytes) else data.decode("utf-8", "replace")
