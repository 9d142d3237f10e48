"""What a caller of a library may expect to find as it was: the global state of the process."""

import logging
import os
import signal
import sys
import warnings
from typing import Any

import gin
import jax
import matplotlib
import numpy as np
from absl import logging as absl_logging


def process_state() -> dict[str, Any]:
    """By name, as values that can be compared."""
    config = gin.config
    loggers = [name for name, logger in logging.root.manager.loggerDict.items() if isinstance(logger, logging.Logger)]
    named = {name: logging.getLogger(name) for name in loggers} | {"root": logging.root}
    return {
        "gin": (config._CONFIG.copy(), config._OPERATIVE_CONFIG.copy(), config._SINGLETONS.copy(), {*config._IMPORTS}),
        "gin files": (config._FILE_READERS[:], config._LOCATION_PREFIXES[:]),
        "gin modes": (gin.config_is_locked(), config._INTERACTIVE_MODE, gin.current_scope()),
        "disabled logging": logging.root.manager.disable,
        "absl verbosity": absl_logging.get_verbosity(),
        **{
            f"logger {name}": (logger.level, logger.handlers[:], logger.filters[:], logger.propagate, logger.disabled)
            for name, logger in named.items()
            if name == "root" or logger.level or logger.handlers or logger.filters
        },
        "warnings": (warnings.filters[:], warnings.showwarning),
        "numpy": (np.geterr(), np.get_printoptions()),
        "jax": dict(jax.config.values),
        "matplotlib": (dict.copy(matplotlib.rcParams), sys.modules.get("matplotlib.pyplot") is not None),
        "environment": dict(os.environ),
        "path": (sys.path[:], os.getcwd()),
        "signals": [signal.getsignal(number) for number in sorted(signal.valid_signals())],
        "streams": (sys.stdout, sys.stderr, sys.excepthook, sys.unraisablehook),
    }


def differences(before: dict[str, Any], after: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    names = before.keys() | after.keys()
    return {name: (before.get(name), after.get(name)) for name in names if before.get(name) != after.get(name)}
