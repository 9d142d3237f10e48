"""A run as a command: the same program with the same words on every machine."""

import dataclasses
import hashlib
import re
from pathlib import Path

from hades.data.files import check_path
from hades.runs.experiment import Experiment
from hades.runs.gin_config import load_experiment


@dataclasses.dataclass(frozen=True)
class Job:
    """A run of `hades-train`.

    Attributes:
        config: a shipped config's name, or a gin file.
        workdir: folder of the run as the machines see it; all of them must see the same one.
        bindings: further gin lines.

    Raises:
        ConfigError: for a work directory that is an address, such as gs://bucket/runs.
    """

    config: str
    workdir: str
    bindings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_path(self.workdir)

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
            ConfigError: what `hades-train` would refuse.
        """
        return load_experiment(self.config, list(self.bindings))

    def words(
        self, *flags: str, program: tuple[str, ...] = ("hades-train",), config: str | None = None
    ) -> tuple[str, ...]:
        """The command on a machine; `config` where the file lies elsewhere there."""
        given = tuple(f"--gin_bindings={line}" for line in self.bindings)
        return (*program, f"--config={config or self.config}", f"--workdir={self.workdir}", *given, *flags)
