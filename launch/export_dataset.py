"""Write the dataset of a run as one file, or print what a dataset file holds.

hades export --workdir=runs/demo --output=cartpole.safetensors
hades export --workdir=runs/f --output=f.safetensors --embed_init
hades export --dataset=cartpole.safetensors
"""

from absl import app, flags

from hades.commands.command_line import give_result, import_modules, start
from hades.commands.path_flags import define_path, define_source
from hades.data.sources import load_dataset
from hades.runs.export import export_dataset
from hades.text import json_text

WORKDIR = define_path("workdir", None, "A run's work directory, finished or not.")
OUTPUT = define_path("output", None, "Where to write the dataset file.")
EMBED = flags.DEFINE_bool("embed_init", False, "HaDES-F: write the initial weights too, not only their recipe.")
DATASET = define_source(
    "dataset", "Print the header of this dataset instead: name of the zoo, file, https:// or hf://."
)
IMPORTS = flags.DEFINE_multi_string("import_module", [], "A module that registers components of your own; repeatable.")


def main() -> int:
    import_modules(IMPORTS.value)
    if DATASET.value is not None:
        dataset = load_dataset(DATASET.value)
        give_result(dataset.metadata)
        print(json_text(dataset.metadata, indent=1, sort_keys=True))
        print(f"observations {dataset.observations.shape}, targets {dataset.targets.shape}")
        return 0
    if WORKDIR.value is None or OUTPUT.value is None:
        raise app.UsageError("give --workdir and --output, or --dataset")
    path = export_dataset(WORKDIR.value, OUTPUT.value, embed_init=EMBED.value)
    give_result({"dataset": str(path)})
    print(f"dataset: {path} ({path.stat().st_size / 1024:.1f} kB)")
    return 0


def run() -> None:
    """Console script."""
    start(__name__, main)


if __name__ == "__main__":
    run()
