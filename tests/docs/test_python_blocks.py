"""Every Python block runs; the blocks of a page share their names, as in a notebook. See SMALL for what is replaced."""

from pathlib import Path
from typing import Any

import pytest

import hades
from tests.docs.pages import blocks, pages_with_python
from tests.support import ROOT


@pytest.mark.parametrize("page", pages_with_python(), ids=lambda page: page.name)
def test_blocks_run_in_turn(page: Path, outcomes: dict[str, dict[str, Any]]) -> None:
    outcome = outcomes[page.name]
    assert not outcome["failure"], outcome["failure"] + outcome["output"]


def test_readme_and_shipped_config_are_the_same_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """The README says that its Python run is the run of `make demo`."""
    (block,) = (b for b in blocks("python", pages=(ROOT / "README.md",)) if "hades.run(" in b.text)
    built: list[hades.Experiment] = []
    monkeypatch.setattr("hades.run", lambda experiment, workdir: built.append(experiment), raising=False)
    exec(block.text.split("\nprint(")[0], {})
    assert built == [hades.load_experiment("cartpole_hades_r")], "README.md and configs/gin/runs/cartpole_hades_r.gin"
