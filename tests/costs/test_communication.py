"""What devices exchange in a generation: counted in the compiled program, and independent of what evaluation costs."""

import pytest

from hades.costs.communication import Collective, collectives, describe
from tests.support import run_python

PROGRAM = """
  %a = f32[16,2]{1,0} all-gather(f32[2,2]{1,0} %x), metadata={op_name="jit(f)/while/body/gather"}
  %b = (f32[10]{0}, /*index=1*/s32[], bf16[3]{0}) all-reduce(%y), metadata={op_name="jit(f)/while/body/while/body/sum"}
  %c = (f32[2]{0}, f32[8]{0}) all-gather-start(f32[2]{0} %v), metadata={op_name="jit(f)/start"}
  %d = f32[8]{0} all-gather-done(%c)
  %e = f32[4]{0} add(%all-reduce.1, %all-gather.2)
"""


def test_every_collective_is_found_with_the_size_of_its_result() -> None:
    found = [("all-gather", 128, 1), ("all-reduce", 50, 2), ("all-gather", 32, 0)]
    assert collectives(PROGRAM) == [Collective(*one) for one in found]


def test_the_largest_comes_first_and_loops_are_named() -> None:
    lines = describe(collectives(PROGRAM), 8).splitlines()
    assert lines[0].endswith("8 devices:")
    assert "128 B" in lines[1]
    assert "50 B (in a loop within the generation)" in lines[2]
    assert "210 B in 3 collectives" in lines[-1]


CODE = """
import dataclasses, json
from hades.fitness.episodic_return import EpisodicReturn
from hades.inner.identity import Identity
from hades.outer.open_es import OpenES
from hades.policies.mlp import MLP
from hades.costs.communication import collectives
from hades.runs.compiled_run import CompiledRun
from hades.types import size_of
from tests.runs.tiny import tiny_experiment

def exchanged(population_size=16, width=8, num_updates=2, num_episodes=1, direct=False):
    experiment = tiny_experiment()
    policy = MLP(width=width, depth=1)
    learner = dataclasses.replace(experiment.algorithm.learner, policy=policy, num_updates=num_updates)
    algorithm = dataclasses.replace(
        experiment.algorithm,
        learner=Identity(policy=policy) if direct else learner,
        outer=OpenES(population_size=population_size),
        fitness=EpisodicReturn(num_episodes=num_episodes),
    )
    run = CompiledRun(dataclasses.replace(experiment, algorithm=algorithm))
    found = collectives(run.lower(run.shapes()["state"]).compile().as_text())
    total, loops = sum(one.num_bytes for one in found), max(one.loops for one in found)
    return {"count": len(found), "bytes": total, "loops": loops, "genome": size_of(algorithm.genome_shapes)}

print(json.dumps({
    "base": exchanged(),
    "dear": exchanged(width=32, num_updates=20, num_episodes=4),
    "wide": exchanged(population_size=64),
    "direct": exchanged(direct=True),
    "direct wide": exchanged(direct=True, population_size=64),
    "direct large": exchanged(direct=True, width=32),
}))
"""


@pytest.fixture(scope="module")
def exchanged() -> dict[str, dict[str, int]]:
    """Of generations on four devices."""
    found: dict[str, dict[str, int]] = run_python(CODE, JAX_NUM_CPU_DEVICES="4")
    return found


def grown(exchanged: dict[str, dict[str, int]], what: str, larger: str, smaller: str) -> int:
    return exchanged[larger][what] - exchanged[smaller][what]


@pytest.mark.slow
@pytest.mark.system
def test_what_evaluation_costs_changes_nothing(exchanged: dict[str, dict[str, int]]) -> None:
    assert exchanged["dear"] == exchanged["base"]


@pytest.mark.system
def test_a_dataset_exchanges_a_number_per_candidate(exchanged: dict[str, dict[str, int]]) -> None:
    assert grown(exchanged, "bytes", "wide", "base") == 4 * (64 - 16)


@pytest.mark.system
def test_direct_es_exchanges_a_number_per_weight(exchanged: dict[str, dict[str, int]]) -> None:
    more_weights = grown(exchanged, "genome", "direct large", "direct")
    assert grown(exchanged, "bytes", "direct large", "direct") == 4 * more_weights > 0
    assert grown(exchanged, "bytes", "direct wide", "direct") == 4 * (64 - 16)


@pytest.mark.system
def test_nothing_is_exchanged_in_loops_within_a_generation(exchanged: dict[str, dict[str, int]]) -> None:
    assert all(one["loops"] == 1 and one["count"] for one in exchanged.values())
