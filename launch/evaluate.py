"""Train fresh policies from a dataset file and report what they earn beside what the file says.

python launch/evaluate.py --dataset=runs/demo/dataset.safetensors
python launch/evaluate.py --dataset=runs/demo/dataset.safetensors --policy='MLP(width=256, depth=1)' --num_updates=64
"""

import importlib
import json
import time

from absl import app, flags

from hades.data.dataset import load_dataset
from hades.data.files import write_bytes
from hades.train.command_line import start
from hades.train.policies import evaluate_dataset, parse_policy

DATASET = flags.DEFINE_string("dataset", None, "A dataset file.")
INITS = flags.DEFINE_integer("num_inits", 64, "Policies to train.", lower_bound=1)
EPISODES = flags.DEFINE_integer("num_episodes", 4, "Episodes to play with each.", lower_bound=1)
SEED = flags.DEFINE_integer("seed", 1, "Seed of the initial policies and episodes.", lower_bound=0)
POLICY = flags.DEFINE_string("policy", None, "Another policy, such as 'MLP(width=256, depth=1)'.")
LEARNING_RATE = flags.DEFINE_float("learning_rate", None, "Another learning rate.")
UPDATES = flags.DEFINE_integer("num_updates", None, "Another number of updates.")
IMPORTS = flags.DEFINE_multi_string("import_module", [], "A module that registers components of your own; repeatable.")
OUTPUT = flags.DEFINE_string("output", None, "Also write the figures into this JSON file.")


def main() -> int:
    if DATASET.value is None:
        raise app.UsageError("give --dataset")
    for module in IMPORTS.value:
        importlib.import_module(module)
    dataset = load_dataset(DATASET.value)
    asked = {
        "policy": parse_policy(POLICY.value) if POLICY.value else None,
        "learning_rate": LEARNING_RATE.value,
        "num_updates": UPDATES.value,
    }
    changes = {name: value for name, value in asked.items() if value is not None}
    began = time.monotonic()
    print(
        f"Training {INITS.value} policies from {len(dataset)} points for {dataset.environment.spec.name} …", flush=True
    )
    returns = evaluate_dataset(dataset, INITS.value, EPISODES.value, SEED.value, **changes)
    print(f"return:  {returns}")
    if "mean" in dataset.returns:
        print(f"in file: {dataset.returns['mean']:.1f} ({dataset.returns['protocol']}, original recipe)")
        if changes and dataset.returns["mean"] > 0:
            print(f"retention: {100 * returns.mean / dataset.returns['mean']:.0f} %")
    print(f"seconds: {time.monotonic() - began:.1f}, compilation included")
    if OUTPUT.value:
        write_bytes(OUTPUT.value, json.dumps(returns.describe(), indent=1).encode())
    return 0


def run() -> None:
    """Console script."""
    start(__name__, main)


if __name__ == "__main__":
    run()
