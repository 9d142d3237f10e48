"""Numbers and tables as text: the formats of pages, tables and programs."""

import csv
import io
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any


def json_text(value: Any, *, indent: int | None = None, sort_keys: bool = False) -> str:
    """A value as JSON; numbers that are not finite become null, since JSON has none such."""
    return json.dumps(_finite(value), indent=indent, sort_keys=sort_keys, allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _finite(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def minus(text: str) -> str:
    """The text with real minus signs in the place of hyphens."""
    return text.replace("-", "−")


def number(x: float) -> str:
    """About three significant figures: 0.0123, 1.23, 123, 1.2e+05."""
    return minus(f"{x:.3g}" if abs(x) < 1e5 else f"{x:.1e}")


def fixed(x: float, decimals: int = 0) -> str:
    """A given number of decimals: −2, 0.50. Zero has no sign."""
    return minus(f"{x:z.{decimals}f}")


def signed(x: float, decimals: int = 2) -> str:
    """A given number of decimals behind a sign: +0.50, −1.50."""
    return minus(f"{x:+.{decimals}f}")


def percent(share: float) -> str:
    """ "97 %" """
    return f"{fixed(100 * share)} %"


def return_text(x: float | None) -> str:
    """A return: two decimals below 10, one below 10,000, none above; "unknown" where it is None or not finite."""
    if x is None or not math.isfinite(x):
        return "unknown"
    decimals = 2 if abs(x) < 10 else 1 if abs(x) < 10_000 else 0
    return minus(f"{x:,.{decimals}f}")


def integer(count: float | None) -> str:
    """1,234,567; empty where unknown."""
    return "" if count is None else f"{count:,.0f}"


def duration(seconds: float | None) -> str:
    """0.42 s, 9.3 s, 12 min 5 s, 3 h 20 min; empty where unknown, a dash where infinite."""
    if seconds is None:
        return ""
    if not math.isfinite(seconds):
        return "–"
    if seconds < 100:
        return f"{seconds:.2f} s" if seconds < 1 else f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"


def si(value: float) -> str:
    """Three digits and a prefix: 1.23 M; a dash where infinite."""
    for factor, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= factor:
            return f"{value / factor:.3g} {unit}" if math.isfinite(value) else "–"
    return f"{value:.0f}"


def interval(ends: Sequence[float | None] | None, form: Callable[[float], str] = return_text) -> str:
    """ "−1.50 to 2.50"; a dash where an end is unknown or not finite."""
    known = [end for end in ends or () if end is not None and math.isfinite(end)]
    return " to ".join(map(form, known)) if len(known) == 2 else "–"


def interval_text(report: Mapping[str, Any]) -> str:
    """The 95 % interval of a described ReturnSummary in words, or why there is none."""
    if not report.get("num_inits"):
        return "for which the file states no interval"
    ends = interval(report.get("ci95"))
    if ends == "–":
        reason = "it takes at least two policies" if report["num_inits"] == 1 else "not all returns are finite"
        return f"without an interval ({reason})"
    return f"95 % interval {ends}"


def versions_text(versions: Mapping[str, str]) -> str:
    """ "jax 0.10.2, brax 0.14.2" """
    return ", ".join(f"{name} {version}" for name, version in versions.items())


def csv_text(rows: Sequence[Mapping[str, object]]) -> str:
    """Rows as CSV, with a column for each name that occurs; cells without a value stay empty."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, list(dict.fromkeys(name for row in rows for name in row)), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue()


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[str]], *, aligned: bool = False) -> str:
    """Rows of text as a Markdown table; `aligned` pads its columns, for a terminal."""
    lines = [[cell.replace("|", "\\|").replace("\n", " / ") for cell in line] for line in (head, *rows)]
    widths = [max(map(len, column)) if aligned else 0 for column in zip(*lines, strict=True)]
    lines.insert(1, ["-" * max(width, 3) for width in widths])
    padded = ([cell.ljust(width) for cell, width in zip(line, widths, strict=True)] for line in lines)
    return "\n".join(f"| {' | '.join(line)} |" for line in padded)
