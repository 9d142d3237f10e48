"""Environments × methods × seeds: planned by name, run once, reused, continued, and failures named at the end."""

import dataclasses
import json
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from hades.errors import ConfigError, HadesError
from hades.runs.experiment import Experiment
from hades.runs.gin_config import load_experiment
from hades.runs.record import read_run
from hades.runs.result import RunResult
from hades.studies import grid
from hades.studies.grid import GridRun, Settings, plan_grid, run_grid
from hades.studies.grid_values import parse_pair, parse_seeds, parse_values
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
SETTINGS = Settings(
    max_env_steps={"": BUDGET}, eval_inits=2, eval_episodes=2, report_inits=3, report_episodes=2, variant="tiny"
)


@pytest.fixture(scope="module")
def point(tmp_path_factory: pytest.TempPathFactory) -> str:
    """An environment of one's own: a folder with a config for each method."""
    folder = tmp_path_factory.mktemp("configs")
    for method, lines in METHODS.items():
        (folder / f"point_{method}.gin").write_text(SHARED + lines)
    return str(folder / "point")


@pytest.fixture(scope="module")
def finished(point: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[list[GridRun], list[str]]:
    """Two methods, one seed, and what was said on the way."""
    runs = plan_grid([point], list(METHODS), [3], tmp_path_factory.mktemp("grid"), SETTINGS)
    said: list[str] = []
    assert run_grid(runs, said.append) == grid.Outcome({})
    return runs, said


def test_every_run_ends_with_the_budget_under_one_protocol(finished: tuple[list[GridRun], list[str]]) -> None:
    for one in finished[0]:
        record = read_run(one.workdir)
        assert record.is_finished
        assert BUDGET <= record.result["env_steps"]["search"] < 2 * BUDGET
        assert record.result["seed"] == one.seed
        fields = ("eval_inits", "eval_episodes", "report_inits", "report_episodes")
        assert [record.experiment[name] for name in fields] == [2, 2, 3, 2]


def test_progress_says_which_run_of_how_many(finished: tuple[list[GridRun], list[str]]) -> None:
    said = finished[1]
    assert said[0] == "run 1 of 2: point es seed 3, for as long as their steps take"
    assert said[2].startswith("run 2 of 2: point hades_r seed 3, about ")
    assert said[-1].startswith("    return ")


def test_what_is_finished_is_not_run_again(
    finished: tuple[list[GridRun], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grid, "run", None)  # calling it would fail
    said: list[str] = []
    assert run_grid(finished[0], said.append) == grid.Outcome({})
    assert said == [f"run {i + 1} of 2: {one} is finished already" for i, one in enumerate(finished[0])]


def test_a_larger_budget_continues_and_a_smaller_one_is_refused(
    finished: tuple[list[GridRun], list[str]], point: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int | None] = []

    def interrupted(experiment: Experiment, workdir: Path, **_: object) -> RunResult:
        asked.append(experiment.max_env_steps)
        return RunResult(workdir, interrupted=True, generation=1)

    monkeypatch.setattr(grid, "run", interrupted)
    (one,) = plan_grid([point], ["es"], [3], tmp_path, SETTINGS)
    shutil.copytree(finished[0][0].workdir, one.workdir)
    (longer,) = plan_grid([point], ["es"], [3], tmp_path, dataclasses.replace(SETTINGS, max_env_steps={"": 900}))
    assert run_grid([longer], lambda line: None).interrupted == longer
    assert asked == [900]
    for name, change in (("experiment", {"max_env_steps": 900}), ("result", {"env_steps": {"search": 900}})):
        path = one.workdir / f"{name}.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | change))
    failures = run_grid([one], lambda line: None).failures
    assert "max_env_steps 900 there and 480 now" in failures[one]
    assert "cannot be shortened" in failures[one]
    assert asked == [900]


def test_another_configuration_in_the_folder_is_named_and_the_others_go_on(
    finished: tuple[list[GridRun], list[str]],
) -> None:
    runs = [dataclasses.replace(one, bindings=("SNES.sigma = 0.7", *one.bindings)) for one in finished[0][:1]]
    said: list[str] = []
    outcome = run_grid([*runs, *finished[0][1:]], said.append)
    assert "algorithm.outer.sigma" in outcome.failures[runs[0]]
    assert said[-1].endswith("is finished already")
    with pytest.raises(HadesError, match=r"(?s)\b1 .*point es seed 3: "):
        outcome.check()


def test_an_interrupted_run_stops_the_grid(point: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grid, "run", lambda *_, **__: RunResult(tmp_path, interrupted=True, generation=3))
    runs = plan_grid([point], ["es"], [0, 1], tmp_path, SETTINGS)
    outcome = run_grid(runs, lambda line: None)
    assert outcome.interrupted == runs[0]
    with pytest.raises(HadesError, match=r"point es seed 0.*same command"):
        outcome.check()


def test_command_of_a_run_makes_the_same_run(point: str, tmp_path: Path) -> None:
    (one,) = plan_grid([point], ["hades_r"], [7], tmp_path, SETTINGS)
    program, config, workdir, *bindings = shlex.split(one.command)
    assert (program, workdir) == ("hades-train", f"--workdir={one.workdir}")
    lines = [line.removeprefix("--gin_bindings=") for line in bindings]
    assert load_experiment(config.removeprefix("--config="), lines) == load_experiment(one.config, one.bindings)


def test_settings_of_the_comparison_win_over_further_bindings(point: str, tmp_path: Path) -> None:
    settings = dataclasses.replace(
        SETTINGS, bindings=("Experiment.report_inits = 99", "Experiment.target_return = 1.0")
    )
    (one,) = plan_grid([point], ["es"], [0], tmp_path, settings)
    experiment = load_experiment(one.config, one.bindings)
    assert (experiment.report_inits, experiment.target_return) == (3, None)


def test_the_most_exact_value_holds_and_the_variant_is_preferred(tmp_path: Path) -> None:
    settings = Settings(
        max_seconds={"": 60.0, "freeway": 150.0}, eval_every={"": 9.0, "hades_r": 2.0, "freeway_hades_f": 3.0}
    )
    runs = plan_grid(["cartpole", "freeway"], ["hades_r", "hades_f"], [0], tmp_path, settings)
    assert [one.config for one in runs] == [
        *("cartpole_hades_r", "cartpole_hades_f", "freeway_hades_r_laptop", "freeway_hades_f_laptop"),
    ]
    assert [one.max_seconds for one in runs] == [60.0, 60.0, 150.0, 150.0]
    every = [next(line for line in one.bindings if "eval_every" in line) for one in runs]
    assert every == [f"Experiment.eval_every = {n}" for n in (2, 9, 2, 3)]


def test_every_combination_without_a_config_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cartpole_hades_q, freeway_hades_q"):
        plan_grid(["cartpole", "freeway"], ["hades_r", "hades_q"], [0], tmp_path, SETTINGS)


def test_values_for_nothing_that_is_compared_are_refused(tmp_path: Path) -> None:
    settings = Settings(max_seconds={"freway": 1.0})
    with pytest.raises(ConfigError, match=r'--max_seconds.*"freway".*"freeway"'):
        plan_grid(["freeway"], ["hades_r"], [0], tmp_path, settings)


def test_words_of_the_command_line() -> None:
    assert parse_values(["60", "cartpole=1e6"], "x") == {"": 60.0, "cartpole": 1e6}
    assert parse_seeds(["3"]) == [0, 1, 2]
    assert parse_seeds(["4", "2"]) == [4, 2]
    assert parse_pair(["8", "4"], "x") == (8, 4)


@pytest.mark.parametrize("seeds", [["0"], ["1", "1"], ["a"], ["-1", "2"], []])
def test_seeds_that_are_none_are_refused(seeds: list[str]) -> None:
    with pytest.raises(ConfigError, match="--seeds"):
        parse_seeds(seeds)


@pytest.mark.parametrize("texts", [["a"], ["a=b"], ["a="], ["1=2=x"]])
def test_values_that_are_none_are_refused(texts: list[str]) -> None:
    with pytest.raises(ConfigError, match=r"--x: .*name=number"):
        parse_values(texts, "x")


def test_a_budget_that_is_not_used_up_is_no_end(finished: tuple[list[GridRun], list[str]], tmp_path: Path) -> None:
    path = shutil.copytree(finished[0][0].workdir, tmp_path / "copy")
    assert read_run(path).is_finished
    experiment = json.loads((path / "experiment.json").read_text())
    (path / "experiment.json").write_text(json.dumps(experiment | {"max_env_steps": 10**6}))
    assert not read_run(path).is_finished


@pytest.mark.system
def test_the_program_compares_what_there_is(finished: tuple[list[GridRun], list[str]], point: str) -> None:
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


def test_time_left_is_the_budgets_and_what_runs_took_beyond_theirs(tmp_path: Path) -> None:
    settings = Settings(max_seconds={"cartpole": 60.0, "freeway": 300.0})
    runs = plan_grid(["cartpole", "freeway"], ["hades_r"], [0, 1], tmp_path, settings)
    assert grid._time_left(runs, {}) == "at least 12 min"
    assert grid._time_left(runs[1:], {runs[0]: 120.0}) == "about 14 min left"
    assert "4 runs, at least 12 min, and compilation" in grid.plan_text(runs)
    assert f"freeway hades_r seed 1: freeway_hades_r_laptop, 300 s, in {tmp_path}/freeway" in grid.plan_text(runs)
