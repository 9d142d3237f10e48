"""Time one generation, or one iteration of PPO, against its parts, and measure the memory it takes.

python launch/benchmark.py                                   # the published Breakout network, population 16 × 2
python launch/benchmark.py --gin_bindings='SNES.population_size = 256' --repeats=1
python launch/benchmark.py --config=hopper_hades_r_laptop --warm_up=60
python launch/benchmark.py --config=cartpole_ppo
"""

import functools
import resource

from absl import flags

from hades.algorithms.base import Algorithm
from hades.algorithms.evolution import Evolution
from hades.algorithms.ppo import PPO
from hades.costs.benchmark import generation_costs
from hades.costs.plan import describe_plan
from hades.costs.ppo_benchmark import iteration_costs
from hades.errors import ConfigError
from hades.runs.command_line import start
from hades.runs.gin_config import load_experiment

CONFIG = flags.DEFINE_string("config", "benchmark_breakout", "A config whose fitness plays episodes or a window.")
BINDINGS = flags.DEFINE_multi_string("gin_bindings", [], "A further gin line; repeatable.")
REPEATS = flags.DEFINE_integer("repeats", 5, "Timed repetitions; medians are printed.", lower_bound=1)
WARM_UP = flags.DEFINE_integer(
    "warm_up", 0, "Generations to search before: a random population's episodes are shorter.", lower_bound=0
)
_BASELINE_MIB = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> int:
    experiment = load_experiment(CONFIG.value, BINDINGS.value)
    algorithm = experiment.algorithm
    print(describe_plan(experiment), flush=True)
    print(costs_of(algorithm))
    return 0


@functools.singledispatch
def costs_of(algorithm: Algorithm) -> str:
    """Measure the costs of an algorithm; other packages can register a function for theirs."""
    raise ConfigError(f"The benchmark measures Evolution and PPO, not {type(algorithm).__name__}.")


@costs_of.register
def _evolution(algorithm: Evolution) -> str:
    costs = generation_costs(algorithm, REPEATS.value, WARM_UP.value)
    return f"{costs}\nmemory above the imports: {costs.peak_rss_mib - _BASELINE_MIB:.0f} MiB"


@costs_of.register
def _ppo(algorithm: PPO) -> str:
    return str(iteration_costs(algorithm, REPEATS.value, WARM_UP.value))


def run() -> None:
    """Console script."""
    start(__name__, main)


if __name__ == "__main__":
    run()
