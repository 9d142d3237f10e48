"""The tables of the README and of results.md hold what the cards of the zoo say, and the figures draw."""

import sys

import pytest

from tests.support import ROOT

sys.path.insert(0, str(ROOT / "docs"))

import results_table


@pytest.mark.parametrize(("page", "table"), [("docs/results.md", "table"), ("README.md", "short_table")])
def test_a_page_holds_todays_table(page: str, table: str) -> None:
    rows = getattr(results_table, table)()
    text = (ROOT / page).read_text("utf-8")
    assert rows in text, "python docs/results_table.py --write"
    first = rows.splitlines()[2]
    stale = text.replace(first, "| hopper | 1 |")
    assert results_table.replaced(stale, rows) == text


def test_every_dataset_of_one_task_counts() -> None:
    zoo = results_table.zoo
    shown = [
        e.name
        for s in results_table.SUITES.values()
        for task in s
        for m in METHODS
        for e in results_table.entries(task, m)
    ]
    assert sorted(shown) == sorted(
        n for n in zoo.names() if n not in ELSEWHERE and not results_table.rests_on_alarms(zoo.card(n))
    )


@pytest.mark.parametrize(
    ("report", "rests"), [({}, False), ({"implausible_episodes": 6}, False), ({"implausible_episodes": 7}, True)]
)
def test_a_return_rests_on_alarms_that_most_episodes_raise(report: dict[str, int], rests: bool) -> None:
    assert results_table.rests_on_alarms({"report": {"num_inits": 4, "num_episodes": 3, **report}}) is rests


def test_evolution_from_a_dataset_by_gradient_counts_as_by_gradient() -> None:
    alone, after = {"method": "HaDES-F"}, {"method": "HaDES-F", "stages": [{"method": "HaDES-F by gradient"}]}
    assert [results_table.method_of(card) for card in (alone, after)] == ["HaDES-F", "HaDES-F by gradient"]


METHODS = (*results_table.EVOLVED, *results_table.GRADIENT)
ELSEWHERE = ("cartpole-acrobot-hades-r-d5", "digits-hades-r-d10", "digits-gradient-r-d10")
"""Datasets of several tasks or of a supervised one, on pages of their own."""


def test_numbers_as_text() -> None:
    assert results_table.number(-168.2) == "−168"
    assert results_table.number(7.75) == "7.8"
    assert results_table.steps(34_200_000) == "34\N{NO-BREAK SPACE}M"


def test_the_figures_draw() -> None:
    assert results_table.draw("minatar").startswith(b"\x89PNG")
