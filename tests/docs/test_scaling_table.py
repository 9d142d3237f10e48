"""The script beside scaling.md: the regimes that its model knows, and that its parts come from a run's shapes."""

import dataclasses
import subprocess
import sys

import pytest

from hades.errors import ConfigError
from hades.fitness.regularizers import DatasetL2
from hades.runs.experiment import Experiment
from tests.runs.tiny import tiny_experiment
from tests.support import LEARNING, ROOT

sys.path.insert(0, str(ROOT / "docs"))
from scaling_table import H100, V5E, Machine, Work, predict, table, work_of

MACHINE = Machine("m", 1e12, 1e12, 1e9, 1e-6, 1e-5, 1e9)
WORK = Work(
    policies=1024,
    episodes=4,
    steps=100,
    updates=10,
    points=8,
    weights=10_000,
    env_flops=10.0,
    env_bytes=10.0,
    update_kernels=5,
    step_kernels=7,
    exchanged=4000,
    selection=(16, 4, 10),
)


def test_memory_traffic_bounds_many_policies() -> None:
    found = predict(WORK, dataclasses.replace(MACHINE, flops=1e13), 1)
    assert found.cloning == pytest.approx(10 * 1024 * 7 * 4 * 10_000 / 1e12)
    assert found.stepping == pytest.approx(100 * (1024 * 4 * 10_000 + 4096 * 10) / 1e12)
    assert found.exchange == 0.0


def test_arithmetic_bounds_many_points() -> None:
    many = dataclasses.replace(WORK, points=1000)
    assert predict(many, MACHINE, 1).cloning == pytest.approx(10 * 1024 * (6000 + 12) * 10_000 / 1e12)


def test_the_chain_of_kernels_bounds_many_devices() -> None:
    found = predict(WORK, MACHINE, 1024)
    assert found.cloning == pytest.approx(10 * 5 * 1e-6)
    assert found.stepping == pytest.approx(100 * 7 * 1e-6)
    assert found.exchange == pytest.approx(4 * 1e-5 + 2 * 4000 / 1e9)


def test_what_does_not_fit_takes_several_chains() -> None:
    small = dataclasses.replace(MACHINE, memory=1e8, flops=1e20, bandwidth=1e20)
    held = 1024 * 10_000 * 28
    assert predict(WORK, small, 1).stepping == pytest.approx(100 * 7 * 1e-6 * -(-held // 5e7))


def test_a_measured_factor_slows_work_down_and_no_chain() -> None:
    assert predict(WORK, MACHINE, 1, (2.0, 3.0)).cloning == pytest.approx(2 * predict(WORK, MACHINE, 1).cloning)
    assert predict(WORK, MACHINE, 1, (2.0, 3.0)).stepping == pytest.approx(3 * predict(WORK, MACHINE, 1).stepping)
    assert predict(WORK, MACHINE, 1024, (2.0, 3.0)).stepping == predict(WORK, MACHINE, 1024).stepping


def test_efficiency_falls_where_devices_have_nothing_left_to_share() -> None:
    rows = table(WORK, [(V5E, 1), (H100, 1), (V5E, 100_000)], (1.0, 1.0)).splitlines()[2:]
    assert [row.split("|")[-2].strip() for row in rows] == ["100%", "100%", "0%"]


def test_work_is_read_off_a_run() -> None:
    experiment = tiny_experiment()
    found = work_of(experiment)
    assert (found.policies, found.episodes, found.steps, found.updates, found.points) == (8, 2, 5, 8, 4)
    assert found.weights == 8 * 2 + 8 + 8 + 1 + 1  # and the logarithm of a standard deviation
    assert found.exchanged == 4 * (8 + 12)
    assert found.selection == (2, 2, 3)
    assert found.env_flops > 0
    assert found.step_kernels >= 2


def test_only_evolution_is_known() -> None:
    with pytest.raises(ConfigError, match="knows Evolution, not PPO"):
        work_of(Experiment(LEARNING, generations=1))


def test_a_fitness_that_plays_nothing_is_refused() -> None:
    experiment = tiny_experiment()
    algorithm = dataclasses.replace(experiment.algorithm, fitness=DatasetL2())  # type: ignore[type-var]
    with pytest.raises(ConfigError, match="DatasetL2 plays no episodes"):
        work_of(dataclasses.replace(experiment, algorithm=algorithm))


@pytest.mark.slow
@pytest.mark.system
def test_the_script_prints_its_table() -> None:
    words = [sys.executable, "docs/scaling_table.py", "--config=smoke"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    machines = [line.split("|")[1].strip() for line in done.stdout.splitlines() if line.startswith("| ")]
    assert machines[0] == "machine"
    assert {"1 × TPU v5e", "1024 × TPU v5e", "64 × H100"} <= set(machines)
