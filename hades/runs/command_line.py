"""Shared by the launch programs: `main` under absl with readable help, and errors without a traceback."""

import logging
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from absl import app, flags
from absl import logging as absl_logging

from hades.errors import HadesError
from hades.runs.compilation_cache import enable_compilation_cache
from hades.runs.jax_internals import BACKEND_LOGGER


def print_files(files: Mapping[str, Path]) -> None:
    """Print the path of each result on a line of its own."""
    for kind, path in files.items():
        print(f"{kind + ':':<10} {path}")


def start(module: str, main: Callable[[], int | None]) -> None:
    """Parse the flags of `module` and run its `main`; an error of ours ends the program with its text and status 1."""
    sys.modules["__main__"].__doc__ = sys.modules[module].__doc__
    for flag in flags.FLAGS.get_key_flags_for_module(module):  # absl shows the flags of the program's own module only
        flags.FLAGS.register_key_flag_for_module(sys.argv[0], flag)
    logging.getLogger(BACKEND_LOGGER).setLevel(logging.ERROR)
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # errors of Orbax's writes: the one that matters is raised

    def checked(argv: list[str]) -> int | None:
        if len(argv) > 1:
            raise app.UsageError(f"unexpected arguments: {' '.join(argv[1:])}")
        enable_compilation_cache()
        absl_logging.set_verbosity(absl_logging.WARNING)  # Orbax reports each of its steps at INFO
        try:
            return main()
        except HadesError as error:
            print(f"\nhades: {error}", file=sys.stderr)
            return 1

    app.run(checked)
