"""The report: self-contained, complete, escaped, equal to its files, and whole where files are missing."""

import dataclasses
import html
import html.parser
import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from hades import registry
from hades.algorithms.base import Evaluation, Solution
from hades.algorithms.keys import Stream
from hades.data import zoo
from hades.data.dataset import DistilledDataset, describe_spec
from hades.data.sources import load_dataset
from hades.environments.gymnax import Gymnax
from hades.environments.point import Point
from hades.errors import HadesError
from hades.inner.behaviour_cloning import BehaviourCloning
from hades.inner.init_scheme import RandomInit
from hades.inner.losses import CrossEntropy
from hades.normalizers.base import Normalizer
from hades.normalizers.none import NoNormalizer
from hades.normalizers.restarting import RestartingNormalizer
from hades.pictures.pairs import pairs_of
from hades.pictures.scenes.recording import record
from hades.policies.mlp import MLP
from hades.policy.trained_policy import train_policies
from hades.report import illustrations, sections
from hades.report.dataset_only import stated_by
from hades.report.episodes import PLAYED, shown_episodes
from hades.report.report import write_report
from hades.runs.compiled_run import CompiledRun
from hades.runs.loop import run
from hades.runs.record import RunRecord, read_run
from hades.studies.zoo_card import curve_of
from hades.types import EnvSpec
from tests.runs.tiny import tiny_experiment

LEARNER = BehaviourCloning(
    policy=MLP(width=8, depth=1), init_scheme=RandomInit(), loss=CrossEntropy(), num_pairs=2, num_updates=4
)
RESULT: dict[str, Any] = {
    "environment": "point-discrete",
    "method": "HaDES-R",
    "generations": 7,
    "genome_size": 1234,
    "num_pairs": 2,
    "report": {
        "mean": 487.13,
        "ci95": [471.25, 493.01],
        "num_inits": 3,
        "num_episodes": 5,
        "std_over_inits": 11.61,
        "worst_init": 470.4,
        "best_init": 499.3,
        "per_init": [470.4, 491.69, 499.3],
    },
    "best_generation": 6,
    "selection_return": 496.78,
    "env_steps": {"search": 1_234_567, "selection": 89_012, "report": 3_456},
    "seconds": {"compile": 3.21, "search": 45.6, "selection": 0.78, "report": 1.25},
    "versions": {"hades-rl": "0.1.0", "jax": "0.10.9<b>"},
    "device": "cpu & more",
}


class Page(html.parser.HTMLParser):
    """Ids, tags, addresses and text of a page; checks that tags are closed in order."""

    VOID = frozenset({"meta", "img", "br", "link", "input"})

    def __init__(self, text: str):
        super().__init__()
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.addresses: list[str] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(str(text))  # the parts of a page are Markup, which would escape what the parser has read
        assert not self._open, f"never closed: {self._open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in self.VOID:
            self._open.append(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(value or "")
            if name in ("src", "href", "xlink:href", "srcset", "data", "action"):
                self.addresses.append(value or "")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] != "style":
            self.text += data


def save_dataset(path: Path, env: Point | Gymnax, count: int = 2, normalizer: Normalizer | None = None) -> None:
    spec: EnvSpec = env.spec
    rng = np.random.default_rng(0)
    DistilledDataset(
        observations=rng.normal(size=(count, *spec.obs_shape)).astype(np.float32),
        targets=rng.dirichlet(np.ones(spec.action_space.size), count).astype(np.float32),
        obs_mean=np.full(spec.obs_shape, 0.1, np.float32),
        obs_std=np.full(spec.obs_shape, 0.5, np.float32),
        metadata={
            "environment": registry.describe(env),
            "spec": describe_spec(spec),
            "learner": registry.describe(LEARNER),
            "normalizer": registry.describe(normalizer or NoNormalizer()),
            "init": {"kind": "random"},
            "versions": {},
        },
    ).save(path)


