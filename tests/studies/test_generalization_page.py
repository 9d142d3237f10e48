"""A generalisation grid for readers: self-contained, equal to its numbers, and the program that writes it."""

import csv
import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hades.studies.generalization.figures import axis_pairs, heat, heat_maps, retention_profile
from hades.studies.generalization.many_datasets import FILE
from hades.studies.generalization.numbers import Generalization
from hades.studies.generalization.page import page, write_generalization
from hades.studies.retention import Reference
from tests.report.test_report import Page
from tests.studies.pairs import expert_pairs
from tests.support import ROOT

WIDTHS, RATES = (8, 16, 32), (1 / 3, 1.0)


def _result(name: str, environment: str, scale: float, policies: bool = True) -> Generalization:
    """Widths × learning rates × 4 inits, whose returns are known, and one network that has no width."""
    axes = {"depth": 1, "activation": "tanh", "optimizer": "original"}
    settings: list[dict[str, Any]] = [
        {"width": w, **axes, "policy": "MLP", "learning_rate": r} for w in WIDTHS for r in RATES
    ]
    if policies:
        single = {"width": None, "depth": None, "activation": None, "optimizer": "original"}
        settings.append({**single, "policy": "CNN(width=4)", "learning_rate": 1.0})
    returns = scale * (50.0 + 10.0 * np.arange(len(settings))[:, None] + np.array([-4.0, -1.0, 1.0, 4.0]))
    return Generalization(
        name=name,
        environment=environment,
        method="HaDES-R",
        num_pairs=2,
        settings=tuple(settings),
        returns=returns,
        original=np.full(4, 100.0),
        reference=Reference(100.0),
        protocol={"num_episodes": 3, "seed": 1, "versions": {"jax": "1.2.3"}},
        seconds={"total": 125.0, "compile": 1.0, "run": 1.0},
    )


@pytest.fixture(scope="module")
def results() -> list[Generalization]:
    return [_result("one", "point <&>", 1.0), _result("two", "point <&>", 0.5), _result("three", "other", 0.8, False)]


@pytest.fixture(scope="module")
def files(results: list[Generalization], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return write_generalization(results, tmp_path_factory.mktemp("grid"))


def test_heat_is_the_mean_over_all_else(results: list[Generalization]) -> None:
    maps = heat(results[0], "width", "learning_rate")
    np.testing.assert_allclose(maps, [[0.5, 0.6], [0.7, 0.8], [0.9, 1.0]])
    assert axis_pairs(results[0]) == [("width", "learning_rate"), ("policy", "learning_rate")]  # no width × policy
    only = heat(results[0], "policy", "learning_rate")
    np.testing.assert_allclose(only, [[0.7, 0.8], [np.nan, 1.1]])


def test_the_page_is_self_contained(files: dict[str, Path]) -> None:
    source = files["page"].read_text("utf-8")
    page = Page(source)
    assert all(a.startswith(("data:image/", "#")) for a in page.addresses)
    assert not {"script", "link", "iframe", "object", "img"} & set(page.tags)
    assert "@import" not in source
    assert page.tags.count("svg") == 2 + 3 * 2  # the profile and the heat maps of each dataset, wide and narrow
    assert len(page.ids) == len(set(page.ids))
    assert page.tags.count("details") == 3
    assert "point <&>" in page.text


def test_numbers_are_those_of_the_results(files: dict[str, Path], results: list[Generalization]) -> None:
    text = Page(files["page"].read_text("utf-8")).text
    shown = (
        "80 %",
        "40 %",
        "2 min 5 s",
        "7 recipes × 4 fresh initial policies = 28 policies",
        "width 16",
        "75 % (66 %)",
    )
    assert not [word for word in shown if word not in text]
    first = next(line for line in page(results).markdown().splitlines() if line.startswith("| one |"))
    # IQM of 28 policies; the worst decile is two of them; ten keep 90 %, all but two 50 %
    assert first.startswith("| one | 80 % | 7")
    assert first.endswith("| 48 % | 36 % | 93 % | point <&> | HaDES-R | 2 | 100.0 | 28 | 2 min 5 s |")


def test_the_csv_has_every_policy(files: dict[str, Path]) -> None:
    rows = list(csv.DictReader(io.StringIO(files["policies"].read_text())))
    assert len(rows) == 28 + 28 + 24
    assert [rows[0][name] for name in ("dataset", "width", "init", "return", "retention")] == [
        *("one", "8", "0", "46.0", "0.46")
    ]
    assert (rows[27]["width"], rows[27]["policy"]) == ("", "CNN(width=4)")


def test_equal_results_make_equal_files(results: list[Generalization], files: dict[str, Path], tmp_path: Path) -> None:
    again = write_generalization(results, tmp_path)
    assert again["page"].read_bytes() == files["page"].read_bytes()
    names = sorted(path.name for path in files["figures"].iterdir())
    maps = [f"heat_maps_{name}.{kind}" for name in ("one", "three", "two") for kind in ("pdf", "png", "svg")]
    assert names == [*maps, "retention.pdf", "retention.png", "retention.svg"]
    for name in names:
        assert (again["figures"] / name).read_bytes() == (files["figures"] / name).read_bytes()


def test_one_recipe_alone_has_figures_and_no_heat_maps(tmp_path: Path) -> None:
    result = _result("one", "point", 1.0)
    one = Generalization(
        **{**vars(result), "settings": result.settings[:1], "returns": result.returns[:1] * np.array([1, -1, 0, 1])}
    )
    assert heat_maps(one) == b""
    for narrow in (False, True):
        assert b"<svg" in retention_profile([one], narrow=narrow)
    files = write_generalization([one], tmp_path)
    assert "Every recipe (1)" in files["page"].read_text()


def _generalize(*flags: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "launch/generalize.py"), *flags]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240)


