"""Do the released datasets earn under hades what they were said to earn? One record a dataset, and a table.

The published figure is an average over perturbed candidates and the index's is of the dataset itself under today's
libraries, so ours is compared with the latter: both are means over independent policies, and the difference is given
in its own standard errors.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hades.data.files import read_json, write_bytes
from hades.errors import HadesError
from hades.fitness.episodic_return import EpisodicReturn
from hades.policy.published import import_published
from hades.policy.trained_policy import evaluate_dataset, freeze_statistics
from hades.text import fixed, json_text, markdown_table, signed

CLOSE = 0.10
"""A share of the index's mean that counts as agreement whatever the standard error."""
ERRORS = 2.0
"""Standard errors of the difference that count as agreement."""

_MEASURED = {"mean", "std_over_inits", "num_inits", "mean_length"}
"""Numbers of a summary that the tables show."""
_COLUMNS = ("dataset", "published", "index, today", "hades", "difference", "episode length", "agrees")


@dataclasses.dataclass(frozen=True)
class Replication:
    """Returns of one released dataset.

    Attributes:
        name: of the released file.
        published: the published figure.
        index: what the index re-measured: `mean`, `sd_over_inits`, `inits`, `episode_length`; empty where it did not.
        ours: a described ReturnSummary under the published protocol.
        whole_episodes: the same over whole episodes; only where statistics restart, and empty where not asked for.
        frozen: the same with the statistics of other policies' episodes frozen into the dataset.
        seed: of the policies and episodes.
    """

    name: str
    published: float
    index: dict[str, Any]
    ours: dict[str, Any]
    whole_episodes: dict[str, Any]
    frozen: dict[str, Any]
    seed: int

    @property
    def difference(self) -> float:
        """Ours minus the index's."""
        return float(self.ours["mean"] - self.index["mean"])

    @property
    def standard_error(self) -> float:
        """Standard error of that difference."""
        pairs = (
            (self.ours["std_over_inits"], self.ours["num_inits"]),
            (self.index["sd_over_inits"], self.index["inits"]),
        )
        return sum(sd**2 / n for sd, n in pairs) ** 0.5

    @property
    def agrees(self) -> bool:
        """Within 10 % of the index's mean, or two standard errors."""
        close = CLOSE * abs(self.index["mean"])
        return abs(self.difference) <= max(close, ERRORS * self.standard_error)


def replicate(
    path: Path, workdir: Path, num_inits: int = 32, seed: int = 1, stand_alone: bool = False, *, name: str = ""
) -> Replication:
    """Measure one released dataset, or read what was measured before with the same settings.

    Args:
        path: the released file.
        workdir: gets `<name>.json`.
        num_inits: policies to train.
        seed: of the policies and episodes.
        stand_alone: where statistics restart, also measure over whole episodes, and with the statistics frozen.
        name: of the dataset; "": that of the file.
    """
    name = name or path.stem
    record = workdir / f"{name}.json"
    known = _read(record) if record.exists() else None
    if known and (known.ours["num_inits"], known.seed) != (num_inits, seed):
        known = None
    dataset = import_published(path)
    if known is None:
        known = Replication(
            name=name,
            published=dataset.returns["mean"],
            index=dataset.returns.get("remeasured", {}),
            ours=evaluate_dataset(dataset, num_inits, seed=seed).describe(),
            whole_episodes={},
            frozen={},
            seed=seed,
        )
        _write(record, known)
    if not (stand_alone and dataset.normalizer.has_memory):
        return known
    whole = EpisodicReturn(num_episodes=4)
    if not known.whole_episodes:
        summary = evaluate_dataset(dataset, num_inits, seed=seed, protocol=whole)
        known = dataclasses.replace(known, whole_episodes=summary.describe())
        _write(record, known)
    if not known.frozen:
        summary = evaluate_dataset(freeze_statistics(dataset), num_inits, seed=seed, protocol=whole)
        known = dataclasses.replace(known, frozen=summary.describe())
        _write(record, known)
    return known


def table(replications: Sequence[Replication]) -> str:
    """A Markdown table with a row for each dataset."""
    return markdown_table(_COLUMNS, map(_row, replications))


def stand_alone_table(replications: Sequence[Replication]) -> str:
    """A Markdown table of the datasets whose statistics restart: their window beside whole episodes and frozen ones."""
    columns = ("dataset", "window", "whole episodes", "whole episodes, frozen statistics")
    rows = [(r.name, _mean(r.ours), _mean(r.whole_episodes), _mean(r.frozen)) for r in replications if r.frozen]
    return markdown_table(columns, rows)


def _row(one: Replication) -> tuple[str, ...]:
    published, ours, length = fixed(one.published, 1), _mean(one.ours), fixed(one.ours["mean_length"])
    if not one.index:
        return (one.name, published, "–", ours, "–", length, "–")
    index = _mean(one.index | {"std_over_inits": one.index["sd_over_inits"], "num_inits": one.index["inits"]})
    share = signed(100 * one.difference / abs(one.index["mean"]), 1)
    errors = one.difference / one.standard_error if one.standard_error else float("nan")
    difference = f"{share} %, {signed(errors, 1)} SE"
    lengths = f"{length} (index {fixed(one.index['episode_length'])})"
    return (one.name, published, index, ours, difference, lengths, "yes" if one.agrees else "**no**")


def _mean(summary: dict[str, Any]) -> str:
    if not summary:
        return "–"
    return f"{fixed(summary['mean'], 1)} ± {fixed(summary['std_over_inits'], 1)} (n = {summary['num_inits']})"


def _read(record: Path) -> Replication:
    remedy = "Move it away: the dataset is measured again."
    found = read_json(record, remedy)
    kinds: dict[str, Any] = {"name": str, "published": int | float, "seed": int}
    kinds |= dict.fromkeys(("ours", "index", "whole_episodes", "frozen"), dict)
    fits = found.keys() == kinds.keys() and all(isinstance(found[name], kind) for name, kind in kinds.items())
    if not fits or not found["ours"].keys() >= _MEASURED:
        raise HadesError(f"{record} is damaged: it holds no measurement of a dataset. {remedy}")
    return Replication(**found)


def _write(record: Path, replication: Replication) -> None:
    write_bytes(record, json_text(dataclasses.asdict(replication), indent=1).encode())
