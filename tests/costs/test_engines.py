"""The comparison of Brax's engines: its tables, and (slow) its measurements."""

import jax
import numpy as np
import pytest

from hades.costs import engines
from hades.environments.brax import Brax
from hades.environments.rollout import random_policy


def test_the_table_of_rates_puts_the_engines_beside_each_other() -> None:
    rates = engines.Rates({("native", 64): 90_000.0, ("xla", 64): 3000.0}, {})
    assert rates.ratio(64) == 30.0
    assert engines.rates_table({"hopper": rates}, {"hopper": 66_000.0}).splitlines()[2:] == [
        "| hopper | 64 | 3.0 | 90.0 | 30.0 | 66.0 |"
    ]


def test_the_table_of_errors_names_the_worst_quantile() -> None:
    xla = np.linspace(1e-6, 2e-6, 1001)
    table = engines.errors_table({"hopper": {"native": 2.0 * xla, "xla": xla}})
    assert table.splitlines()[0].split(" | ")[2:7] == ["50%", "90%", "99%", "99.9%", "100%"]
    assert table.splitlines()[2].startswith("| hopper | 1,001 | 3.0e-06 (1.5e-06) |")
    assert table.splitlines()[2].endswith("| 2.00 |")


@pytest.mark.slow
def test_a_native_step_is_as_exact_as_one_of_xla() -> None:
    env = Brax("inverted_pendulum")
    states, actions = engines.visited_states(env, [random_policy(env.spec)], 500)
    assert actions.shape == (500, 1)
    assert len(np.unique(states.native.pipeline_state.q[:, 0])) > 450
    errors = engines.one_step_errors(env, states, actions)
    native, xla = (np.quantile(errors[engine], (0.5, 0.9, 0.99)) for engine in ("native", "xla"))
    assert (native <= 3 * xla).all()
    assert (xla > 0).all()
    rates = engines.measure_rates(env, (64,), repeats=1)
    assert set(rates.per_cpu_second) == {("native", 64), ("xla", 64)}
    assert jax.default_backend() != "cpu" or engines.mujoco_rate(env, 0.1) > 0
