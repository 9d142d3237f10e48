"""Where the scalars of a run are shown: TensorBoard, Weights & Biases, or nowhere."""

import sys
import types
from pathlib import Path
from typing import Any

import pytest

from hades.errors import ConfigError, HadesError, MissingPackageError
from hades.runs import log
from hades.runs.log import check_trackers
from hades.runs.loop import run
from tests.runs.tiny import assert_same_run, tiny_experiment


class FakeWandb(types.ModuleType):
    """Notes what it is given; a run is what `init` returns."""

    def __init__(self) -> None:
        super().__init__("wandb")
        self.starts: list[dict[str, Any]] = []
        self.rows: list[dict[str, float]] = []
        self.finished = 0

    def init(self, **options: Any) -> "FakeWandb":
        self.starts.append(options)
        return self

    def define_metric(self, name: str, step_metric: str) -> None:
        assert (name, step_metric) == ("*", "generation")

    def log(self, row: dict[str, float]) -> None:
        self.rows.append(row)

    def finish(self) -> None:
        self.finished += 1


@pytest.fixture
def wandb(monkeypatch: pytest.MonkeyPatch) -> FakeWandb:
    fake = FakeWandb()
    monkeypatch.setitem(sys.modules, "wandb", fake)
    monkeypatch.setattr(log.importlib.util, "find_spec", lambda name: fake)
    return fake


def test_weights_and_biases_gets_every_generation_and_evaluation(
    finished: Path, tmp_path: Path, wandb: FakeWandb
) -> None:
    workdir = tmp_path / "run"
    run(tiny_experiment(generations=7), workdir, progress=False, trackers=["wandb"])
    assert [row["generation"] for row in wandb.rows if "fitness/mean" in row] == list(range(1, 8))
    assert [row["generation"] for row in wandb.rows if "solution/return" in row] == [3, 6, 7]
    assert wandb.starts[0]["config"]["generations"] == 7
    assert (wandb.starts[0]["dir"], wandb.finished) == (str(workdir), 1)
    assert not (workdir / "tensorboard").exists()
    run(tiny_experiment(), workdir, progress=False, trackers=["tensorboard", "wandb"])
    first, second = wandb.starts
    assert first["id"] == second["id"], "a continued run is one run there"
    assert wandb.rows[-1]["generation"] == 12
    assert (workdir / "tensorboard").exists()
    assert (workdir / "metrics.jsonl").read_bytes() == (finished / "metrics.jsonl").read_bytes()


def test_a_run_without_trackers_is_the_same_run(finished: Path, tmp_path: Path) -> None:
    run(tiny_experiment(), tmp_path / "run", progress=False, trackers=())
    assert_same_run(finished, tmp_path / "run")
    assert not (tmp_path / "run" / "tensorboard").exists()


def test_what_wandb_refuses_is_explained(tmp_path: Path, wandb: FakeWandb, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**options: Any) -> None:
        raise RuntimeError("api_key not configured.")

    monkeypatch.setattr(wandb, "init", refuse)
    with pytest.raises(HadesError, match=r"did not start: api_key not configured\..*WANDB_MODE=offline"):
        run(tiny_experiment(), tmp_path / "run", progress=False, trackers=["wandb"])


def test_trackers_are_checked_before_a_run_begins(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r'no tracker "wanbd"\. Did you mean "wandb"'):
        run(tiny_experiment(), tmp_path / "run", trackers=["wanbd"])
    monkeypatch.setattr(log.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingPackageError, match=r'pip install "hades-rl\[wandb\]"'):
        check_trackers(["wandb"])
    assert list(tmp_path.iterdir()) == []
