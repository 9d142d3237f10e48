"""The study of configuring.md: an evolved learning rate against fixed ones, with fewer updates.

python docs/recipe_table.py --workdir=runs/recipe                    # makes the runs that are missing, prints the table
python docs/recipe_table.py --workdir=runs/recipe --tasks=acrobot    # of one task
python docs/recipe_table.py --workdir=runs/recipe --norun            # prints the table of what is there

All arms of a task are one compiled program, because compiling takes longer here than searching. The number of updates
is an argument of it, and the genome holds the learning rate and Adam's b1 in every arm: an arm that does not evolve one
of them gives its coordinate a step size of 0. Arms differ in nothing else. A search ends with the generation that takes
its environment steps over the budget, and its last mean is the solution. Selection keys choose between fixed rates,
report keys measure. Every solution is also written as a dataset file.
"""

import dataclasses
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags
from jax import Array, lax
from jax.flatten_util import ravel_pytree
from scipy.special import stdtrit
from scipy.stats import ttest_ind

from hades.algorithms.evolution import Evolution, EvolutionState
from hades.algorithms.keys import Stream, stream_key
from hades.commands.command_line import start
from hades.inner.behaviour_cloning import BehaviourCloning
from hades.inner.pairs import CloningGenome
from hades.runs.gin_config import load_experiment
from hades.runs.mesh import make_mesh
from hades.runs.result import distilled_dataset
from hades.text import markdown_table
from hades.types import EnvSpec, Key, Metrics, Params

BUDGETS = {"cartpole": 1_100_000, "acrobot": 2_500_000, "mountain_car": 2_500_000, "pendulum": 4_000_000}
"""Environment steps of a search: a half, a fifth, a fifth and a fifteenth of the generations of the shipped runs."""
INITS, EPISODES = 64, 4
EVOLVED = ("learning_rate", "b1")
HEAD = ("task", "recipe", "updates", "return (95 % interval over seeds)", "learning rate")

WORKDIR = flags.DEFINE_string("workdir", "runs/recipe", "Gets a line for each run, and the datasets.")
TASKS = flags.DEFINE_list("tasks", list(BUDGETS), "Of those with a budget.")
ARMS_ASKED = flags.DEFINE_list("arms", [], "Of ARMS; none: those of the table.")
SEEDS = flags.DEFINE_integer("seeds", 3, "How many, from 0.", lower_bound=2)
NORUN = flags.DEFINE_bool("norun", False, "Only print the table of the runs that are there.")

Row = Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Arm:
    """A recipe: the shipped updates divided by `part`, the shipped rate times `factor`, and what evolves from there."""

    part: int
    factor: float = 1.0
    evolves: tuple[str, ...] = ()


ARMS = {
    "shipped": Arm(1),
    "half": Arm(2),
    "quarter": Arm(4),
    "quarter_x4": Arm(4, 4.0),
    "quarter_evolved": Arm(4, evolves=("learning_rate",)),
    "sixteenth": Arm(16),
    "sixteenth_x4": Arm(16, 4.0),
    "sixteenth_x16": Arm(16, 16.0),
    "sixteenth_evolved": Arm(16, evolves=("learning_rate",)),
    "evolved": Arm(1, evolves=("learning_rate",)),
    "momentum": Arm(4, evolves=EVOLVED),
}
ROWS = {
    "as shipped": ("shipped",),
    "half of the updates": ("half",),
    "a quarter": ("quarter",),
    "a quarter, best fixed rate": ("quarter", "quarter_x4"),
    "a quarter, evolved rate": ("quarter_evolved",),
    "a sixteenth": ("sixteenth",),
    "a sixteenth, best fixed rate": ("sixteenth", "sixteenth_x4", "sixteenth_x16"),
    "a sixteenth, evolved rate": ("sixteenth_evolved",),
    "all updates, evolved rate": ("evolved",),
}
"""Arms of each line of the table. Of several, the line shows the one with the best mean return on selection keys."""
TITLES = {names[0]: title for title, names in ROWS.items() if len(names) == 1}
COMPARED = (
    ("quarter_evolved", "shipped"),
    ("quarter", "shipped"),
    ("half", "shipped"),
    ("evolved", "shipped"),
    ("quarter_evolved", "quarter"),
    ("sixteenth_evolved", "sixteenth"),
)
COMPARED_HEAD = ("task", "recipe", "less", "difference (Welch's 95 % interval)")
SHOWN = tuple(dict.fromkeys(name for names in ROWS.values() for name in names))


