"""A run: its files, resume = uninterrupted bit for bit, signals, and faults that lose nothing."""

import dataclasses
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hades.runs.loop as loop
from hades.algorithms.base import Evaluation, Solution
from hades.algorithms.keys import Stream
from hades.data.sources import load_dataset
from hades.errors import CheckpointError, HadesError, NonFiniteFitnessError
from hades.fitness.base import Fitness
from hades.policy.trained_policy import train_policy
from hades.policy.versions import numerics
from hades.runs.compiled_run import CompiledRun
from hades.runs.experiment import Experiment
from hades.runs.log import read_json_lines
from hades.runs.loop import run
from hades.runs.record import read_run
from hades.runs.state import Progress
from hades.types import EnvSpec, Score
from tests.runs.tiny import SAME_BYTES, assert_same_run, tiny_experiment


def test_a_run_leaves_every_file(finished: Path) -> None:
    names = {path.name for path in finished.iterdir()}
    assert {*SAME_BYTES, "timing.jsonl", "result.json", "experiment.json", "checkpoints", "tensorboard"} <= names
    assert [row["generation"] for row in read_json_lines(finished / "metrics.jsonl")] == list(range(1, 13))
    assert [row["generation"] for row in read_json_lines(finished / "evaluations.jsonl")] == [3, 6, 9, 12]
    result = json.loads((finished / "result.json").read_text())
    assert result["report"]["mean"] == pytest.approx(load_dataset(finished / "dataset.safetensors").returns["mean"])
    # 12 generations × 8 candidates × 2 episodes × 5 steps, and 4 selections × 2 × 2 × 5
    assert result["env_steps"] == {"search": 960, "selection": 80, "report": 30}


def test_the_best_solution_is_the_one_with_the_best_selection_return(finished: Path) -> None:
    rows = read_json_lines(finished / "evaluations.jsonl")
    best = max(rows, key=lambda row: row["return_mean"])
    result = json.loads((finished / "result.json").read_text())
    assert result["best_generation"] == best["generation"]
    assert result["selection_return"] == best["return_mean"]
    assert [row["generation"] for row in rows if row["best"]][-1] == best["generation"]


def test_selection_sees_the_sizes_of_a_nested_dataset_and_the_report_all_pairs() -> None:
    plain = tiny_experiment()
    learner = dataclasses.replace(plain.algorithm.learner, prefixes=(1,))
    nested = dataclasses.replace(plain, algorithm=dataclasses.replace(plain.algorithm, learner=learner))
    runs = [CompiledRun(experiment) for experiment in (plain, nested)]
    solution = plain.algorithm.solution(runs[0].init())
    solution = jax.tree.map(lambda x: x + jnp.arange(x.size).reshape(x.shape), solution)
    reported, selected = (
        [np.asarray(each.evaluate(solution, stream).returns) for each in runs]
        for stream in (Stream.REPORT, Stream.SELECTION)
    )
    np.testing.assert_array_equal(*reported)
    assert not np.array_equal(*selected)


def test_block_length_and_checkpoint_interval_change_nothing(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "BLOCK_SECONDS", 0.0)  # one generation a block
    run(tiny_experiment(checkpoint_every=5), tmp_path / "run", progress=False)
    assert_same_run(finished, tmp_path / "run")


def test_a_run_stopped_early_and_continued_is_the_uninterrupted_one(finished: Path, tmp_path: Path) -> None:
    run(tiny_experiment(generations=7), tmp_path / "run", progress=False)
    run(tiny_experiment(), tmp_path / "run", progress=False)
    # generation 7 was evaluated because it was the last one of the first start; that row is extra, all others agree
    rows = [row for row in read_json_lines(tmp_path / "run" / "evaluations.jsonl") if row["generation"] != 7]
    assert [r["return_mean"] for r in rows] == [
        r["return_mean"] for r in read_json_lines(finished / "evaluations.jsonl")
    ]
    assert (tmp_path / "run" / "metrics.jsonl").read_bytes() == (finished / "metrics.jsonl").read_bytes()


