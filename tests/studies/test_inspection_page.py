"""The report of what was inspected: its sections, its words, a dataset file alone, and the program that makes it."""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from hades.data.dataset import DistilledDataset
from hades.pictures.pairs import pairs_of
from hades.policy.trained_policy import train_policy
from hades.report import illustrations, sections
from hades.report.action_field import View, measure_field
from hades.report.dataset_only import stated_by
from hades.report.dataset_table import dataset_table, fits_table
from hades.report.report import write_report
from hades.runs.record import RunRecord, read_run
from hades.studies.inspection import page
from hades.studies.inspection.figures import distance_bars, influence_bars
from hades.studies.inspection.influence import Influence
from hades.studies.inspection.numbers import INSPECTION
from tests.report.test_report import Page
from tests.studies.small import make_dataset, make_inspection
from tests.support import ROOT

RETURNS = {
    "mean": 3.25,
    "ci95": [3.0, 3.5],
    "num_inits": 2,
    "num_episodes": 4,
    "std_over_inits": 0.125,
    "worst_init": 3.125,
    "best_init": 3.375,
    "per_init": [3.125, 3.375],
}
FROM_SEARCH = {"the-search", "what-it-cost"}


@pytest.fixture(scope="module")
def dataset() -> DistilledDataset:
    made = make_dataset()
    return dataclasses.replace(made, metadata={**made.metadata, "returns": RETURNS})


@pytest.fixture
def run(dataset: DistilledDataset, tmp_path: Path) -> RunRecord:
    """A folder with a dataset and an inspection of it."""
    dataset.save(tmp_path / "dataset.safetensors")
    make_inspection(dataset).save(tmp_path)
    return read_run(tmp_path)


def text_of(part: str) -> str:
    return Page(part).text


def test_a_dataset_file_alone_gets_a_report_of_what_it_states(dataset: DistilledDataset, tmp_path: Path) -> None:
    dataset.save(tmp_path / "dataset.safetensors")
    page = Page(write_report(tmp_path).read_text("utf-8"))
    sections = {"the-dataset", "the-states", "a-policy-trained-on-it", "behind-the-reported-return", "how-to-use-it"}
    assert sections <= set(page.ids)
    assert not FROM_SEARCH & set(page.ids)
    assert all(text in page.text for text in ("3.25", "95 % interval 3.00 to 3.50", "HaDES-R on point"))
    assert f"hades-inspect --workdir={tmp_path}" in page.text
    assert "config.gin" not in page.text


def test_a_file_with_a_bare_mean_says_so(dataset: DistilledDataset, tmp_path: Path) -> None:
    today = {"mean": 2.5, "inits": 8, "sd_over_inits": 0.25, "episode_length": 4.0}
    returns = {"mean": 3.25, "protocol": "published: some average", "remeasured": today}
    bare = dataclasses.replace(dataset, metadata={**dataset.metadata, "returns": returns})
    bare.save(tmp_path / "dataset.safetensors")
    text = text_of(sections.headline(stated_by(read_run(tmp_path))))
    assert "mean return, for which the file states no interval" in text
    assert "As the file states it (published: some average). Today: 2.5 (the index" in text


def test_what_was_measured_is_shown(run: RunRecord) -> None:
    page = Page(write_report(run.workdir).read_text("utf-8"))
    assert {"nearest-visited-states", "influence-of-each-pair"} <= set(page.ids)
    assert len(page.ids) == len(set(page.ids))
    assert "hades-inspect" not in page.text
    assert not {"script", "link", "iframe", "object"} & set(page.tags)
    assert all(a.startswith(("data:image/", "#", "figures/")) for a in page.addresses)


def test_nearest_states_say_how_far_and_what_is_far(run: RunRecord) -> None:
    part = page.nearest_states(run)
    text = text_of(part)
    assert "1 of 3 synthetic states lies among the states that policies really visit" in text
    assert "0 to 2 standard deviations from the nearest one" in text
    assert "0.125 from the nearest one of another episode (median), and 95 % of them at most 0.5" in text
    assert text.count("Furthest in goal (−1.50 s.d.). Met by policy 2 in episode 1, step 3.") == 3
    assert text.count("off the visited states") == 2
    assert "The trained policies come nearer to all 3 of them than random actions do." in text
    assert part.count("data:image/png") == 6  # a synthetic and a visited state for each pair
    assert "24 states, drawn evenly from the 1,234 of 3 policies trained on the dataset, 2 whole episodes each" in text


