"""Brax under the native engine: a continued run is the uninterrupted one, and eight devices search as one."""

import dataclasses
import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

from hades.environments.brax import Brax
from hades.outer.snes import SNES
from hades.runs.experiment import Experiment
from hades.runs.log import read_json_lines
from hades.runs.loop import run
from tests.runs.tiny import assert_same_run, tiny_experiment
from tests.support import run_python

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("llvmlite") is None, reason="the native engine needs llvmlite (pip install llvmlite)"
)

ON_EIGHT_DEVICES = """
import jax, json
from hades.runs.loop import run
from tests.runs.test_native_engine import native_experiment
run(native_experiment(), WORKDIR, progress=False)
print(json.dumps(len(jax.devices())))
"""


def native_experiment(generations: int = 4) -> Experiment:
    """HaDES on reacher, which has a reward to tell steps apart and no contact to amplify rounding.

    Eight devices have two candidates each: one alone is cloned by XLA in another order, and rounds differently.
    """
    experiment = tiny_experiment(generations=generations, eval_every=2, checkpoint_every=2)
    environment = Brax("reacher", episode_length=12, engine="native")
    search = dataclasses.replace(experiment.algorithm, environment=environment, outer=SNES(population_size=16))
    return dataclasses.replace(experiment, algorithm=search)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The work directory of a finished run on one device."""
    workdir = tmp_path_factory.mktemp("native") / "run"
    run(native_experiment(), workdir, progress=False)
    assert json.loads((workdir / "result.json").read_text())["versions"]["brax engine"] == "native"
    return workdir


def test_a_run_stopped_early_and_continued_is_the_uninterrupted_one(uninterrupted: Path, tmp_path: Path) -> None:
    for generations in (2, 4):
        run(native_experiment(generations), tmp_path / "run", progress=False)
    assert_same_run(uninterrupted, tmp_path / "run")


@pytest.mark.system
def test_eight_devices_search_as_one(uninterrupted: Path, tmp_path: Path) -> None:
    """XLA may round what surrounds the physics in another order where a device has fewer candidates."""
    workdir = tmp_path / "run"
    assert run_python(f"WORKDIR = {str(workdir)!r}\n{ON_EIGHT_DEVICES}", JAX_NUM_CPU_DEVICES="8") == 8
    one, eight = (
        np.array([[row[f"fitness/{name}"] for name in ("mean", "min", "max")] for row in read_json_lines(file)])
        for file in (uninterrupted / "metrics.jsonl", workdir / "metrics.jsonl")
    )
    np.testing.assert_allclose(eight, one, rtol=1e-5)
    assert (np.ptp(one, axis=0) > 0.01).all()
