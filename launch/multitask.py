"""Merge datasets into agents that act in several tasks, without any environment step, and see what each task keeps.

hades multitask --dataset=cartpole-hades-r-d2 --dataset=acrobot-hades-r-d3 --workdir=runs/multitask/classic

Every pair is merged, and all of them together. A dataset is whatever hades.load_dataset takes, or a released
pickle or npz.
"""

from absl import app, flags

from hades.commands.command_line import give_result, import_modules, print_files, start
from hades.commands.path_flags import define_path, define_sources
from hades.policy.trained_policy import parse_policy
from hades.runs.progress import ProgressReport
from hades.studies.generalization.many_datasets import load_datasets
from hades.studies.tasks.numbers import merge_all, multitask
from hades.studies.tasks.page import page, write_multitask

DATASETS = define_sources(
    "dataset", "A dataset: name of the zoo, file, work directory, https:// or hf://; at least two."
)
WORKDIR = define_path("workdir", None, "Gets the numbers, the merged datasets, the matrix and the page.")
INITS = flags.DEFINE_integer("num_inits", 16, "Policies to train from each dataset and merger.", lower_bound=1)
EPISODES = flags.DEFINE_integer("num_episodes", 4, "Whole episodes of each in every task.", lower_bound=1)
SEED = flags.DEFINE_integer("seed", 1, "Of the initial policies and episodes.")
POLICY = flags.DEFINE_string("policy", None, "A network for all policies, such as 'MLP(width=256)'.")
UNION = flags.DEFINE_bool("union", True, "Also merge all datasets, where there are more than two.")
LAYOUT = flags.DEFINE_string("layout", "blocks", "blocks: entries of its own for each task; overlap: shared entries.")
TOKEN = flags.DEFINE_bool("task_token", False, "Append a one-hot vector that says which task it is.")
IMPORTS = flags.DEFINE_multi_string("import_module", [], "A module that registers components of your own; repeatable.")
DRY_RUN = flags.DEFINE_bool("dry_run", False, "List the mergers, and stop.")
PROGRESS = flags.DEFINE_bool("progress", True, "Show progress.")


def main() -> int:
    if len(DATASETS.value) < 2 or WORKDIR.value is None:
        raise app.UsageError("give --dataset at least twice, and --workdir")
    import_modules(IMPORTS.value)
    datasets = load_datasets(DATASETS.value)
    policy = parse_policy(POLICY.value) if POLICY.value else None
    if DRY_RUN.value:
        below = {name: -1e9 for name in datasets}  # floors do not matter for a list
        for names, merged in merge_all(datasets, below, policy=policy, union=UNION.value, layout=LAYOUT.value).items():
            print(f"{' + '.join(names)}: {len(merged)} pairs of shape {merged.environment.spec.obs_shape}")
        return 0
    with ProgressReport(PROGRESS.value) as shown:
        result = multitask(
            datasets,
            INITS.value,
            EPISODES.value,
            SEED.value,
            policy=policy,
            union=UNION.value,
            layout=LAYOUT.value,
            task_token=TOKEN.value,
            progress=shown.counter("groups of policies"),
        )
    files = write_multitask(result, WORKDIR.value)
    print(f"\n{page(result).markdown()}")
    give_result(result.describe())
    print_files(files)
    return 0


def run() -> None:
    """Console script."""
    start(__name__, main)


if __name__ == "__main__":
    run()
