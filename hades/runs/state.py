"""The host's part of a run's state: plain numbers, saved with every checkpoint."""

import dataclasses
from pathlib import Path
from typing import Any

from hades.errors import CheckpointError


@dataclasses.dataclass
class Progress:
    """The host's part of a run's state: plain numbers, saved with every checkpoint."""

    generation: int = 0
    search_steps: int = 0
    selection_steps: int = 0
    best_return: float | None = None
    best_generation: int = 0
    selected_generation: int = 0
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
        different = sorted({*known} ^ {*record} | {*known["seconds"]} ^ {*record.get("seconds", ())})
        if different:
            raise CheckpointError(
                f"{path} was written by another version of hades, with another record ({', '.join(different)}). "
                "Continue with that version, or choose another --workdir. Nothing was changed."
            )
        return cls(**record)
