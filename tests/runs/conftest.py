"""One tiny experiment on `point`, run once for every test that only looks at its files."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hades.algorithms.base import Algorithm, State
from hades.runs.compiled_run import CompiledRun
from hades.runs.experiment import Experiment
from hades.runs.loop import run
from tests.runs.tiny import tiny_experiment

_compile = CompiledRun.compile
_blocks: dict[Algorithm, Any] = {}
_evaluations: dict[Algorithm, dict[tuple[int, int], Any]] = {}


def compile_once(self: CompiledRun, state: State) -> float:
    """Runs of one algorithm share what they compile: to trace and lower it again is most of the work of a tiny run."""
    seconds = 0.0
    if self.algorithm in _blocks:
        self._block = _blocks[self.algorithm]
    else:
        seconds = _compile(self, state)
        _blocks[self.algorithm] = self._block
    self._evaluations = _evaluations.setdefault(self.algorithm, {})
    return seconds


@pytest.fixture(scope="module", autouse=True)
def share_programs() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CompiledRun, "compile", compile_once)
        yield


@pytest.fixture
def compiles_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """For a test whose subject is how a run compiles."""
    monkeypatch.setattr(CompiledRun, "compile", _compile)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The work directory of a finished run; copy it before changing it."""
    workdir = tmp_path_factory.mktemp("finished") / "run"
    run(tiny_experiment(), workdir, progress=False)
    return workdir


@pytest.fixture
def experiment() -> Experiment:
    return tiny_experiment()
