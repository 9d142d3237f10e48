"""The host's part of a run's state: plain numbers, saved with every checkpoint."""

import dataclasses
from pathlib import Path
from typing import Any

from hades.errors import CheckpointError
from hades.policy.versions import numerics

ENGINE = "brax engine"
"""Key of the engine of the physics among the versions of an environment. Where a run does not record it, it was XLA."""


@dataclasses.dataclass
class Progress:
    """The host's part of a run's state: plain numbers, saved with every checkpoint."""

    generation: int = 0
    search_steps: int = 0
    selection_steps: int = 0
    best_return: float | None = None
    best_generation: int = 0
    improved_generation: int = 0  # of the last evaluation that was better than all before; best is also an equal one
    selected_generation: int = 0
    starts: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    seconds: dict[str, float] = dataclasses.field(
        default_factory=lambda: {"compile": 0.0, "search": 0.0, "inside": 0.0, "selection": 0.0, "total": 0.0}
    )

    @classmethod
    def from_record(cls, record: dict[str, Any], path: Path) -> "Progress":
        """Read the record of a checkpoint in `path`.

        Raises:
            CheckpointError: when another version of hades wrote it.
        """
        known = dataclasses.asdict(cls())
        absent: dict[str, Any] = {
            "starts": [],
            "improved_generation": record.get("best_generation"),
        }  # in earlier versions
        record = absent | record
        different = sorted({*known} ^ {*record} | {*known["seconds"]} ^ {*record.get("seconds", ())})
        if different:
            raise CheckpointError(
                f"{path} was written by another version of hades, with another record ({', '.join(different)}). "
                "Continue with that version, or choose another --workdir. Nothing was changed."
            )
        return cls(**record)

    def start(self, versions: dict[str, str], path: Path, *, accept_numerics: bool) -> None:
        """Add a start of the run to its record.

        Args:
            versions: of the libraries.
            path: of the checkpoints, for the message.
            accept_numerics: continue although settings of JAX or the engine of physics differ.

        Raises:
            CheckpointError: where those settings differ from the last start's and that is not accepted.
        """
        now = numerics() | {name: versions[name] for name in [ENGINE] if name in versions}
        before = {ENGINE: "xla", **self.starts[-1]["numerics"]} if self.starts else now
        different = [name for name in now if before.get(name) != now[name]]
        if different and not accept_numerics:
            rows = "; ".join(f"{name} was {before.get(name)} and is {now[name]} now" for name in different)
            raise CheckpointError(
                f"The run in {path} would continue with other numbers: {rows}. Restore what was (settings of JAX: "
                "environment variables of the same names in capitals; the native engine: pip install llvmlite, on a "
                "CPU), or accept the difference with hades-train --accept_numerics or hades.run(..., "
                "accept_numerics=True); result.json lists the settings of every start. Nothing was changed."
            )
        self.starts.append({"generation": self.generation, "versions": versions, "numerics": now})
