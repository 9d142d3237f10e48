"""Time one generation or iteration against its parts, of every stage that searches, and measure the memory it takes.

hades benchmark                                   # the published Breakout network, population 16 × 2
hades benchmark --gin_bindings='SNES.population_size = 256' --repeats=1
hades benchmark --config=hopper_hades_r_laptop --warm_up=60
hades benchmark --config=cartpole_ppo
hades benchmark --engines --environments=hopper,reacher      # Brax by each engine: speed and error of one step
"""

import functools
import resource

from absl import flags

from hades.algorithms.base import Algorithm
from hades.algorithms.evolution import Evolution
from hades.algorithms.gradient_distillation import GradientDistillation
from hades.algorithms.ppo import PPO
from hades.commands.command_line import give_result, start
from hades.commands.path_flags import define_sources
from hades.costs import engines
from hades.costs.benchmark import generation_costs
from hades.costs.iteration_benchmark import iteration_costs
from hades.costs.plan import describe_plan
from hades.data import zoo
from hades.data.sources import load_dataset
from hades.environments.brax import Brax
from hades.environments.rollout import RunningAct, random_policy
from hades.errors import ConfigError, notice
from hades.policy.trained_policy import train_policy
from hades.runs.gin_config import load_experiment
from hades.runs.stages import stages

CONFIG = flags.DEFINE_string("config", "benchmark_breakout", "A config whose fitness plays episodes or a window.")
BINDINGS = flags.DEFINE_multi_string("gin_bindings", [], "A further gin line; repeatable.")
REPEATS = flags.DEFINE_integer("repeats", 5, "Timed repetitions; medians are printed.", lower_bound=1)
WARM_UP = flags.DEFINE_integer(
    "warm_up", 0, "Generations to search before: a random population's episodes are shorter.", lower_bound=0
)
ENGINES = flags.DEFINE_bool("engines", False, "Compare the engines of Brax: speed, error of one step, and returns.")
ENVIRONMENTS = flags.DEFINE_list("environments", list(engines.TASKS), "What --engines compares: environments of Brax.")
flags.DEFINE_alias("tasks", "environments")
BATCHES = flags.DEFINE_list("batches", ["64", "256"], "Environments side by side, for --engines.")
STATES = flags.DEFINE_integer("states", 10_000, "States from which --engines takes one step; 0: none.", lower_bound=0)
EPISODES = flags.DEFINE_integer(
    "episodes", 0, "Whole episodes of each dataset that --engines plays with each engine; 0: none.", lower_bound=0
)
DATASETS = define_sources("dataset", "A further dataset whose policies --engines plays; repeatable.")
flags.DEFINE_alias("datasets", "dataset")  # took several, separated by commas
_BASELINE_MIB = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> int:
    if ENGINES.value:
        tables = compare_engines()
        print(tables)
        give_result({"markdown": tables})
        return 0
    experiment = load_experiment(CONFIG.value, BINDINGS.value)
    print(describe_plan(experiment), flush=True)
    costs = []
    for stage in stages(experiment):
        if stage.generations:
            costs.append(costs_of(stage.algorithm))
            print(costs[-1], flush=True)
    give_result({"costs": costs})
    return 0


def compare_engines() -> str:
    """Compare steps per CPU-second through the adapter, the error of one step against double precision, and returns.

    The states are those that random policies, and those of the zoo's and the given datasets, meet. Returns tables in
    Markdown; progress goes to stderr.
    """
    rates, anchors, errors = {}, {}, {}
    given = [path for value in DATASETS.value for path in str(value).split(",")]
    datasets = [*map(zoo.load, zoo.names()), *map(load_dataset, given)]
    for task in ENVIRONMENTS.value:
        env = Brax(task)
        rates[task] = engines.measure_rates(env, [int(batch) for batch in BATCHES.value], REPEATS.value)
        anchors[task] = engines.mujoco_rate(env)
        notice(engines.rates_table({task: rates[task]}, anchors))
        if STATES.value:
            policies = [train_policy(dataset).act for dataset in datasets if dataset.environment.spec.name == task]
            acts = [random_policy(env.spec), *(act for act in policies if not isinstance(act, RunningAct))]
            errors[task] = engines.one_step_errors(env, *engines.visited_states(env, acts, STATES.value))
            notice(engines.errors_table({task: errors[task]}))
    tables = ["Thousands of environment steps per CPU-second:", engines.rates_table(rates, anchors)]
    if EPISODES.value:
        returns = {}
        for dataset in datasets:
            name = dataset.environment.spec.name
            if name in ENVIRONMENTS.value:
                label = f"{name}, {len(dataset.observations)} pairs"
                returns[label] = engines.returns_by_engine(dataset, 4, -(-EPISODES.value // 4))
                notice(engines.returns_table({label: returns[label]}))
        tables += ["Returns of whole episodes:", engines.returns_table(returns)]
    if errors:
        tables += ["Error of one step, native (XLA in single precision):", engines.errors_table(errors)]
    return "\n\n".join(tables)


@functools.singledispatch
def costs_of(algorithm: Algorithm) -> str:
    """Measure the costs of an algorithm; other packages can register a function for theirs."""
    raise ConfigError(
        f"The benchmark measures Evolution, PPO and GradientDistillation, not {type(algorithm).__name__}."
    )


@costs_of.register
def _evolution(algorithm: Evolution) -> str:
    costs = generation_costs(algorithm, REPEATS.value, WARM_UP.value)
    return f"{costs}\nmemory above the imports: {costs.peak_rss_mib - _BASELINE_MIB:.0f} MiB"


@costs_of.register
def _iteration(algorithm: PPO | GradientDistillation) -> str:
    return str(iteration_costs(algorithm, REPEATS.value, WARM_UP.value))


def run() -> None:
    """Console script."""
    start(__name__, main)


if __name__ == "__main__":
    run()
