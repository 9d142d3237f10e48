"""Numbers and lists on the command line of a comparison: "60", "cartpole=40,freeway=150", "0,1,2"."""

from collections.abc import Mapping, Sequence

from hades.errors import ConfigError, offer

ALL = ""
"""The name of a value that holds wherever no other does."""
Values = Mapping[str, float]
"""A number by environment, method or `<environment>_<method>`; ALL for the others."""


def value_for(values: Values, *names: str) -> float | None:
    """The value of the first of the names that has one, else the one that holds for all; None where there is none."""
    return next((values[name] for name in (*names, ALL) if name in values), None)


def parse_values(texts: Sequence[str], flag: str) -> dict[str, float]:
    """["60"] or ["cartpole=40", "freeway=180"] as Values.

    Raises:
        ConfigError: for anything else.
    """
    values = {}
    for text in texts:
        name, _, number = text.rpartition("=")
        try:
            values[name.strip()] = float(number)
        except ValueError:
            raise ConfigError(f'--{flag}: "{text}" is neither a number nor name=number.') from None
    return values


def check_names(values: Values, flag: str, known: Sequence[str]) -> None:
    """Raises: ConfigError for a value of something that is not compared."""
    for name in values:
        if name not in (ALL, *known):
            raise ConfigError(f'--{flag}: "{name}" is not compared. {offer(name, known)}')


def parse_seeds(texts: Sequence[str]) -> list[int]:
    """["0", "1", "2"] or, as how many, ["3"]; ["3", ""] is seed 3 alone.

    Raises:
        ConfigError: for anything else, and for seeds given twice.
    """
    given = [text.strip() for text in texts if text.strip()]
    if not given or not all(text.isdecimal() for text in given):
        raise ConfigError(f"--seeds: {','.join(texts)!r} is neither a count nor seeds such as 0,1,2.")
    seeds = [int(text) for text in given]
    seeds = list(range(seeds[0])) if len(texts) == 1 else seeds
    if not seeds or len(set(seeds)) < len(seeds):
        raise ConfigError(f"--seeds: {','.join(texts)!r} names no seed, or one of them twice.")
    return seeds


def parse_sizes(texts: Sequence[str]) -> list[int]:
    """["1", "2", "64"]: numbers of pairs.

    Raises:
        ConfigError: for anything else, and for a size given twice.
    """
    given = [text.strip() for text in texts if text.strip()]
    sizes = [int(text) for text in given if text.isdecimal()]
    if not sizes or len(sizes) < len(given) or min(sizes) < 1 or len(set(sizes)) < len(sizes):
        raise ConfigError(f"--sizes: {','.join(texts)!r} is not a list of different numbers of pairs such as 1,2,4,8.")
    return sizes


def parse_pair(texts: Sequence[str], flag: str) -> tuple[int, int]:
    """["8", "4"] as two numbers.

    Raises:
        ConfigError: for anything else.
    """
    if len(texts) != 2 or not all(text.strip().isdecimal() for text in texts):
        raise ConfigError(f"--{flag}: {','.join(texts)!r} is not policies,episodes such as 8,4.")
    return int(texts[0]), int(texts[1])
