"""The metrics of a run as one table."""

import sys
import types
from pathlib import Path

import numpy as np
import pytest

import hades
from hades.errors import HadesError
from hades.runs.log import read_json_lines


@pytest.fixture
def without_pandas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)


def test_a_row_is_a_generation_with_all_that_is_known_of_it(finished: Path, without_pandas: None) -> None:
    columns = hades.read_metrics(finished)
    rows = read_json_lines(finished / "metrics.jsonl")
    assert list(columns)[:3] == ["stage", "generation", "env_steps_total"]
    assert columns["generation"].tolist() == list(range(1, 13))
    assert columns["generation"].dtype == np.int64
    assert columns["fitness/mean"].tolist() == [row["fitness/mean"] for row in rows]
    evaluated = np.isfinite(columns["solution/return"])
    assert columns["generation"][evaluated].tolist() == [3, 6, 9, 12]
    assert columns["seconds"][-1] > 0


def write(folder: Path, name: str, *lines: str) -> None:
    folder.mkdir(exist_ok=True, parents=True)
    (folder / name).write_text("".join(f"{line}\n" for line in lines))


def test_the_stages_of_a_run_follow_each_other(tmp_path: Path, without_pandas: None) -> None:
    write(tmp_path / "first", "metrics.jsonl", '{"generation": 1, "fitness/mean": null, "wide": 2}')
    write(tmp_path, "evaluations.jsonl", '{"generation": 0, "env_steps_total": 0, "return_mean": 5.0, "best": true}')
    write(tmp_path, "metrics.jsonl", '{"generation": 1, "fitness/mean": 4.0}')
    columns = hades.read_metrics(tmp_path)
    assert columns["stage"].tolist() == [1, 2, 2]
    assert columns["generation"].tolist() == [1, 0, 1]
    np.testing.assert_array_equal(columns["fitness/mean"], [np.nan, np.nan, 4.0])
    np.testing.assert_array_equal(columns["solution/return"], [np.nan, 5.0, np.nan])
    np.testing.assert_array_equal(columns["wide"], [2.0, np.nan, np.nan])


def test_it_is_a_frame_of_pandas_where_that_is_installed(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pandas = types.ModuleType("pandas")
    pandas.DataFrame = lambda columns: ("frame", list(columns)[:2])  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "pandas", pandas)
    assert hades.read_metrics(finished) == ("frame", ["stage", "generation"])


def test_a_folder_without_metrics_is_explained(tmp_path: Path) -> None:
    with pytest.raises(HadesError, match=r"no metrics in .*work directory"):
        hades.read_metrics(tmp_path)
