"""The library leaves the process of its caller as it was."""

import asyncio
import gc
import logging
import sys
from collections.abc import Iterator
from pathlib import Path

import gin
import pytest

import hades
from hades.errors import ConfigError
from hades.runs.checkpoint import opened
from tests.process_state import differences, process_state
from tests.runs.tiny import tiny_experiment
from tests.support import run_python

FRESH = """
import json, logging, os, sys, tempfile
import jax, hades
import hades.policy.trained_policy, hades.report.report  # what they import is the caller's from here on
before = dict(os.environ)
experiment = hades.load_experiment("cartpole_hades_r", ["import json"])
result = hades.run(hades.load_experiment("smoke", ["Experiment.generations = 1"]), tempfile.mkdtemp(), progress=False)
print(json.dumps([str(logging.root.handlers), sorted(os.environ.items() ^ before.items())]))
"""


@pytest.fixture
def caller() -> Iterator[None]:
    """One who uses gin and logging."""
    state = gin.config._CONFIG.copy()
    gin.parse_config("gin.singleton.constructor = 5")
    logging.disable(logging.DEBUG)
    with gin.config_scope("of_the_caller"):
        yield
    logging.disable(logging.NOTSET)
    gin.config._set_config_is_locked(False)
    gin.config._CONFIG.clear()
    gin.config._CONFIG.update(state)


@pytest.mark.parametrize("locked", [False, True])
def test_loading_a_config_changes_nothing(caller: None, locked: bool) -> None:
    hades.load_experiment("hopper_hades_r_laptop")  # imported once, libraries may stay
    if locked:
        gin.finalize()
    before = process_state()
    experiment = hades.load_experiment("smoke", ["SNES.sigma = 0.25"])
    with pytest.raises(ConfigError, match="no field"):
        hades.load_experiment("smoke", ["SNES.sigmaa = 0.25"])
    with pytest.raises(ConfigError, match="nofile"):
        hades.load_experiment("smoke", ["include 'nofile.gin'"])
    assert not differences(before, process_state())
    assert experiment.algorithm.outer.sigma == 0.25  # type: ignore[attr-defined]


def test_a_run_its_report_and_its_policies_change_nothing(caller: None, tmp_path: Path) -> None:
    hades.write_report  # noqa: B018  # imported once, matplotlib may stay
    before = process_state()
    result = hades.run(tiny_experiment(generations=1), tmp_path, progress=False)
    assert result.dataset is not None
    hades.write_report(tmp_path)
    hades.evaluate(hades.train_policy(result.dataset), num_episodes=1)
    assert not differences(before, process_state())


@pytest.mark.system
def test_libraries_that_are_imported_late_set_up_nothing_for_the_process() -> None:
    assert run_python(FRESH) == ["[]", []]


def test_while_a_run_goes_on_only_errors_of_orbax_are_not_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    of_orbax: dict[str, object] = {}
    exec(compile("async def write():\n    raise OSError('of Orbax')", "/site/orbax/checkpoint/x.py", "exec"), of_orbax)

    async def fails() -> None:
        raise ValueError("of the caller")

    async def forgets(*coroutines: object) -> None:
        tasks = [asyncio.create_task(one) for one in coroutines]  # type: ignore[arg-type]  # coroutines they are
        await asyncio.sleep(0.01)
        del tasks
        gc.collect()

    with opened(tmp_path / "checkpoints"):
        asyncio.run(forgets(fails(), of_orbax["write"]()))  # type: ignore[operator]  # a function
    said = [str(record.exc_info and record.exc_info[1]) for record in caplog.records if record.name == "asyncio"]
    assert said == ["of the caller"]


def test_a_run_does_not_set_up_logging_where_its_caller_has_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from absl import logging as absl_logging

    monkeypatch.setattr(logging.root, "handlers", [])
    with opened(tmp_path / "checkpoints"):
        absl_logging.info("as Orbax does")
    assert logging.root.handlers == []


def test_a_dataset_file_imports_nothing_that_it_names() -> None:
    before = {*sys.modules}
    for name in ("antigravity", "antigravity.Evil"):
        with pytest.raises(ConfigError, match=f'There is no Environment "{name}"'):
            hades.registry.build({"interface": "Environment", "name": name})
    assert "antigravity" not in {*sys.modules} - before
