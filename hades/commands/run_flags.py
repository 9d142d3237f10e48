"""Flags that define a run: a config, gin lines, and four settings of the experiment under their own names."""

import math

from absl import flags

from hades.errors import require
from hades.runs.gin_config import setting_lines, stage_shares

flags.disclaim_key_flags()  # a flag belongs to the program that defines it, not to this module


class RunFlags:
    """Defines the flags, and reads them once they are parsed."""

    def __init__(self) -> None:
        self._config = flags.DEFINE_string("config", None, "A gin file, or a name that `hades list configs` prints.")
        self._lines = flags.DEFINE_multi_string(
            "gin_bindings", [], "A further gin line, such as 'SNES.sigma = 0.3'; repeatable."
        )
        self._seed = flags.DEFINE_integer("seed", None, "Seed of the run, of all its stages.", lower_bound=0)
        self._limits = {
            "generations": flags.DEFINE_integer(
                "generations", None, "Generations of the run; its stages share them.", lower_bound=1
            ),
            "max_seconds": flags.DEFINE_float(
                "max_seconds", None, "Seconds of search and selection; the stages share them."
            ),
            "max_env_steps": flags.DEFINE_float(
                "max_env_steps", None, "Environment steps of search, such as 1e6; the stages share them.", lower_bound=1
            ),
        }

    @property
    def config(self) -> str | None:
        """The value of `--config`."""
        return self._config.value

    @property
    def seed(self) -> int | None:
        """The value of `--seed`."""
        return self._seed.value

    def bindings(self) -> list[str]:
        """The gin lines of `--gin_bindings`, followed by those that the other flags stand for.

        Raises:
            ConfigError: for a config that cannot be read, and a limit that is no number.
        """
        given = {name: flag.value for name, flag in self._limits.items() if flag.value is not None}
        lines, seed = list(self._lines.value), self.seed
        if not given and seed is None:
            return lines
        for name, limit in given.items():
            require(math.isfinite(limit), f"--{name} is {limit}: give a number, or leave it out for no limit.")
        return lines + setting_lines(stage_shares(self.config or "", lines), given, seed)
