"""A run's work directory: what lies where, who may write, and whether it holds the same run."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hades import registry
from hades.data.files import read_json, user_path, write_bytes
from hades.data.sources import FILE
from hades.errors import CheckpointError
from hades.runs import lock
from hades.runs.experiment import FREE_FIELDS, HANDED_OVER, Experiment
from hades.runs.json_forms import EXPERIMENT, fits, is_description


class WorkDir:
    """Paths of a run's files."""

    def __init__(self, path: str | Path):
        self.path = user_path(path)
        self.experiment = self.path / "experiment.json"
        self.config = self.path / "config.gin"
        self.checkpoints = self.path / "checkpoints"
        self.metrics = self.path / "metrics.jsonl"
        self.evaluations = self.path / "evaluations.jsonl"
        self.timing = self.path / "timing.jsonl"
        self.tensorboard = self.path / "tensorboard"
        self.wandb = self.path / "wandb"
        self.dataset = self.path / FILE
        self.result = self.path / "result.json"
        self.report = self.path / "report.html"
        self.lock = self.path / ".lock"
        self._held: lock.Lock | None = None

    @contextmanager
    def locked(self) -> Iterator[str]:
        """Hold the directory for this process; the lock goes with the process, however it ends.

        Yields:
            What to tell the user about a lock that an earlier process left behind; empty where there is none.

        Raises:
            CheckpointError: when another process holds it.
        """
        with lock.held(self.lock, self.path) as self._held:
            before = self._held.before
            try:
                yield f"The lock of {before}, which was killed in {self.path}, is taken over." if before.pid else ""
            except Exception:
                self.check_owner()  # a folder that was removed explains whatever failed in it
                raise
            finally:
                self._held = None

    def check_owner(self) -> None:
        """Make sure, before something is written, that the directory is still this process's, if it ever was.

        Raises:
            CheckpointError: when its lock was deleted or taken over, or the directory was removed.
        """
        if self._held is not None:
            self._held.check()

    @property
    def is_removed(self) -> bool:
        """True if nothing is left that says that a run lives here, as after the directory was removed."""
        return not self.lock.exists() and not self.experiment.exists()

    @property
    def lock_token(self) -> str:
        """Token that the holder of the directory wrote into its lock; empty where it cannot be read."""
        return lock.read(self.lock).token

    def described(self, remedy: str) -> Mapping[str, Any]:
        """The description of the run that lives here, with today's names.

        Raises:
            HadesError: when the file is missing or holds something else; ends with the remedy.
        """
        found = read_json(self.experiment, remedy)
        if not (is_description(found) and found["interface"] == "Experiment" and fits(found, EXPERIMENT)):
            raise CheckpointError(f"{self.experiment} is damaged: it holds JSON, but no experiment. {remedy}")
        return dict(registry.upgraded(found))

    def check(self, described: Mapping[str, Any], *, configured: bool = False) -> Mapping[str, Any]:
        """Return the description of the run that lives here, empty if none does, once it is known to be this one.

        Args:
            described: the run that should.
            configured: it is described as its configuration has it, so that a stage lacks what it takes over.

        Raises:
            CheckpointError: when the directory holds a different configuration, naming the fields that differ.
        """
        if not self.experiment.exists():
            return {}
        known = self.described(
            "It names the run that lives here. Put a copy in its place; or, if this is the command that started the "
            "run, delete the file: it is written again."
        )
        described = registry.upgraded(described)
        if configured:
            known, described = as_configured(known), as_configured(described)
        different = [d for d in differences(known, described) if d[0] not in FREE_FIELDS]
        if different:
            rows = "; ".join(f"{path} is {old!r} there and {new!r} now" for path, old, new in different[:6])
            more = f"; and {len(different) - 6} more" if len(different) > 6 else ""
            raise CheckpointError(
                f"{self.path} holds a run with a different configuration: {rows}{more}. "
                "Choose another --workdir for this one, or give the old values to continue it."
            )
        return known

    def claim(self, experiment: Experiment, config: str = "") -> None:
        """Write down which run lives here, or check that it is this one; `config` is its gin text, if it has one.

        Raises:
            CheckpointError: when the directory holds a different configuration, naming the fields that differ.
        """
        described = registry.describe(experiment)
        self.check(described)
        self.check_owner()
        write_bytes(self.experiment, json.dumps(described, indent=1, sort_keys=True).encode())
        if config:
            write_bytes(self.config, config.encode())


def as_configured(described: Mapping[str, Any]) -> Mapping[str, Any]:
    """The description of an experiment without what it takes over from the stage before, if there is one."""
    if not described.get("first"):
        return described
    algorithm = dict(described["algorithm"])
    for name, fields in HANDED_OVER.items():
        if isinstance(part := algorithm.get(name), Mapping):
            algorithm[name] = {field: value for field, value in part.items() if field not in fields}
    return {**described, "algorithm": algorithm}


def differences(old: Any, new: Any, path: str = "") -> list[tuple[str, Any, Any]]:
    """(path, old, new) of every leaf that differs between two JSON values."""
    if isinstance(old, dict) and isinstance(new, dict):
        keys = sorted(set(old) | set(new))
        nested = (differences(old.get(k), new.get(k), f"{path}.{k}" if path else k) for k in keys)
        return [d for part in nested for d in part]
    return [] if old == new else [(path, old, new)]