SMALL = ("--widths=4", "--depths=1", "--activations=tanh", "--learning_rates=1/2,1", "--num_inits=2")


@pytest.mark.slow
@pytest.mark.system
def test_the_program_measures_and_writes(tmp_path: Path) -> None:
    path, folder = expert_pairs().save(tmp_path / "pairs.safetensors"), tmp_path / "grid"
    done = _generalize(f"--dataset={path}", f"--workdir={folder}", "--num_episodes=1", *SMALL)
    assert done.returncode == 0, done.stderr
    assert "pairs: 2 recipes in 1 compilations, 4 policies, at most 20 steps of point" in done.stdout
    assert "| point | HaDES-R | 16 |" in done.stdout
    assert {path.name for path in folder.iterdir()} == {
        *(FILE, "figures"),
        *(f"generalization.{kind}" for kind in ("html", "md", "csv")),
    }
    (written,) = json.loads((folder / FILE).read_text())["results"]
    assert len(written["cells"]) == 2
    again = _generalize(f"--dataset={path}", f"--workdir={folder}", "--num_episodes=1", *SMALL)
    assert again.returncode == 0, again.stderr
    assert f"pairs: as measured before, from {folder / FILE}" in again.stderr


@pytest.mark.system
@pytest.mark.parametrize(
    ("flags", "message", "status"),
    [
        (["--dataset=cartpole-hades-r-d2", "--activations=thanh"], 'hades: Unknown activation "thanh". Did you', 1),
        (["--dataset=cartpole-hades-r-d2", "--widht=3"], "--widht is no flag of", 2),
        (
            ["--dataset=nowhere.safetensors"],
            'hades: There is neither a file "nowhere.safetensors" here nor a dataset of the zoo',
            1,
        ),
        ([], "give --dataset and --workdir", 2),
    ],
)
def test_the_program_explains_what_it_refuses(flags: list[str], message: str, status: int, tmp_path: Path) -> None:
    done = _generalize(*flags, f"--workdir={tmp_path}", "--dry_run")
    assert done.returncode == status
    assert message in done.stderr + done.stdout
    assert "Traceback" not in done.stderr
