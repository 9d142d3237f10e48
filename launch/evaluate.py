"""Train fresh policies from a dataset file and report what they earn beside what the file says.

hades evaluate --dataset=runs/demo/dataset.safetensors
hades evaluate --dataset=runs/demo/dataset.safetensors --policy='MLP(width=256, depth=1)' --num_updates=64
hades evaluate --dataset=../shared/published/hadesR_hopper_D4_constnorm_seed0.npz

A file is measured as its own returns were: over whole episodes, or by the protocol that it names, such as the
fixed window of the released files.
"""

import time

from absl import app, flags

from hades.commands.command_line import give_result, import_modules, start
from hades.commands.path_flags import define_path, define_source
from hades.data.files import write_bytes
from hades.fitness.episodic_return import EpisodicReturn
from hades.policy.published import load_any_dataset, remeasured_text
from hades.policy.trained_policy import evaluate_dataset, parse_policy
from hades.text import json_text

DATASET = define_source(
    "dataset", "A dataset: name of the zoo, file, work directory, https:// or hf://; or a released file."
)
INITS = flags.DEFINE_integer("num_inits", 64, "Policies to train.", lower_bound=1)
EPISODES = flags.DEFINE_integer("num_episodes", 4, "Whole episodes to play with each.", lower_bound=1)
WHOLE = flags.DEFINE_bool("whole_episodes", False, "Over whole episodes, whatever protocol the file names.")
SEED = flags.DEFINE_integer("seed", 1, "Seed of the initial policies and episodes.")
POLICY = flags.DEFINE_string(
    "policy",
    None,
    "Another policy, such as 'MLP(width=256, depth=1)'; how it acts and its gains are the dataset's own unless given.",
)
LEARNING_RATE = flags.DEFINE_float("learning_rate", None, "Another learning rate.")
UPDATES = flags.DEFINE_integer("num_updates", None, "Another number of updates.")
IMPORTS = flags.DEFINE_multi_string("import_module", [], "A module that registers components of your own; repeatable.")
OUTPUT = define_path("output", None, "Also write the figures into this JSON file.")


def main() -> int:
    if DATASET.value is None:
        raise app.UsageError("give --dataset")
    import_modules(IMPORTS.value)
    dataset = load_any_dataset(DATASET.value)
    asked = {
        "policy": parse_policy(POLICY.value, like=dataset.learner.policy) if POLICY.value else None,
        "learning_rate": LEARNING_RATE.value,
        "num_updates": UPDATES.value,
    }
    changes = {name: value for name, value in asked.items() if value is not None}
    began = time.monotonic()
    print(
        f"Training {INITS.value} policies from {len(dataset)} pairs for {dataset.environment.spec.name} …", flush=True
    )
    protocol = EpisodicReturn(EPISODES.value) if WHOLE.value else None
    returns = evaluate_dataset(dataset, INITS.value, EPISODES.value, SEED.value, protocol, **changes)
    print(f"return:  {returns}")
    if "mean" in dataset.returns:
        measured_under = dataset.returns.get("protocol", "no protocol stated")
        print(f"in file: {dataset.returns['mean']:.1f} ({measured_under}, original recipe)")
        if "remeasured" in dataset.returns:
            print(f"today:   {remeasured_text(dataset)}")
        original = dataset.returns.get("remeasured", dataset.returns)["mean"]
        if changes and original > 0 and (dataset.protocol is None or not WHOLE.value):
            print(f"retention: {100 * returns.mean / original:.0f} %")
    print(f"seconds: {time.monotonic() - began:.1f}, compilation included")
    give_result(returns.describe())
    if OUTPUT.value:
        write_bytes(OUTPUT.value, json_text(returns.describe(), indent=1).encode())
    return 0


def run() -> None:
    """Console script."""
    start(__name__, main)


if __name__ == "__main__":
    run()
