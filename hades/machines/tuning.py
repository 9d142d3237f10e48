"""A search over gin lines by Optuna (Akiba et al., 2019): trials in this process, one after another.

A trial is an ordinary run in a folder of its own. Its value is the return on selection keys, which Optuna sees at every
evaluation, so that it ends trials that are behind (by default those below the median of the others).
"""

import importlib.util
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from hades.errors import HadesError, MissingPackageError, notice
from hades.machines.sweep import Axis
from hades.runs.callback import LoggedGeneration
from hades.runs.experiment import Experiment
from hades.runs.gin_config import load_experiment
from hades.runs.loop import run
from hades.runs.signals import handled
from hades.runs.stages import stages

STUDY = "optuna.log"
"""Optuna's record of all trials, in the work directory."""
_NUMBER = r"-?\d+(?:\.\d+)?(?:e-?\d+)?"
_RANGE = re.compile(rf"(?P<low>{_NUMBER})\.\.(?P<high>{_NUMBER})(?: log)?")


def check_axes(config: str, axes: Sequence[Axis], bindings: Sequence[str]) -> None:
    """Make sure that Optuna is there and that both ends of what it chooses from can run.

    Raises:
        MissingPackageError: where Optuna is not installed.
        ConfigError: for a line that the config refuses.
    """
    if importlib.util.find_spec("optuna") is None:
        raise MissingPackageError('--optuna needs the package of that name: pip install "hades-rl[optuna]".')
    for end in (0, -1):
        ends = [(_ends(axis) or axis.values)[end] for axis in axes]
        load_experiment(
            config, [*bindings, *(f"{axis.name} = {value}" for axis, value in zip(axes, ends, strict=True))]
        )


def tune(config: str, workdir: Path, axes: Sequence[Axis], trials: int, bindings: Sequence[str] = ()) -> Any:
    """Run trials until the study has that many, or a signal stops one, which a later call continues.

    Args:
        config: of every trial.
        workdir: gets the study and a folder for each trial.
        axes: gin lines with what Optuna chooses from: values, or one range such as "0.05..1.0 log".
        trials: how many the study is to have.
        bindings: further gin lines of every trial.

    Returns:
        The optuna.Study; its attribute `stopped` says whether a signal ended it.
    """
    import optuna
    from optuna.storages import JournalStorage, journal

    workdir.mkdir(parents=True, exist_ok=True)
    storage = JournalStorage(journal.JournalFileBackend(str(workdir / STUDY)))
    study = optuna.create_study(study_name=config, storage=storage, direction="maximize", load_if_exists=True)
    study.set_user_attr("stopped", False)
    stops: list[int] = []
    with handled(stops.append):  # between runs; a run handles signals by itself
        while not stops and len(ended(study)) < trials:
            _attempt(study, study.ask(), config, workdir, axes, bindings)
            if study.user_attrs["stopped"]:
                return study
    study.set_user_attr("stopped", bool(stops))
    return study


def ended(study: Any) -> list[Any]:
    """The trials of a study that are over."""
    return [trial for trial in study.trials if trial.state.is_finished() and not trial.user_attrs.get("continued")]


def _attempt(study: Any, trial: Any, config: str, workdir: Path, axes: Sequence[Axis], bindings: Sequence[str]) -> None:
    """Run one trial, and tell the study what became of it."""
    from optuna.trial import TrialState as state

    folder = trial.user_attrs.get("folder", f"trial-{trial.number}")
    lines = [f"{axis.name} = {_suggest(trial, axis)}" for axis in axes]
    trial.set_user_attr("folder", folder)
    trial.set_user_attr("lines", lines)
    notice(f"{folder}: {', '.join(lines)}")
    follower = _Follower(trial)
    try:
        experiment = load_experiment(config, [*bindings, *lines])
        result = run(experiment, workdir / folder, callback=follower.of(experiment))
    except HadesError as error:
        notice(f"{folder} failed: {error}")
        study.tell(trial, state=state.FAIL)
        return
    if result.interrupted:  # its folder goes on as another trial
        trial.set_user_attr("continued", True)
        study.tell(trial, state=state.FAIL)
        study.enqueue_trial(trial.params, user_attrs={"folder": folder})
        study.set_user_attr("stopped", True)
    elif follower.is_pruned:
        study.tell(trial, state=state.PRUNED)
    elif (value := result.details["selection_return"]) is None:
        study.tell(trial, state=state.FAIL)
    else:
        study.tell(trial, value)


class _Follower:
    """Reports a trial's return to Optuna, and ends its run where Optuna says so."""

    def __init__(self, trial: Any):
        self._trial, self.is_pruned = trial, False

    def of(self, experiment: Experiment) -> Callable[[LoggedGeneration], bool]:
        """The callback for a run."""
        last = len(stages(experiment))

        def follow(now: LoggedGeneration) -> bool:
            if now.stage == last and now.best_return is not None and now.generation % experiment.eval_every == 0:
                self._trial.report(now.best_return, now.generation)
                self.is_pruned = self._trial.should_prune()
            return self.is_pruned

        return follow


def _ends(axis: Axis) -> tuple[str, str] | None:
    """The ends of a range; None where an axis lists values."""
    match = _RANGE.fullmatch(axis.values[0]) if len(axis.values) == 1 else None
    return (match["low"], match["high"]) if match else None


def _suggest(trial: Any, axis: Axis) -> str:
    """The value that Optuna chooses for an axis, as gin writes it."""
    ends, log = _ends(axis), axis.values[0].endswith(" log")
    if ends is None:
        value: str = trial.suggest_categorical(axis.name, list(axis.values))
        return value
    if all(end.lstrip("-").isdigit() for end in ends):
        return repr(trial.suggest_int(axis.name, int(ends[0]), int(ends[1]), log=log))
    return repr(trial.suggest_float(axis.name, float(ends[0]), float(ends[1]), log=log))