PROGRAM = """
import sys
from hades.runs.loop import run
import hades.runs.loop as loop
from tests.runs.tiny import tiny_experiment
loop.BLOCK_SECONDS = 0.0
print("ready", flush=True)
result = run(tiny_experiment(generations=60, checkpoint_every=4), sys.argv[1], progress=False)
sys.exit(75 if result.interrupted else 0)
"""


def start(workdir: Path) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(workdir)], env=environment, text=True, stderr=subprocess.PIPE
    )


def wait_for_checkpoint(workdir: Path, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 120
    while not list((workdir / "checkpoints").glob("[0-9]*")) and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.slow
@pytest.mark.system
def test_killed_at_random_points_and_resumed_is_the_uninterrupted_run(tmp_path: Path) -> None:
    whole = start(tmp_path / "whole")
    assert whole.wait(timeout=200) == 0, whole.stderr and whole.stderr.read()
    generator = random.Random(0)
    for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGKILL):
        process = start(tmp_path / "broken")
        wait_for_checkpoint(tmp_path / "broken", process)
        time.sleep(generator.uniform(0.0, 0.5))
        process.send_signal(number)
        assert process.wait(timeout=200) in (-number, 75, 0)  # -SIGTERM: before the run took over the signal
    last = start(tmp_path / "broken")
    assert last.wait(timeout=200) == 0, last.stderr and last.stderr.read()
    assert_same_run(tmp_path / "whole", tmp_path / "broken")


def copy_of(finished: Path, tmp_path: Path) -> Path:
    """A finished run that has four more generations to go, without its results."""
    workdir = tmp_path / "run"
    shutil.copytree(finished, workdir)
    return workdir


def array_files(step: Path) -> list[Path]:
    return [path for path in (step / "tree").rglob("d/*") if path.is_file() and path.stat().st_size]


