"""Return over the size of the dataset, and the program that makes it, on runs of a few generations."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from hades.errors import ConfigError
from hades.runs.loop import run
from hades.studies.comparable import read_finished
from hades.studies.plan_runs import parse_sizes
from hades.studies.size.numbers import SizeSweep, size_sweep
from hades.studies.size.page import curves, write_size_sweeps
from tests.runs.tiny import tiny_experiment


@pytest.fixture(scope="module")
def workdirs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two seeds with four pairs and one with two."""
    folder, made = tmp_path_factory.mktemp("sizes"), []
    for size, seed in ((4, 0), (4, 1), (2, 0)):
        experiment = tiny_experiment(generations=2, eval_every=1, report_inits=2, seed=seed)
        learner = dataclasses.replace(experiment.algorithm.learner, num_pairs=size)
        algorithm = dataclasses.replace(experiment.algorithm, learner=learner)
        made.append(folder / f"d{size}s{seed}")
        run(dataclasses.replace(experiment, algorithm=algorithm), made[-1], progress=False)
    return made


@pytest.fixture(scope="module")
def sweep(workdirs: list[Path]) -> SizeSweep:
    return size_sweep(read_finished(dict.fromkeys(workdirs, "")))


def test_sizes_rise_and_hold_their_seeds(sweep, workdirs):
    assert [point.size for point in sweep.points] == [2, 4]
    assert [len(point.finals) for point in sweep.points] == [1, 2]
    assert [point.genome_size for point in sweep.points] == [2 * (2 + 1), 4 * (2 + 1)]
    finals = [json.loads((w / "result.json").read_text())["report"]["mean"] for w in workdirs[:2]]
    np.testing.assert_allclose(sweep.points[1].finals, finals)
    assert sweep.points[1].estimate.value == pytest.approx(np.mean(finals))
    assert (sweep.environment, sweep.method) == ("point", "HaDES-R")


def test_what_differs_in_more_than_size_and_seed_is_refused(workdirs, tmp_path):
    other = tiny_experiment(generations=2, eval_every=1, report_inits=2)
    learner = dataclasses.replace(other.algorithm.learner, learning_rate=0.2, num_pairs=8)
    run(
        dataclasses.replace(other, algorithm=dataclasses.replace(other.algorithm, learner=learner)),
        tmp_path,
        progress=False,
    )
    with pytest.raises(ConfigError, match=r"learning_rate.*0\.1.*0\.2"):
        size_sweep(read_finished(dict.fromkeys([*workdirs, tmp_path], "")))


def test_files_and_tables(sweep, tmp_path):
    files = write_size_sweeps([sweep], tmp_path)
    numbers = json.loads(files["numbers"].read_text())
    assert [point["size"] for point in numbers[0]["points"]] == [2, 4]
    page = files["page"].read_text()
    assert "Return over the size of the dataset" in page
    assert "<script" not in page
    assert "| 4 | 12 |" in files["markdown"].read_text()
    assert len(files["table"].read_text().splitlines()) == 1 + 3
    for narrow in (False, True):
        assert b"<svg" in curves([sweep], narrow=narrow)


@pytest.mark.parametrize("texts", [[], ["0"], ["2", "2"], ["two"]])
def test_sizes_that_are_none_are_refused(texts):
    with pytest.raises(ConfigError, match="pairs"):
        parse_sizes(texts)
