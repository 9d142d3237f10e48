"""The memory plan against XLA's own analysis."""

import dataclasses
from typing import Any

import jax
import pytest

from hades.outer.snes import SNES
from hades.policies.mlp import MLP
from hades.train.experiment import Experiment
from hades.train.loop import CompiledRun
from hades.train.plan import MIB, describe_plan, memory_plan
from tests.train.tiny import tiny_experiment


def large(population_size: int, **changes: Any) -> Experiment:
    """The tiny experiment with wide networks: nothing is run, only compiled."""
    experiment = tiny_experiment()
    learner = dataclasses.replace(experiment.algorithm.learner, policy=MLP(width=512, depth=2))  # type: ignore[attr-defined]
    outer = SNES(population_size=population_size)
    algorithm = dataclasses.replace(experiment.algorithm, learner=learner, outer=outer, **changes)  # type: ignore[type-var]
    return dataclasses.replace(experiment, algorithm=algorithm)


def analysed(experiment: Experiment) -> int:
    run = CompiledRun(experiment)
    analysis = run.lower(run.shapes()["state"]).compile().memory_analysis()
    return int(analysis.temp_size_in_bytes + analysis.output_size_in_bytes)


def test_the_plan_grows_with_the_rollout_batch_and_not_with_the_population() -> None:
    plans = [memory_plan(large(size, rollout_batch=32).algorithm).total for size in (64, 1024)]  # type: ignore[arg-type]
    wide = memory_plan(large(1024, rollout_batch=256).algorithm).total  # type: ignore[arg-type]
    assert plans[1] < 1.1 * plans[0]
    assert wide > 6 * plans[1]


def test_a_dry_run_names_sizes_and_steps() -> None:
    text = describe_plan(tiny_experiment(), compile_too=True)
    assert "genome: 12 numbers" in text
    assert "at most 80 a generation, 960 in 12 generations" in text
    assert f"device: {jax.device_count()} × " in text
    assert "XLA's analysis" in text


@pytest.mark.slow
@pytest.mark.parametrize(("population_size", "changes"), [(768, {}), (512, {"learn_batch": 0})])
def test_the_plan_agrees_with_xla_above_a_gibibyte(population_size: int, changes: dict[str, Any]) -> None:
    experiment = large(population_size, **changes)
    planned, found = memory_plan(experiment.algorithm).total, analysed(experiment)  # type: ignore[arg-type]
    assert found > 1024 * MIB
    assert planned == pytest.approx(found, rel=0.25)
