"""Errors that are part of the interface: one paragraph that names the value, the place and the remedy."""

import difflib
import itertools
import sys
from collections.abc import Iterable

LONGEST_MESSAGE = 3000
"""Characters of a message. A longer one loses its middle: it begins with the place and ends with the remedy."""


class HadesError(Exception):
    """Base of the errors that launchers print without a traceback. Its message is safe to print, whatever it quotes."""

    def __init__(self, message: object = ""):
        super().__init__(printable(str(message), LONGEST_MESSAGE, keep="\n"))


class ConfigError(HadesError, ValueError):
    """A configuration that cannot run."""


class CheckpointError(HadesError):
    """A work directory or checkpoint that cannot be used."""


class DatasetError(HadesError, ValueError):
    """A dataset file or dataset that cannot be used."""


class NonFiniteFitnessError(HadesError):
    """No candidate had a finite fitness for several generations."""


class MissingPackageError(HadesError, ImportError):
    """An optional library is not installed."""


def printable(text: str, most: int = 200, keep: str = "") -> str:
    """Foreign text for a message: its middle cut out where it is long, control characters escaped except `keep`."""
    if len(text) > most:
        text = f"{text[: most // 2]} … {text[-(most // 2) :]}"
    return "".join(c if c.isprintable() or c in keep else repr(c)[1:-1] for c in text)


def require(holds: object, message: str) -> None:
    """Check a setting.

    Raises:
        ConfigError: with the message, unless `holds` is true.
    """
    if not holds:
        raise ConfigError(message)


def notice(text: str) -> None:
    """Print a line on stderr in one write, so that lines of threads do not mix; stdout is for results."""
    print(f"{text}\n", end="", file=sys.stderr, flush=True)


def shown(value: object, limit: int = 80) -> str:
    """A value from outside for a message: its `repr`, cut to a line, or its type where it has none."""
    try:
        text = repr(value[:limit] if isinstance(value, str | bytes) else value)
    except Exception:  # an integer of more than 4300 digits, or an object's own fault
        text = f"<{type(value).__name__}>"
    text = " ".join(text.split())
    return text if len(text) <= limit else f"{text[:limit]}…"


def one_of(field: str, value: str, known: Iterable[str]) -> None:
    """Raise ConfigError for a word that a field does not know."""
    if value not in known:
        raise ConfigError(f'{field} is "{value}". {offer(value, known)}')


def offer(name: str, choices: Iterable[str]) -> str:
    """Suggest a known name: `Did you mean "SNES"? Known: Evosax, OpenES, SNES.`"""
    choices = list(choices)
    match = nearest(name, choices, cutoff=0.5)
    question = f'Did you mean "{match[0]}"? ' if match else ""
    return f"{question}Known: {', '.join(choices)}."


def nearest(name: str, choices: Iterable[str], most: int = 1, cutoff: float = 0.0) -> list[str]:
    """The known names that are spelled most like a name, whatever their case, the most similar first.

    Where none is, the one that it abbreviates (`lr`).
    """
    folded = {choice.lower(): choice for choice in choices}
    name = printable(name).lower()  # comparing takes as long as the name
    abbreviated = ["".join(word[:1] for word in low.split("_")) == name and "_" in low for low in folded]
    matches = difflib.get_close_matches(name, folded, n=most, cutoff=cutoff)
    return [folded[match] for match in matches or itertools.compress(folded, abbreviated)]
