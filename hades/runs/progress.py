"""Progress on the terminal: a bar where there is one, a line every few seconds where there is not."""

import math
import sys
import time
from collections.abc import Callable
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from hades.text import si

LINE_SECONDS = 10.0


class ProgressReport:
    """Shows how much of some work is done, and the time left; work that starts again from less is a new one."""

    def __init__(self, enabled: bool = True):
        self._enabled, self._console, self._last_line = enabled, Console(file=sys.stderr), 0.0
        self._has_bar = enabled and self._console.is_terminal
        left = (TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn())
        self._bar = Progress(BarColumn(24), TextColumn("{task.description}"), *left, console=self._console)
        self._task = self._bar.add_task("preparing …", total=1.0)

    def __enter__(self) -> Self:
        if self._has_bar:
            self._bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._has_bar:
            self._bar.stop()

    def say(self, text: str) -> None:
        """Print one line of text, above the bar."""
        if self._enabled:
            self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def update(self, text: str, done: float, total: float = 1.0, left: str = "") -> None:
        """Show that `done` of `total` is done; `left` is the time left, for a line without a bar."""
        if self._has_bar:
            self._bar.update(self._task, completed=done, total=total, description=text)
        elif time.monotonic() - self._last_line > LINE_SECONDS or done >= total:
            self._last_line = time.monotonic()
            self.say(f"{text}{left}")

    def counter(self, what: str) -> Callable[[int, int], None]:
        """A function of a number done and a total that shows them, such as "24 of 864 policies"."""
        return lambda done, total: self.update(f"{done:,} of {total:,} {what}", done, total)


def generation_text(
    generation: int, generations: int | None, fitness: float, best: float | None, steps_per_second: float
) -> str:
    """The state of a run in one line; `generations` is None where a budget of seconds or steps ends it."""
    of = "" if generations is None else f"/{generations}"
    mean = f"{fitness:.1f}" if math.isfinite(fitness) else "–"
    known = "–" if best is None else f"{best:.1f}"
    return f"generation {generation}{of}  fitness {mean}  solution {known}  {si(steps_per_second)} steps/s"
