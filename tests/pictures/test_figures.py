"""Curves, tables and fields as SVG: complete, deterministic, and with the numbers they are given."""

import re
import xml.etree.ElementTree as ET

import jax
import numpy as np
import pytest

from hades.environments.point import Point
from hades.pictures.pairs import Pairs
from hades.report.action_field import Field, View, action_field, telling_features
from hades.report.channels import channel_maps
from hades.report.curves import fitness_curve, report_returns
from hades.report.dataset_table import bar_scale, dataset_table, fits_table
from hades.text import number
from hades.types import Box, Discrete, EnvSpec

SPEC = EnvSpec("toy", (3,), Discrete(2), 10, ("alpha", "beta $x$", "gamma"), ("left", "right"))


def pairs(spec: EnvSpec = SPEC, count: int = 2) -> Pairs:
    rng = np.random.default_rng(0)
    observations = rng.normal(size=(count, *spec.obs_shape))
    targets = rng.dirichlet(np.ones(spec.action_space.size), count)
    return Pairs(spec=spec, observations=observations, raw=10 * observations + 3, targets=targets)


def words(svg: bytes) -> list[str]:
    return [text.text or "" for text in ET.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]


def width(svg: bytes) -> float:
    return float(ET.fromstring(svg).attrib["viewBox"].split()[2])


@pytest.mark.parametrize("narrow", [False, True])
def test_table_prints_names_raw_values_and_probabilities(narrow: bool) -> None:
    data = pairs()
    shown = words(dataset_table(data, narrow=narrow))
    for value in data.raw.ravel():
        assert number(value) in shown
    for value in data.targets.ravel():
        assert f"{value:.2f}" in shown
    assert {"left", "right", "alpha", "gamma"} <= set(shown)
    assert any("$x$" in word for word in shown)


def test_bars_point_to_the_sign_of_the_normalised_value() -> None:
    spec = EnvSpec("toy", (1,), Box(1), 10)
    for value, colour in ((1.0, "#0072b2"), (-1.0, "#d55e00")):
        one = Pairs(spec, np.array([[value]]), np.array([[5.0]]), np.array([[0.0]]))
        svg = dataset_table(one).decode()
        assert len(re.findall(f"fill: {colour}", svg)) == (2 if value > 0 else 1)  # the zero target counts as positive


def test_large_datasets_become_heat_maps_with_the_names() -> None:
    spec = EnvSpec("big", (12,), Box(2), 10)
    data = pairs(spec, 20)
    assert not fits_table(data)
    assert {"obs 0", "obs 11", "action 1"} <= set(words(dataset_table(data)))


@pytest.mark.parametrize(("narrow", "each"), [(False, 4), (True, 10)])
def test_columns_that_are_too_narrow_for_their_names_are_named_now_and_then(narrow: bool, each: int) -> None:
    big = pairs(EnvSpec("bigger", (244,), Box(2), 10), 20)
    named = [int(name[4:]) for name in words(dataset_table(big, narrow=narrow)) if name.startswith("obs ")]
    assert named == list(range(0, 244, each))


def test_channel_maps_name_every_channel() -> None:
    spec = EnvSpec("frames", (4, 5, 2), Discrete(2), 10, ("car", "road"))
    assert {"car", "road", "1", "2"} <= set(words(channel_maps(pairs(spec))))


def test_bar_scale_covers_the_largest_value() -> None:
    for largest in (0.0, 0.0123, 0.7, 1.0, 1.49, 9.9, 123.0):
        scale = bar_scale(np.array([-largest, 0.0]))
        assert largest <= scale <= max(2.0 * largest, 1e-3)


@pytest.mark.parametrize("evaluated", [False, True])
@pytest.mark.parametrize("rows", [1, 5])
def test_curve_says_what_is_in_it(rows: int, evaluated: bool) -> None:
    metrics = [
        {
            "generation": i + 1,
            "env_steps_total": 100 * (i + 1),
            "fitness/mean": None if i == 2 else i,
            "fitness/max": 2 * i,
        }
        for i in range(rows)
    ]
    evaluations = [{"generation": 1, "env_steps_total": 100, "return_mean": 1.0, "return_std": 0.0, "best": True}]
    svg = fitness_curve(metrics, evaluations if evaluated else (), {"mean": 12.3456, "ci95": [12.0, None]})
    shown = words(svg)
    assert "report: 12.3" in shown
    assert ("selected" in shown) == evaluated
    assert svg == fitness_curve(metrics, evaluations if evaluated else (), {"mean": 12.3456, "ci95": [12.0, None]})


def test_curve_tells_the_seconds_below_the_steps() -> None:
    metrics = [
        {"generation": g, "env_steps_total": 100 * g, "fitness/mean": 1.0 * g, "fitness/max": 2.0 * g}
        for g in (1, 2, 3)
    ]
    timing = [{"generation": 1, "seconds": 10.0}, {"generation": 3, "seconds": 50.0}]
    shown = words(fitness_curve(metrics, timing=timing))
    assert shown[shown.index("150") + 1] == "20.0 s", "between two rows"
    assert "environment steps and time of the search" in shown
    assert "environment steps of the search" in words(fitness_curve(metrics))


def test_curve_shows_the_return_where_fitness_is_something_else() -> None:
    row = {"generation": 1, "env_steps_total": 1, "fitness/mean": 1.0, "fitness/max": 2.0, "population/return": 1.0}
    assert "population mean return" not in words(fitness_curve([row]))
    assert "population mean return" in words(fitness_curve([row | {"population/return": 3.0}]))
    shaped = words(fitness_curve([row | {"population/return_within_horizon": 3.0}]))
    assert "population mean return" not in shaped
    assert "fitness, return" in shaped


@pytest.mark.parametrize("values", [[500.0] * 64, [1.0, 2.0, 3.0], [-5.0], list(range(40))])
def test_every_policy_of_the_report_is_drawn(values: list[float]) -> None:
    svg = report_returns({"mean": float(np.mean(values)), "ci95": [None, None], "per_init": values})
    dots = len(re.findall(r"<use ", svg.decode()))
    if values == [500.0] * 64:
        assert "64" in words(svg)
    else:
        assert dots >= len(values)


def test_narrow_pictures_are_narrow() -> None:
    report = {"mean": 1.0, "ci95": [0.0, 2.0], "per_init": [0.0, 2.0]}
    for draw in (lambda n: dataset_table(pairs(), narrow=n), lambda n: report_returns(report, narrow=n)):
        assert width(draw(True)) < 300 < 600 < width(draw(False))


class Rightward:
    """Goes right where the third feature exceeds the first; the second does not matter."""

    environment = Point(discrete=True)

    def act(self, key: jax.Array, observation: jax.Array) -> jax.Array:
        del key
        return jax.numpy.where(observation[2] > observation[0], 2, 0)


def test_the_telling_features_are_those_the_policy_looks_at() -> None:
    assert set(telling_features(Rightward(), np.zeros(3), np.array([1.0, 5.0, 1.1]))) == {0, 2}


def test_field_shows_the_points_by_number() -> None:
    view = View((), *[np.zeros(3)] * 4, visited=np.zeros((1, 3)), is_visited=True)
    field = Field((0, 2), (-50, 50, -50, 50), np.full((4, 4, 2), 0.5), 0, view)
    shown = words(action_field(field, pairs()))
    assert {"alpha", "gamma", "1", "2"} <= set(shown)
