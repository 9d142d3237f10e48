"""Return over the size of the dataset: the same search for every number of pairs, several seeds each.

hades sweep-size --environments=cartpole --sizes=1,2,4,8,16,64 --seeds=3 --max_env_steps=1e6 \
    --workdir=runs/size

Runs that are finished are reused and interrupted ones continue: after a stop, run the same command again.
"""

import dataclasses
import json

from absl import app, flags

from hades.commands.command_line import give_result, print_files, start
from hades.commands.path_flags import define_path
from hades.studies.comparable import read_finished
from hades.studies.many_runs import in_process, report, run_all
from hades.studies.plan_runs import Settings, parse_pair, parse_seeds, parse_sizes, parse_values, plan_grid, plan_text
from hades.studies.size.numbers import size_sweep
from hades.studies.size.page import page, write_size_sweeps

ENVIRONMENTS = flags.DEFINE_list("environments", [], "As configs are named: cartpole,breakout.")
METHOD = flags.DEFINE_string("method", "hades_r", "As configs are named: hades_r or hades_f.")
SIZES = flags.DEFINE_list("sizes", ["1", "2", "4", "8", "16", "64"], "Numbers of pairs.")
SEEDS = flags.DEFINE_list("seeds", ["3"], "Seeds as 0,1,2 or, as one number, how many.")
WORKDIR = define_path("workdir", None, "Gets a folder a run, the table, the figure and the page.")
SECONDS = flags.DEFINE_list("max_seconds", [], "Seconds of search and selection a run: 60, or cartpole=40,breakout=99.")
STEPS = flags.DEFINE_list("max_env_steps", [], "Environment steps of search a run: 1e6, or cartpole=1e6,breakout=1e7.")
SELECTION = flags.DEFINE_list("selection", ["8", "4"], "Policies and episodes of an evaluation during the search.")
REPORT = flags.DEFINE_list("report", ["64", "4"], "Policies and episodes of the report at the end.")
VARIANT = flags.DEFINE_string("variant", "laptop", "Prefer configs called <environment>_<method>_<variant>.")
BINDINGS = flags.DEFINE_multi_string("gin_bindings", [], "A further gin line for every run; repeatable.")
DRY_RUN = flags.DEFINE_bool("dry_run", False, "List the runs, their budgets and the least total time, and stop.")
PROGRESS = flags.DEFINE_bool("progress", False, "Also show progress inside the runs.")


def main() -> int:
    if not ENVIRONMENTS.value or WORKDIR.value is None:
        raise app.UsageError("give --environments and --workdir")
    if not (SECONDS.value or STEPS.value):
        raise app.UsageError("give --max_seconds or --max_env_steps: all sizes need an equal budget")
    folder, seeds = WORKDIR.value, parse_seeds(SEEDS.value)
    settings = Settings(
        max_seconds=parse_values(SECONDS.value, "max_seconds"),
        max_env_steps=parse_values(STEPS.value, "max_env_steps"),
        selection=parse_pair(SELECTION.value, "selection"),
        report=parse_pair(REPORT.value, "report"),
        bindings=tuple(BINDINGS.value),
        variant=VARIANT.value,
    )
    runs = []
    for size in parse_sizes(SIZES.value):
        learners = ("BehaviourCloning", "RidgeCloning")  # the stages of a run may have either
        sized = dataclasses.replace(settings, offered=tuple(f"{learner}.num_pairs = {size}" for learner in learners))
        runs += plan_grid(ENVIRONMENTS.value, [METHOD.value], seeds, folder / f"d{size}", sized)
    if DRY_RUN.value:
        print(plan_text(runs))
        return 0
    ends = run_all(runs, in_process(PROGRESS.value), lambda line: print(line, flush=True))
    if status := report(runs, ends):
        return status
    names = dict.fromkeys(one.values["environment"] for one in runs)
    groups = [{one.workdir: one.command for one in runs if one.values["environment"] == name} for name in names]
    sweeps = [size_sweep(read_finished(group)) for group in groups]
    files = write_size_sweeps(sweeps, folder)
    print(f"\n{page(sweeps).markdown()}")
    give_result(json.loads(files["numbers"].read_text()))
    print_files(files)
    return 0


def run() -> None:
    """Console script."""
    start(__name__, main)


if __name__ == "__main__":
    run()
