"""The generalisation grid: its rows are the policies that one-off calls train, and its words are what they say."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy

from hades import registry
from hades.environments.point import Point
from hades.errors import ConfigError, DatasetError, HadesError
from hades.fitness.episodic_return import EpisodicReturn
from hades.inner.base import InnerLearner
from hades.inner.init_scheme import FixedInit, RandomInit
from hades.inner.ridge_cloning import RidgeCloning
from hades.policies.cnn import CNN
from hades.policies.mlp import MLP
from hades.policies.wide_mlp import WideMLP
from hades.policy.trained_policy import evaluate_dataset
from hades.studies.generalization import many_datasets
from hades.studies.generalization.grid import Grid, parse_grid, policy_text, value_text
from hades.studies.generalization.groups import count_programs
from hades.studies.generalization.many_datasets import FILE, check_together, generalize_all, load_datasets
from hades.studies.generalization.numbers import Generalization, generalize, protocol_of, restored, worst_decile
from hades.studies.retention import Reference
from tests.studies.pairs import expert_pairs

ONE = Grid(widths=(8,), depths=(1,), activations=("tanh",), learning_rates=(1.0,))
"""The recipe of `expert_pairs` alone."""
NUMBERS = Grid(
    widths=(4,),
    depths=(2,),
    activations=("relu",),
    learning_rates=(0.2, 1.0),
    num_updates=(0.5, 1.0),
    init_scales=(1.0, 2.0),
)
"""Recipes that differ in numbers alone."""


@pytest.fixture(scope="module")
def numbers() -> Generalization:
    return generalize(expert_pairs(batch_size=4), NUMBERS, num_inits=3, num_episodes=2, seed=5)


@pytest.mark.parametrize(("rate", "updates", "scale"), [(0.2, 0.5, 2.0), (1.0, 1.0, 1.0)])
def test_a_row_is_what_a_one_off_call_measures(
    numbers: Generalization, rate: float, updates: float, scale: float
) -> None:
    policy = MLP(width=4, depth=2, activation="relu", acting="greedy", hidden_scale=2**0.5 * scale)
    once = evaluate_dataset(
        expert_pairs(batch_size=4),  # mini-batches, so that the keys of learning matter too
        num_inits=3,
        seed=5,
        protocol=EpisodicReturn(2),
        policy=policy,
        learning_rate=0.05 * rate,
        num_updates=round(40 * updates),
    )
    row = numbers.returns[numbers.chosen(learning_rate=rate, num_updates=updates, init_scale=scale)]
    assert row.shape == (1, 3)
    np.testing.assert_allclose(row[0], once.per_init, atol=2e-3)
    assert np.ptp(row[0]) > 0.02  # inits differ, so that equal rows say something


def test_recipes_that_differ_in_numbers_share_one_compilation() -> None:
    def learners(grid: Grid) -> list[Any]:
        return [cell.learner for cell in grid.cells(expert_pairs())]

    assert len(learners(NUMBERS)) == 8
    assert count_programs(learners(NUMBERS)) == 1
    assert count_programs(learners(dataclasses.replace(NUMBERS, activations=("relu", "tanh"), depths=(1, 2)))) == 4


def test_the_original_recipe_keeps_everything() -> None:
    done: list[tuple[int, int]] = []
    result = generalize(expert_pairs(), ONE, num_inits=32, num_episodes=2, progress=lambda *x: done.append(x))
    np.testing.assert_allclose(result.returns[0], result.original, atol=2e-3)
    assert result.retention.mean() == pytest.approx(1.0, abs=1e-3)
    assert result.reference.floor < result.reference.original < 0  # of `point`: counted from random play
    assert done == [(32, 32)]
    assert result.seconds["total"] >= result.seconds["run"] >= 0


def test_a_kernel_keeps_the_gain_that_it_acts_by() -> None:
    learner = RidgeCloning(policy=WideMLP(acting="greedy"), init_scheme=RandomInit(1), num_pairs=16)
    pairs = expert_pairs()
    dataset = dataclasses.replace(pairs, metadata={**pairs.metadata, "learner": registry.describe(learner)})
    grid = dataclasses.replace(ONE, activations=("relu",))
    result = generalize(dataset, grid, num_inits=2, num_episodes=2)
    np.testing.assert_allclose(result.returns[0], result.original[:2], atol=2e-3)


def test_a_fixed_init_dataset_is_trained_from_fresh_inits() -> None:
    dataset = expert_pairs(FixedInit(seed=3))
    (cell,) = ONE.cells(dataset)
    assert cell.learner.init_scheme == RandomInit(1)
    result = generalize(dataset, ONE, num_inits=3, num_episodes=2)
    assert result.method == "HaDES-F"
    once = evaluate_dataset(dataset, 3, seed=1, protocol=EpisodicReturn(2), init_scheme=RandomInit(1))
    np.testing.assert_allclose(result.returns[0], once.per_init, atol=2e-3)
    assert not np.allclose(result.returns[0], result.original[:3], atol=0.05)


def test_the_default_grid_is_the_one_of_the_issue() -> None:
    cells = Grid().cells(expert_pairs())
    assert len(cells) == 4 * 3 * 3 * 3
    policies = {(c.settings["width"], c.settings["depth"], c.settings["activation"]) for c in cells}
    assert len(policies) == 36
    assert {policy.acting for policy in (c.learner.policy for c in cells)} == {"greedy"}  # the recipe's


def test_optimisers_and_learners_are_those_named() -> None:
    dataset = expert_pairs(optimizer="sgd", optimizer_options=(("momentum", 0.9),), span_first_layer=True)
    grid = dataclasses.replace(
        ONE,
        optimizers=("original", "adam", "rmsprop=0.01"),
        learners=("original", "BehaviourCloning(batch_size=4)"),
        learning_rates=(3.0,),
        policies=(MLP(width=4, depth=0),),
    )
    sampled = dataclasses.replace(ONE, acting=("original", "sample"))
    assert [cell.learner.policy.acting for cell in sampled.cells(dataset)] == ["greedy", "sample"]
    learners = [cell.learner for cell in grid.cells(dataset)]
    assert len(learners) == 3 * 2 * 2
    first, adam, rms = learners[:3]
    assert (first.optimizer, first.optimizer_options, first.span_first_layer) == ("sgd", (("momentum", 0.9),), True)
    assert (adam.optimizer, adam.optimizer_options, adam.span_first_layer) == ("adam", (), False)
    assert (adam.learning_rate, rms.learning_rate) == pytest.approx((0.15, 0.03))
    assert [learner.batch_size for learner in learners] == [0] * 6 + [4] * 6
    assert [learner.policy.acting for learner in learners] == 2 * (["greedy"] * 3 + ["sample"] * 3)


@dataclasses.dataclass(frozen=True)
class Formula(InnerLearner):
    """A learner without gradient updates."""

    policy: MLP

    def init_genome(self, key: Any, env: Any, normalize: Any) -> Any:
        raise NotImplementedError

    def clone(self, key: Any, dataset: Any, params: Any, spec: Any) -> Any:
        return params, {}


def test_a_learner_may_lack_what_an_axis_changes_where_the_axis_leaves_it_alone() -> None:
    dataset = expert_pairs()
    vars(dataset)["learner"] = Formula(policy=MLP(width=8, depth=1))  # a cached property: no such class is registered
    cells = dataclasses.replace(ONE, widths=(8, 4), init_scales=(3.0,)).cells(dataset)
    assert [cell.learner.policy.width for cell in cells] == [8, 4]  # type: ignore[attr-defined]
    assert count_programs([cell.learner for cell in cells]) == 2


@pytest.mark.parametrize(
    ("axis", "values", "field"),
    [
        ("learning_rates", (0.5,), "learning_rate"),
        ("num_updates", (1.0, 2.0), "num_updates"),
        ("optimizers", ("sgd=0.1",), "optimizer"),
    ],
)
def test_an_axis_that_the_learner_has_no_field_for_is_refused(axis: str, values: tuple[Any, ...], field: str) -> None:
    dataset = expert_pairs()
    vars(dataset)["learner"] = Formula(policy=MLP(width=8, depth=1))
    with pytest.raises(ConfigError, match=rf"Grid\.{axis} is .* Formula has no {field} to change"):
        dataclasses.replace(ONE, **{axis: values}).cells(dataset)


def test_words_become_a_grid() -> None:
    grid = parse_grid({"widths": ["32", " 64"], "learning_rates": ["1/3", "3"], "policies": ["CNN(width=8)"]})
    assert grid == Grid(widths=(32, 64), learning_rates=(1 / 3, 3.0), policies=(CNN(width=8),))
    assert policy_text(CNN(width=8)) == "CNN(width=8)"
    assert [value_text("learning_rate", x) for x in (1 / 3, 3.0, 0.123)] == ["× 1/3", "× 3", "× 0.123"]
    assert value_text("width", None) == "–"


@pytest.mark.parametrize(
    ("axes", "message"),
    [
        ({"widths": []}, r"Grid\.widths is empty.*at least one value"),
        ({"widths": ["a"]}, r'Grid\.widths: "a" is not an integer'),
        ({"learning_rates": ["1/0"]}, r'Grid\.learning_rates: "1/0" is not a factor such as'),
        ({"learning_rates": ["-1"]}, r"Grid\.learning_rates\[0\] is -1.0; it must be above 0"),
        ({"depths": ["1", "1"]}, r"Grid\.depths is \(1, 1\), with a value twice"),
        ({"width": ["8"]}, r'no axis "width"\. Did you mean "widths"'),
        ({"widths": ["0"]}, r"MLP\.width is 0"),
        ({"activations": ["thanh"]}, r'Unknown activation "thanh"\. Did you mean "tanh"'),
        ({"optimizers": ["adm"]}, r'optimizer is "adm".*Did you mean "adam'),
        ({"optimizers": ["sgd=x"]}, r'Grid\.optimizers has "sgd=x"; write'),
        ({"acting": ["greedily"]}, r'MLP\.acting is "greedily"; it must be "sample" or "greedy"'),
        ({"learners": ["Identity"]}, r'Grid\.learners has "Identity", which trains no policy from pairs'),
        ({"learners": ["BehaviourCloning(batch=2)"]}, r'has no "batch"\. Did you mean "batch_size"'),
        ({"learners": ["3"]}, r'Grid\.learners has "3"'),
        ({"policies": ["CNN"]}, r"CNN .*needs image observations.*point have shape \(2,\)\. Use MLP"),
        ({"policies": ["CMM"]}, r'no Policy "CMM"\. Known: CNN, '),
    ],
)
def test_what_cannot_be_a_grid_is_refused(axes: dict[str, list[str]], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_grid(axes).cells(expert_pairs())


def test_a_grid_that_cannot_work_is_refused_before_anything_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured: list[str] = []
    monkeypatch.setattr(many_datasets, "generalize", lambda *_, name, **__: measured.append(name))
    datasets = {"good": expert_pairs(), "bad": expert_pairs(environment=Point(discrete=False, max_episode_steps=9))}
    with pytest.raises(ConfigError, match=r'activation "x"'):
        generalize_all(datasets, Grid(activations=("x",)), tmp_path)
    assert measured == []


@pytest.mark.parametrize("counts", [{"num_inits": 0}, {"num_episodes": 0}])
def test_no_inits_and_no_episodes_are_refused(counts: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match=r"\b1\b"):
        generalize(expert_pairs(), ONE, **counts)


def test_a_dataset_that_teaches_nothing_is_refused() -> None:
    dataset = expert_pairs(learning_rate=1e-9, policy=MLP(width=8, depth=1, acting="greedy", output_scale=9.0))
    with pytest.raises(DatasetError, match="retain"):
        generalize(dataset, ONE, num_inits=1, num_episodes=2)


def _result(returns: Any, **changes: Any) -> Generalization:
    returns = np.asarray(returns, np.float64)
    fields: dict[str, Any] = {
        "name": "a",
        "environment": "point",
        "method": "HaDES-R",
        "num_pairs": 2,
        "settings": tuple({"width": 8 * (c + 1), "depth": 1} for c in range(len(returns))),
        "returns": returns,
        "original": np.full(4, 200.0),
        "reference": Reference(200.0),
        "protocol": {},
        "seconds": {"total": 1.0},
    }
    return Generalization(**(fields | changes))


def test_aggregates_are_what_they_say() -> None:
    result = _result(np.arange(40.0).reshape(4, 10) * 10 - 190)
    kept = (np.arange(40.0) * 10 - 190) / 200
    np.testing.assert_allclose(result.retention.ravel(), kept)
    assert result.iqm.value == pytest.approx(kept[10:30].mean())
    assert result.iqm.low < result.iqm.value < result.iqm.high
    assert result.worst_decile == pytest.approx(kept[:4].mean())
    assert result.share(0.5) == pytest.approx(11 / 40)
    assert worst_decile(np.array([0.3, 0.2])) == 0.2
    assert result.axes == {"width": (8, 16, 24, 32)}
    assert result.estimate(result.chosen(width=8)).value == pytest.approx(kept[2:8].mean())


def test_one_init_has_no_interval_and_many_recipes_no_narrower_one() -> None:
    one = _result([[100.0], [200.0]]).iqm
    assert one.low == one.value == one.high == 0.75
    inits = np.array([[100.0, 150.0, 200.0, 180.0]])
    alone, copied = _result(inits).iqm, _result(np.repeat(inits, 50, 0)).iqm
    assert copied.high - copied.low > 0.5 * (alone.high - alone.low)  # copies of an init are no new evidence


def test_a_return_that_is_not_finite_counts_as_nothing() -> None:
    result = _result([[200.0, np.nan], [np.inf, 100.0]])
    np.testing.assert_allclose(result.retention, [[1.0, 0.0], [0.0, 0.5]])
    described = json.loads(json.dumps(result.describe()))
    assert described["summary"]["not_finite"] == 2
    np.testing.assert_allclose(restored(described).retention, result.retention)


def test_unknown_axes_and_values_are_named() -> None:
    result = _result([[1.0], [2.0]])
    with pytest.raises(ConfigError, match=r'"widht".*"width"'):
        result.chosen(widht=8)
    with pytest.raises(ConfigError, match=r"width 9.*8, 16"):
        result.chosen(width=9)


def test_what_is_measured_is_not_measured_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset, said = expert_pairs(), []
    calls: list[int] = []

    def measured(dataset: Any, grid: Grid, inits: int, episodes: int, seed: int, **options: Any) -> Generalization:
        calls.append(seed)
        protocol = protocol_of(dataset, grid, inits, episodes, seed)
        return _result([[150.0, np.nan]], name=options["name"], protocol=protocol)

    monkeypatch.setattr(many_datasets, "generalize", measured)
    for seed in (1, 1, 2, 2):
        (result,) = generalize_all({"a": dataset}, ONE, tmp_path, 2, 2, seed, say=said.append)
        np.testing.assert_array_equal(result.returns, [[150.0, np.nan]])
    assert calls == [1, 2]
    assert [line.split(",")[0] for line in said] == [
        "a: as measured before",
        "a: measured anew",
        "a: as measured before",
    ]
    generalize_all({"a": expert_pairs(learning_rate=0.1)}, ONE, tmp_path, 2, 2, 2)
    assert calls == [1, 2, 2]  # another recipe is another dataset
    assert [found["name"] for found in json.loads((tmp_path / FILE).read_text())["results"]] == ["a"]


@pytest.mark.parametrize("content", ["{", "{}", '{"results": [{"name": "a"}]}', '{"results": 3}', "[]"])
def test_a_file_of_another_kind_is_not_overwritten(tmp_path: Path, content: str) -> None:
    (tmp_path / FILE).write_text(content)
    with pytest.raises(HadesError, match=r"generalization.json.*work directory"):
        generalize_all({"a": expert_pairs()}, ONE, tmp_path)
    assert (tmp_path / FILE).read_text() == content


def test_versions_of_one_environment_are_not_put_together() -> None:
    long = expert_pairs(environment=Point(max_episode_steps=9))
    with pytest.raises(ConfigError, match=r"a and b .*point.*max_episode_steps.*5 and 9"):
        check_together({"a": expert_pairs(), "b": long})
    check_together({"a": expert_pairs(), "b": expert_pairs(FixedInit(seed=3))})


def test_datasets_are_called_by_their_files(tmp_path: Path) -> None:
    paths = [tmp_path / "run" / "dataset.safetensors", tmp_path / "v1.5.safetensors"]
    for path in paths:
        expert_pairs().save(path)
    assert list(load_datasets([*map(str, paths), "cartpole-hades-r-d2"])) == ["run", "v1.5", "cartpole-hades-r-d2"]
    with pytest.raises(ConfigError, match='"run"'):
        load_datasets([str(paths[0]), str(paths[0])])


def _with_header(path: Path, **changes: Any) -> str:
    """A dataset file with another header."""
    expert_pairs().save(path)
    with safetensors.safe_open(str(path), framework="numpy") as file:
        header = json.loads(file.metadata()["hades"]) | changes
        tensors = {name: file.get_tensor(name) for name in ("observations", "targets")}
        tensors |= {name: file.get_tensor(name) for name in ("normalizer/mean", "normalizer/std")}
    path.write_bytes(safetensors.numpy.save(tensors, metadata={"hades": json.dumps(header)}))
    return str(path)


def test_files_of_a_newer_format_and_for_unknown_environments_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"x\.safetensors.*format 9.*\b1\b"):
        load_datasets([_with_header(tmp_path / "x.safetensors", format_version=9)])
    unknown = {"interface": "Environment", "name": "Pointt"}
    with pytest.raises(HadesError, match=r'Environment "Pointt".*"Point"'):
        load_datasets([_with_header(tmp_path / "y.safetensors", environment=unknown)])
    with pytest.raises(DatasetError, match=r"z\.safetensors"):
        load_datasets([str(tmp_path / "z.safetensors")])


def test_a_recipe_says_how_far_its_network_is_from_those_of_the_search() -> None:
    dataset = expert_pairs(policy=MLP(width=8, depth=1))
    networks = [registry.describe(MLP(width=width, depth=depth)) for width, depth in ((4, 1), (16, 3))]
    metadata = {**dataset.metadata, "training": {"stages": [{"networks": networks}]}}
    grid = Grid(widths=(4, 8, 32), depths=(1, 2), activations=("tanh", "relu"), learning_rates=(1.0,))
    found: dict[str, set[tuple[int, int, str]]] = {}
    for settings in (cell.settings for cell in grid.cells(dataclasses.replace(dataset, metadata=metadata))):
        sizes = settings["width"], settings["depth"], settings["activation"]
        found.setdefault(settings["network"], set()).add(sizes)
    assert found["searched"] == {(4, 1, "tanh"), (8, 1, "tanh")}
    assert found["interpolated"] == {(4, 2, "tanh"), (8, 2, "tanh")}
    assert len(found["held out"]) == 8
