"""Turn released files into dataset files, with their recipe, protocol, published figure and initial weights.

hades import-published --input=brax/distill/hopper/D4/seed0/data_final.pkl --output=hopper.safetensors
hades import-published --input=../shared/published/hadesF_hopper_D64_seed0.npz --output=hopper_f.safetensors
hades import-published --input=../shared/published --output=runs/imported

The pickles are read without running them. A folder is converted whole: the npz files that its index.json lists, and all
pickles below it. --freeze replaces statistics that restart at every evaluation by constant ones, gathered
from policies trained here, so that the file stands alone.
"""

from absl import app, flags

from hades.commands.command_line import give_result, start
from hades.commands.path_flags import define_path
from hades.policy.published import import_published, published_datasets
from hades.policy.trained_policy import freeze_statistics

INPUT = define_path("input", None, "A released pickle or npz file, or a folder of them.")
OUTPUT = define_path("output", None, "The file to write, or the folder for a folder.")
FREEZE = flags.DEFINE_bool("freeze", False, "Replace restarting statistics by constant ones.")


def main() -> int:
    if INPUT.value is None or OUTPUT.value is None:
        raise app.UsageError("give --input and --output")
    source, target = INPUT.value, OUTPUT.value
    pairs = [(source, target)]
    if source.is_dir():
        pairs = [(path, target / f"{name}.safetensors") for name, path in published_datasets(source).items()]
    written = []
    for path, output in pairs:
        dataset = import_published(path)
        if FREEZE.value and dataset.normalizer.has_memory:
            dataset = freeze_statistics(dataset)
        written.append({"input": str(path), "dataset": str(dataset.save(output))})
        print(f"{path.name} -> {output} ({len(dataset)} pairs for {dataset.environment.spec.name})")
    give_result(written)
    return 0


def run() -> None:
    """Console script."""
    start(__name__, main)


if __name__ == "__main__":
    run()
