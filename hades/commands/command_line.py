"""Shared by the launch programs: `main` under absl with short help, `--json`, and errors without a traceback."""

import contextlib
import dataclasses
import importlib
import logging
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from absl import app, flags
from absl import logging as absl_logging

from hades import devices
from hades.commands import terminal
from hades.errors import ConfigError, HadesError, nearest, notice, printable
from hades.runs.compilation_cache import enable_compilation_cache
from hades.runs.experiment import Experiment
from hades.runs.gin_config import announce_imports
from hades.runs.jax_internals import BACKEND_LOGGER
from hades.runs.signals import FAILED, FINISHED, KILLED, MISUSED, ignore_all, interrupt_once
from hades.text import json_text

HELP = {"--help", "-help", "--helpshort", "-helpshort", "-h", "-?"}
HELP_FULL = {"--helpfull", "-helpfull"}


def print_files(files: Mapping[str, Path]) -> None:
    """Print the path of each result on a line of its own."""
    for kind, path in files.items():
        print(f"{kind + ':':<10} {path}")


def import_modules(names: Sequence[str]) -> None:
    """Import the modules of `--import_module`, after a line that names them.

    Raises:
        ConfigError: for one that cannot be imported.
    """
    if names:
        announce_imports("--import_module", *names)
    for name in names:
        try:
            importlib.import_module(name)
        except Exception as error:  # whatever the module itself raises
            raise ConfigError(f"--import_module={name} cannot be imported: {type(error).__name__}: {error}.") from error


def _with_devices(main: Callable[[], int | None]) -> int | None:
    try:
        return main()
    except Exception as error:
        devices.explain(error)
        raise


class _Result:
    """The value that `--json` prints once the program has finished."""

    value: Any = None


def give_result(value: Any) -> None:
    """Hand over the JSON-ready result of the program."""
    _Result.value = value


def define_json() -> None:
    """Define `--json`, which every program has."""
    flags.DEFINE_bool("json", False, "Print the result as JSON on stdout, and everything else on stderr.")


def start(module: str, main: Callable[[], int | None], subcommand: str = "") -> None:
    """Parse the flags of a program's module and run its `main`.

    An error of ours ends the program with its text and status 1, a mistake in its flags with status 2, and Ctrl-C
    without a traceback.

    Args:
        module: name of the program's module.
        main: returns an exit status, and calls `give_result`.
        subcommand: the word by which `hades` starts the program.
    """
    terminal.prepare()
    define_json()
    script = sys.argv[0] if sys.argv[0].endswith(".py") else Path(sys.argv[0]).name
    program = f"{script} {subcommand}".strip()
    sys.modules["__main__"].__doc__ = sys.modules[module].__doc__
    logging.getLogger(BACKEND_LOGGER).setLevel(logging.ERROR)
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # errors of Orbax's writes: the one that matters is raised

    def parsed(argv: list[str]) -> list[str]:
        own = own_flags(module)
        if HELP & {*argv}:
            print(help_text(sys.modules[module].__doc__ or "", own))
            sys.exit(FINISHED)
        if HELP_FULL & {*argv}:
            app.usage(writeto_stdout=True)
            sys.exit(FINISHED)
        try:
            return flags.FLAGS(argv)
        except flags.Error as error:
            notice(mistake_text(error, own, program))
            sys.exit(MISUSED)

    def checked(argv: list[str]) -> int | None:
        try:
            if len(argv) > 1:
                raise app.UsageError(f"unexpected arguments: {' '.join(argv[1:])}; flags are written --name=value")
            interrupt_once()
            enable_compilation_cache()
            absl_logging.set_verbosity(absl_logging.WARNING)  # Orbax reports each of its steps at INFO
            return _with_result(main)
        except app.UsageError as error:
            notice(mistake_text(error, own_flags(module), program))
            return MISUSED
        except HadesError as error:
            notice(f"\nhades: {error}")
            return FAILED
        except KeyboardInterrupt:
            notice("\nhades: Stopped at once.")
            return KILLED
        finally:
            ignore_all()

    app.run(checked, [program, *sys.argv[2 if subcommand else 1 :]], flags_parser=parsed)


def _with_result(main: Callable[[], int | None]) -> int | None:
    if not flags.FLAGS.json:
        return _with_devices(main)
    with contextlib.redirect_stdout(sys.stderr):
        status = _with_devices(main)
    if _Result.value is not None:
        print(json_text(_Result.value, indent=1))
    return status


def own_flags(module: str) -> list[flags.Flag[Any]]:
    """The flags of a program, without old names of some and without those of absl and libraries."""
    # A module that is run as a script has its flags under the script's name.
    own = [flag for name in (module, sys.argv[0]) for flag in flags.FLAGS.get_key_flags_for_module(name)]
    named = {flag.name: flag for flag in own if not flag.help.startswith("Alias for")}
    return [*named.values(), flags.FLAGS["json"]]


def help_text(about: str, own: Iterable[flags.Flag[Any]]) -> str:
    """The text of `--help`: what a program does, and a line for each of its flags."""
    more = "--helpfull also lists the flags of absl and libraries."
    return "\n".join([about.strip(), "", "flags:", *_flag_lines([*own]), "", more])


def _flag_lines(shown: Sequence[flags.Flag[Any]]) -> list[str]:
    labels = [f"--[no]{flag.name}" if flag.boolean else f"--{flag.name}" for flag in shown]
    width = max(map(len, labels), default=0)
    # absl appends a paragraph to the help of flags that may be repeated.
    texts = [flag.help.partition(";\n")[0] + _default(flag) for flag in shown]
    return [f"  {label:<{width}}  {text}" for label, text in zip(labels, texts, strict=True)]


def _default(flag: flags.Flag[Any]) -> str:
    value = flag.default
    if value in (None, False, "", []):
        return ""
    text = "on" if value is True else ",".join(map(str, value)) if isinstance(value, list) else str(value)
    return f" (default: {text if len(text) <= 40 else f'{text[:40]}…'})"


def mistake_text(error: Exception, own: Sequence[flags.Flag[Any]], program: str) -> str:
    """Explain what is wrong with a command line and what to write, and a line for each flag that is named."""
    text = str(error)
    if isinstance(error, flags.UnrecognizedFlagError):
        value = printable(str(error.flagvalue)).partition("=")[2] or "VALUE"
        name = printable(error.flagname)
        text = f"--{name} is no flag of {program}. {_instead(name, value, own)}".strip()
    named = re.findall(r"--(\w+)", text)
    lines = _flag_lines([flag for flag in own if flag.name in named])
    end = "" if text.endswith(("?", ".")) else "."
    return "\n".join([f"\nhades: {text}{end}", *lines, f"`{program} --help` lists the flags."])


def _instead(name: str, value: str, own: Sequence[flags.Flag[Any]]) -> str:
    """The flag to write in the place of an unknown one."""
    known = {spelt: flag for flag in own for spelt in ((flag.name, f"no{flag.name}") if flag.boolean else (flag.name,))}
    fields = {field.name for field in dataclasses.fields(Experiment)}
    if "gin_bindings" in known and ("." in name or name in fields):
        return f"Write --gin_bindings='{name if '.' in name else f'Experiment.{name}'} = {value}'."
    match = nearest(name, known, cutoff=0.5)
    return f"Did you mean --{match[0]}?" if match else ""
