"""The training that a launcher starts elsewhere: what this machine checks, keeps free and copies for it."""

import re
from pathlib import Path

import jax

from hades.errors import require
from hades.runs.gin_config import find_include
from hades.runs.job import Job
from hades.runs.shipped import config_root, find_config

_INCLUDE = re.compile(r"^\s*include\s+(['\"])(.+?)\1", re.MULTILINE)


def stay_off_accelerators() -> None:
    """Resolve configs on the CPU of this process: the accelerators belong to the runs that it starts."""
    jax.config.update("jax_platforms", "cpu")


def own_config(job: Job) -> Path | None:
    """Find the gin file on this machine that the others need a copy of; None for a config that ships with hades.

    Raises:
        ConfigError: when the file is missing, or includes a file that the machines would not have.
    """
    path, root = find_config(job.config), config_root().resolve()
    lines = "\n".join([path.read_text("utf-8") if job.is_file else "", *job.bindings])
    for _, included in _INCLUDE.findall(lines):
        require(
            find_include(included, path).resolve().is_relative_to(root),
            f"{path} includes {included}, a file of this machine that the others do not have. Put its lines into "
            f"{path}; configs that ship with hades may be included.",
        )
    return path if job.is_file else None
