"""A run in stages beside others: one budget, one protocol, one curve, one row."""

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from hades import registry
from hades.runs.record import read_run
from hades.runs.signals import FINISHED
from hades.runs.stages import stages
from hades.studies import many_runs
from hades.studies.comparable import budget, check_agreement, read_finished
from hades.studies.comparison.numbers import compare
from hades.studies.comparison.page import page
from hades.studies.many_runs import End, PlannedRun, State, in_process, report, run_all
from hades.studies.plan_runs import NO_END, Settings, plan_grid, plan_text
from hades.studies.size.numbers import size_sweep
from tests.runs.tiny import tiny_experiment
from tests.studies.runs import write_run

CONFIG = """
Experiment.algorithm = @GradientDistillation()
Experiment.first = @features/Experiment()
features/Experiment.first = @wide/Experiment()
wide/Experiment.first = None
Experiment.generations = 0
features/Experiment.generations = 6
wide/Experiment.generations = 3
wide/Experiment.eval_inits = 5
Experiment.eval_every = 2

GradientDistillation.environment = @Point()
Point.max_episode_steps = 4
wide/GradientDistillation.environment = @short/Point()
short/Point.max_episode_steps = 3
GradientDistillation.num_envs = 8
GradientDistillation.num_steps = 4
GradientDistillation.num_epochs = 1
GradientDistillation.num_minibatches = 2
GradientDistillation.learner = @BehaviourCloning()
features/GradientDistillation.learner = @RidgeCloning()
wide/GradientDistillation.learner = @RidgeCloning()
GradientDistillation.normalizer = @ConstantNormalizer()
wide/GradientDistillation.normalizer = @RunningNormalizer()
RidgeCloning.policy = @MLP()
wide/RidgeCloning.policy = @WideMLP()
RidgeCloning.init_scheme = @RandomInit()
RidgeCloning.num_pairs = 3
BehaviourCloning.policy = @MLP()
BehaviourCloning.init_scheme = @RandomInit()
BehaviourCloning.loss = @MSE()
BehaviourCloning.num_pairs = 3
BehaviourCloning.num_updates = 4
BehaviourCloning.optimizer = 'sgd'
BehaviourCloning.start = 'gaussian'
RandomInit.num_inits = 2
wide/RandomInit.num_inits = 1
MLP.width = 8
MLP.depth = 1
"""
ITERATION = 8 * 4
BUDGET = 9 * ITERATION
SETTINGS = Settings(max_env_steps={"": BUDGET}, selection=(2, 2), report=(3, 2), variant="")


