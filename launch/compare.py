"""Methods side by side: environments × methods × seeds under one budget, as a table, figures and a page.

hades compare --environments=cartpole --methods=hades_r,es --seeds=3 --max_seconds=60 --workdir=runs/compare
hades compare --environments=cartpole,freeway --methods=hades_r,hades_f,es,ppo --seeds=0,1,2 \
    --max_seconds=cartpole=40,freeway=150 --workdir=runs/compare --dry_run

Runs that are finished are reused and interrupted ones continue: after a stop, run the same command again. --norun only
writes the table of what is there.
"""

from absl import app, flags

from hades.commands.command_line import give_result, print_files, start
from hades.commands.path_flags import define_path
from hades.studies.comparable import check_agreement, read_finished
from hades.studies.comparison.measurements import measure
from hades.studies.comparison.numbers import compare
from hades.studies.comparison.page import page, write_comparison
from hades.studies.comparison.tables import method_rows, run_rows
from hades.studies.many_runs import in_process, report, run_all
from hades.studies.plan_runs import (
    Settings,
    check_names,
    parse_pair,
    parse_seeds,
    parse_values,
    plan_grid,
    plan_text,
    value_for,
)

ENVIRONMENTS = flags.DEFINE_list("environments", [], "As configs are named: cartpole,freeway.")
METHODS = flags.DEFINE_list("methods", ["hades_r", "hades_f", "es", "ppo"], "As configs are named.")
SEEDS = flags.DEFINE_list("seeds", ["3"], "Seeds as 0,1,2 or, as one number, how many.")
WORKDIR = define_path("workdir", None, "Gets a folder a run, the table, the figures and the page.")
SECONDS = flags.DEFINE_list("max_seconds", [], "Seconds of search and selection a run: 60, or cartpole=40,freeway=150.")
STEPS = flags.DEFINE_list("max_env_steps", [], "Environment steps of search a run: 1e6, or cartpole=1e6,freeway=1e7.")
EVERY = flags.DEFINE_list("eval_every", [], "Generations between evaluations: ppo=20,freeway_es=2; else the config's.")
SELECTION = flags.DEFINE_list("selection", ["8", "4"], "Policies and episodes of an evaluation during the search.")
REPORT = flags.DEFINE_list("report", ["64", "4"], "Policies and episodes of the report at the end.")
REACH = flags.DEFINE_list("reach", [], "Returns to reach, such as cartpole=475; else the solved threshold or 90 %.")
VARIANT = flags.DEFINE_string("variant", "laptop", "Prefer configs called <environment>_<method>_<variant>.")
BINDINGS = flags.DEFINE_multi_string("gin_bindings", [], "A further gin line for every run; repeatable.")
RUN = flags.DEFINE_bool("run", True, "Run what is not finished; --norun: only compare what there is.")
DRY_RUN = flags.DEFINE_bool("dry_run", False, "List the runs, their budgets and the least total time, and stop.")
PROGRESS = flags.DEFINE_bool("progress", False, "Also show progress inside the runs.")


def main() -> int:
    if not ENVIRONMENTS.value or WORKDIR.value is None:
        raise app.UsageError("give --environments and --workdir")
    if RUN.value and not (SECONDS.value or STEPS.value):
        raise app.UsageError("give --max_seconds or --max_env_steps: a comparison needs an equal budget")
    folder = WORKDIR.value
    settings = Settings(
        max_seconds=parse_values(SECONDS.value, "max_seconds"),
        max_env_steps=parse_values(STEPS.value, "max_env_steps"),
        eval_every=parse_values(EVERY.value, "eval_every"),
        selection=parse_pair(SELECTION.value, "selection"),
        report=parse_pair(REPORT.value, "report"),
        bindings=tuple(BINDINGS.value),
        variant=VARIANT.value,
    )
    runs = plan_grid(ENVIRONMENTS.value, METHODS.value, parse_seeds(SEEDS.value), folder, settings)
    reach = parse_values(REACH.value, "reach")
    environments = [one.values["environment"] for one in runs]
    check_names(reach, "reach", environments)
    if DRY_RUN.value:
        print(plan_text(runs))
        return 0
    if RUN.value:
        ends = run_all(runs, in_process(PROGRESS.value), lambda line: print(line, flush=True))
        if status := report(runs, ends):
            return status
    records = read_finished({one.workdir: one.command for one in runs})
    check_agreement(records)  # before anything is measured
    wanted = {record.environment: value_for(reach, name) for record, name in zip(records, environments, strict=True)}
    targets = {name: value for name, value in wanted.items() if value is not None}
    comparison = compare(records, targets, measure(records))
    files = write_comparison(comparison, folder)
    print(f"\n{page(comparison).markdown()}")
    give_result({"runs": run_rows(comparison), "methods": method_rows(comparison)})
    print_files(files)
    return 0


def run() -> None:
    """Console script."""
    start(__name__, main)


if __name__ == "__main__":
    run()
