"""Train policies of other shapes, by other recipes, from finished datasets, and see what each keeps of the return.

hades generalize --dataset=cartpole-hades-r-d2 --workdir=runs/generalize/cartpole
hades generalize --dataset=freeway-hades-r-d6 --dataset=freeway-hades-f-d6 --widths=32,64 --depths=1,2 \
    --activations=relu --learning_rates=1/3,1,3 --policies='CNN(width=64)' --workdir=runs/generalize/freeway

A dataset is whatever hades.load_dataset takes, or a released pickle or npz. What the work directory holds of
the same grid is not measured again; results of another grid are replaced.
"""

from absl import app, flags

from hades.commands.command_line import give_result, import_modules, print_files, start
from hades.commands.path_flags import define_path, define_sources
from hades.runs.progress import ProgressReport
from hades.studies.generalization.grid import parse_grid
from hades.studies.generalization.groups import count_programs
from hades.studies.generalization.many_datasets import FILE, generalize_all, load_datasets
from hades.studies.generalization.page import page, write_generalization

DATASETS = define_sources("dataset", "A dataset: name of the zoo, file, work directory, https:// or hf://; repeatable.")
WORKDIR = define_path("workdir", None, "Gets the numbers, the figures and the page.")
AXES = {
    "widths": flags.DEFINE_list("widths", ["32", "64", "128", "256"], "Units of the hidden layers of MLPs."),
    "depths": flags.DEFINE_list("depths", ["1", "2", "3"], "Hidden layers of MLPs."),
    "activations": flags.DEFINE_list("activations", ["tanh", "relu", "gelu"], "Of MLPs."),
    "learning_rates": flags.DEFINE_list("learning_rates", ["1/3", "1", "3"], "Factors on the recipe's."),
    "num_updates": flags.DEFINE_list("num_updates", ["1"], "Factors on the recipe's."),
    "optimizers": flags.DEFINE_list("optimizers", ["original"], "original, or of optax: sgd, sgd=0.1 (its rate)."),
    "init_scales": flags.DEFINE_list("init_scales", ["1"], "Factors on the gain of hidden layers."),
    "learners": flags.DEFINE_multi_string("learners", ["original"], "BehaviourCloning(batch_size=1); repeatable."),
    "acting": flags.DEFINE_list("acting", ["original"], "original, sample or greedy."),
    "policies": flags.DEFINE_multi_string("policies", [], "Further networks such as CNN(width=64); repeatable."),
}
INITS = flags.DEFINE_integer("num_inits", 8, "Initial policies of each recipe.", lower_bound=1)
EPISODES = flags.DEFINE_integer("num_episodes", 4, "Whole episodes of each policy.", lower_bound=1)
SEED = flags.DEFINE_integer("seed", 1, "Of initial policies and episodes.")
IMPORTS = flags.DEFINE_multi_string("import_module", [], "A module that registers components of your own; repeatable.")
DRY_RUN = flags.DEFINE_bool("dry_run", False, "Count recipes, compilations and steps, and stop.")
PROGRESS = flags.DEFINE_bool("progress", True, "Show progress.")


def main() -> int:
    if not DATASETS.value or WORKDIR.value is None:
        raise app.UsageError("give --dataset and --workdir")
    import_modules(IMPORTS.value)
    grid, datasets = parse_grid({axis: flag.value for axis, flag in AXES.items()}), load_datasets(DATASETS.value)
    for name, dataset in datasets.items():
        learners = [cell.learner for cell in grid.cells(dataset)]
        policies, spec = len(learners) * INITS.value, dataset.environment.spec
        steps = policies * EPISODES.value * spec.max_episode_steps
        print(
            f"{name}: {len(learners)} recipes in {count_programs(learners)} compilations, {policies:,} policies, "
            f"at most {steps:,} steps of {spec.name}",
            flush=True,
        )
    if DRY_RUN.value:
        return 0
    folder = WORKDIR.value
    with ProgressReport(PROGRESS.value) as shown:
        results = generalize_all(
            datasets,
            grid,
            folder,
            INITS.value,
            EPISODES.value,
            SEED.value,
            say=shown.say,
            progress=shown.counter("policies"),
        )
    files = write_generalization(results, folder)
    print(f"\n{page(results).markdown()}")
    give_result({"results": [result.describe() for result in results]})
    print_files({"numbers": folder / FILE, **files})
    return 0


def run() -> None:
    """Console script."""
    start(__name__, main)


if __name__ == "__main__":
    run()
