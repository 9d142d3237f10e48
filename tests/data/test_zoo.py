"""The datasets that are kept in the repository, and their cards."""

import re

import pytest

import hades
from hades import zoo
from hades.errors import DatasetError
from hades.runs.shipped import config_names
from hades.studies.zoo_card import retention_of


@pytest.mark.parametrize("name", zoo.names())
def test_a_dataset_has_its_card_and_config(name: str) -> None:
    dataset, card = zoo.load(name), zoo.card(name)
    assert card["report"]["mean"] == pytest.approx(dataset.returns["mean"])
    built = dataset.environment.spec
    assert card["environment"] == dataset.spec.name == built.name
    assert (dataset.spec.obs_shape, dataset.spec.action_space) == (built.obs_shape, built.action_space)
    kind, source = re.search(r"--(config|dataset)=(\S+)", card["command"]).groups()  # type: ignore[union-attr]
    assert source in (config_names() if kind == "config" else zoo.names())
    assert name.endswith(f"-d{len(dataset)}")
    method = card["method"].lower()
    by_gradient = any("gradient" in part["method"] for part in (*card.get("stages", ()), card))
    assert f"-{method.replace('hades', 'gradient').split()[0] if by_gradient else method}-" in name
    assert zoo.path(name).stat().st_size < 250_000
    assert card["retention"]["command"].endswith(name)


def test_an_unknown_name_is_refused_with_the_nearest() -> None:
    with pytest.raises(DatasetError, match=r'"cartpole-hades-r".*"cartpole-hades-r-d2"'):
        zoo.load("cartpole-hades-r")


@pytest.mark.slow
@pytest.mark.parametrize("name", zoo.names())
def test_a_card_tells_the_truth(name: str) -> None:
    dataset = zoo.load(name)
    again = hades.evaluate_dataset(dataset, num_inits=32, num_episodes=4, seed=1)
    half_widths = [(high - low) / 2 for low, high in (again.ci95, dataset.returns["ci95"])]
    three_errors = 1.5 * sum(half**2 for half in half_widths) ** 0.5
    assert again.mean == pytest.approx(dataset.returns["mean"], abs=three_errors + 0.01 * abs(dataset.returns["mean"]))


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", zoo.names())
def test_a_card_tells_the_truth_about_other_networks(name: str) -> None:
    card = zoo.card(name)["retention"]
    again = retention_of(zoo.load(name), seed=2)
    low, high = card["ci95"]
    assert again.iqm.value == pytest.approx(
        card["iqm"], abs=0.05 + 1.5 * max(high - low, again.iqm.high - again.iqm.low)
    )
    assert again.returns.size == card["policies"]
