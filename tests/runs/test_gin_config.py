"""gin: strict, layered, and errors that answer with what is known."""

import logging
from pathlib import Path

import pytest

from hades.errors import ConfigError
from hades.outer.open_es import OpenES
from hades.outer.snes import SNES
from hades.runs.gin_config import config_names, find_config, load_experiment, operative_config

WRONG = {
    "BehaviourCloning.num_points = 4": 'BehaviourCloning has no field "num_points".*It is called num_pairs now',
    "SNES.sigmaa = 3": 'SNES has no field "sigmaa".*Did you mean "sigma"',
    "SNESS.sigma = 1": 'nothing is called "SNESS".*Did you mean "SNES"',
    "Evolution.outer = @Snes()": 'nothing is called "Snes".*Did you mean "SNES"',
    "Experiment.generations = 0": "Experiment.generations is 0; it must be at least 1",
    "MLP.width = %WIDTH": "the macro %WIDTH is used but never set",
    "Evolution.outer = @Evosax()": "Evosax.strategy is required but not set",
    "BehaviourCloning.loss = @MSE()": "MSE is a loss for Box actions, but point-discrete.*Use CrossEntropy",
    "SNES.sigma = 'a'": "SNES.sigma is 'a'; it must be a number",
    "SNES.population_size = 2.5": "SNES.population_size is 2.5; it must be an integer",
    "import nothing_here": "No module named 'nothing_here'",
    "include 'nofile.gin'": "Unable to open file: nofile.gin",
    "SNES.sigma = ": "Unable to parse value",
}


@pytest.fixture
def config(tmp_path: Path) -> str:
    """A run file of one's own, with an include from the package."""
    path = tmp_path / "mine.gin"
    text = "include 'runs/smoke.gin'\nPoint.discrete = True\nBehaviourCloning.loss = @CrossEntropy()\n"
    path.write_text(text)
    return str(path)


@pytest.mark.parametrize("binding", WRONG)
def test_what_is_wrong_is_named(binding: str, config: str) -> None:
    with pytest.raises(ConfigError, match=WRONG[binding]) as caught:
        load_experiment(config, [binding])
    assert "\n" not in str(caught.value)
    assert "Traceback" not in str(caught.value)


def test_a_component_is_swapped_by_one_line(config: str) -> None:
    assert isinstance(load_experiment(config).algorithm.outer, SNES)  # type: ignore[attr-defined]
    swapped = load_experiment(config, ["Evolution.outer = @OpenES()"])
    assert isinstance(swapped.algorithm.outer, OpenES)  # type: ignore[attr-defined]


def test_the_operative_config_is_the_run(config: str, tmp_path: Path) -> None:
    experiment = load_experiment(config, ["SNES.sigma = 0.25"])
    path = tmp_path / "operative.gin"
    path.write_text(operative_config())
    assert load_experiment(str(path)) == experiment


def test_bindings_do_not_leak_into_the_next_config(config: str) -> None:
    load_experiment(config, ["SNES.sigma = 0.25"])
    assert load_experiment(config).algorithm.outer.sigma == 0.5  # type: ignore[attr-defined]


def test_an_unknown_config_is_answered_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r'"cartpol_hades_r".*"cartpole_hades_r"'):
        find_config("cartpol_hades_r")
    assert "smoke" in config_names()


def test_an_include_is_found_beside_a_folder_of_its_name(
    config: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "runs").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    assert load_experiment(config).generations == 10


def test_what_a_caller_has_disabled_stays_disabled() -> None:
    logging.disable(logging.INFO)
    try:
        load_experiment("cartpole_hades_r")
        assert logging.root.manager.disable == logging.INFO
    finally:
        logging.disable(logging.NOTSET)
