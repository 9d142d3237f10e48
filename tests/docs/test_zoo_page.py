"""The tables of the zoo and of the gallery say what the cards say."""

import re
import sys

import pytest

from hades import zoo
from hades.environments.references import RANDOM, RELEASED
from hades.text import return_text
from tests.support import ROOT

sys.path.insert(0, str(ROOT / "docs"))
from pictures import returns_of
from zoo_table import row

ROWS = dict(re.findall(r"^\| `([\w-]+)` \| (.*) \|$", (ROOT / "docs/zoo.md").read_text(), re.MULTILINE))


@pytest.mark.parametrize("name", zoo.names())
def test_every_dataset_has_its_row(name: str) -> None:
    assert ROWS.get(name) == row(name)


def test_there_are_no_other_rows() -> None:
    assert set(ROWS) == set(zoo.names())


def test_the_gallery_has_a_dataset_of_every_task_that_is_played() -> None:
    tasks = {zoo.card(name)["environment"] for name in zoo.names()} - {"digits"}
    shown = [zoo.card(name)["environment"] for name in returns_of()]
    assert sorted(shown) == sorted(task for task in tasks if " + " not in task)


@pytest.mark.parametrize(("name", "row"), returns_of().items())
def test_the_gallery_has_the_returns_of_cards_and_references(name: str, row: dict[str, str]) -> None:
    card = zoo.card(name)
    task, method = card["environment"], card["method"].removesuffix(" by gradient")
    known = {
        "random": RANDOM[task],
        "this dataset": card["report"]["mean"],
        "paper": RELEASED.get(task, {}).get(method),
    }
    assert {label: row.get(label) for label in known} == {
        label: value and return_text(value) for label, value in known.items()
    }


def test_the_gallery_has_a_film_and_a_picture_of_each() -> None:
    files = {f"images/zoo/{name}.{kind}" for name in returns_of() for kind in ("gif", "png")}
    assert set(re.findall(r"\((images/zoo/[^)]+)\)", (ROOT / "docs/gallery.md").read_text())) == files
    assert {str(path.relative_to(ROOT / "docs")) for path in (ROOT / "docs/images/zoo").iterdir()} == files


def test_moving_pictures_stay_small() -> None:
    images = ROOT / "docs/images"
    assert (images / "hero.gif").stat().st_size <= 700_000
    assert sum(path.stat().st_size for path in images.rglob("*.gif")) <= 3_100_000
