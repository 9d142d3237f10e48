"""Flags that define a run: a config, gin lines, and four settings of the experiment under their own names."""

import math
from collections.abc import Mapping

from absl import flags

from hades.errors import require
from hades.runs.gin_config import limits_of_stage, stage_shares

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


def setting_lines(shares: Mapping[str, float], limits: Mapping[str, float], seed: int | None = None) -> list[str]:
    """Gin lines that set a seed and limits of a run whose stages have these shares, see `stage_shares`."""
    lines, before = [], 0
    for scope, share in shares.items():
        values = limits_of_stage(share, limits.get("max_seconds"), limits.get("max_env_steps")) | {"seed": seed}
        if share and "generations" in limits:
            until = round(share * limits["generations"])
            values["generations"], before = max(1, until - before), until
        lines += [f"{scope}Experiment.{name} = {value!r}" for name, value in values.items() if value is not None]
    return lines
