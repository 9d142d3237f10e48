"""Make an entry of the zoo from a finished run: its dataset file, and a card with the measurements.

python -m hades.studies.zoo_card add runs/acrobot 'hades-train --config=acrobot_hades_r --workdir=runs/acrobot'
python -m hades.studies.zoo_card add runs/x 'hades readable --dataset=acrobot-hades-r-d3 …' acrobot-hades-r-readable
python -m hades.studies.zoo_card measure acrobot-hades-r-d3

The first two copy a run's dataset into the zoo of this checkout, under the name of its configuration or a title; all
measure what other networks keep of its return and write the card.
"""

import math
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hades.data import zoo
from hades.data.dataset import DistilledDataset
from hades.data.files import write_bytes
from hades.errors import ConfigError
from hades.runs.record import RunRecord, read_run
from hades.studies.generalization.grid import Grid
from hades.studies.generalization.numbers import Generalization, generalize
from hades.text import json_text

CARD_GRID = Grid(widths=(32, 256), depths=(1, 3), activations=("relu",), learning_rates=(1.0,))
"""Four networks that no shipped run trains with: small enough to be measured for every dataset."""
CARD_INITS, CARD_EPISODES = 8, 4
CURVE_POINTS = 40
_FACTS = ("environment", "method", "num_pairs", "genome_size", "seed", "generations", "best_generation")
_COSTS = ("env_steps", "seconds", "device", "num_devices", "versions")


def add(workdir: str, command: str, title: str = "") -> str:
    """Put a finished run's dataset into the zoo, under a title and its size.

    Args:
        workdir: of the run.
        command: what made it, `hades-train --config=…`.
        title: of the entry, such as "cartpole-hades-r-readable"; without one, the name of the configuration.

    Returns:
        The name.

    Raises:
        ConfigError: where the run has no result and dataset, or the command names no configuration and there is no
            title.
    """
    record = read_run(workdir)
    config = re.search(r"--config=(\w+)", command)
    if record.dataset is None or record.report is None:
        raise ConfigError(f"{workdir} holds no finished run that distilled a dataset.")
    if config is None and not title:
        raise ConfigError(f'"{command}" names no --config, which the name of an entry is made from: give a title.')
    title = title or config[1].removesuffix("_laptop").replace("_", "-")  # type: ignore[index]  # checked above
    name = f"{title}-d{len(record.dataset)}"
    record.dataset.save(zoo.FOLDER / f"{name}.safetensors")
    report = {key: value for key, value in record.report.items() if key != "per_init"}  # the file itself has it
    facts = {key: record.result[key] for key in (*_FACTS, *_COSTS)}
    facts |= {key: record.result[key] for key in ("stages", "teachers") if key in record.result}
    facts["curve"] = curve_of(record.all_stages())
    write_card(name, {**facts, "report": report, "command": command})
    return name


def curve_of(stages: Sequence[RunRecord]) -> list[list[float]]:
    """Environment steps of the search and the return of the solution on selection keys: at most CURVE_POINTS rows.

    Args:
        stages: of one run, whose steps are counted through.
    """
    rows, before = [], 0
    for stage in stages:
        rows += [[before + row["env_steps_total"], row["return_mean"]] for row in stage.evaluations]
        before += stage.result.get("env_steps", {}).get("search", 0)
    rows = [row for row in rows if math.isfinite(row[1])]
    kept = np.linspace(0, len(rows) - 1, min(len(rows), CURVE_POINTS)).round().astype(int)
    return [[int(rows[i][0]), float(f"{rows[i][1]:.6g}")] for i in kept]


def measure(name: str) -> dict[str, Any]:
    """Measure what other networks keep of the return of an entry, and write it on its card."""
    found = retention_of(zoo.load(name), seed=1)
    network = "MLP(width={width}, depth={depth}, activation='{activation}')"
    entry = {
        **{"networks": [network.format_map(settings) for settings in found.settings], "policies": found.returns.size},
        **{"iqm": round(found.iqm.value, 4), "ci95": [round(found.iqm.low, 4), round(found.iqm.high, 4)]},
        **{"worst_decile": round(found.worst_decile, 4), "floor": round(found.reference.floor, 4), "seed": 1},
        "command": f"python -m hades.studies.zoo_card measure {name}",
    }
    write_card(name, {**zoo.card(name), "retention": entry})
    return entry


def retention_of(dataset: DistilledDataset, seed: int) -> Generalization:
    """Over CARD_GRID, on report keys of a seed."""
    return generalize(dataset, CARD_GRID, CARD_INITS, CARD_EPISODES, seed)


def write_card(name: str, card: Mapping[str, Any]) -> Path:
    """Write a card of the zoo in this checkout."""
    return write_bytes(zoo.FOLDER / f"{name}.json", (json_text(card, indent=1) + "\n").encode())


def main(arguments: list[str]) -> None:
    if len(arguments) in (3, 4) and arguments[0] == "add":
        names = [add(*arguments[1:])]
    elif arguments[:1] == ["measure"]:
        names = arguments[1:] or list(zoo.names())
    else:
        raise SystemExit(__doc__)
    for name in names:
        entry = measure(name)
        print(f"{name}: IQM {entry['iqm']:.0%}, worst decile {entry['worst_decile']:.0%}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
