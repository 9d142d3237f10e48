"""What `hades list` and `hades show` know."""

import pytest

from hades import registry
from hades.commands import catalogue
from hades.data import zoo
from hades.environments.base import Environment
from hades.errors import ConfigError
from hades.runs.shipped import config_names, find_config, header_comment
from tests.support import POINT_DISCRETE


def test_every_config_has_a_line() -> None:
    rows = catalogue.configs()
    assert [row["name"] for row in rows] == list(config_names())
    assert all(row["about"] for row in rows)
    assert {
        "name": "smoke",
        "about": "A few seconds on the `point` environment: checks an installation from config to report",
    } in rows


def test_the_zoo_is_listed_with_what_its_cards_hold() -> None:
    rows = {row["name"]: row for row in catalogue.datasets()}
    assert tuple(rows) == zoo.names()
    assert rows["cartpole-hades-r-d2"] == {
        "name": "cartpole-hades-r-d2",
        "environment": "CartPole-v1",
        "method": "HaDES-R",
        "pairs": 2,
        "return": 500.0,
    }


def test_every_component_is_listed() -> None:
    listed = {(row["interface"], row["name"]) for row in catalogue.components()}
    assert listed == {(i, name) for i in registry.interfaces() for name in registry.names(i)}
    assert all(row["about"] for row in catalogue.components() if row["name"] != "Experiment")


def test_environments_are_listed_with_the_line_that_chooses_them_and_their_configs() -> None:
    rows = {row["name"]: row for row in catalogue.environments()}
    assert rows["CartPole-v1"] == {
        "name": "CartPole-v1",
        "gin": "Gymnax.env_id = 'CartPole-v1'",
        "configs": "cartpole_*",
    }
    assert rows["pusher"] == {"name": "pusher", "gin": "Brax.env_name = 'pusher'", "configs": ""}
    assert rows["Point"]["gin"] == "@Point()"


def test_a_component_is_shown_with_its_fields_and_where_it_goes() -> None:
    card, text = catalogue.show("SNES")
    assert (card["interface"], card["module"]) == ("OuterOptimizer", "hades.outer.snes")
    fields = {field["name"]: field for field in card["fields"]}
    assert fields["sigma"] == {"name": "sigma", "takes": "a number above 0", "default": "0.5"}
    cloning = catalogue.component_card("InnerLearner", "BehaviourCloning")["fields"]
    assert "default" not in {field["name"]: field for field in cloning}["policy"]
    assert card["gin"] == ["Evolution.outer = @SNES()"]
    for part in ("SNES (OuterOptimizer", "σ₀ 0.5", "= 0.5", "a number above 0", "SNES.population_size = 64"):
        assert part in text


def test_a_config_is_shown_resolved_under_its_header() -> None:
    card, text = catalogue.show("smoke")
    assert card["about"] == header_comment(find_config("smoke"))
    assert "SNES.population_size" in card["config"]
    assert text.startswith("A few seconds on the `point` environment")


def test_a_dataset_is_shown_by_name_and_by_file() -> None:
    card, text = catalogue.show("cartpole-hades-r-d2")
    assert card == zoo.card("cartpole-hades-r-d2")
    assert "report.mean                  500.0" in text
    header, _ = catalogue.show(str(zoo.path("cartpole-hades-r-d2")))
    assert header["environment"]["env_id"] == "CartPole-v1"


@pytest.mark.parametrize(
    ("name", "meant"), [("cartpole-hades-r", "cartpole-hades-r-d2"), ("snes", "SNES"), ("smok", "smoke")]
)
def test_what_is_not_there_is_answered_with_the_five_nearest_names(name: str, meant: str) -> None:
    with pytest.raises(ConfigError, match=r"The nearest names: (.*?)\. `hades list") as caught:
        catalogue.show(name)
    offered = str(caught.value).split("nearest names: ")[1].split(". `hades")[0].split(", ")
    assert len(offered) == 5
    assert meant in offered


@pytest.mark.parametrize("name", ["x" * 300, "~nobody/x", "", "a\0b"])
def test_what_can_be_no_file_is_answered_too(name: str) -> None:
    with pytest.raises(ConfigError, match="Nothing is called"):
        catalogue.show(name)


def test_an_adapter_of_one_environment_offers_no_names() -> None:
    assert Environment.offered() == type(POINT_DISCRETE).offered() == ()