@dataclasses.dataclass(frozen=True, eq=False)
class Counted(BehaviourCloning):
    """Behaviour cloning whose number of updates may be traced."""

    updates: Any = None

    def learn(self, key: Key, genome: CloningGenome, params: Params, spec: EnvSpec) -> tuple[Params, Metrics]:
        pairs, recipe = self.dataset(genome, spec), self.recipe(genome)
        return self.clone(key, pairs, params, spec, **recipe, num_updates=self.updates)


def counted(learner: BehaviourCloning, updates: Array | int) -> Counted:
    """The same learner with a number of updates that may be traced."""
    fields = {field.name: getattr(learner, field.name) for field in dataclasses.fields(learner)}
    return Counted(**fields, updates=updates)


def algorithm_of(task: str) -> tuple[Evolution, BehaviourCloning]:
    """The shipped search, with the learning rate and b1 in the genome, and its learner."""
    lines = [f"BehaviourCloning.evolve = {EVOLVED}", "BehaviourCloning.optimizer_options = (('b1', 0.9),)"]
    algorithm = cast(Evolution, load_experiment(f"{task}_hades_r", lines).algorithm)
    return algorithm, cast(BehaviourCloning, algorithm.learner)


def programs(algorithm: Evolution, learner: BehaviourCloning, budget: int) -> tuple[Callable[..., Any], ...]:
    """Compiled functions: a search, and the mean returns of its solution on selection and report keys."""
    mesh = make_mesh()

    @jax.jit
    def search(
        seed: Array, updates: Array, codes: Mapping[str, Array], moves: Mapping[str, Array]
    ) -> tuple[EvolutionState, Array]:
        evolution = dataclasses.replace(algorithm, learner=counted(learner, updates))
        first = evolution.init(jax.random.key(seed))
        mean, std = (evolution.unravel(x) for x in (first.outer.mean, first.outer.std))
        mean = dataclasses.replace(mean, recipe=dict(codes))
        std = dataclasses.replace(std, recipe={name: moves[name] * x for name, x in std.recipe.items()})
        outer = dataclasses.replace(first.outer, mean=ravel_pytree(mean)[0], std=ravel_pytree(std)[0])

        def generation(carry: tuple[EvolutionState, Array]) -> tuple[EvolutionState, Array]:
            state, metrics = evolution.step(carry[0], mesh)
            return state, carry[1] + metrics["env_steps"]

        begin = dataclasses.replace(first, outer=outer), jnp.zeros((), jnp.int32)
        return lax.while_loop(lambda carry: carry[1] < budget, generation, begin)

    @jax.jit
    def measure(seed: Array, updates: Array, state: EvolutionState) -> Array:
        evolution = dataclasses.replace(algorithm, learner=counted(learner, updates))
        solution = evolution.solution(state)
        keys = jnp.stack([stream_key(jax.random.key(seed), s) for s in (Stream.SELECTION, Stream.REPORT)])
        return lax.map(lambda key: evolution.evaluate(key, solution, INITS, EPISODES).returns.mean(), keys)

    return search, measure


