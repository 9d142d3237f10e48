"""Many runs: each is made once, reused or continued, and failures are named at the end."""

import dataclasses
import json
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import pytest

from hades.runs.experiment import Experiment
from hades.runs.gin_config import load_experiment
from hades.runs.record import read_run
from hades.runs.result import RunResult
from hades.runs.signals import FAILED, FINISHED, INTERRUPTED
from hades.studies import many_runs
from hades.studies.many_runs import End, PlannedRun, State, in_process, planned, report, run_all
from hades.studies.plan_runs import Settings, plan_grid
from tests.support import ROOT

SHARED = """
Experiment.algorithm = @Evolution()
Evolution.environment = @Point()
Point.max_episode_steps = 5
Evolution.outer = @SNES()
SNES.population_size = 8
Evolution.fitness = @EpisodicReturn()
EpisodicReturn.num_episodes = 2
Evolution.normalizer = @NoNormalizer()
MLP.width = 8
MLP.depth = 1
Experiment.eval_every = 2
"""
METHODS = {
    "es": "Evolution.learner = @Identity()\nIdentity.policy = @MLP()\n",
    "hades_r": """
Evolution.learner = @BehaviourCloning()
BehaviourCloning.policy = @MLP()
BehaviourCloning.init_scheme = @RandomInit()
RandomInit.num_inits = 1
BehaviourCloning.loss = @MSE()
BehaviourCloning.num_pairs = 4
BehaviourCloning.num_updates = 4
""",
}
BUDGET = 480
SETTINGS = Settings(max_env_steps={"": BUDGET}, selection=(2, 2), report=(3, 2), variant="tiny")


@pytest.fixture(scope="module")
def point(tmp_path_factory: pytest.TempPathFactory) -> str:
    """An environment of one's own: a folder with a config for each method."""
    folder = tmp_path_factory.mktemp("configs")
    for method, lines in METHODS.items():
        (folder / f"point_{method}.gin").write_text(SHARED + lines)
    return str(folder / "point")