@pytest.mark.parametrize(
    ("distances", "words"),
    [
        ((0.1, 0.2, 0.3), "All 3 synthetic states lie among the states"),
        ((1.0, 2.0), "Both synthetic states lie off the states"),
        ((2.0,), "The synthetic state lies off the states that policies really visit: 2 standard deviations from"),
    ],
)
def test_the_verdict_in_words(dataset: DistilledDataset, distances: tuple[float, ...], words: str) -> None:
    nearest = make_inspection(dataset).nearest
    pairs = tuple(dataclasses.replace(nearest.pairs[0], distance=d) for d in distances)
    assert page.verdict(dataclasses.replace(nearest, pairs=pairs)).startswith(words)


def test_features_that_never_vary_are_owned_up_to(run: RunRecord, dataset: DistilledDataset) -> None:
    inspection = make_inspection(dataset)
    pairs = tuple(dataclasses.replace(pair, off_constant=0.75) for pair in inspection.nearest.pairs)
    nearest = dataclasses.replace(inspection.nearest, pairs=pairs, num_constant=1)
    dataclasses.replace(inspection, nearest=nearest, frozen=True).save(run.workdir)
    text = text_of(page.nearest_states(run))
    assert "1 of 2 features never varies and is left out; there the synthetic states differ by up to 0.75" in text
    assert "here they were made constant first" in text


def test_influence_is_said_with_its_interval(run: RunRecord) -> None:
    part = page.influence(run)
    text = text_of(part)
    assert "earn 3.00 here" in text
    assert "Losing pair 1 costs most" in text
    assert "does not clearly need pair 3" in text
    assert "<td>1.00</td><td>0.25 to 1.75</td><td>2.00</td>" in part  # of pair 2, as in the file


def test_a_pair_that_harms_is_named(run: RunRecord, dataset: DistilledDataset) -> None:
    influence = make_inspection(dataset).influence
    worse = dataclasses.replace(influence.pairs[0], influence=-2.0, low=-3.0, high=-1.0)
    changed = dataclasses.replace(influence, pairs=(*influence.pairs[:2], worse))
    dataclasses.replace(make_inspection(dataset), influence=changed).save(run.workdir)
    text = text_of(page.influence(run))
    assert "Without pair 3 it is higher" in text
    assert "does not clearly need" not in text


def test_no_pair_is_praised_where_nothing_is_clear(run: RunRecord, dataset: DistilledDataset) -> None:
    influence = make_inspection(dataset).influence
    pairs = tuple(dataclasses.replace(pair, low=-9.0, high=9.0) for pair in influence.pairs)
    dataclasses.replace(make_inspection(dataset), influence=dataclasses.replace(influence, pairs=pairs)).save(
        run.workdir
    )
    text = text_of(page.influence(run))
    assert "does not show that any single one is needed" in text
    assert "costs most" not in text


def test_one_pair_has_no_influence_and_says_why(run: RunRecord, dataset: DistilledDataset) -> None:
    alone = Influence(returns=3.0, pairs=(), num_inits=3, num_episodes=2, one_policy=False, num_updates=8, batch_size=0)
    make_inspection(dataset, influence=alone).save(run.workdir)
    assert "without it nothing is left to train on" in text_of(page.influence(run))


def test_a_reading_of_another_dataset_is_not_shown(run: RunRecord) -> None:
    make_dataset([[0.0, 1.0]] * 3).save(run.workdir / "dataset.safetensors")
    changed = read_run(run.workdir)
    assert "is about another dataset" in text_of(page.nearest_states(changed))
    assert page.influence(changed) == ""


def test_a_damaged_reading_is_named(run: RunRecord) -> None:
    (run.workdir / INSPECTION).write_text("{")
    assert "Run hades-inspect again" in text_of(page.nearest_states(run))