@pytest.mark.parametrize("damage", ["truncate", "flip a byte", "empty record"])
def test_a_damaged_checkpoint_falls_back_to_the_one_before(
    damage: str, finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    workdir = copy_of(finished, tmp_path)
    newest = workdir / "checkpoints" / "12"
    if damage == "empty record":
        for path in (newest / "meta").rglob("*"):
            if path.is_file():
                path.write_bytes(b"")
    else:
        for path in array_files(newest):
            content = bytearray(path.read_bytes())
            if damage == "flip a byte":
                content[len(content) // 2] ^= 0x10
            else:
                del content[len(content) // 2 :]
            path.write_bytes(bytes(content))
    run(tiny_experiment(), workdir, progress=True)
    said = capsys.readouterr().err
    assert "checkpoint of generation 12 is damaged" in said
    assert "after generation 8" in said
    assert_same_run(finished, workdir)
    assert (workdir / "damaged_checkpoints" / "12.damaged").is_dir()


def test_no_usable_checkpoint_is_an_error_and_deletes_nothing(finished: Path, tmp_path: Path) -> None:
    workdir = copy_of(finished, tmp_path)
    for step in (workdir / "checkpoints").glob("[0-9]*"):
        shutil.rmtree(step / "tree")
    with pytest.raises(CheckpointError, match=r"12, 8.*work directory"):
        run(tiny_experiment(), workdir, progress=False)
    assert (workdir / "dataset.safetensors").exists()
    assert not (workdir / "damaged_checkpoints").exists()  # left where they are, so that every start says so


def test_another_configuration_is_refused_with_the_fields_that_differ(finished: Path) -> None:
    before = (finished / "experiment.json").read_bytes()
    with pytest.raises(CheckpointError, match=r"seed.*0.*1.*--workdir"):
        run(tiny_experiment(seed=1), finished, progress=False)
    assert (finished / "experiment.json").read_bytes() == before


def test_a_finished_run_is_shown_again_without_a_generation(finished: Path, tmp_path: Path) -> None:
    workdir = copy_of(finished, tmp_path)
    result = run(tiny_experiment(), workdir, progress=False)
    assert result.generation == 12
    assert_same_run(finished, workdir)


def test_a_folder_with_a_fields_former_name_is_the_same_run(finished: Path, tmp_path: Path) -> None:
    workdir = shutil.copytree(finished, tmp_path / "old")
    for name in ("experiment.json", "result.json"):
        text = (workdir / name).read_text()
        assert '"num_pairs"' in text
        (workdir / name).write_text(text.replace('"num_pairs"', '"num_points"'))
    old, new = read_run(workdir), read_run(finished)
    assert (old.result, old.experiment) == (new.result, new.experiment)
    assert run(tiny_experiment(), workdir, progress=False).details["num_pairs"] == old.result["num_pairs"]


def test_a_run_continues_under_the_settings_that_decide_its_random_numbers(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workdir = copy_of(finished, tmp_path)
    before = {path: path.read_bytes() for path in workdir.rglob("*") if path.is_file()}
    monkeypatch.setattr("hades.runs.state.numerics", lambda: numerics() | {"jax_threefry_partitionable": "False"})
    longer = tiny_experiment(generations=14)
    with pytest.raises(CheckpointError, match=r"jax_threefry_partitionable was True and is False now.*accept_numerics"):
        run(longer, workdir, progress=False)
    kept = {path: content for path, content in before.items() if path.name not in (".lock", "experiment.json")}
    assert {path: path.read_bytes() for path in kept} == kept
    starts = run(longer, workdir, progress=False, accept_numerics=True).details["starts"]
    assert [start["generation"] for start in starts] == [0, 12]
    assert [start["numerics"]["jax_threefry_partitionable"] for start in starts] == ["True", "False"]
    assert all(start["versions"]["jax"] == jax.__version__ for start in starts)
    assert read_run(workdir).result["starts"] == starts
    assert run(tiny_experiment(generations=15), workdir, progress=False).generation == 15  # the last start decides


def test_another_engine_of_physics_is_refused_unless_it_is_accepted(finished: Path) -> None:
    progress = Progress()
    progress.start({"jax": "1"}, finished, accept_numerics=False)  # before engines were recorded, XLA stepped
    progress.start({"jax": "1", "brax engine": "xla"}, finished, accept_numerics=False)
    with pytest.raises(CheckpointError, match=r"brax engine was xla and is native now.*accept_numerics"):
        progress.start({"jax": "1", "brax engine": "native"}, finished, accept_numerics=False)
    progress.start({"jax": "1", "brax engine": "native"}, finished, accept_numerics=True)
    assert [start["numerics"].get("brax engine") for start in progress.starts] == [None, "xla", "native"]


def test_a_checkpoint_without_a_record_of_starts_continues(finished: Path) -> None:
    record = {name: value for name, value in dataclasses.asdict(Progress()).items() if name != "starts"}
    progress = Progress.from_record(record, finished)
    progress.start({"jax": "1"}, finished, accept_numerics=False)
    assert [start["versions"] for start in progress.starts] == [{"jax": "1"}]


@pytest.mark.usefixtures("compiles_itself")
def test_a_run_is_the_same_where_the_process_uses_64_bit_numbers(finished: Path, tmp_path: Path) -> None:
    with jax.enable_x64(True):
        result = run(tiny_experiment(), tmp_path / "run", progress=False)
        assert result.dataset is not None
        assert train_policy(result.dataset).params["layers_0"]["kernel"].dtype == jnp.float32
        assert jnp.zeros(1).dtype == jnp.float64
    assert_same_run(finished, tmp_path / "run")


def test_a_solution_whose_policies_are_not_finite_is_never_the_best(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    evaluate = CompiledRun.evaluate

    def spoiled(self: CompiledRun, solution: Solution, stream: Stream) -> Evaluation:
        evaluation = evaluate(self, solution, stream)
        if stream == Stream.SELECTION:
            return dataclasses.replace(evaluation, returns=evaluation.returns.at[0, 0].set(jnp.nan))
        return evaluation

    monkeypatch.setattr(CompiledRun, "evaluate", spoiled)
    result = run(tiny_experiment(generations=6), tmp_path / "run", progress=False)
    assert [row["best"] for row in read_json_lines(tmp_path / "run" / "evaluations.jsonl")] == [False, False]
    assert (result.details["best_generation"], result.details["selection_return"]) == (0, None)
    assert result.returns is not None
    assert np.isfinite(result.returns.mean)
    said = capsys.readouterr().err
    assert "1 of 2 returns are NaN" in said
    assert "No solution earned a finite return" in said


@pytest.mark.system
def test_two_processes_do_not_share_a_work_directory(finished: Path) -> None:
    holder = (
        "import fcntl, sys, time; file = open(sys.argv[1], 'w'); fcntl.flock(file, fcntl.LOCK_EX); "
        "print('held', flush=True); time.sleep(60)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", holder, str(finished / ".lock")], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        process.stdout.readline()
        with pytest.raises(CheckpointError, match="Another process is running"):
            run(tiny_experiment(), finished, progress=False)
    finally:
        process.kill()


@dataclasses.dataclass(frozen=True)
class NeverFinite(Fitness):
    """Not registered: `describe` is not reached where it is used."""

    def __call__(self, key, env, act, candidate, *, with_moments=False):  # type: ignore[no-untyped-def]
        zero = jnp.zeros((), jnp.int32)
        return Score(value=jnp.asarray(jnp.nan), episodes=zero, env_steps=zero, moments=None, metrics={})

    def parallel_episodes(self, spec: EnvSpec) -> int:
        return 0


def test_three_generations_without_finite_fitness_stop_the_run_and_every_later_start(
    experiment: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    algorithm = dataclasses.replace(experiment.algorithm, fitness=NeverFinite())  # type: ignore[type-var]
    described = {"interface": "Experiment", "name": "Experiment"}
    monkeypatch.setattr("hades.registry.describe", lambda component: described)
    workdir, messages, contents = tmp_path / "run", [], []
    for generations in (12, 12, 24):
        failing = dataclasses.replace(experiment, algorithm=algorithm, generations=generations)
        with pytest.raises(NonFiniteFitnessError) as caught:
            run(failing, workdir, progress=False)
        messages.append(str(caught.value))
        contents.append(
            {path: path.read_bytes() for path in workdir.rglob("*") if path.is_file() and path.name[0] != "."}
        )
    for text in ("3 generations in a row", "the last is 3", "use a lower rate", "another --workdir"):
        assert text in messages[0]
    assert messages[1:] == messages[:1] * 2
    assert contents[1:] == contents[:1] * 2
    assert len(read_json_lines(workdir / "metrics.jsonl")) == 3
    assert list((workdir / "checkpoints").glob("3"))


def test_a_full_disk_is_explained_and_what_was_written_stays(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workdir = copy_of(finished, tmp_path)
    before = (workdir / "dataset.safetensors").read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(HadesError, match=r"No space left on device.*intact.*same command"):
        run(tiny_experiment(generations=14), workdir, progress=False)
    assert (workdir / "dataset.safetensors").read_bytes() == before
    assert list((workdir / "checkpoints").glob("12"))


def test_a_work_directory_that_cannot_be_made_is_explained(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(HadesError, match="Opening the work directory failed"):
        run(tiny_experiment(), tmp_path / "file" / "run", progress=False)


def test_target_return_stops_the_run(tmp_path: Path) -> None:
    result = run(tiny_experiment(target_return=-1e9), tmp_path / "run", progress=False)
    assert result.generation == 3


@pytest.mark.parametrize("block_seconds", [0.0, 100.0])
def test_a_budget_of_steps_ends_with_the_generation_that_uses_it_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block_seconds: float
) -> None:
    monkeypatch.setattr(loop, "BLOCK_SECONDS", block_seconds)
    result = run(tiny_experiment(max_env_steps=300), tmp_path / "run", progress=False)  # 80 steps a generation
    assert result.details["generations"] == 4
    assert result.details["env_steps"]["search"] == 320