def make(task: str, names: Sequence[str], seeds: int, folder: Path) -> None:
    """Make the runs of a task that its file does not have."""
    file = folder / f"{task}.jsonl"
    done = {(row["arm"], row["seed"]) for row in read(file)}
    missing = [(name, seed) for seed in range(seeds) for name in names if (name, seed) not in done]
    if not missing:
        return
    algorithm, learner = algorithm_of(task)
    search, measure = programs(algorithm, learner, BUDGETS[task])
    for name, seed in missing:
        arm = ARMS[name]
        updates = learner.num_updates // arm.part
        codes = {"learning_rate": jnp.log(arm.factor), "b1": jnp.zeros(())}
        moves = {number: jnp.float32(number in arm.evolves) for number in EVOLVED}
        state, steps = search(seed, updates, codes, moves)
        selection, report = measure(seed, updates, state)
        sized = dataclasses.replace(algorithm, learner=dataclasses.replace(learner, num_updates=updates))
        solution = sized.solution(state)
        dataset = distilled_dataset(sized, solution)
        assert dataset is not None  # it evolves one
        dataset.save(folder / f"{task}-{name}-{seed}.safetensors")
        row = {"arm": name, "seed": seed, "updates": updates, "generations": int(state.generation)}
        row |= {"env_steps": int(steps), "selection": float(selection), "report": float(report)}
        row |= {number: float(value) for number, value in sized.learner.recipe(solution.genome).items()}
        with file.open("a") as out:
            out.write(json.dumps(row) + "\n")
        print(task, row, flush=True)


def read(file: Path) -> list[Row]:
    """The lines of a task's file."""
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def interval(returns: Sequence[float]) -> tuple[float, float, float]:
    """Mean over seeds, and the ends of Student's 95 % interval."""
    mean, count = float(np.mean(returns)), len(returns)
    half = float(stdtrit(count - 1, 0.975)) * float(np.std(returns, ddof=1)) / count**0.5
    return mean, mean - half, mean + half


def chosen(rows: Mapping[str, Sequence[Row]], names: Sequence[str]) -> str:
    """The arm with the best mean return on selection keys."""
    return max(names, key=lambda name: np.mean([row["selection"] for row in rows[name]]))


def lines(task: str, rows: Sequence[Row]) -> Iterator[tuple[str, ...]]:
    """Lines of the table: those whose arms all have two runs or more."""
    by_arm = {name: [row for row in rows if row["arm"] == name] for name in ARMS}
    for title, names in ROWS.items():
        if min(len(by_arm[name]) for name in names) < 2:
            continue
        runs = by_arm[chosen(by_arm, names)]
        mean, low, high = interval([row["report"] for row in runs])
        rates = " to ".join(dict.fromkeys(f"{pick(row['learning_rate'] for row in runs):.2g}" for pick in (min, max)))
        yield task, title, str(runs[0]["updates"]), f"{mean:.1f} ({low:.1f} to {high:.1f})", rates


def differences(task: str, rows: Sequence[Row]) -> Iterator[tuple[str, ...]]:
    """Lines of the second table: the first arm's mean return less the second's, with Welch's 95 % interval."""
    for names in COMPARED:
        first, second = ([row["report"] for row in rows if row["arm"] == name] for name in names)
        if min(len(first), len(second)) > 1:
            low, high = ttest_ind(first, second, equal_var=False).confidence_interval()
            less = np.mean(first) - np.mean(second)
            yield task, *(TITLES[name] for name in names), f"{less:+.1f} ({low:.1f} to {high:.1f})"


def main() -> int:
    folder = Path(WORKDIR.value)
    folder.mkdir(parents=True, exist_ok=True)
    if not NORUN.value:
        for task in TASKS.value:
            make(task, ARMS_ASKED.value or SHOWN, SEEDS.value, folder)
    rows = {task: read(folder / f"{task}.jsonl") for task in TASKS.value}
    print(markdown_table(HEAD, [line for task in rows for line in lines(task, rows[task])]))
    print(markdown_table(COMPARED_HEAD, [line for task in rows for line in differences(task, rows[task])]))
    return 0


if __name__ == "__main__":
    start(__name__, main)