@pytest.fixture(scope="module")
def point(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("configs")
    (folder / "point_gradient_r.gin").write_text(CONFIG)
    return str(folder / "point")


def plan(point: str, folder: Path, settings: Settings = SETTINGS) -> PlannedRun:
    (one,) = plan_grid([point], ["gradient_r"], [3], folder, settings)
    return one


@pytest.fixture(scope="module")
def finished(point: str, tmp_path_factory: pytest.TempPathFactory) -> PlannedRun:
    one = plan(point, tmp_path_factory.mktemp("grid"))
    ends = run_all([one], in_process(), print)
    assert report([one], ends) == FINISHED
    return one


def test_stages_share_a_budget_by_their_generations(point: str, tmp_path: Path) -> None:
    one = plan(point, tmp_path, dataclasses.replace(SETTINGS, max_seconds={"": 90.0}, eval_every={"": 7.0}))
    parts = stages(one.job.check())
    assert [part.max_env_steps for part in parts] == [3 * ITERATION, BUDGET, BUDGET]
    assert [part.max_seconds for part in parts] == [30.0, 90.0, 90.0]
    assert [part.generations for part in parts] == [NO_END, NO_END, 0]
    assert [(part.eval_inits, part.eval_every, part.seed) for part in parts] == [(2, 7, 3)] * 3
    assert one.seconds == 90.0
    assert (
        "point_gradient_r.gin, 90 s or 288 steps for all stages: 1 (RidgeCloning of WideMLP) until 30 s or 96 steps, "
        "2 (RidgeCloning of MLP) until 90 s or 288 steps, 3 (BehaviourCloning of MLP) searches no more, in"
    ) in plan_text([one])


def test_all_stages_together_take_the_budget(finished: PlannedRun) -> None:
    record = read_run(finished.workdir)
    taken = [stage.result["env_steps"]["search"] for stage in record.all_stages()]
    assert taken == [3 * ITERATION, 6 * ITERATION, 0]
    assert record.is_finished
    assert finished.generation == 9
    assert {n: v for n, v in budget(record).items() if v is not None} == {
        "generations": NO_END,
        "max_env_steps": BUDGET,
    }


def test_a_finished_run_in_stages_is_not_run_again(finished: PlannedRun, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(many_runs, "run", None)  # calling it would fail
    assert run_all([finished], in_process(), print) == {finished: End(State.FINISHED)}


def test_another_budget_is_refused_before_a_stage_goes_on(finished: PlannedRun, point: str, tmp_path: Path) -> None:
    longer = plan(point, tmp_path, dataclasses.replace(SETTINGS, max_env_steps={"": 2 * BUDGET}))
    shutil.copytree(finished.workdir, longer.workdir)
    end = run_all([longer], in_process(), print)[longer]
    assert end.state is State.FAILED
    assert f"first.max_env_steps is {BUDGET} there and {2 * BUDGET} now" in end.reason
    result = "first/first/result.json"
    assert (longer.workdir / result).read_bytes() == (finished.workdir / result).read_bytes()


def test_seeds_agree_although_each_hands_over_its_own_pairs(finished: PlannedRun, tmp_path: Path) -> None:
    other = Path(shutil.copytree(finished.workdir, tmp_path / "other"))
    for name in ("result", "experiment"):
        content = json.loads((other / f"{name}.json").read_text())
        content["seed"] = 4
        if name == "experiment":
            content["first"]["seed"] = content["first"]["first"]["seed"] = 4
            pairs = content["algorithm"]["learner"]["start_pairs"]
            pairs["observations"] = [x + 1.0 for x in pairs["observations"]]
        (other / f"{name}.json").write_text(json.dumps(content))
    records = read_finished({finished.workdir: "", other: ""})
    check_agreement(records)
    (cell,) = compare(records, {"point": 0.0}).environments[0].cells
    assert cell.method == "HaDES-R by gradient"
    assert [run.env_steps[-1] for run in cell.runs] == [BUDGET, BUDGET]
    assert cell.total("env_steps", "search") == BUDGET


def test_sizes_of_a_run_in_stages_agree_and_count_all_steps(finished: PlannedRun) -> None:
    record = read_run(finished.workdir)
    text = json.dumps(record.experiment).replace('"num_pairs": 3', '"num_pairs": 4')
    larger = dataclasses.replace(record, experiment=json.loads(text), result={**record.result, "num_pairs": 4})
    assert [(point.size, point.env_steps) for point in size_sweep([record, larger]).points] == [
        (3, BUDGET),
        (4, BUDGET),
    ]


def write_stages(path: Path, method: str = "ES") -> None:
    """A run of 3 generations with a recipe of its own, then one of 2; a generation is 100 steps and 2 s."""
    first = registry.describe(tiny_experiment(generations=3))
    first["algorithm"]["learner"]["learning_rate"] = 9.0
    stage = {"method": "HaDES-R", "recipe": "BehaviourCloning of MLP", "generations": 3, "return": 6.0}
    costs = {"env_steps": {"search": 300, "selection": 40}, "seconds": {"search": 6.0, "selection": 0.5}}
    write_run(path, method, returns=(4.0, 5.0), first=first, **{"result.stages": [stage | costs]})
    write_run(path / "first", "HaDES-R", returns=(1.0, 8.0, 6.0), **{"algorithm.learner.learning_rate": 9.0})
    rows = (path / "evaluations.jsonl").read_text()
    handed_over = json.dumps({"generation": 0, "env_steps_total": 0, "return_mean": 2.0})
    (path / "evaluations.jsonl").write_text(f"{handed_over}\n{rows}")


def test_a_curve_goes_on_through_the_stages(tmp_path: Path) -> None:
    write_stages(tmp_path / "run")
    found = compare([read_run(tmp_path / "run")], {"point": 5.0})
    (cell,) = found.environments[0].cells
    np.testing.assert_array_equal(cell.curves["env_steps"].x, [100, 200, 300, 400, 500])
    np.testing.assert_array_equal(cell.runs[0].env_steps, [100, 200, 300, 300, 400, 500])
    np.testing.assert_array_equal(cell.runs[0].seconds, [2, 4, 6, 6, 8, 10])
    np.testing.assert_array_equal(cell.runs[0].returns, [1, 8, 6, 2, 4, 5])
    assert cell.total("env_steps", "search") == 500
    assert cell.total("seconds", "selection") == 1.0


def test_only_policies_that_are_trained_as_the_reported_ones_reach_a_return(tmp_path: Path) -> None:
    write_stages(tmp_path / "run")
    found = compare([read_run(tmp_path / "run")], {"point": 5.0})
    assert found.environments[0].cells[0].to_reach(5.0, "env_steps") == (500.0, 1)
    text = page(found).markdown()
    assert "HaDES-R, then ES runs in 2 stages: BehaviourCloning of MLP, then the recipe that is reported." in text


def test_a_run_in_stages_is_called_after_all_methods_that_searched(tmp_path: Path) -> None:
    write_stages(tmp_path / "two", "HaDES-R by gradient")
    assert read_run(tmp_path / "two").method == "HaDES-R, then HaDES-R by gradient"
    write_stages(tmp_path / "one", "HaDES-R")
    assert read_run(tmp_path / "one").method == "HaDES-R"
    write_run(tmp_path / "plain", "ES")
    assert read_run(tmp_path / "plain").method == "ES"