def save_rows(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


LEFT_OUT = {"fitness/nonfinite": 1, "normalizer/rejected": 2, "normalizer/refused": 3, "ppo/rewards_refused": None}


@pytest.fixture(scope="module")
def workdir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run on the point environment."""
    path = tmp_path_factory.mktemp("run")
    registry.discover()
    save_dataset(path / "dataset.safetensors", Point(discrete=True, max_episode_steps=4))
    rows = [
        {"generation": g, "env_steps_total": 100 * g, "fitness/mean": g, "fitness/max": 2 * g, **LEFT_OUT}
        for g in range(1, 8)
    ]
    save_rows(path / "metrics.jsonl", rows)
    evaluation = {"generation": 6, "env_steps_total": 600, "return_mean": 496.78, "return_std": 1.0, "best": True}
    save_rows(path / "evaluations.jsonl", [evaluation])
    (path / "config.gin").write_text("A.b = '<script>alert(1)</script>'  # $HOME & more\n")
    (path / "result.json").write_text(json.dumps(RESULT))
    return path


@pytest.fixture(scope="module")
def source(workdir: Path) -> str:
    path = write_report(workdir)
    assert path == workdir / "report.html"
    return path.read_text("utf-8")


@pytest.fixture(scope="module")
def page(source: str) -> Page:
    return Page(source)


def test_nothing_is_loaded_from_anywhere(source: str, page: Page) -> None:
    assert page.addresses, "no pictures at all"
    assert all(a.startswith(("data:image/", "#", "figures/")) for a in page.addresses)  # the last are links to files
    assert 'src="figures/' not in source
    assert not {"script", "link", "iframe", "object"} & set(page.tags)
    assert "@import" not in source
    assert "url(http" not in source


def test_every_section_is_there_with_its_picture(page: Page) -> None:
    sections_there = {
        "the-dataset",
        "the-states",
        "a-policy-trained-on-it",
        "the-search",
        "behind-the-reported-return",
        "what-it-cost",
        "how-to-use-it",
        "how-it-was-made",
    }
    assert sections_there <= set(page.ids)
    assert page.tags.count("svg") == 8  # dataset, field, search and returns, each wide and narrow
    assert page.tags.count("input") == 3  # the switches of three moving pictures
    assert sum(a.startswith("data:image/png") for a in page.addresses if a) >= 2  # one scene a point


def test_figures_lie_beside_the_page_as_files_to_which_it_links(workdir: Path, page: Page) -> None:
    names = {path.name for path in (workdir / "figures").iterdir()}
    stills = {f"{name}.{kind}" for name in ("dataset", "field", "search", "returns") for kind in ("svg", "png", "pdf")}
    films = {f"episode-{which}.{kind}" for which in ("best", "median", "worst") for kind in ("gif", "mp4")}
    assert names - {name for name in films if name.endswith("mp4")} == stills | {n for n in films if n.endswith("gif")}
    begins = {"search.svg": b"<?xml", "search.png": b"\x89PNG", "search.pdf": b"%PDF", "episode-best.gif": b"GIF89a"}
    for name, magic in begins.items():
        assert (workdir / "figures" / name).read_bytes().startswith(magic), name
    assert {a.removeprefix("figures/") for a in page.addresses if a.startswith("figures/")} == names
    assert "figures/" in page.text


def test_the_moving_pictures_can_be_paused_and_wait_where_no_motion_is_wanted(source: str) -> None:
    assert ".film input:checked ~ .frames img { animation-play-state: paused; }" in source
    still = source[source.index("@media (prefers-reduced-motion: reduce)") :]
    assert still.index(".frames img { animation-play-state: paused; }") < still.index("animation-play-state: running")


def test_the_best_the_median_and_the_worst_of_fifteen_are_shown(workdir: Path) -> None:
    shown = shown_episodes(read_run(workdir))
    earned = [one.episode.returns[-1] for one in shown.episodes]
    assert [one.label for one in shown.episodes] == ["best", "median", "worst"]
    assert earned[0] > earned[1] > earned[2]
    assert shown.usual is shown.episodes[1]
    assert shown.who == "the median policy"
    assert shown.choice.startswith("15 policies were trained")
    policies = train_policies(read_run(workdir).dataset, PLAYED)
    everyone = [record(policies[i], seed=i).returns[-1] for i in (0, 7, 14)]
    assert all(earned[2] - 1e-4 <= one <= earned[0] + 1e-4 for one in everyone)


def test_one_episode_is_enough_where_all_earn_the_same(workdir: Path) -> None:
    env = Gymnax("CartPole-v1", params=(("max_steps_in_episode", 2),))
    shown = shown_episodes(read_run(workdir), SimpleNamespace(environment=env, act=lambda key, obs: jnp.zeros((), int)))
    assert [(one.label, one.episode.returns[-1]) for one in shown.episodes] == [("", 2.0)]
    assert shown.choice == "The policy played 15 episodes. All earned 2; this is the first."


def test_ids_are_unique_and_references_are_met(page: Page) -> None:
    assert len(page.ids) == len(set(page.ids))
    assert {a[1:] for a in page.addresses if a.startswith("#")} <= set(page.ids)


def test_numbers_are_those_of_the_files(page: Page) -> None:
    shown = [
        *(
            "487.1",
            "471.2",
            "493.0",
            "3 freshly initialised policies",
            "5 whole episodes",
            "1,234,567",
            "89,012",
            "3,456",
        ),
        *("45.6 s", "3.2 s", "0.78 s", "496.8", "470.4", "499.3", "11.6", "1,234", "2 observation–action pairs"),
        *("generation 6", "7 candidates", "cpu & more"),
    ]
    missing = [text for text in shown if text not in page.text]
    assert not missing


def test_what_comes_from_files_is_escaped(source: str, page: Page) -> None:
    assert "<script" not in source
    assert "A.b = '<script>alert(1)</script>'  # $HOME & more" in page.text
    assert "0.10.9<b>" in page.text


def test_what_was_left_out_of_the_search_is_counted(workdir: Path) -> None:
    part = illustrations.search(read_run(workdir))
    assert "7 candidates had a fitness that was not finite" in part
    assert "14 candidates did not count in the normaliser" in part
    assert "21 updates of the normaliser were dropped" in part
    assert "reward scale" not in part


def test_equal_files_make_equal_reports(workdir: Path, source: str) -> None:
    assert write_report(workdir).read_text("utf-8") == source


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("metrics.jsonl", "the course of the search is not known"),
        ("evaluations.jsonl", "not evaluated on selection keys"),
        ("config.gin", "started from Python"),
        ("result.json", "has not reported yet"),
    ],
)
def test_a_missing_file_becomes_a_sentence(tmp_path: Path, workdir: Path, name: str, sentence: str) -> None:
    run = read_run(_copy(workdir, tmp_path, without=(name,)))
    parts = (
        sections.headline(run),
        illustrations.search(run),
        illustrations.returns(run),
        sections.cost(run),
        sections.recipe(run),
    )
    assert sentence in html.unescape("".join(parts))


def test_an_empty_directory_gets_a_report(tmp_path: Path) -> None:
    text = Page(write_report(tmp_path).read_text("utf-8")).text
    assert "has not reported yet" in text
    assert "There is no policy to show an episode of" in text


def test_no_report_without_a_directory(tmp_path: Path) -> None:
    with pytest.raises(HadesError, match="no work directory at"):
        write_report(tmp_path / "nowhere")
    assert not (tmp_path / "nowhere").exists()


def test_direct_es_gets_a_report_without_dataset(tmp_path: Path, workdir: Path) -> None:
    path = _copy(workdir, tmp_path, without=("dataset.safetensors",))
    result = {k: v for k, v in RESULT.items() if k != "num_pairs"} | {"method": "ES"}
    (path / "result.json").write_text(json.dumps(result))
    page = Page(write_report(path).read_text("utf-8"))
    assert not {"the-dataset", "the-states", "how-to-use-it"} & set(page.ids)
    assert "found by ES" in page.text
    assert "3 × 5 whole episodes of the policy" in page.text


def test_a_damaged_dataset_is_named_and_the_rest_is_shown(tmp_path: Path, workdir: Path) -> None:
    path = _copy(workdir, tmp_path)
    content = (path / "dataset.safetensors").read_bytes()
    (path / "dataset.safetensors").write_bytes(content[:-10])
    page = Page(write_report(path).read_text("utf-8"))
    assert "not a complete hades dataset file" in page.text
    assert "the-search" in page.ids


def test_a_line_cut_off_by_a_kill_is_left_out(tmp_path: Path, workdir: Path) -> None:
    path = _copy(workdir, tmp_path)
    with (path / "metrics.jsonl").open("a") as file:
        file.write('{"generation": 8, "env_st')
    assert len(read_run(path).metrics) == 7


def test_states_are_shown_in_the_units_of_the_environment(workdir: Path) -> None:
    dataset = read_run(workdir).dataset
    assert dataset is not None
    np.testing.assert_allclose(pairs_of(dataset).raw, 0.5 * dataset.observations + 0.1, rtol=1e-6)


def test_image_datasets_are_shown_as_frames_with_a_legend(tmp_path: Path) -> None:
    save_dataset(tmp_path / "dataset.safetensors", Gymnax("Breakout-MinAtar"))
    part = illustrations.dataset(read_run(tmp_path))
    assert part.count("data:image/png") >= 2
    assert "<details>" in part
    assert all(f"</i>{name}</li>" in part for name in ("paddle", "ball", "trail", "brick"))


@pytest.mark.parametrize(
    ("mean", "low", "words"),
    [
        (480.0, 476.0, "lower end of the interval too"),
        (480.0, 470.0, "not by the lower end"),
        (470.0, 460.0, "not reached"),
        (480.0, None, "not by the lower end"),
    ],
)
def test_solved_is_said_with_the_interval_in_view(tmp_path: Path, mean: float, low: float | None, words: str) -> None:
    report = RESULT["report"] | {"mean": mean, "ci95": [low, 490.0]}
    run = _cart_pole(tmp_path, report)
    assert words in sections.headline(run)


def test_nothing_stands_beside_episodes_of_another_length(tmp_path: Path) -> None:
    run = _cart_pole(tmp_path, RESULT["report"], max_steps_in_episode=100)
    assert "counts as solved" not in sections.headline(run)
    assert "beside others" not in sections.headline(run)


def test_others_stand_beside_the_return_in_order(tmp_path: Path) -> None:
    text = Page(sections.headline(_cart_pole(tmp_path, RESULT["report"]))).text
    ranked = (
        "beside others",
        "PPO, 0.5 M steps",
        "in the zoo as cartpole-hades-r-d2",
        "this run",
        "random actions",
        "22.2",
    )
    places = [text.index(part) for part in ranked]
    assert places == sorted(places)


@pytest.mark.parametrize(
    ("mean", "changes", "words"),
    [
        (500.0, {}, "every policy earned 500.0, the most that CartPole-v1 pays"),
        (44.0, {}, "each of the 3 policies earned 44.0"),
        (44.0, {"one_policy": True}, "all episodes earned 44.0, as one deterministic game, played 15 times"),
        (500.0, {"one_policy": True}, "every episode earned 500.0, the most"),
    ],
)
def test_an_interval_without_length_is_explained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mean: float, changes: dict[str, Any], words: str
) -> None:
    monkeypatch.setattr(sections, "is_fixed_policy", lambda run: bool(run.report.get("one_policy")))
    run = _cart_pole(tmp_path, RESULT["report"] | {"mean": mean, "ci95": [mean, mean]} | changes)
    assert words in sections.no_spread(run)
    assert sections.no_spread(_cart_pole(tmp_path, RESULT["report"])) == ""


def test_defaults_are_marked_in_the_facts_of_a_run() -> None:
    rows = dict(sections.flat(registry.describe(dataclasses.replace(LEARNER, learning_rate=0.5))))
    assert rows["learning_rate"] == "0.5"
    assert rows["batch_size"] == "0 (default)"
    assert rows["policy.activation"] == "tanh (default)"
    assert rows["policy.width"] == "8"


def test_a_run_from_python_shows_every_field(tmp_path: Path) -> None:
    (tmp_path / "experiment.json").write_text(json.dumps(registry.describe(tiny_experiment())))
    text = Page(sections.recipe(read_run(tmp_path))).text
    assert "Every field of the run" in text
    assert "algorithm.outer.temperature" in text


def test_the_report_of_a_dataset_of_the_zoo_draws_the_curve_of_its_card(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "cartpole-hades-r-d2"
    (tmp_path / "dataset.safetensors").write_bytes(zoo.path(name).read_bytes())
    card: dict[str, Any] = zoo.card(name) | {"curve": [[0, 20.0], [30_000, 499.0], [60_000, 500.0]]}
    monkeypatch.setattr(zoo, "card", lambda name: card)
    page = illustrations.search(stated_by(read_run(tmp_path)))
    assert "card of the zoo" in page
    assert "solution, selection episodes" in page
    monkeypatch.setattr(zoo, "card", lambda name: {key: card[key] for key in card if key != "curve"})
    assert illustrations.search(stated_by(read_run(tmp_path))) == ""
    last = stated_by(read_run(tmp_path))  # a dataset whose last stage searched nothing
    assert illustrations.search(dataclasses.replace(last, result={"stages": [{}], "generations": 0})) == ""


def test_a_card_keeps_a_short_curve_whose_steps_run_through_all_stages(workdir: Path) -> None:
    run = read_run(workdir)
    rows = [{"env_steps_total": 100 * i, "return_mean": 1.0 / (i + 1)} for i in range(99)]
    first = dataclasses.replace(run, evaluations=rows, result={"env_steps": {"search": 9900}})
    second = dataclasses.replace(run, evaluations=[{"env_steps_total": 50, "return_mean": math.nan}, *rows[5:6]])
    curve = curve_of([first, second])
    assert (len(curve), curve[0], curve[-1]) == (40, [0, 1.0], [9900 + 500, 0.166667])
    assert curve_of([dataclasses.replace(run, evaluations=[])]) == []


@pytest.mark.parametrize(("one_policy", "unit"), [(True, "group"), (False, "policy")])
def test_the_worst_of_each_task_is_named_by_its_unit(tmp_path: Path, one_policy: bool, unit: str) -> None:
    report = RESULT["report"]
    run = _cart_pole(tmp_path, report | {"one_policy": one_policy, "tasks": {"CartPole-v1": report}})
    assert f"worst {unit}<" in sections.tasks(run)


ALARMS = {
    "height": {"bound": 2.7, "largest": 9.81, "episodes": 2},
    "nonfinite": {"bound": 0.0, "largest": 0.0, "episodes": 0},
}


def test_implausible_episodes_are_shown_with_what_to_do(tmp_path: Path) -> None:
    run = _cart_pole(tmp_path, RESULT["report"] | {"alarms": ALARMS, "implausible_episodes": 2, "plausible_mean": 12.5})
    part = sections.plausibility(run)
    assert "2 of 15 episodes of the report are physically implausible" in part
    assert "12.5 without them" in Page(part).text
    assert "EpisodicReturn.implausible = 'mask'" in Page(part).text
    assert "<td>2</td><td>9.81</td><td>2.70</td>" in part
    assert "physics that broke down" in part


def test_honest_episodes_are_said_to_be_so_and_no_bounds_to_be_silent(tmp_path: Path) -> None:
    run = _cart_pole(tmp_path, RESULT["report"] | {"alarms": ALARMS, "implausible_episodes": 0})
    assert "None of the 15 episodes of the report raised an alarm" in sections.plausibility(run)
    (tmp_path / "silent").mkdir()
    assert sections.plausibility(_cart_pole(tmp_path / "silent", RESULT["report"])) == ""


def test_a_policy_with_a_memory_is_shown_without_a_field_of_actions(tmp_path: Path) -> None:
    save_dataset(tmp_path / "dataset.safetensors", Point(discrete=True), normalizer=RestartingNormalizer())
    part = illustrations.policy(read_run(tmp_path), None)
    assert "data:image" in part
    assert "no field of them is shown" in part


def test_durations_and_descriptions_in_words() -> None:
    assert [sections.duration(s) for s in (0.5, 12.34, 754, 12_034)] == [
        "0.50 s",
        "12.3 s",
        "12 min 34 s",
        "3 h 20 min",
    ]
    rows = dict(sections.flat(registry.describe(LEARNER)))
    assert rows["component"] == "BehaviourCloning"
    assert rows["policy"] == "MLP"
    assert rows["policy.width"] == "8"


def _cart_pole(path: Path, report: dict[str, Any], **params: int) -> RunRecord:
    registry.discover()
    save_dataset(path / "dataset.safetensors", Gymnax("CartPole-v1", params=tuple(params.items())))
    (path / "result.json").write_text(json.dumps(RESULT | {"environment": "CartPole-v1", "report": report}))
    return read_run(path)


def _copy(source: Path, target: Path, without: tuple[str, ...] = ()) -> Path:
    for file in source.iterdir():
        if file.name not in (*without, "report.html", "figures"):
            (target / file.name).write_bytes(file.read_bytes())
    return target


def test_a_run_whose_policies_earn_nothing_has_a_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    evaluate = CompiledRun.evaluate

    def spoiled(self: CompiledRun, solution: Solution, stream: Stream) -> Evaluation:
        evaluation = evaluate(self, solution, stream)
        return dataclasses.replace(evaluation, returns=evaluation.returns * np.nan)

    monkeypatch.setattr(CompiledRun, "evaluate", spoiled)
    run(tiny_experiment(generations=3), tmp_path / "run", progress=False)
    assert json.loads((tmp_path / "run" / "result.json").read_text())["report"]["mean"] is None
    assert not load_dataset(tmp_path / "run" / "dataset.safetensors").returns
    page = write_report(tmp_path / "run").read_text()
    assert "No policy earned a finite return" in page
    assert "not all returns are finite" in page
