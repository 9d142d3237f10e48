"""Time one generation against its parts, and measure the memory it takes.

python launch/benchmark.py                                   # the published Breakout network, population 16 × 2
python launch/benchmark.py --gin_bindings='SNES.population_size = 256' --repeats=1
"""

import resource

from absl import flags

from hades.algorithms.evolution import Evolution
from hades.errors import ConfigError
from hades.fitness.windowed_return import WindowedReturn
from hades.train.benchmark import generation_costs
from hades.train.command_line import start
from hades.train.gin_config import load_experiment
from hades.train.plan import describe_plan

CONFIG = flags.DEFINE_string("config", "benchmark_breakout", "A config whose fitness is WindowedReturn.")
BINDINGS = flags.DEFINE_multi_string("gin_bindings", [], "A further gin line; repeatable.")
REPEATS = flags.DEFINE_integer("repeats", 5, "Timed repetitions; medians are printed.", lower_bound=1)
_BASELINE_MIB = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> int:
    experiment = load_experiment(CONFIG.value, BINDINGS.value)
    algorithm = experiment.algorithm
    if not isinstance(algorithm, Evolution) or not isinstance(algorithm.fitness, WindowedReturn):
        raise ConfigError(
            "The benchmark needs Evolution with WindowedReturn, so that every policy takes the same steps."
        )
    print(describe_plan(experiment), flush=True)
    costs = generation_costs(algorithm, REPEATS.value)
    print(costs)
    print(f"memory above the imports: {costs.peak_rss_mib - _BASELINE_MIB:.0f} MiB")
    return 0


def run() -> None:
    """Console script."""
    start(__name__, main)


if __name__ == "__main__":
    run()
