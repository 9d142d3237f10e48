"""The script beside configuring.md: what its arms train, how it chooses by hand, and where its table stands."""

import dataclasses
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hades.inner.pairs import CloningGenome
from tests.support import CLONING, POINT, ROOT, SMALL

sys.path.insert(0, str(ROOT / "docs"))

import recipe_table


def test_an_arm_trains_with_its_own_number_of_updates() -> None:
    learner = dataclasses.replace(CLONING, evolve=("learning_rate",), num_updates=5)
    genome = CloningGenome(jnp.eye(3, 2), jnp.ones((3, 1)), {"learning_rate": jnp.asarray(0.5)})
    start = SMALL.init(jax.random.key(7), POINT.spec)
    key = jax.random.key(0)
    two = dataclasses.replace(learner, num_updates=2)
    expected, _ = jax.jit(lambda: two.learn(key, genome, start, POINT.spec))()
    traced = jax.jit(lambda count: recipe_table.counted(learner, count).learn(key, genome, start, POINT.spec)[0])
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), traced(2), expected)
    assert not np.allclose(traced(5)["layers_0"]["kernel"], expected["layers_0"]["kernel"], atol=1e-4)


def test_selection_returns_choose_by_hand_and_report_returns_are_printed() -> None:
    returns = {
        "sixteenth": ((1, 30.0), (2, 10.0)),
        "sixteenth_x4": ((5, 2.0), (6, 4.0)),
        "sixteenth_x16": ((0, 9.0),) * 2,
    }
    rows = [
        {"arm": arm, "seed": seed, "updates": 2, "selection": selection, "report": report, "learning_rate": 0.01}
        for arm, runs in returns.items()
        for seed, (selection, report) in enumerate(runs)
    ]  # fmt: skip
    by_title = {line[1]: line for line in recipe_table.lines("task", rows)}
    assert set(by_title) == {"a sixteenth", "a sixteenth, best fixed rate"}
    assert by_title["a sixteenth, best fixed rate"][2:] == (
        "2",
        "3.0 (-9.7 to 15.7)",
        "0.01",
    )  # Student: 12.706 standard errors


def test_the_interval_is_students() -> None:
    assert recipe_table.interval([1.0, 2.0, 3.0]) == pytest.approx(
        (2.0, 2.0 - 4.3027 / 3**0.5, 2.0 + 4.3027 / 3**0.5), rel=1e-4
    )


def test_differences_have_welchs_interval() -> None:
    returns = {"half": (4.0, 6.0), "shipped": (1.0, 2.0, 3.0), "quarter": (0.0,)}
    rows = [{"arm": arm, "report": value} for arm, values in returns.items() for value in values]
    # 3 ± t √(2/2 + 1/3), with t = 5.176 of (4/3)² / (1 + 1/18) = 1.684 degrees of freedom (Welch and Satterthwaite)
    assert list(recipe_table.differences("task", rows)) == [
        ("task", "half of the updates", "as shipped", "+3.0 (-3.0 to 9.0)")
    ]


def test_the_page_has_the_table() -> None:
    text = (ROOT / "docs/configuring.md").read_text("utf-8")
    table = text.split(f"| {' | '.join(recipe_table.HEAD)} |")[1].split("\n\n")[0]
    assert all(f"| {task} | {title} |" in table for task in recipe_table.BUDGETS for title in recipe_table.ROWS)
