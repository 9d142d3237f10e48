"""The table of the zoo says what the cards say."""

import re

import pytest

from hades import zoo
from hades.runs.result import all_stages
from hades.text import return_text
from tests.support import ROOT

ROWS = dict(re.findall(r"^\| `([\w-]+)` \| (.*) \|$", (ROOT / "docs/zoo.md").read_text(), re.MULTILINE))


def row(name: str) -> str:
    """The row of a dataset, without its name."""
    card = zoo.card(name)
    report, retention = card["report"], card["retention"]
    low, high = (return_text(end) for end in report["ci95"])
    return " | ".join(
        [
            card["environment"],
            f"{return_text(report['mean'])} ({low} to {high})",
            return_text(report["worst_init"]),
            f"{100 * retention['iqm']:.0f} % ({100 * retention['worst_decile']:.0f} %)".replace("-", "−"),
            f"{all_stages(card, 'env_steps', 'search') / 1e6:.1f} M",
            f"{zoo.path(name).stat().st_size / 1024:.1f} kB",
        ]
    )


@pytest.mark.parametrize("name", zoo.names())
def test_every_dataset_has_its_row(name: str) -> None:
    assert ROWS.get(name) == row(name)


def test_there_are_no_other_rows() -> None:
    assert set(ROWS) == set(zoo.names())
