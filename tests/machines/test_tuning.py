"""A search over gin lines by Optuna, against a small stand-in for its study."""

import enum
import sys
import types
from pathlib import Path
from typing import Any

import pytest

from hades.errors import ConfigError, MissingPackageError
from hades.machines import tuning
from hades.machines.sweep import parse_axis
from hades.machines.tuning import check_axes, ended, tune
from hades.runs.callback import LoggedGeneration
from hades.runs.experiment import Experiment
from hades.runs.result import RunResult


class State(enum.Enum):
    RUNNING, COMPLETE, PRUNED, FAIL = range(4)

    def is_finished(self) -> bool:
        return self is not State.RUNNING


class Trial:
    """Chooses the lower end, or what was queued."""

    def __init__(self, number: int, params: dict[str, Any], user_attrs: dict[str, Any]):
        self.number, self.params, self.user_attrs = number, params, user_attrs
        self.state, self.value, self.reported = State.RUNNING, None, list[tuple[float, int]]()
        self.set_user_attr = self.user_attrs.__setitem__

    def suggest_float(self, name: str, low: float, high: float, log: bool) -> float:
        return self.params.setdefault(name, low + 0.25 * self.number if not log else low)

    def suggest_int(self, name: str, low: int, high: int, log: bool) -> int:
        return self.params.setdefault(name, low + self.number)

    def suggest_categorical(self, name: str, choices: list[str]) -> str:
        return self.params.setdefault(name, choices[0])

    def report(self, value: float, step: int) -> None:
        self.reported.append((value, step))

    def should_prune(self) -> bool:
        return self.reported[-1][0] < 0


class Study:
    """Keeps trials as Optuna's does."""

    def __init__(self) -> None:
        self.trials: list[Trial] = []
        self.queue: list[tuple[dict[str, Any], dict[str, Any]]] = []
        self.user_attrs: dict[str, Any] = {}
        self.set_user_attr = self.user_attrs.__setitem__

    def ask(self) -> Trial:
        params, attributes = self.queue.pop(0) if self.queue else ({}, {})
        self.trials.append(Trial(len(self.trials), params, attributes))
        return self.trials[-1]

    def tell(self, trial: Trial, value: float | None = None, state: State = State.COMPLETE) -> None:
        trial.value, trial.state = value, state

    def enqueue_trial(self, params: dict[str, Any], user_attrs: dict[str, Any]) -> None:
        self.queue.append((dict(params), user_attrs))


@pytest.fixture
def study(monkeypatch: pytest.MonkeyPatch) -> Study:
    study = Study()
    journal = types.SimpleNamespace(JournalFileBackend=str)
    modules = {
        "optuna": {"create_study": lambda **options: study},
        "optuna.storages": {"JournalStorage": str, "journal": journal},
        "optuna.trial": {"TrialState": State},
    }
    for name, names in modules.items():
        module = types.ModuleType(name)
        vars(module).update(names)
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(tuning.importlib.util, "find_spec", lambda name: study)
    return study


class Runs:
    """Stands in for `hades.run`: every run evaluates its solution twice."""

    def __init__(self, *returns: float | None):
        self.returns, self.folders, self.seen = list(returns), list[str](), list[Experiment]()

    def __call__(self, experiment: Experiment, workdir: Path, *, callback: Any) -> RunResult:
        earned = self.returns.pop(0)
        self.folders.append(workdir.name)
        self.seen.append(experiment)
        for generation in (1, experiment.eval_every, experiment.eval_every + 1):
            now = LoggedGeneration(1, generation, 0, 0.0, {}, earned, None, None)  # type: ignore[arg-type]  # not used
            if callback(now):
                break
        return RunResult(workdir, earned is None, 2, details={"selection_return": earned})


SIGMA = parse_axis("SNES.sigma = 0.5..1.5")


def test_trials_are_runs_whose_return_the_study_is_told(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = Runs(3.0, -2.0, 5.0)
    monkeypatch.setattr(tuning, "run", runs)
    axes = [SIGMA, parse_axis("SNES.population_size = 8..16"), parse_axis("MLP.activation = 'relu'|'tanh'")]
    assert tune("smoke", tmp_path / "tuned", axes, 3) is study
    assert [(t.state, t.value) for t in study.trials] == [
        (State.COMPLETE, 3.0),
        (State.PRUNED, None),
        (State.COMPLETE, 5.0),
    ]
    assert [experiment.algorithm.outer.sigma for experiment in runs.seen] == [0.5, 0.75, 1.0]
    assert [experiment.algorithm.outer.population_size for experiment in runs.seen] == [8, 9, 10]
    assert runs.seen[0].algorithm.learner.policy.activation == "relu"
    assert runs.folders == ["trial-0", "trial-1", "trial-2"]
    assert study.trials[0].reported == [(3.0, runs.seen[0].eval_every)]
    assert tune("smoke", tmp_path / "tuned", axes, 3).trials == study.trials, "it has its three trials"
    assert study.user_attrs["stopped"] is False


def test_a_trial_that_a_signal_ends_goes_on_in_its_folder(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = Runs(3.0, None, 4.0)
    monkeypatch.setattr(tuning, "run", runs)
    assert tune("smoke", tmp_path, [SIGMA], 2).user_attrs["stopped"]
    assert len(ended(study)) == 1
    tune("smoke", tmp_path, [SIGMA], 2)
    assert [trial.value for trial in ended(study)] == [3.0, 4.0]
    assert runs.folders == ["trial-0", "trial-1", "trial-1"]
    assert runs.seen[1] == runs.seen[2]


def test_a_trial_that_fails_ends_no_other(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tuning, "run", Runs(3.0))
    tune("smoke", tmp_path, [parse_axis("MLP.depth = -1..0")], 2)
    assert [trial.state for trial in study.trials] == [State.FAIL, State.COMPLETE]
    assert "trial-0 failed: " in capsys.readouterr().err


def test_what_cannot_be_searched_is_explained_first(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    check_axes("smoke", [SIGMA], [])
    with pytest.raises(ConfigError, match=r"SNES\.sigma"):
        check_axes("smoke", [parse_axis("SNES.sigma = -1.0..1.0")], [])
    with pytest.raises(ConfigError, match=r"sigam"):
        check_axes("smoke", [parse_axis("SNES.sigam = 0.1..1.0")], [])
    monkeypatch.setattr(tuning.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingPackageError, match=r'pip install "hades-rl\[optuna\]"'):
        check_axes("smoke", [SIGMA], [])
