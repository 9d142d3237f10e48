"""Progress of a count on the terminal: a bar where there is one, a line every few seconds where there is not."""

import sys
import time
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from hades.runs.progress import LINE_SECONDS


class CountProgress:
    """Shows "24 of 864 policies" and the time left; a count that starts again from less is a new one."""

    def __init__(self, what: str, enabled: bool = True):
        self._what, self._enabled = what, enabled
        self._console, self._last_line = Console(file=sys.stderr), time.monotonic()
        left = (TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn())
        self._bar = Progress(BarColumn(24), TextColumn("{task.description}"), *left, console=self._console)
        self._task = self._bar.add_task("preparing …", total=1.0)

    def __enter__(self) -> Self:
        if self._enabled and self._console.is_terminal:
            self._bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.stop()

    def say(self, text: str) -> None:
        """One line of text, above the bar."""
        if self._enabled:
            self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def update(self, done: int, total: int) -> None:
        text = f"{done:,} of {total:,} {self._what}"
        self._bar.update(self._task, total=total, completed=done, description=text)
        if not self._console.is_terminal and time.monotonic() - self._last_line > LINE_SECONDS:
            self._last_line = time.monotonic()
            self.say(text)
