"""One tiny experiment on `point`, run once for every test that only looks at its files."""

from pathlib import Path

import pytest

from hades.runs.experiment import Experiment
from hades.runs.loop import run
from tests.runs.tiny import tiny_experiment


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The work directory of a finished run; copy it before changing it."""
    workdir = tmp_path_factory.mktemp("finished") / "run"
    run(tiny_experiment(), workdir, progress=False)
    return workdir


@pytest.fixture
def experiment() -> Experiment:
    return tiny_experiment()
