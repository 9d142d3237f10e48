"""A comparison for readers: self-contained, equal to its numbers, and the same again from the same files."""

import csv
import dataclasses
import io
from pathlib import Path

import pytest

from hades.studies.comparison.figures import colours, final_returns, learning_curves
from hades.studies.comparison.measurements import Measurements
from hades.studies.comparison.numbers import Comparison, compare
from hades.studies.comparison.page import page, write_comparison
from tests.report.test_report import Page
from tests.studies.runs import write_run

FINALS = {"HaDES-R": (7.25, 8.5, 9.75), "ES": (3.0, 4.0, 5.0), "PPO": (1.0, 2.0, 30.0)}


@pytest.fixture(scope="module")
def comparison(tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    """Three methods × three seeds on two environments."""
    folder = tmp_path_factory.mktemp("runs")
    runs = [
        write_run(
            folder / name / method / str(seed),
            method,
            seed,
            final=final,
            returns=(0.5, 3.5 + seed, final),
            seconds_each=1.25,
            **{"result.environment": name},
        )
        for name in ("point", "other <&> point")
        for method, finals in FINALS.items()
        for seed, final in enumerate(finals)
    ]
    measured = Measurements(
        random={"point": -1.5, "other <&> point": -1.5}, training_seconds={("point", "HaDES-R"): 0.01234}
    )
    return compare(runs, {"point": 4.0}, measured)


@pytest.fixture(scope="module")
def files(comparison: Comparison, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return write_comparison(comparison, tmp_path_factory.mktemp("comparison"))


def test_nothing_is_loaded_from_anywhere(files: dict[str, Path]) -> None:
    source = files["page"].read_text("utf-8")
    page = Page(source)
    assert all(a.startswith(("data:image/", "#")) for a in page.addresses)
    assert not {"script", "link", "iframe", "object", "img"} & set(page.tags)
    assert "@import" not in source
    assert "url(http" not in source
    assert page.tags.count("svg") == 2 + 2 * 2  # returns, and the curves of each environment, wide and narrow
    assert len(page.ids) == len(set(page.ids))
    assert {a[1:] for a in page.addresses if a.startswith("#")} <= set(page.ids)
    assert "other <&> point" in page.text


def test_numbers_are_those_of_the_runs(files: dict[str, Path]) -> None:
    shown = (
        *("8.50", "7.25 to 9.75", "7.25, 8.50, 9.75", "3 of 3", "2 of 3", "1 of 3", "200", "2.5 s"),
        *("300", "3.8 s", "1.5 s", "24", "12.3 ms", "4.00 (asked for)", "3 generations a run"),
        *("3 policies × 2 whole episodes", "2 × 2 episodes", "1 × cpu", "jax 0.10.2", "−1.50"),
    )
    for kind in ("page", "markdown"):
        text = files[kind].read_text("utf-8")
        text = Page(text).text if kind == "page" else text
        assert not [number for number in shown if number not in text], kind


def test_too_many_and_too_few_evaluations_are_said(comparison: Comparison, tmp_path: Path) -> None:
    seconds = {"compile": 1.0, "search": 3.0, "selection": 1.0, "report": 1.0}
    often = page(compare([write_run(tmp_path / "a", returns=range(10), **{"result.seconds": seconds})])).markdown()
    assert "took over 25 % of the seconds of the search: ES on point." in often
    assert "fewer than" not in often
    seldom = page(comparison).markdown()
    assert "took over" not in seldom
    assert "fewer than 10 times in a run, so that curves are coarse: HaDES-R on point, ES on point" in seldom


def test_one_run_has_no_interval(comparison: Comparison, tmp_path: Path) -> None:
    text = page(compare([write_run(tmp_path / "a", final=5.0)], {"point": 4.0})).markdown()
    assert "| point | ES | 5.00 | – | 5.00 | 1 of 1 |" in text
    assert "With 1 seed nothing is trimmed" in text
    assert "With 3 seeds nothing is trimmed" in page(comparison).markdown()
    four = [write_run(tmp_path / f"s{seed}", seed=seed) for seed in range(4)]
    assert "nothing is trimmed" not in page(compare(four)).markdown()


def test_runs_of_several_versions_of_other_libraries_are_said_to_be_so(tmp_path: Path) -> None:
    runs = [write_run(tmp_path / v, seed=i, **{"result.versions": {"jax": v}}) for i, v in enumerate(("0.9", "0.10"))]
    assert "several versions of jax 0.10 and 0.9." in page(compare(runs)).markdown()


def test_csv_files_hold_every_run_and_every_method(files: dict[str, Path]) -> None:
    runs, methods = (list(csv.DictReader(io.StringIO(files[kind].read_text()))) for kind in ("runs", "methods"))
    assert (len(runs), len(methods)) == (18, 6)
    first = runs[0]
    shown = [first[name] for name in ("method", "seed", "return", "env_steps_search")]
    assert shown == ["HaDES-R", "0", "7.25", "300"]
    slowest = next(row for row in runs if row["method"] == "PPO" and row["seed"] == "0")
    assert slowest["seconds_to_reach"] == ""
    assert methods[0]["iqm"] == "8.5"
    assert methods[0]["seconds_to_train_a_policy"] == "0.01234"
    assert (methods[0]["reached"], methods[0]["seconds_to_reach"]) == ("3", "2.5")


def test_equal_runs_make_equal_files(comparison: Comparison, files: dict[str, Path], tmp_path: Path) -> None:
    again = write_comparison(comparison, tmp_path)
    for kind in ("page", "markdown", "runs", "methods"):
        assert again[kind].read_bytes() == files[kind].read_bytes()
    for name in ("curves.svg", "curves.png", "curves.pdf", "returns.svg", "returns.png", "returns.pdf"):
        assert (again["figures"] / name).read_bytes() == (files["figures"] / name).read_bytes()


def test_a_run_that_was_evaluated_once_or_never_has_a_figure(tmp_path: Path) -> None:
    runs = [write_run(tmp_path / "a", "ES", returns=(1.0,)), write_run(tmp_path / "b", "PPO", returns=(2.0,))]
    never = dataclasses.replace(runs[1], evaluations=[])
    found = compare([runs[0], never])
    for narrow in (False, True):
        assert b"<svg" in learning_curves(found.environments, narrow=narrow)
        assert b"<svg" in final_returns(found, narrow=narrow)


def test_methods_have_colours_of_their_own() -> None:
    known = colours(["ES", "PPO", "HaDES-R", "HaDES-F", "HaDES-R by gradient", "HaDES-F by gradient", "Mine", "Yours"])
    assert len(set(known.values())) == 8
    assert colours(["ES"])["ES"] == known["ES"]
