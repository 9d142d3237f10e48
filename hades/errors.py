"""Errors that are part of the interface: one paragraph that names the value, the place and the remedy."""

import difflib
import sys
from collections.abc import Iterable


class HadesError(Exception):
    """Base of the errors that launchers print without a traceback."""


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


def offer(name: str, choices: Iterable[str]) -> str:
    """Suggest a known name: `Did you mean "SNES"? Known: Evosax, OpenES, SNES.`"""
    choices = list(choices)
    folded = {choice.lower(): choice for choice in choices}
    match = difflib.get_close_matches(name.lower(), folded, n=1, cutoff=0.5)
    question = f'Did you mean "{folded[match[0]]}"? ' if match else ""
    return f"{question}Known: {', '.join(choices)}."
