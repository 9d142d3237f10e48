"""Readable pairs: move the pairs of a dataset to states that policies visit, and measure what that costs.

hades readable --dataset=cartpole-hades-r-d2 --workdir=runs/readable
hades readable --workdir=runs/demo --strengths=0.5,1

Without --dataset, the dataset is that of the run in --workdir: the study goes into its folder `readable`, and the
report of the run begins with the pairs of the best readable dataset. Writes a dataset file for each strength, and the
front of return against readability as a table, a figure and a page. Searches that are finished are reused and
interrupted ones continue: after a stop, run the same command again.
"""

import json
import time
from pathlib import Path

from absl import app, flags

from hades.commands.command_line import give_result, import_modules, print_files, start
from hades.commands.path_flags import define_path, define_source
from hades.errors import ConfigError
from hades.policy.published import load_any_dataset
from hades.report.report import write_report
from hades.runs.signals import INTERRUPTED
from hades.studies.plan_runs import parse_pair
from hades.studies.readable.numbers import FOLDER, check_strengths, measure_front
from hades.studies.readable.page import write_front
from hades.studies.readable.project import Protocol, Search, check_projectable

DATASET = define_source(
    "dataset", "A dataset: name of the zoo, file, work directory, https:// or hf://; or a released file."
)
WORKDIR = define_path("workdir", None, "Gets the study; without --dataset, that of the run to study.")
STRENGTHS = flags.DEFINE_list("strengths", ["0.5", "0.9", "1"], "How far to move the pairs: above 0, up to 1.")
WITHIN = flags.DEFINE_float("within", 0.0, "Radius at strength 1 as a multiple of the band; 0: onto visited states.")
ROUNDS = flags.DEFINE_integer("rounds", 4, "Most searches at strength 1.", lower_bound=1)
BY = flags.DEFINE_enum("by", "evolution", ["evolution", "gradient"], "How to search.")
LEARNING_RATE = flags.DEFINE_float("learning_rate", 1e-3, "By gradient: rate at the beginning; it falls to 0.")
VISITED_WEIGHT = flags.DEFINE_float("visited_weight", 1.0, "By gradient: pull of the visited states on the pairs.")
GENERATIONS = flags.DEFINE_integer(
    "generations", 60, "Generations of a search; by gradient, of 8192 steps.", lower_bound=1
)
POPULATION = flags.DEFINE_integer("population_size", 64, "Candidates of a generation; even.", lower_bound=2)
SIGMA = flags.DEFINE_float("sigma", 0.3, "Initial step size in standard deviations of a visited feature.")
SECONDS = flags.DEFINE_float("max_seconds", None, "Seconds after which a search ends; default: none.")
SEARCH = flags.DEFINE_list("search", ["4", "2"], "Policies and episodes of a candidate in the search.")
SELECTION = flags.DEFINE_list("selection", ["32", "2"], "Policies and episodes of an evaluation during the search.")
REPORT = flags.DEFINE_list("report", ["64", "4"], "Policies and episodes of the report of each dataset.")
VISITS = flags.DEFINE_list("visits", ["16", "2"], "Policies and episodes whose states count as visited.")
SEED = flags.DEFINE_integer("seed", 0, "Seed of all keys.")
DRY_RUN = flags.DEFINE_bool("dry_run", False, "List the searches, and stop.")
IMPORTS = flags.DEFINE_multi_string("import_module", [], "A module that registers components of your own; repeatable.")


def main() -> int:
    if WORKDIR.value is None:
        raise app.UsageError("give --workdir (and --dataset, unless it is the folder of a run)")
    import_modules(IMPORTS.value)
    began = time.monotonic()

    def say(text: str) -> None:
        print(f"[{time.monotonic() - began:5.1f} s] {text} …", flush=True)

    strengths = check_strengths(list(map(_number, STRENGTHS.value)))
    num_inits, num_episodes = parse_pair(SEARCH.value, "search")
    settings = Search(
        by=BY.value,
        learning_rate=LEARNING_RATE.value,
        visited_weight=VISITED_WEIGHT.value,
        generations=GENERATIONS.value,
        population_size=POPULATION.value,
        sigma=SIGMA.value,
        num_inits=num_inits,
        num_episodes=num_episodes,
        max_seconds=SECONDS.value,
    )
    protocol = Protocol(
        seed=SEED.value,
        visits=parse_pair(VISITS.value, "visits"),
        selection=parse_pair(SELECTION.value, "selection"),
        report=parse_pair(REPORT.value, "report"),
    )
    source = WORKDIR.value if DATASET.value is None else DATASET.value
    folder = WORKDIR.value if DATASET.value is not None else WORKDIR.value / FOLDER
    dataset = load_any_dataset(source)
    check_projectable(dataset, str(source))
    print(f"{len(dataset)} pairs for {dataset.environment.spec.name}", flush=True)
    if DRY_RUN.value:
        print("\n".join(f"strength {s:g}: {search_text(settings, s, ROUNDS.value)}" for s in strengths))
        return 0
    given = (WITHIN.value, ROUNDS.value, say)
    front = measure_front(dataset, str(source), folder, strengths, settings, protocol, *given)
    if front is None:
        return INTERRUPTED
    files: dict[str, Path] = write_front(front, folder)
    if DATASET.value is None:
        files["report"] = write_report(WORKDIR.value)
    print(f"\n{files['markdown'].read_text()}")
    give_result(json.loads(files["numbers"].read_text()))
    print_files(files)
    return 0


def search_text(settings: Search, strength: float, rounds: int) -> str:
    """The searches at one strength in words."""
    limit = "" if settings.max_seconds is None else f", at most {settings.max_seconds:g} s"
    count = f"up to {rounds} searches of" if strength == 1.0 and rounds > 1 else "a search of"
    if settings.by == "gradient":
        return f"{count} {settings.generations} iterations by gradient{limit}"
    return f"{count} {settings.generations} generations × {settings.population_size} candidates{limit}"


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ConfigError(f'--strengths names "{text}", which is no number: write it like 0.5,1.') from None


def run() -> None:
    """Console script."""
    start(__name__, main)


if __name__ == "__main__":
    run()
