"""The datasets that are kept in the repository, and their cards."""

import json
from pathlib import Path

import pytest

import hades
from hades.train.gin_config import config_names

ZOO = Path(hades.__file__).parent / "data" / "zoo"
NAMES = sorted(path.stem for path in ZOO.glob("*.safetensors"))


@pytest.mark.parametrize("name", NAMES)
def test_a_dataset_has_its_card_and_config(name: str) -> None:
    dataset = hades.load_dataset(ZOO / f"{name}.safetensors")
    card = json.loads((ZOO / f"{name}.json").read_text())
    assert card["report"]["mean"] == pytest.approx(dataset.returns["mean"])
    assert card["environment"] == dataset.environment.spec.name
    assert name in config_names()
    assert f"--config={name}" in card["command"]


def test_there_are_datasets() -> None:
    assert "cartpole_hades_r" in NAMES


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_card_tells_the_truth(name: str) -> None:
    dataset = hades.load_dataset(ZOO / f"{name}.safetensors")
    again = hades.evaluate_dataset(dataset, num_inits=32, num_episodes=4, seed=1)
    half_widths = [(high - low) / 2 for low, high in (again.ci95, dataset.returns["ci95"])]
    three_errors = 1.5 * sum(half**2 for half in half_widths) ** 0.5
    assert again.mean == pytest.approx(dataset.returns["mean"], abs=three_errors + 0.01 * abs(dataset.returns["mean"]))
