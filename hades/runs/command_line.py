"""Shared by the launch programs: `main` under absl with readable help, and errors without a traceback."""

import importlib
import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from absl import app, flags
from absl import logging as absl_logging

from hades import devices
from hades.errors import ConfigError, HadesError, notice
from hades.runs import terminal
from hades.runs.compilation_cache import enable_compilation_cache
from hades.runs.gin_config import announce_imports
from hades.runs.jax_internals import BACKEND_LOGGER
from hades.runs.signals import FAILED, KILLED, ignore_all, interrupt_once


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


def start(module: str, main: Callable[[], int | None]) -> None:
    """Parse the flags of `module` and run its `main`.

    An error of ours ends the program with its text and status 1, and Ctrl-C without a traceback.
    """
    terminal.prepare()
    sys.modules["__main__"].__doc__ = sys.modules[module].__doc__
    for flag in flags.FLAGS.get_key_flags_for_module(module):  # absl shows the flags of the program's own module only
        flags.FLAGS.register_key_flag_for_module(sys.argv[0], flag)
    logging.getLogger(BACKEND_LOGGER).setLevel(logging.ERROR)
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # errors of Orbax's writes: the one that matters is raised

    def checked(argv: list[str]) -> int | None:
        if len(argv) > 1:
            raise app.UsageError(f"unexpected arguments: {' '.join(argv[1:])}")
        try:
            interrupt_once()
            enable_compilation_cache()
            absl_logging.set_verbosity(absl_logging.WARNING)  # Orbax reports each of its steps at INFO
            return _with_devices(main)
        except HadesError as error:
            notice(f"\nhades: {error}")
            return FAILED
        except KeyboardInterrupt:
            notice("\nhades: Stopped at once.")
            return KILLED
        finally:
            ignore_all()

    app.run(checked)