def test_what_cannot_be_drawn_is_a_table(run: RunRecord, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "<details>" in page.nearest_states(run)
    monkeypatch.setattr(page, "can_draw", lambda *args: False)
    part = page.nearest_states(run)
    assert "data:image/png" not in part
    assert "<details>" not in part
    assert part.count("−1.50 s.d.") == 3


@pytest.mark.parametrize("narrow", [False, True])
def test_bars_are_drawn_for_every_pair(dataset: DistilledDataset, narrow: bool) -> None:
    inspection, labels = make_inspection(dataset), ["first", "a label that is too long for a phone", "third"]
    for content in (
        distance_bars(inspection.nearest, labels, narrow=narrow),
        influence_bars(inspection.influence, labels, narrow=narrow),
    ):
        text = content.decode()
        assert all(f">{i}  {label}<" in text for i, label in ((1, "first"), (3, "third")))
        assert ("too long" in text) is False  # its number stands alone
        assert ">2<" in text
    assert "#d55e00" in distance_bars(inspection.nearest, labels).decode()  # beyond the band


def test_the_field_is_held_at_a_visited_state_and_spans_the_features_asked_for(dataset: DistilledDataset) -> None:
    policy = train_policy(dataset)
    inspection = make_inspection(dataset, features=("goal", "position"))
    field = measure_field(policy, dataset, View.of(dataset, inspection))
    assert field.features == (1, 0)
    np.testing.assert_array_equal(field.view.held, [0.125, 0.75])
    low, high = field.extent[:2]
    assert low < -2.0  # what was visited
    assert high > 2.0
    note = illustrations._reading_field(field, pairs_of(dataset), "the policy")
    assert "the two features that were asked for" in note
    assert "Dots are visited states" in note
    without = measure_field(policy, dataset)
    assert not without.view.is_visited
    assert len(without.view.visited) == 0


def test_bars_are_in_standard_deviations_only_where_something_was_normalised(dataset: DistilledDataset) -> None:
    assert pairs_of(dataset).unit == "standard deviations"
    plain = dataclasses.replace(dataset, obs_std=np.ones(2, np.float32))
    assert pairs_of(plain).unit == "the environment’s own units"
    assert b"a full bar is" in dataset_table(pairs_of(plain))


def test_few_points_with_many_features_get_a_table_with_a_column_each() -> None:
    spec = dataclasses.replace(pairs_of(make_dataset()).spec, observation_names=tuple(f"f{i}" for i in range(11)))
    spec = dataclasses.replace(spec, obs_shape=(11,))
    values = np.linspace(-1, 1, 33).reshape(3, 11)
    pairs = dataclasses.replace(pairs_of(make_dataset()), spec=spec, observations=values, raw=2 * values)
    assert fits_table(pairs)
    for narrow in (False, True):
        text = dataset_table(pairs, narrow=narrow).decode()
        assert "f10" in text
        assert text.count(">2<") >= 1  # the largest raw value


def hades_inspect(*arguments: str) -> "subprocess.CompletedProcess[str]":
    """The program in a process of its own, because absl has one table of flags a process."""
    variables = {**os.environ, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, str(ROOT / "launch/inspect_dataset.py"), *arguments]
    return subprocess.run(command, env=variables, capture_output=True, text=True, timeout=240)


@pytest.mark.system
def test_the_program_measures_and_writes_the_report(dataset: DistilledDataset, tmp_path: Path) -> None:
    source, folder = dataset.save(tmp_path / "mine.safetensors"), tmp_path / "inspection"
    arguments = (f"--dataset={source}", f"--workdir={folder}", "--num_inits=2", "--num_episodes=1")
    done = hades_inspect(*arguments, "--features=goal, position")
    assert done.returncode == 0, done.stderr
    written = json.loads((folder / INSPECTION).read_text())
    assert written["features"] == ["goal", "position"]
    assert f"return with all pairs: {written['influence']['returns']:.1f}" in done.stdout
    assert "2 policies without pair 3 of 3 …" in done.stdout
    assert "influence-of-each-pair" in (folder / "report.html").read_text("utf-8")


@pytest.mark.system
def test_the_program_refuses_in_one_line(dataset: DistilledDataset, tmp_path: Path) -> None:
    source = dataset.save(tmp_path / "mine.safetensors")
    done = hades_inspect(f"--dataset={source}", f"--workdir={tmp_path / 'inspection'}", "--features=gaol,position")
    assert done.returncode == 1
    assert 'hades: point has no feature "gaol" (--features). Did you mean "goal"?' in done.stderr
    assert "Traceback" not in done.stderr
