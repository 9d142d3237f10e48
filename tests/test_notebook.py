"""What a notebook shows: figures, tables with the pairs, and episodes as files."""

import dataclasses
import io
import sys
import types
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image

import hades
from hades.data.dataset import DistilledDataset
from hades.environments.gymnax import Gymnax
from hades.environments.point import Point
from hades.errors import ConfigError, HadesError, MissingPackageError
from hades.policy.run_policy import RunPolicy
from hades.policy.trained_policy import TrainedPolicy
from hades.runs.result import RunResult
from hades.types import EnvSpec
from tests.pictures.test_episodes import Pusher
from tests.support import CLONING, EVOLUTION, POINT

METRICS = [{"generation": g, "env_steps_total": 10 * g, "fitness/mean": g, "fitness/max": 2 * g} for g in (1, 2, 3)]


@pytest.fixture(scope="module")
def dataset() -> DistilledDataset:
    return hades.zoo.load("cartpole-hades-r-d2")


def result(**changes: object) -> RunResult:
    details = {
        "environment": "CartPole-v1",
        "method": "HaDES-R",
        "stopped_by": "callback",
        "env_steps": {"search": 1_200_000},
        "seconds": {"search": 3.21},
    }
    given = {"workdir": None, "interrupted": False, "generation": 3, "details": details, "metrics": METRICS}
    return RunResult(**(given | changes))  # type: ignore[arg-type]  # of the right types


def test_a_figure_is_shown_as_it_is(dataset: DistilledDataset) -> None:
    for figure in (dataset.plot(), result().plot(), hades.zoo.load("freeway-hades-f-d6").plot()):
        assert Image.open(io.BytesIO(figure._repr_png_())).width > 400


def test_a_run_without_generations_has_no_curve() -> None:
    with pytest.raises(HadesError, match="no curve"):
        result(metrics=[]).plot()


def test_a_dataset_is_a_small_table_with_its_pairs(dataset: DistilledDataset) -> None:
    page = dataset._repr_html_()
    for text in ("CartPole-v1", "HaDES-R", "500.0 when it was made", "BehaviourCloning of MLP(", "pole angle", "2.14"):
        assert text in page, text
    assert "--ink:currentColor" in page
    assert "#1f2933" not in page  # ink of the light theme alone
    assert dataset._repr_html_() == page


def test_a_dataset_of_frames_shows_them_and_a_large_one_is_a_table_alone() -> None:
    assert hades.zoo.load("freeway-hades-f-d6")._repr_html_().count("<img") == 6
    large = hades.zoo.load("ant-gradient-r-d32")._repr_html_()
    assert "5,703" in large
    assert "<svg" not in large


def test_policies_and_results_are_small_tables(dataset: DistilledDataset) -> None:
    trained = TrainedPolicy(POINT, CLONING, EVOLUTION.normalizer, np.zeros(2), {}, 0.25)
    assert all(text in trained._repr_html_() for text in ("point", "MLP(width=8, depth=1)", "0.25"))
    assert "HaDES-R" in RunPolicy(EVOLUTION, None)._repr_html_()  # type: ignore[arg-type]  # a solution is not shown
    page = result(dataset=dataset)._repr_html_()
    assert all(text in page for text in ("3, ended by callback", "1.2 M environment steps", "nothing was kept", "<svg"))
    assert "generation 3" in result(interrupted=True, workdir=Path("runs/a"))._repr_html_()


def test_short_texts(dataset: DistilledDataset) -> None:
    assert repr(dataset) == "<DistilledDataset of CartPole-v1: 2 pairs, HaDES-R, return 500.0>"
    assert repr(result()) == "<RunResult of HaDES-R on CartPole-v1: 3 generations, return None>"
    assert "interrupted after generation 3" in repr(result(interrupted=True))


@dataclasses.dataclass(frozen=True)
class Nowhere(Point):
    """A point whose name no scene has."""

    @property
    def spec(self) -> EnvSpec:
        return dataclasses.replace(super().spec, name="nowhere")


class Left:
    """Pushes the cart to the left."""

    environment = Gymnax("CartPole-v1", params={"max_steps_in_episode": 4})

    def act(self, key: jax.Array, observation: jax.Array) -> jax.Array:
        del key, observation
        return jax.numpy.zeros((), int)


def test_an_episode_becomes_a_gif(tmp_path: Path) -> None:
    path = hades.animate(Left(), tmp_path / "left.gif", size=64)
    with Image.open(path) as gif:
        assert (gif.format, gif.n_frames) == ("GIF", 5)


def test_an_episode_becomes_a_film(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def ffmpeg(command: list[str], *, input: bytes, check: bool) -> None:
        width, height = map(int, command[command.index("-s") + 1].split("x"))
        Path(command[-1]).write_text(f"{command[0]}, {len(input) / (width * height * 3)} frames")

    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", types.SimpleNamespace(get_ffmpeg_exe=lambda: "ffmpeg"))
    monkeypatch.setattr("subprocess.run", ffmpeg)
    path = hades.animate(Left(), tmp_path / "left.mp4", size=64)
    assert path.read_text() == "ffmpeg, 34.0 frames"  # the last of five stays for 1.8 s


def test_what_cannot_be_animated_is_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    with pytest.raises(MissingPackageError, match=r"imageio-ffmpeg.*\.gif"):
        hades.animate(Left(), tmp_path / "left.mp4")
    with pytest.raises(ConfigError, match=r'"\.png".*\.gif, \.mp4'):
        hades.animate(Left(), tmp_path / "left.png")
    with pytest.raises(ConfigError, match="nowhere cannot be drawn"):
        hades.animate(Pusher(Nowhere(max_episode_steps=2)), tmp_path / "point.gif")
    assert list(tmp_path.iterdir()) == []
