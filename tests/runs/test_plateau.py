"""A search on a plateau says so once, stops by choice, and decides the same after a stop."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from hades.outer.snes import SNES
from hades.report.report import write_report
from hades.runs.experiment import Experiment
from hades.runs.log import read_json_lines
from hades.runs.loop import run
from hades.runs.record import read_run
from hades.runs.state import Progress
from tests.runs.tiny import assert_same_run, tiny_experiment

STILL = dataclasses.replace(
    tiny_experiment().algorithm, outer=SNES(population_size=8, sigma=1e-9, learning_rate=1e-9, sigma_learning_rate=1e-9)
)
"""A search that stays where it is: every evaluation repeats the first one, which improves on none."""


def still(**changes: Any) -> Experiment:
    return tiny_experiment(algorithm=STILL, eval_every=2, **changes)


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    workdir = tmp_path_factory.mktemp("plateau") / "run"
    run(still(patience=3), workdir, progress=False)
    return workdir


def test_a_run_without_improvement_ends_with_its_report(stopped: Path) -> None:
    rows = read_json_lines(stopped / "evaluations.jsonl")
    assert len({row["return_mean"] for row in rows}) == 1
    result = json.loads((stopped / "result.json").read_text())
    assert (result["generations"], result["improved_generation"], result["best_generation"]) == (8, 2, 8)
    assert result["stopped_by"] == "patience"
    assert result["report"]["num_inits"] == 3
    assert read_run(stopped).is_finished
    assert (
        "The search stopped on a plateau: no evaluation after generation 2 was better"
        in write_report(stopped).read_text()
    )


def test_a_run_that_was_stopped_on_its_way_decides_the_same(
    stopped: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run(still(patience=3, generations=4), tmp_path / "run", progress=False)
    assert "plateau" not in capfd.readouterr().err
    run(still(patience=3), tmp_path / "run", progress=False)
    assert_same_run(stopped, tmp_path / "run")
    assert "3 evaluations in a row, up to generation 8, did not improve" in capfd.readouterr().err


def test_a_plateau_is_said_once_and_the_search_goes_on(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    run(still(plateau_notice=2), tmp_path / "run", progress=False)
    assert capfd.readouterr().err.count("The search is on a plateau") == 1
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert (result["generations"], result["stopped_by"]) == (12, "generations")


def test_more_patience_continues_a_run_that_had_stopped(stopped: Path) -> None:
    record = read_run(stopped)
    assert not dataclasses.replace(record, experiment={**record.experiment, "patience": 4}).is_finished


def test_a_record_of_before_counts_from_the_best_generation(tmp_path: Path) -> None:
    record = dataclasses.asdict(Progress(generation=8, best_generation=6, selected_generation=8))
    del record["improved_generation"]
    assert Progress.from_record(record, tmp_path).improved_generation == 6
