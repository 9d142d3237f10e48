"""Numbers and tables as text: every format that pages, tables and programs print."""

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any


def number(x: float) -> str:
    """About three significant figures, with a real minus sign: 0.0123, 1.23, 123, 1.2e+05."""
    text = f"{x:.3g}" if abs(x) < 1e5 else f"{x:.1e}"
    return text.replace("-", "−")


def return_text(x: float) -> str:
    """A return in the report: two decimals below 10, one below 10,000, none above; "unknown" where it is not finite."""
    if not math.isfinite(x):
        return "unknown"
    decimals = 2 if abs(x) < 10 else 1 if abs(x) < 10_000 else 0
    return f"{x:,.{decimals}f}".replace("-", "−")


def signed(x: float) -> str:
    return f"{x:+.2f}".replace("-", "−")


def percent(share: float) -> str:
    """ "97 %" """
    return f"{100 * share:.0f} %".replace("-", "−")


def integer(count: float | None) -> str:
    """1,234,567; empty where there is none."""
    return "" if count is None else f"{count:,.0f}"


def duration(seconds: float | None) -> str:
    """0.42 s, 9.3 s, 12 min 5 s, 3 h 20 min; empty where unknown."""
    if seconds is None:
        return ""
    if seconds < 100:
        return f"{seconds:.2f} s" if seconds < 1 else f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"


def interval_text(report: Mapping[str, Any]) -> str:
    low, high = report.get("ci95") or (None, None)
    if not report.get("num_inits"):
        return "for which the file states no interval"
    if low is None or high is None or not (math.isfinite(low) and math.isfinite(high)):
        return "without an interval (it takes at least two policies)"
    return f"95 % interval {return_text(low)} to {return_text(high)}"


def si(value: float) -> str:
    """Three digits and a prefix: 1.23 M."""
    for factor, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= factor:
            return f"{value / factor:.3g} {unit}"
    return f"{value:.0f}"


def csv_text(rows: Sequence[Mapping[str, object]]) -> str:
    """Empty cells stand for what does not exist."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, list(dict.fromkeys(name for row in rows for name in row)), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue()


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Rows of text as a Markdown table."""
    return "\n".join(f"| {' | '.join(line)} |" for line in [head, ["---"] * len(head), *rows])
