"""The numbers of a comparison: curves, steps to reach a return, normalised returns."""

import math
from pathlib import Path

import jax
import numpy as np
import pytest

from hades import registry
from hades.environments.gymnax import Gymnax
from hades.environments.point import Point
from hades.environments.rollout import rollout
from hades.studies.comparison.measurements import Measurements
from hades.studies.comparison.numbers import MethodRuns, compare
from hades.studies.retention import random_return
from tests.studies.runs import write_run


def cell(tmp_path: Path, *returns: tuple[float, ...], **changes: object) -> MethodRuns:
    runs = [write_run(tmp_path / str(s), seed=s, returns=r, **changes) for s, r in enumerate(returns)]  # type: ignore[arg-type]
    return compare(runs, targets={"point": 4.0}).environments[0].cells[0]


def test_curve_is_a_step_function_of_the_evaluations(tmp_path: Path) -> None:
    curves = cell(tmp_path, (0.0, 6.0, 6.0), (1.0, 1.0, 4.0), (2.0, 2.0, 2.0)).curves
    np.testing.assert_array_equal(curves["env_steps"].x, [100, 200, 300])
    np.testing.assert_array_equal(curves["seconds"].x, [2, 4, 6])
    np.testing.assert_allclose(curves["env_steps"].value, [1.0, 3.0, 4.0])
    np.testing.assert_allclose(curves["seconds"].low, [0.0, 1.0, 2.0])
    np.testing.assert_allclose(curves["seconds"].high, [2.0, 6.0, 6.0])


def test_curve_holds_a_value_until_the_next_and_ends_with_the_first_run(tmp_path: Path) -> None:
    slow = write_run(tmp_path / "slow", seed=0, returns=(0.0, 10.0), seconds_each=3.0)
    fast = write_run(tmp_path / "fast", seed=1, returns=(2.0, 4.0, 6.0), seconds_each=2.0, generations=2)
    (only,) = compare([slow, fast], targets={"point": 4.0}).environments[0].cells
    curve = only.curves["seconds"]
    np.testing.assert_array_equal(curve.x, [3, 4, 6])
    np.testing.assert_allclose(curve.value, [1.0, 2.0, 8.0])
    np.testing.assert_array_equal(only.curves["env_steps"].x, [100, 200])


def test_long_curves_are_thinned_but_keep_their_ends(tmp_path: Path) -> None:
    x = cell(tmp_path, tuple(float(i) for i in range(5000))).curves["env_steps"].x
    assert len(x) <= 300
    assert (x[0], x[-1]) == (100, 500_000)


def test_first_evaluation_at_or_above_the_target_counts(tmp_path: Path) -> None:
    one = cell(tmp_path, (1.0, 4.0, 2.0), (9.0, 0.0, 0.0), (0.0, 0.0, 4.5))
    assert one.to_reach(4.0, "env_steps") == (200.0, 3)
    assert one.to_reach(4.0, "seconds") == (4.0, 3)


def test_runs_that_never_reach_it_count_as_later_than_any(tmp_path: Path) -> None:
    two_of_three = cell(tmp_path / "a", (9.0, 9.0), (0.0, 9.0), (0.0, 0.0))
    assert two_of_three.to_reach(4.0, "env_steps") == (200.0, 2)
    one_of_three = cell(tmp_path / "b", (9.0, 9.0), (0.0, 0.0), (0.0, 0.0))
    assert one_of_three.to_reach(4.0, "env_steps") == (math.inf, 1)
    two_of_four = cell(tmp_path / "c", (9.0,), (9.0,), (0.0,), (0.0,))
    assert two_of_four.to_reach(4.0, "seconds") == (math.inf, 2)


def test_target_is_asked_for_or_lies_near_the_best_method(tmp_path: Path) -> None:
    runs = [write_run(tmp_path / m, m, final=f) for m, f in (("ES", 2.0), ("PPO", 10.0))]
    measured = Measurements(random={"point": 0.0})
    assert compare(runs, {"point": 3.0}, measured).environments[0].target == 3.0
    chosen = compare(runs, measurements=measured).environments[0]
    assert chosen.target == 9.0
    assert chosen.target_source == "90 % of the way from random actions to the best method's mean"


def test_target_of_a_known_environment_is_its_threshold(tmp_path: Path) -> None:
    described = registry.describe(Gymnax("CartPole-v1"))
    run = write_run(tmp_path / "a", **{"algorithm.environment": described, "result.environment": "CartPole-v1"})
    env = compare([run]).environments[0]
    assert (env.target, env.target_source) == (475.0, "Gymnasium's threshold")


def test_methods_stand_in_one_order_and_know_what_they_learned(tmp_path: Path) -> None:
    methods = ("Mine", "PPO", "ES", "HaDES-F", "HaDES-R")
    found = compare([write_run(tmp_path / m, m) for m in methods], {"point": 1.0})
    assert found.methods == ("HaDES-R", "HaDES-F", "ES", "PPO", "Mine")
    assert [c.method for c in found.environments[0].cells] == list(found.methods)
    assert found.environments[0].cells[0].total("seconds", "search") == 6.0


def test_normalised_returns_are_between_random_play_and_the_best_method(tmp_path: Path) -> None:
    def both(method: str, here: float, there: float) -> list:
        other = {"result.environment": "elsewhere"}
        return [
            write_run(tmp_path / f"{method}0", method, final=here),
            write_run(tmp_path / f"{method}1", method, final=there, **other),
        ]

    runs = [*both("ES", 10.0, -50.0), *both("PPO", 5.0, 0.0)]
    measured = Measurements(random={"point": 0.0, "elsewhere": -100.0})
    overall = compare(runs, {"point": 1.0, "elsewhere": 1.0}, measured).overall
    assert overall["ES"].value == pytest.approx((1.0 + 0.5) / 2)
    assert overall["PPO"].value == pytest.approx((0.5 + 1.0) / 2)
    assert compare(runs[:3], {"point": 1.0, "elsewhere": 1.0}, measured).overall == {}
    assert compare(runs, {"point": 1.0, "elsewhere": 1.0}).overall == {}


def test_random_actions_are_uniform_over_whole_episodes() -> None:
    env = Point(discrete=True, max_episode_steps=4)
    count = env.spec.action_space.size
    act = lambda key, obs: jax.random.randint(key, (), 0, count)  # noqa: E731
    others = jax.jit(lambda key: rollout(key, env, act, 512).returns)(jax.random.key(7))
    assert random_return(env, 512) == pytest.approx(float(others.mean()), abs=0.2)
