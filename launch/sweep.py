"""Seeds × gin lines: every combination as a run of its own, here or handed to a launcher.

hades sweep --config=cartpole_hades_r --workdir=runs/sigma --seeds=0,1,2 --vary='SNES.sigma = 0.1|0.3|0.5'
... --execute                                      # runs the points here, one after another
... --on=slurm --launcher_flags='--partition=gpu' --execute
hades sweep --config=cartpole_hades_r --workdir=runs/tuned --vary='SNES.sigma = 0.05..1.0 log' --optuna=20 --execute

Without --execute it resolves every point and prints the plan. Finished points are skipped and interrupted ones
continue: after a stop, run the same command again.
"""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from absl import app, flags

from hades.commands.command_line import give_result, start
from hades.commands.path_flags import define_path
from hades.commands.run_flags import RunFlags
from hades.errors import require
from hades.machines.preparation import stay_off_accelerators
from hades.machines.sweep import (
    TARGETS,
    Programs,
    parse_axis,
    plan_sweep,
    point_command,
    split_flags,
    table,
    write_plan,
)
from hades.machines.tuning import STUDY, check_axes, ended, tune
from hades.runs.signals import FINISHED, INTERRUPTED
from hades.studies.many_runs import End, PlannedRun, report, run_all
from hades.studies.plan_runs import parse_seeds
from hades.text import markdown_table

RUN = RunFlags()
WORKDIR = define_path("workdir", None, "Gets a folder a point, sweep.json and the logs.")
SEEDS = flags.DEFINE_list("seeds", [], "Seeds as 0,1,2 or, as one number, how many; none: the config's own.")
VARY = flags.DEFINE_multi_string("vary", [], "A gin line with several values: 'SNES.sigma = 0.1|0.3'; repeatable.")
ON = flags.DEFINE_enum("on", "local", list(TARGETS), "Where the points run.")
LAUNCHER = flags.DEFINE_multi_string("launcher_flags", [], "Further flags of the launcher, quoted as in a shell.")
RECORD = define_path("record", None, "Folder here for sweep.json and the logs; else --workdir.")
PARALLEL = flags.DEFINE_integer("parallel", 1, "With --on=local: points at once.", lower_bound=1)
RESTARTS = flags.DEFINE_integer("max_restarts", 3, "With --on=local: of a point that lost a process.", lower_bound=0)
OPTUNA = flags.DEFINE_integer(
    "optuna", None, "Trials that Optuna chooses, here; --vary then takes ranges, too: 'SNES.sigma = 0.05..1.0 log'.", 1
)
EXECUTE = flags.DEFINE_bool("execute", False, "Run the points; else print the plan.")


def main() -> int:
    if RUN.config is None or WORKDIR.value is None:
        raise app.UsageError("give --config and --workdir")
    if RUN.seed is not None and SEEDS.present:
        raise app.UsageError("give --seed for one seed or --seeds for several")
    if OPTUNA.value is not None:
        return search(RUN.config, WORKDIR.value, OPTUNA.value)
    stay_off_accelerators()
    axes = [parse_axis(line) for line in VARY.value]
    seeds = parse_seeds(SEEDS.value) if SEEDS.present else []
    points = plan_sweep(RUN.config, str(WORKDIR.value), axes, seeds, RUN.bindings())
    states = table(points, {})  # refuses folders that hold other runs
    further = [word for text in LAUNCHER.value for word in split_flags(text)]
    if not EXECUTE.value:
        give_result(states_of(points, {}))
        print(f"{states}\n\n{len(points)} points; --execute runs what is not finished:\n")
        for point in points:
            print(shlex.join(point_command(ON.value, point, further)))
        return 0
    record = RECORD.value or WORKDIR.value
    write_plan(record, RUN.config, ON.value, points)
    make = Programs(ON.value, further, record / "logs", _say, RESTARTS.value)
    ends = run_all(points, make, _say, parallel=PARALLEL.value if ON.value == "local" else 1)
    print(f"\n{table(points, ends)}")
    give_result(states_of(points, ends))
    return report(points, ends)


def search(config: str, workdir: Path, trials: int) -> int:
    """Let Optuna choose the points; `--execute` runs them."""
    require(VARY.value, "--optuna chooses from what --vary gives: add one, such as 'SNES.sigma = 0.05..1.0 log'.")
    require(ON.value == "local", "--optuna runs its trials here: leave out --on.")
    require(not SEEDS.present, "--optuna runs every trial with one seed: give --seed.")
    axes = [parse_axis(line) for line in VARY.value]
    check_axes(config, axes, RUN.bindings())
    if not EXECUTE.value:
        chosen = ", ".join(f"{axis.name} from {' | '.join(axis.values)}" for axis in axes)
        print(f"{trials} trials of {config} in {workdir}: {chosen}. --execute runs those that {workdir / STUDY} lacks.")
        return FINISHED
    study = tune(config, workdir, axes, trials, RUN.bindings())
    rows = [
        {
            "trial": t.user_attrs["folder"],
            "state": t.state.name.lower(),
            "value": t.value,
            "lines": t.user_attrs["lines"],
        }
        for t in ended(study)
    ]
    texts = [
        (row["trial"], row["state"], "" if row["value"] is None else f"{row['value']:.3f}", ", ".join(row["lines"]))
        for row in rows
    ]
    print(markdown_table(("trial", "state", "selection return", "gin lines"), texts, aligned=True))
    give_result(rows)
    return INTERRUPTED if study.user_attrs["stopped"] else FINISHED


def states_of(points: Sequence[PlannedRun], ends: Mapping[PlannedRun, End]) -> list[dict[str, str]]:
    """Name, work directory and state of each point, for `--json`."""
    states = [ends[point].state if point in ends else point.state() for point in points]
    return [{"point": p.name, "workdir": str(p.workdir), "state": str(s)} for p, s in zip(points, states, strict=True)]


def _say(line: str) -> None:
    print(f"{line}\n", end="", flush=True)  # one write: points that run at once print from threads


def run() -> None:
    """Console script."""
    start(__name__, main)


if __name__ == "__main__":
    run()
