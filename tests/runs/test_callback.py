"""A callback follows a run and may end it; a run without a work directory leaves nothing behind."""

import dataclasses
import json
import tempfile
from pathlib import Path

import pytest

import hades
from hades.data.sources import load_dataset
from hades.errors import ConfigError
from hades.inner.identity import Identity
from hades.policies.mlp import MLP
from hades.runs import loop
from hades.runs.callback import LoggedGeneration
from hades.runs.log import read_json_lines
from hades.runs.loop import run
from hades.runs.record import read_run
from tests.runs.tiny import assert_same_run, tiny_experiment


def test_a_callback_gets_every_logged_generation_and_changes_nothing(finished: Path, tmp_path: Path) -> None:
    seen: list[LoggedGeneration] = []
    run(tiny_experiment(), tmp_path / "run", progress=False, callback=seen.append)
    assert_same_run(finished, tmp_path / "run")
    rows = read_json_lines(tmp_path / "run" / "metrics.jsonl")
    assert [one.generation for one in seen] == [row["generation"] for row in rows] == list(range(1, 13))
    assert [one.env_steps for one in seen] == [row["env_steps_total"] for row in rows]
    assert [one.metrics["fitness/mean"] for one in seen] == [row["fitness/mean"] for row in rows]
    assert [one.seconds for one in seen] == sorted(one.seconds for one in seen)
    assert [one.best_return is None for one in seen[:3]] == [True, True, False]
    assert {one.stage for one in seen} == {1}


def test_a_callback_can_read_the_best_dataset_and_its_policy(finished: Path, tmp_path: Path) -> None:
    found = []

    def follow(now: LoggedGeneration) -> None:
        if now.generation == 12:
            found.append((now.dataset, now.policy))

    run(tiny_experiment(), tmp_path / "run", progress=False, callback=follow)
    ((dataset, policy),) = found
    final = load_dataset(finished / "dataset.safetensors")
    assert (dataset.observations == final.observations).all()
    assert policy.environment == final.environment


def test_a_callback_ends_the_run_with_a_result_and_a_later_start_continues_it(finished: Path, tmp_path: Path) -> None:
    workdir = tmp_path / "run"
    result = run(tiny_experiment(), workdir, progress=False, callback=lambda now: now.generation == 7)
    assert not result.interrupted
    assert result.returns is not None
    assert (result.generation, result.details["stopped_by"]) == (7, "callback")
    assert json.loads((workdir / "result.json").read_text())["stopped_by"] == "callback"
    assert read_run(workdir).is_finished
    again = run(tiny_experiment(), workdir, progress=False)
    assert (again.generation, again.details["stopped_by"]) == (12, "generations")
    assert (workdir / "metrics.jsonl").read_bytes() == (finished / "metrics.jsonl").read_bytes()
    rows = [row for row in read_json_lines(workdir / "evaluations.jsonl") if row["generation"] != 7]  # an extra one
    expected = read_json_lines(finished / "evaluations.jsonl")
    assert [row["return_mean"] for row in rows] == [row["return_mean"] for row in expected]


def test_the_run_is_saved_before_the_error_of_a_callback_is_raised(finished: Path, tmp_path: Path) -> None:
    error = KeyError("mine")

    def fail(now: LoggedGeneration) -> None:
        if now.generation == 6:
            raise error

    with pytest.raises(KeyError) as raised:
        run(tiny_experiment(checkpoint_every=100), tmp_path / "run", progress=False, callback=fail)
    assert raised.value is error
    assert (tmp_path / "run" / "checkpoints" / "6").is_dir()
    run(tiny_experiment(checkpoint_every=100), tmp_path / "run", progress=False)
    assert_same_run(finished, tmp_path / "run")


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of temporary files."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_a_run_without_a_work_directory_leaves_no_file(finished: Path, scratch: Path) -> None:
    result = hades.run(tiny_experiment(), progress=False)
    assert list(scratch.iterdir()) == []
    assert result.workdir is None
    assert result.dataset == load_dataset(finished / "dataset.safetensors")
    assert result.returns.mean == result.dataset.returns["mean"]
    assert result.metrics == read_json_lines(finished / "metrics.jsonl")
    assert len(result.evaluations) == 4
    assert isinstance(result.policy, hades.TrainedPolicy)


def test_a_run_of_direct_es_without_a_work_directory_has_its_policy(scratch: Path) -> None:
    algorithm = dataclasses.replace(tiny_experiment().algorithm, learner=Identity(policy=MLP(width=8, depth=1)))
    result = hades.run(tiny_experiment(algorithm=algorithm, generations=3), progress=False)
    assert isinstance(result.policy, hades.RunPolicy)
    assert (result.dataset, list(scratch.iterdir())) == (None, [])


def test_a_run_without_a_work_directory_that_does_not_finish_is_kept(
    finished: Path, scratch: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(now: LoggedGeneration) -> None:
        raise RuntimeError(f"at {now.generation}")

    with pytest.raises(RuntimeError, match="at 1"):
        hades.run(tiny_experiment(), progress=False, callback=fail)
    (folder,) = scratch.iterdir()
    assert f"hades.run(experiment, '{folder}')" in capsys.readouterr().err
    run(tiny_experiment(), folder, progress=False)
    assert_same_run(finished, folder)


def test_several_processes_need_a_work_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop.jax, "process_count", lambda: 2)
    with pytest.raises(ConfigError, match="several processes needs a work directory"):
        run(tiny_experiment())


def test_what_a_callback_of_process_0_decides_holds_for_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that is not the first calls no callback, and ends where the first one wants to."""
    gather = loop.processes.gather

    def of_both(*numbers: int) -> object:
        rows = gather(*numbers)
        if len(numbers) == 2:  # what the callback wants, and whether it failed
            rows[0] = (1, 0)
        return rows

    monkeypatch.setattr(loop.processes, "gather", of_both)
    first = loop.processes.is_first
    session = {}

    def in_session(self: loop._Session, callback: object, metrics: object) -> None:
        session["is_first"] = False
        call(self, callback, metrics)
        session["is_first"] = True

    call = loop._Session._call
    monkeypatch.setattr(loop._Session, "_call", in_session)
    monkeypatch.setattr(loop.processes, "is_first", lambda: session.get("is_first", first()))

    def unwanted(now: LoggedGeneration) -> bool:
        raise AssertionError("called on another process")

    result = run(tiny_experiment(), tmp_path / "run", progress=False, callback=unwanted)
    assert (result.generation, result.details["stopped_by"]) == (1, "callback")
