"""Flags whose values are paths: `~` is expanded, and what is no path is refused before a program does anything.

A flag that names a dataset also takes an address.
"""

from pathlib import Path
from typing import Any, overload

from absl import flags

from hades.data.files import user_path
from hades.data.sources import is_address

flags.disclaim_key_flags()  # a flag belongs to the program that defines it, not to this module


class _PathParser(flags.ArgumentParser[Path]):
    """Parses a path; absl prints a ConfigError, which is a ValueError, behind the flag's name."""

    syntactic_help = "a path"

    def parse(self, argument: str | Path) -> Path:
        return user_path(argument)

    def flag_type(self) -> str:
        return "path"


class _SourceParser(flags.ArgumentParser[str | Path]):
    """Parses what `load_dataset` takes: an address or, by its path or name, anything else."""

    syntactic_help = "a dataset"

    def parse(self, argument: str | Path) -> str | Path:
        return argument if is_address(argument) else user_path(argument)

    def flag_type(self) -> str:
        return "dataset"


@overload
def define_path(name: str, default: None, text: str) -> "flags.FlagHolder[Path | None]": ...
@overload
def define_path(name: str, default: str, text: str) -> flags.FlagHolder[Path]: ...
def define_path(name: str, default: str | None, text: str) -> Any:
    """Define a flag that holds one path, or None."""
    return flags.DEFINE(_PathParser(), name, default, text, serializer=flags.ArgumentSerializer())


def define_source(name: str, text: str) -> "flags.FlagHolder[str | Path | None]":
    """Define a flag that holds one source of a dataset, or None."""
    return flags.DEFINE(_SourceParser(), name, None, text, serializer=flags.ArgumentSerializer())


def define_sources(name: str, text: str) -> flags.FlagHolder[list[str | Path]]:
    """Define a flag that may be given several times; without it, it holds an empty list."""
    return flags.DEFINE_multi(_SourceParser(), flags.ArgumentSerializer(), name, [], text)
