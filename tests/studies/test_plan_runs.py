"""Environments × methods × seeds: planned by name under one budget, from the words of a command line."""

import dataclasses
from pathlib import Path

import pytest

from hades.errors import ConfigError
from hades.studies.many_runs import time_left
from hades.studies.plan_runs import Settings, parse_pair, parse_seeds, parse_values, plan_grid, plan_text

SETTINGS = Settings(max_env_steps={"": 480}, selection=(2, 2), report=(3, 2))


def test_settings_of_the_comparison_win_over_further_bindings(tmp_path: Path) -> None:
    settings = dataclasses.replace(
        SETTINGS, bindings=("Experiment.report_inits = 99", "Experiment.target_return = 1.0")
    )
    (one,) = plan_grid(["cartpole"], ["es"], [0], tmp_path, settings)
    experiment = one.job.check()
    assert (experiment.report_inits, experiment.target_return) == (3, None)


def test_a_line_holds_in_the_runs_that_use_its_component(tmp_path: Path) -> None:
    settings = dataclasses.replace(SETTINGS, bindings=("PPO.num_envs = 8",), offered=("RidgeCloning.num_pairs = 4",))
    es, ppo = plan_grid(["cartpole"], ["es", "ppo"], [0], tmp_path, settings)
    assert "PPO.num_envs = 8" in ppo.job.bindings
    assert "PPO.num_envs = 8" not in es.job.bindings
    with pytest.raises(
        ConfigError, match=r"In none of the runs does PPO\.num_envs = 8 decide .*algorithm is Evolution"
    ):
        plan_grid(["cartpole"], ["es", "hades_r"], [0], tmp_path, settings)


def test_the_most_exact_value_holds_and_the_variant_is_preferred(tmp_path: Path) -> None:
    settings = Settings(
        max_seconds={"": 60.0, "freeway": 150.0}, eval_every={"": 9.0, "hades_r": 2.0, "freeway_hades_f": 3.0}
    )
    runs = plan_grid(["cartpole", "freeway"], ["hades_r", "hades_f"], [0], tmp_path, settings)
    assert [one.job.config for one in runs] == [
        *("cartpole_hades_r", "cartpole_hades_f", "freeway_hades_r_laptop", "freeway_hades_f_laptop"),
    ]
    assert [one.seconds for one in runs] == [60.0, 60.0, 150.0, 150.0]
    every = [next(line for line in one.job.bindings if "eval_every" in line) for one in runs]
    assert every == [f"Experiment.eval_every = {n}" for n in (2, 9, 2, 3)]


def test_every_combination_without_a_config_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cartpole_hades_q, freeway_hades_q"):
        plan_grid(["cartpole", "freeway"], ["hades_r", "hades_q"], [0], tmp_path, SETTINGS)


def test_values_for_nothing_that_is_compared_are_refused(tmp_path: Path) -> None:
    settings = Settings(max_seconds={"freway": 1.0})
    with pytest.raises(ConfigError, match=r'--max_seconds.*"freway".*"freeway"'):
        plan_grid(["freeway"], ["hades_r"], [0], tmp_path, settings)


def test_words_of_the_command_line() -> None:
    assert parse_values(["60", "cartpole=1e6"], "x") == {"": 60.0, "cartpole": 1e6}
    assert parse_seeds(["3"]) == [0, 1, 2]
    assert parse_seeds(["4", "2"]) == [4, 2]
    assert parse_pair(["8", "4"], "x") == (8, 4)


@pytest.mark.parametrize("seeds", [["0"], ["1", "1"], ["a"], ["-1", "2"], []])
def test_seeds_that_are_none_are_refused(seeds: list[str]) -> None:
    with pytest.raises(ConfigError, match="--seeds"):
        parse_seeds(seeds)


@pytest.mark.parametrize("texts", [["a"], ["a=b"], ["a="], ["1=2=x"]])
def test_values_that_are_none_are_refused(texts: list[str]) -> None:
    with pytest.raises(ConfigError, match=r"--x: .*name=number"):
        parse_values(texts, "x")


def test_time_left_is_the_budgets_and_what_runs_took_beyond_theirs(tmp_path: Path) -> None:
    settings = Settings(max_seconds={"cartpole": 60.0, "freeway": 300.0})
    runs = plan_grid(["cartpole", "freeway"], ["hades_r"], [0, 1], tmp_path, settings)
    assert time_left(runs) == ", at least 12 min"
    assert time_left(runs[1:], [60.0]) == ", about 14 min left"
    assert time_left(runs[1:], [60.0], parallel=2) == ", about 7 min left"
    assert "4 runs, at least 12 min, and compilation" in plan_text(runs)
    assert f"freeway hades_r seed 1: freeway_hades_r_laptop, 300 s, in {tmp_path}/freeway" in plan_text(runs)
