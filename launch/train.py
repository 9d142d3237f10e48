"""Distil a dataset: run a gin config in a work directory, or continue the run that lives there.

hades train --config=cartpole_hades_r --workdir=runs/demo
hades train --config=cartpole_hades_r --workdir=runs/s1 --seed=1 --gin_bindings='SNES.sigma = 0.3'
hades train --config=freeway_hades_f_laptop --dry_run
hades train --config=cartpole_hades_r --workdir=runs/two --processes=2 --host_devices=2
"""

import os
from typing import Any

from absl import app, flags

from hades.commands.command_line import give_result, start
from hades.commands.path_flags import define_path
from hades.commands.run_flags import RunFlags
from hades.costs.plan import describe_plan
from hades.data.files import read_json
from hades.machines import process_flags
from hades.machines.supervisor import WORKER
from hades.report.report import write_report
from hades.runs.experiment import Experiment
from hades.runs.gin_config import load_experiment, operative_config
from hades.runs.loop import run as run_experiment
from hades.runs.processes import first_does
from hades.runs.result import RunResult, all_stages
from hades.runs.signals import FINISHED, INTERRUPTED, end_at_once
from hades.runs.stages import FIRST, stages
from hades.runs.workdir import WorkDir
from hades.text import return_text

RUN = RunFlags()
WORKDIR = define_path("workdir", None, "Folder of the run; an unfinished or finished run in it is continued.")
DRY_RUN = flags.DEFINE_bool("dry_run", False, "Print the resolved config, sizes and the memory plan, and stop.")
COMPILE = flags.DEFINE_bool("compile", False, "With --dry_run: also compile, and compare the plan with XLA's analysis.")
ACCEPT_NUMERICS = flags.DEFINE_bool(
    "accept_numerics",
    False,
    "Continue a run although settings of JAX or the engine of physics differ.",
)
PROGRESS = flags.DEFINE_bool("progress", True, "Show progress.")
TRACKERS = flags.DEFINE_list(
    "trackers", ["tensorboard"], "Where scalars are shown: tensorboard, wandb; empty: nowhere."
)
flags.adopt_module_key_flags(process_flags)


def main() -> int:
    if RUN.config is None:
        raise app.UsageError("give --config")
    if DRY_RUN.value:
        process_flags.force_devices()
        experiment = load()
        config, plan = operative_config(), describe_plan(experiment, compile_too=COMPILE.value)
        print(f"{config}\n{plan}")
        give_result({"config": config, "plan": plan.splitlines()})
        return FINISHED
    if WORKDIR.value is None:
        raise app.UsageError("give --workdir (or --dry_run)")
    end_at_once()
    directory = WorkDir(WORKDIR.value)
    status = process_flags.in_processes(lambda: train(directory), check=load)
    if status == FINISHED and WORKER not in os.environ:
        give_result(read_json(directory.result, "Run the same command again."))
    return status


def load() -> Experiment:
    """Load the experiment that the flags describe."""
    assert RUN.config is not None
    return load_experiment(RUN.config, RUN.bindings())


def train(directory: WorkDir) -> int:
    """The work of one process."""
    experiment = load()
    result = run_experiment(
        experiment,
        directory.path,
        progress=PROGRESS.value,
        config=operative_config(),
        accept_numerics=ACCEPT_NUMERICS.value,
        trackers=TRACKERS.value,
    )
    if result.interrupted:
        return INTERRUPTED
    first_does(lambda: show(experiment, result, directory))
    return FINISHED


def show(experiment: Experiment, result: RunResult, directory: WorkDir) -> None:
    """Write the report, and print what came out and where it lies."""
    policy = result.policy if result.dataset is None else None  # trained from the dataset
    for depth in range(1, len(stages(experiment))):  # the stages before
        write_report(directory.path.joinpath(*[FIRST] * depth))
    report = write_report(directory.path, policy)
    print(f"{result.details['method']} on {result.details['environment']}: return {result.returns}")
    print(f"time:    {time_line(result.details['seconds'])}")
    if "stages" in result.details:
        print(f"stages:  {stages_line(result.details)}")
    if result.dataset is not None:
        print(f"dataset: {directory.dataset} ({directory.dataset.stat().st_size / 1024:.1f} kB)")
    print(f"report:  {report}")


def time_line(seconds: dict[str, float]) -> str:
    """Describe the time of each phase, and the share after compilation that was inside compiled code."""
    share = seconds["inside"] / max(seconds["total"] - seconds["compile"], 1e-9)
    phases = ", ".join(f"{name} {seconds[name]:.1f} s" for name in ("compile", "search", "selection", "report"))
    return f"{phases}; {share:.0%} of the time after compilation inside compiled code"


def stages_line(details: dict[str, Any]) -> str:
    """Describe the stages of a run, and what all of them took together."""
    returns = ", ".join(return_text(stage["return"]) for stage in details["stages"])
    steps = sum(all_stages(details, "env_steps", kind) for kind in ("search", "selection"))
    seconds = sum(all_stages(details, "seconds", phase) for phase in ("search", "selection"))
    return f"{returns} before this one; {steps / 1e6:.1f} M environment steps and {seconds:.0f} s of search in all"


def run() -> None:
    """Console script."""
    start(__name__, main)


if __name__ == "__main__":
    run()