@pytest.fixture(scope="module")
def finished(point: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[list[PlannedRun], list[str]]:
    """Two methods, one seed, and what was said on the way."""
    runs = plan_grid([point], list(METHODS), [3], tmp_path_factory.mktemp("grid"), SETTINGS)
    said: list[str] = []
    ends = run_all(runs, in_process(), said.append)
    assert report(runs, ends) == FINISHED
    return runs, said


def test_every_run_ends_with_the_budget_under_one_protocol(finished: tuple[list[PlannedRun], list[str]]) -> None:
    for one in finished[0]:
        record = read_run(one.workdir)
        assert record.is_finished
        assert BUDGET <= record.result["env_steps"]["search"] < 2 * BUDGET
        assert record.result["seed"] == int(one.values["seed"])
        assert one.state() == State.FINISHED
        fields = ("eval_inits", "eval_episodes", "report_inits", "report_episodes")
        assert [record.experiment[name] for name in fields] == [2, 2, 3, 2]


def test_progress_says_which_run_of_how_many(finished: tuple[list[PlannedRun], list[str]]) -> None:
    said = finished[1]
    assert said[0] == "run 1 of 2: point es seed 3"
    assert said[2].startswith("run 2 of 2: point hades_r seed 3, about ")
    assert said[-1].startswith("    point hades_r seed 3: return ")


def test_what_is_finished_is_not_run_again(
    finished: tuple[list[PlannedRun], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(many_runs, "run", None)  # calling it would fail
    said: list[str] = []
    assert run_all(finished[0], in_process(), said.append) == dict.fromkeys(finished[0], End(State.FINISHED))
    assert said == ["2 of 2 runs are finished already"]


def test_a_larger_budget_continues_and_a_smaller_one_is_refused(
    finished: tuple[list[PlannedRun], list[str]], point: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int | None] = []

    def interrupted(experiment: Experiment, workdir: Path, **_: object) -> RunResult:
        asked.append(experiment.max_env_steps)
        return RunResult(workdir, interrupted=True, generation=1)

    monkeypatch.setattr(many_runs, "run", interrupted)
    (one,) = plan_grid([point], ["es"], [3], tmp_path, SETTINGS)
    shutil.copytree(finished[0][0].workdir, one.workdir)
    (longer,) = plan_grid([point], ["es"], [3], tmp_path, dataclasses.replace(SETTINGS, max_env_steps={"": 900}))
    assert run_all([longer], in_process(), print)[longer].state is State.INTERRUPTED
    assert asked == [900]
    for name, change in (("experiment", {"max_env_steps": 900}), ("result", {"env_steps": {"search": 900}})):
        path = one.workdir / f"{name}.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | change))
    end = run_all([one], in_process(), print)[one]
    assert end.state is State.FAILED
    assert "max_env_steps 900 there and 480 now" in end.reason
    assert "cannot be shortened" in end.reason
    assert asked == [900]


def test_another_configuration_in_the_folder_is_named_and_the_others_go_on(
    finished: tuple[list[PlannedRun], list[str]], capfd: pytest.CaptureFixture[str]
) -> None:
    first, second = finished[0]
    job = dataclasses.replace(first.job, bindings=("SNES.sigma = 0.7", *first.job.bindings))
    other = planned(first.name, first.values, job)
    runs = [other, second]
    ends = run_all(runs, in_process(), print)
    assert "algorithm.outer.sigma" in ends[other].reason
    assert ends[second] == End(State.FINISHED)
    assert report(runs, ends) == FAILED
    assert "1 of the runs failed:\n  point es seed 3: " in capfd.readouterr().err


def test_a_run_that_cannot_be_made_is_noted_and_the_others_go_on(
    point: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_memory(*_: object, **__: object) -> RunResult:
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED")

    monkeypatch.setattr(many_runs, "run", no_memory)
    runs = plan_grid([point], ["es"], [0, 1], tmp_path, SETTINGS)
    assert run_all(runs, in_process(), print) == dict.fromkeys(runs, End(State.FAILED, "RESOURCE_EXHAUSTED"))


def test_an_interrupted_run_stops_the_others(point: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(many_runs, "run", lambda *_, **__: RunResult(tmp_path, interrupted=True, generation=3))
    runs = plan_grid([point], ["es"], [0, 1], tmp_path, SETTINGS)
    ends = run_all(runs, in_process(), print)
    assert ends == {runs[0]: End(State.INTERRUPTED)}
    assert report(runs, ends) == INTERRUPTED


def test_a_smaller_number_of_generations_is_another_end_of_the_same_run(
    finished: tuple[list[PlannedRun], list[str]],
) -> None:
    """It is finished once it was started so: until then `experiment.json` holds other limits than the others' files."""
    (one, _) = finished[0]
    few = planned(
        one.name, one.values, dataclasses.replace(one.job, bindings=(*one.job.bindings, "Experiment.generations = 1"))
    )
    assert not few.result()
    assert few.state() == f"generation {few.generation} of 1"


def test_command_of_a_run_makes_the_same_run(point: str, tmp_path: Path) -> None:
    (one,) = plan_grid([point], ["hades_r"], [7], tmp_path, SETTINGS)
    program, config, workdir, *bindings = shlex.split(one.command)
    assert (program, workdir) == ("hades-train", f"--workdir={one.workdir}")
    lines = [line.removeprefix("--gin_bindings=") for line in bindings]
    assert load_experiment(config.removeprefix("--config="), lines) == one.job.check()


def test_a_budget_that_is_not_used_up_is_no_end(finished: tuple[list[PlannedRun], list[str]], tmp_path: Path) -> None:
    path = shutil.copytree(finished[0][0].workdir, tmp_path / "copy")
    assert read_run(path).is_finished
    experiment = json.loads((path / "experiment.json").read_text())
    (path / "experiment.json").write_text(json.dumps(experiment | {"max_env_steps": 10**6}))
    assert not read_run(path).is_finished


@pytest.mark.system
def test_the_program_compares_what_there_is(finished: tuple[list[PlannedRun], list[str]], point: str) -> None:
    folder = finished[0][0].workdir.parents[2]
    flags = [f"--environments={point}", "--methods=es,hades_r", "--seeds=3,", f"--workdir={folder}", "--norun"]
    done = _compare(*flags)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("| point | ES |") == done.stdout.count("| point | HaDES-R |") == 2
    assert {"comparison.html", "comparison.md", "runs.csv", "methods.csv"} <= {path.name for path in folder.iterdir()}
    assert (folder / "methods.csv").read_text().count("\n") == 3
    flags[2] = "--seeds=3,4"
    lacking = _compare(*flags)
    assert lacking.returncode == 1
    assert "2 of 4 runs cannot be compared" in lacking.stderr
    assert f"{folder}/point/hades_r/seed4: missing; hades-train --config=" in lacking.stderr


def _compare(*flags: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "launch/compare.py"), *flags]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240)
