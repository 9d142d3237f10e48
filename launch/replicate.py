"""Measure every released dataset of a folder under the published protocol and print a table of what they earn.

hades replicate --input=../shared/published --num_inits=32 --workdir=runs/published

A dataset that was measured before with the same settings is read from the workdir, so the program can be stopped and
started again. --stand_alone also plays the sets whose statistics restart at every evaluation over whole episodes, and
with the statistics frozen.
"""

import dataclasses
import time

from absl import app, flags

from hades.commands.command_line import give_result, start
from hades.commands.path_flags import define_path
from hades.policy.published import published_datasets
from hades.policy.replication import replicate, stand_alone_table, table

INPUT = define_path("input", None, "Folder of released pickles, or of npz files and index.json.")
flags.DEFINE_alias("published", "input")
INITS = flags.DEFINE_integer("num_inits", 32, "Policies to train from each dataset.", lower_bound=2)
WORKDIR = define_path("workdir", "runs/published", "Gets one JSON file a dataset.")
SEED = flags.DEFINE_integer("seed", 1, "Seed of the initial policies and episodes.")
STAND_ALONE = flags.DEFINE_bool("stand_alone", False, "Also with whole episodes and frozen statistics.")


def main() -> int:
    if INPUT.value is None:
        raise app.UsageError("give --input")
    replications = []
    for name, path in published_datasets(INPUT.value).items():
        began = time.monotonic()
        done = replicate(path, WORKDIR.value, INITS.value, SEED.value, STAND_ALONE.value, name=name)
        print(f"{name}: {done.ours['mean']:.1f}, {time.monotonic() - began:.0f} s", flush=True)
        replications.append(done)
    give_result([dataclasses.asdict(one) for one in replications])
    print(f"\n{table(replications)}")
    if STAND_ALONE.value:
        print(f"\n{stand_alone_table(replications)}")
    return 0


def run() -> None:
    """Console script."""
    start(__name__, main)


if __name__ == "__main__":
    run()
