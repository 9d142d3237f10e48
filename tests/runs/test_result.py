"""Files of a finished run."""

import json
from pathlib import Path

from hades.runs.result import RunResult, write_result
from hades.runs.workdir import WorkDir


def test_an_interval_of_one_policy_is_null(tmp_path: Path) -> None:
    details = {"report": {"mean": 1.5, "ci95": [float("nan"), float("nan")]}, "selection_return": -float("inf")}
    write_result(WorkDir(tmp_path), RunResult(tmp_path, interrupted=False, generation=1, details=details))
    written = json.loads((tmp_path / "result.json").read_text(), parse_constant=lambda name: f"{name} is no JSON")
    assert written == {"report": {"mean": 1.5, "ci95": [None, None]}, "selection_return": None}
