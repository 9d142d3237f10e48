"""From the name of an environment to a run: the shipped configuration, or the recipe of a similar task."""

import dataclasses

import pytest

import hades
from hades.environments.brax import Brax
from hades.environments.gymnax import Gymnax
from hades.environments.point import Point
from hades.errors import ConfigError
from hades.runs import distil
from hades.runs.distil import SIMILAR, recipe
from hades.runs.experiment import Experiment
from hades.runs.gin_config import load_experiment
from hades.runs.shipped import config_names
from hades.runs.stages import stages


@pytest.mark.parametrize(
    ("environment", "method", "config"),
    [
        ("CartPole-v1", "hades_r", "cartpole_hades_r"),
        ("CartPole-v1", "hades_f", "cartpole_hades_f"),
        ("digits", "hades_r", "digits_hades_r"),
        ("Breakout-MinAtar", "hades_r", "breakout_hades_r_laptop"),
        ("hopper", "hades_r", "hopper_hades_r_laptop"),
        ("hopper", "gradient_r", "hopper_gradient_r"),
        ("MountainCar-v0", "hades_r", "mountain_car_hades_r"),
    ],
)
def test_a_known_environment_runs_its_shipped_configuration(environment: str, method: str, config: str) -> None:
    assert recipe(environment, method) == load_experiment(config)


def test_pairs_and_limits_are_changed_in_it() -> None:
    experiment = recipe("CartPole-v1", pairs=3, generations=7, seed=5, target_return=490.0)
    shipped = load_experiment("cartpole_hades_r")
    learner = dataclasses.replace(shipped.algorithm.learner, num_pairs=3)
    algorithm = dataclasses.replace(shipped.algorithm, learner=learner)
    assert experiment == dataclasses.replace(shipped, algorithm=algorithm, generations=7, seed=5, target_return=490.0)


def test_the_stages_share_a_budget_and_have_the_same_pairs() -> None:
    shipped, changed = (stages(e) for e in (recipe("hopper", "gradient_r"), recipe("hopper", "gradient_r", 5, seed=2)))
    assert [stage.algorithm.learner.num_pairs for stage in changed] == [5, 5, 5]
    assert [stage.seed for stage in changed] == [2, 2, 2]
    assert [stage.generations for stage in changed] == [stage.generations for stage in shipped]
    wide, features, last = stages(recipe("hopper", "gradient_r", generations=100, max_env_steps=1000, max_seconds=10.0))
    share = 970 / (970 + 1200)
    assert (wide.generations, features.generations, last.generations) == (45, 55, 0)
    assert (wide.max_env_steps, features.max_env_steps, last.max_env_steps) == (int(1000 * share), 1000, 1000)
    assert wide.max_seconds == pytest.approx(10 * share)


def test_another_environment_gets_the_recipe_of_a_similar_one() -> None:
    discrete = recipe("Catch-bsuite")
    assert discrete.algorithm.environment == Gymnax("Catch-bsuite")
    assert discrete.algorithm.outer == load_experiment("acrobot_hades_r").algorithm.outer
    assert recipe("pusher").algorithm.environment == Brax("pusher")
    point = recipe(Point(discrete=True))
    assert (point.algorithm.environment, point.algorithm.learner.num_pairs) == (Point(discrete=True), 3)


def test_every_recipe_of_a_similar_task_exists() -> None:
    for tasks in SIMILAR.values():
        assert {f"{tasks[0]}_hades_r", f"{tasks[0]}_hades_f"} <= set(config_names())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("CartPole-v2",), r'"CartPole-v2". Did you mean "CartPole-v1"'),
        (("hoper",), r'"hoper". Did you mean "hopper"'),
        (("CartPole-v1", "hades_g"), r'method "hades_g".*Did you mean "hades_'),
        (("CartPole-v1", "gradient_r"), r'no recipe of "gradient_r" for CartPole-v1, with its Discrete'),
    ],
)
def test_what_does_not_exist_is_answered_with_the_nearest(arguments: tuple[str, ...], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        recipe(*arguments)
    with pytest.raises(ConfigError, match=r'no field "max_second".*"max_seconds"'):
        recipe("CartPole-v1", max_second=3)


def test_distil_runs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    ran = []

    def run(experiment: Experiment, workdir: object, **options: object) -> str:
        ran.append((experiment, workdir, options))
        return "result"

    monkeypatch.setattr(distil, "run", run)
    assert hades.distil("CartPole-v1", pairs=4, progress=False, max_seconds=5.0) == "result"
    options = {"progress": False, "callback": None}
    assert ran == [(recipe("CartPole-v1", "hades_r", 4, max_seconds=5.0), None, options)]
