"""The training that a launcher starts elsewhere: the same command on every machine."""

import dataclasses
import hashlib
import re
from pathlib import Path

import jax

from hades.errors import require
from hades.runs.experiment import Experiment
from hades.runs.gin_config import config_root, find_config, load_experiment

_INCLUDE = re.compile(r"^\s*include\s+(['\"])(.+?)\1", re.MULTILINE)


@dataclasses.dataclass(frozen=True)
class Job:
    """A run of `hades-train`.

    Attributes:
        config: a shipped config's name, or a gin file.
        workdir: folder of the run as the machines see it; all of them must see the same one.
        bindings: further gin lines.
    """

    config: str
    workdir: str
    bindings: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Name of the run in schedulers: that of its work directory, as a DNS label of at most 40 characters."""
        label = re.sub("[^a-z0-9]+", "-", Path(self.workdir).name.lower()).strip("-")[:40].strip("-")
        return label if label[:1].isalpha() else f"run-{label}".strip("-")

    @property
    def unique_name(self) -> str:
        """Name that no run in another work directory has."""
        return f"{self.name}-{hashlib.sha256(self.workdir.encode()).hexdigest()[:8]}"

    @property
    def is_file(self) -> bool:
        """True if the config is a file on this machine, which the others may not have."""
        return self.config.endswith(".gin") or "/" in self.config

    def check(self) -> Experiment:
        """Resolve the config here, so that a mistake in it is reported before a machine is requested.

        Raises:
            ConfigError: for a config that `hades-train` would refuse.
        """
        return load_experiment(self.config, list(self.bindings))

    def words(
        self, *flags: str, program: tuple[str, ...] = ("hades-train",), config: str | None = None
    ) -> tuple[str, ...]:
        """Return the command for a machine; `config` replaces the path of a file that lies elsewhere there."""
        given = tuple(f"--gin_bindings={line}" for line in self.bindings)
        return (*program, f"--config={config or self.config}", f"--workdir={self.workdir}", *given, *flags)


def stay_off_accelerators() -> None:
    """Resolve configs on the CPU of this process: the accelerators belong to the runs that it starts."""
    jax.config.update("jax_platforms", "cpu")


def own_config(job: Job) -> Path | None:
    """Find the gin file on this machine that the others need a copy of; None for a config that ships with hades.

    Raises:
        ConfigError: when the file is missing, or includes a file that the machines would not have.
    """
    if not job.is_file:
        return None
    path = find_config(job.config)
    for _, included in _INCLUDE.findall(path.read_text("utf-8")):
        require(
            (config_root() / included).is_file(),
            f"{path} includes {included}, a file of this machine that the others do not have. Put its lines into "
            f"{path}; configs that ship with hades may be included.",
        )
    return path
