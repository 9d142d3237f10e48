"""Read a dataset: how far its observations lie from visited states, and what each pair is worth.

hades inspect --dataset=cartpole-hades-r-d2 --workdir=runs/reading
hades inspect --dataset=runs/demo/dataset.safetensors --workdir=runs/reading --features='pole angle,cart velocity'
hades inspect --workdir=runs/demo

Writes reading.json, and report.html with what it says, into the folder. Given a dataset, the folder also gets a copy.
"""

import json
import time

from absl import app, flags

from hades.commands.command_line import give_result, import_modules, start
from hades.commands.path_flags import define_path, define_source
from hades.report.report import write_report
from hades.studies.inspection.numbers import Inspection, inspect_dataset
from hades.studies.inspection.prepare import prepare_dataset

DATASET = define_source(
    "dataset", "A dataset: name of the zoo, file, work directory, https:// or hf://; or a released file."
)
WORKDIR = define_path("workdir", None, "Folder to write into; without --dataset, that of the run to inspect.")
FEATURES = flags.DEFINE_list("features", [], "Two features to show the policy's actions over; default: the report's.")
INITS = flags.DEFINE_integer("num_inits", 8, "Policies to train for each measurement.", lower_bound=1)
EPISODES = flags.DEFINE_integer("num_episodes", 4, "Whole episodes to play with each.", lower_bound=1)
SEED = flags.DEFINE_integer("seed", 0, "Seed of the policies and episodes.")
IMPORTS = flags.DEFINE_multi_string("import_module", [], "A module that registers components of your own; repeatable.")


def main() -> int:
    if WORKDIR.value is None:
        raise app.UsageError("give --workdir (and --dataset, unless it is the folder of a run)")
    import_modules(IMPORTS.value)
    began = time.monotonic()

    def say(text: str) -> None:
        print(f"[{time.monotonic() - began:5.1f} s] {text} …", flush=True)

    dataset = prepare_dataset(WORKDIR.value, DATASET.value)
    print(f"{len(dataset)} pairs for {dataset.environment.spec.name}", flush=True)
    features = [name.strip() for name in FEATURES.value]
    inspection = inspect_dataset(dataset, INITS.value, EPISODES.value, SEED.value, features, say)
    path = inspection.save(WORKDIR.value)
    give_result(json.loads(path.read_text()))
    say("report")
    report = write_report(WORKDIR.value)
    print("\n".join(summary_lines(inspection)))
    print(f"seconds: {time.monotonic() - began:.1f}, compilation included")
    print(f"numbers: {path}\nreport:  {report}")
    return 0


def summary_lines(inspection: Inspection) -> list[str]:
    """A line a pair: how far from the nearest visited state, and what it is worth."""
    nearest, influence = inspection.nearest, inspection.influence
    far = f"visited states are {nearest.neighbour_median:.2f} apart (95 %: up to {nearest.neighbour_far:.2f})"
    lines = [f"distances in standard deviations; {far}", f"return with all pairs: {influence.returns:.1f}"]
    for i, near in enumerate(nearest.pairs):
        place = "among the visited states" if nearest.is_visited(i) else "off the visited states"
        line = f"pair {i + 1}: distance {near.distance:.2f}, {place}"
        if influence.pairs:
            pair = influence.pairs[i]
            line += f"; worth {pair.influence:.1f} (without it {pair.without:.1f})"
        lines.append(line)
    if not influence.pairs:
        lines.append("Without its only pair nothing is left to train on, so no influence is measured.")
    return lines


def run() -> None:
    """Console script."""
    start(__name__, main)


if __name__ == "__main__":
    run()
