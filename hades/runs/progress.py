"""Progress on the terminal: a bar where there is one, a line every few seconds where there is not."""

import math
import sys
import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from hades.text import si

LINE_SECONDS = 10.0


class ProgressReport:
    """Shows generations, fitness, the best selection return, environment steps a second and the time left.

    `total` generations are shown where only their number ends the run, not a budget of seconds or steps.
    """

    def __init__(self, total: int | None = None, enabled: bool = True):
        self._of, self._enabled = "" if total is None else f"/{total}", enabled
        self._console = Console(file=sys.stderr)
        self._last_line = 0.0
        self._bar: Progress | None = None
        self._task: TaskID | None = None

    def __enter__(self) -> Self:
        if self._enabled and self._console.is_terminal:
            self._bar = Progress(
                BarColumn(bar_width=24),
                TextColumn("{task.description}"),
                TimeElapsedColumn(),
                TextColumn("left"),
                TimeRemainingColumn(),
                console=self._console,
            )
            self._bar.start()
            self._task = self._bar.add_task("compiling …", total=1.0)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def say(self, text: str) -> None:
        """One line of text, above the bar."""
        if self._enabled:
            self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def update(
        self,
        generation: int,
        fitness: float,
        best: float | None,
        steps_per_second: float,
        share: float,
        seconds_left: float,
    ) -> None:
        """After a block: `share` of the run is done, and about `seconds_left` of it are left."""
        mean = f"{fitness:.1f}" if math.isfinite(fitness) else "–"
        known = "–" if best is None else f"{best:.1f}"
        rate = si(steps_per_second)
        text = f"generation {generation}{self._of}  fitness {mean}  solution {known}  {rate} steps/s"
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=share, description=text)
        elif self._enabled and (time.monotonic() - self._last_line > LINE_SECONDS or share >= 1.0):
            self._last_line = time.monotonic()
            self.say(f"{text}  {seconds_left:.0f} s left")
