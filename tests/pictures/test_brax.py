"""Rigid bodies without a display: true to the simulator's geometry, in pictures and in the interactive page."""

import base64
import io
import json
import re
import shutil
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from PIL import Image

from hades.environments.base import Environment
from hades.environments.brax import Brax
from hades.environments.point import Point
from hades.environments.rollout import record_episode_keeping
from hades.errors import HadesError, MissingPackageError
from hades.pictures.palette import BLUE, GREEN, SKY, rgb
from hades.pictures.scenes import interactive
from hades.pictures.scenes.animation import MAX_FRAMES, episode_gif, shown_steps, words
from hades.pictures.scenes.bodies import Bodies, Shape, hull, rotate
from hades.pictures.scenes.brax_states import _model, pose
from hades.pictures.scenes.cameras import CAMERAS, Camera, camera_of
from hades.pictures.scenes.draw import can_draw, draw, explanation
from hades.pictures.scenes.episodes import episode_picture
from hades.pictures.scenes.interactive import write_viewer
from hades.pictures.scenes.motion import Motion
from hades.pictures.scenes.recording import Episode, record
from hades.pictures.scenes.stage import Stage
from hades.report import episodes
from hades.report.report import write_report
from hades.types import Box, EnvSpec

UPRIGHT = {
    "ant": [0.6, 1.0, *[0.0] * 25],
    "halfcheetah": [0.0] * 17,
    "hopper": [1.25, *[0.0] * 10],
    "humanoid": [1.3, 1.0, *[0.0] * 242],
    "humanoidstandup": [0.15, 1.0, *[0.0] * 242],
    "inverted_double_pendulum": [0.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0],
    "inverted_pendulum": [0.0] * 4,
    "pusher": [*[0.0] * 17, 0.45, -0.05, -0.275, 0.5, 0.1, -0.323],
    "reacher": [1.0, 1.0, 0.0, 0.0, 0.1, 0.1, *[0.0] * 5],
    "walker2d": [1.25, *[0.0] * 16],
}
LENGTH = 5


class Idle:
    """Does nothing."""

    def __init__(self, environment: Environment):
        self.environment = environment

    def act(self, key: jax.Array, observation: jax.Array) -> jax.Array:
        del key, observation
        return jax.numpy.zeros(self.environment.spec.action_space.size)


@pytest.fixture(scope="module")
def played() -> Episode:
    """A short episode of a compiled simulation."""
    return record(Idle(Brax("inverted_pendulum", backend="generalized", episode_length=LENGTH)))


def walk(name: str = "hopper", length: int = LENGTH, stride: float = 0.5, dt: float = 0.05) -> Episode:
    """An upright pose that glides along x; nothing is simulated."""
    bodies, _ = _model(name)
    positions, rotations = (np.repeat(x[None], length + 1, 0) for x in pose(name, np.array(UPRIGHT[name])))
    positions[:, :, 0] += stride * np.arange(length + 1)[:, None]
    motion = Motion(name, bodies, positions, rotations, dt)
    spec = EnvSpec(name, (len(UPRIGHT[name]),), Box(3), length)
    return Episode(
        spec, np.zeros((length + 1, len(UPRIGHT[name]))), np.zeros((length, 3)), np.ones(length), False, motion
    )


def pixels(picture: Image.Image | None) -> np.ndarray:
    assert picture is not None
    return np.asarray(picture.convert("RGB"), int)


def near(picture: np.ndarray, colour: str) -> np.ndarray:
    return np.abs(picture - rgb(colour)).max(-1) < 12


def test_an_episode_keeps_the_poses_of_its_bodies(played: Episode) -> None:
    assert played.motion is not None
    assert played.motion.positions.shape == (LENGTH + 1, 2, 3)
    assert played.motion.dt == pytest.approx(0.04)
    for t in range(LENGTH + 1):  # the observation of each step describes the pose that was kept with it
        positions, rotations = pose("inverted_pendulum", played.observations[t])
        np.testing.assert_allclose(played.motion.positions[t], positions, atol=1e-5)
        np.testing.assert_allclose(played.motion.rotations[t], rotations, atol=1e-5)


def test_what_is_kept_belongs_to_the_state_acted_on() -> None:
    env = Point(max_episode_steps=3)
    right = lambda key, obs: jax.numpy.ones(1)  # noqa: E731
    play = jax.jit(lambda k: record_episode_keeping(k, env, right, lambda state: state[0]))
    steps, _, observations, kept = play(jax.random.key(0))
    np.testing.assert_allclose(kept, np.concatenate([observations, steps.obs[-1:]])[:, 0], rtol=1e-6)


@pytest.mark.parametrize(
    "name",
    ["inverted_double_pendulum"]
    + [pytest.param(n, marks=pytest.mark.slow) for n in ("reacher", "hopper", "walker2d", "halfcheetah", "pusher")],
)
def test_a_state_is_drawn_where_the_simulator_has_it(name: str) -> None:
    env = Brax(name, backend="generalized")
    state, obs = jax.jit(env.reset)(jax.random.key(3))
    positions, rotations = (np.asarray(x) for x in env.pose(state))
    drawn, turned = pose(name, np.asarray(obs))
    hidden = (positions[0] - drawn[0]) * [1, 1, 0] if CAMERAS[name].follow else np.zeros(3)
    np.testing.assert_allclose(positions - hidden, drawn, atol=1e-5)
    np.testing.assert_allclose(np.abs((rotations * turned).sum(-1)), 1.0, atol=1e-5)


@pytest.mark.parametrize("name", ["ant", "hopper", "humanoid", "walker2d"])
def test_the_height_in_an_observation_is_that_of_the_torso(name: str) -> None:
    state = np.array(UPRIGHT[name])
    state[0] = 1.07
    assert pose(name, state)[0][0, 2] == pytest.approx(1.07)


@pytest.mark.parametrize("name", sorted(CAMERAS))
def test_every_task_is_drawn_and_far_states_too(name: str) -> None:
    state = np.array(UPRIGHT[name])
    assert can_draw(name, state.shape)
    assert not can_draw(name, (len(state) + 1,))
    assert explanation(name)
    picture = pixels(draw(name, state))
    assert near(picture, BLUE).sum() > 100, "no bodies in the picture"
    for other in (np.full(len(state), 1e6), np.full(len(state), np.nan), np.zeros(len(state))):
        assert near(pixels(draw(name, other)), BLUE).sum() > 3, "the bodies are out of sight"


def test_both_legs_can_be_told_apart() -> None:
    state = np.array(UPRIGHT["walker2d"])
    state[5] = -0.8  # the left thigh
    picture = pixels(draw("walker2d", state))
    assert min(near(picture, BLUE).sum(), near(picture, SKY).sum()) > 300


def test_what_is_higher_is_drawn_higher_and_a_capsule_is_as_long_as_it_is() -> None:
    rod = Shape("capsule", "", 0, np.array([0.05, 0.5, 0.0]), np.zeros(3), np.array([1.0, 0, 0, 0]))
    stage = Stage(Bodies((rod,), ("rod",)), Camera(half=1.0), 1.0)
    upright = np.array([[1.0, 0.0, 0.0, 0.0]])
    rows = [
        np.nonzero(near(pixels(stage.draw(np.array([[0.0, 0.0, z]]), upright, 200).image()), BLUE))[0] for z in (0, 0.2)
    ]
    assert rows[0].mean() - rows[1].mean() == pytest.approx(20.0, abs=1.0)
    assert np.ptp(rows[0]) == pytest.approx(110.0, abs=4.0)
    lying = np.array([[np.sqrt(0.5), 0.0, np.sqrt(0.5), 0.0]])  # a quarter turn about y
    assert np.ptp(np.nonzero(near(pixels(stage.draw(np.zeros((1, 3)), lying, 200).image()), BLUE))[1]) > 100


def test_the_nearer_body_hides_the_farther_one() -> None:
    def ball(link: int) -> Shape:
        return Shape("sphere", "", link, np.full(3, 0.3), np.zeros(3), np.array([1.0, 0, 0, 0]))

    bodies = Bodies((ball(0), ball(1)), ("left", "right"))
    turned = np.tile([1.0, 0.0, 0.0, 0.0], (2, 1))
    for y, seen in ((1.0, SKY), (-1.0, BLUE)):  # the eye looks along +y
        picture = Stage(bodies, Camera(half=1.0), 1.0).draw(np.array([[0.0, 0, 0], [0.0, y, 0]]), turned, 60).image()
        assert near(pixels(picture)[28:38, 28:38], seen).mean() > 0.5


def test_a_target_outside_the_picture_is_pointed_to() -> None:
    state = np.array(UPRIGHT["reacher"])
    arms = []
    for target in ([0.1, 0.1], [5.0, 0.0], [-5.0, 0.0]):
        state[4:6] = target
        picture = pixels(draw("reacher", state))
        arms.append(near(picture, BLUE).sum())
        green = np.nonzero(near(picture, GREEN))[1]
        assert len(green) > 10
        assert np.sign(green.mean() - 119.5) == np.sign(target[0])
    assert min(arms) > 0.3 * arms[0], "the arm becomes too small"


def test_quaternions_and_hulls() -> None:
    quarter = np.array([np.sqrt(0.5), 0.0, 0.0, np.sqrt(0.5)])  # about z
    np.testing.assert_allclose(rotate(quarter, np.array([[1.0, 2.0, 3.0]])), [[-2.0, 1.0, 3.0]], atol=1e-12)
    square = np.array([[0.0, 0], [1, 0], [1, 1], [0, 1], [0.5, 0.5], [0.5, 0.0]])
    corners = hull(square).tolist()
    first = corners.index([0.0, 0.0])
    assert corners[first:] + corners[:first] == [[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]]
    assert hull(np.outer([2.0, 0.0, 1.0], [1.0, 3.0])).tolist() == [[0.0, 0.0], [2.0, 6.0]]  # on one line
    np.testing.assert_array_equal(hull(np.ones((4, 2))), 1.0)
    for elevation in (0.0, 30.0, 90.0):
        axes = Camera(1.0, azimuth=20.0, elevation=elevation).axes
        np.testing.assert_allclose(axes @ axes.T, np.eye(3), atol=1e-12)
        assert np.linalg.det(axes) == pytest.approx(1.0)


def test_an_unknown_robot_has_a_view_in_which_it_fits() -> None:
    bodies, _ = _model("ant")
    camera = camera_of("another robot", bodies)
    assert 0.5 < camera.half < 3.0
    assert not camera.forward


def test_gif_of_a_simulated_episode(played: Episode) -> None:
    gif = Image.open(io.BytesIO(episode_gif(played, size=80)))
    assert gif.n_frames == LENGTH + 1
    assert "forward" not in episode_picture(played, size=60).caption


def test_the_distance_travelled_is_shown() -> None:
    episode = walk()
    assert "2.50 m forward" in episode_picture(episode, size=60).caption
    assert [words(episode, t)[0][1] for t in (0, 1, 5)] == ["forward 0.00 m", "forward 0.50 m", "forward 2.50 m"]
    assert words(episode, 5)[1][1] == "end"
    assert [words(walk(stride=-0.5), 1)[0][1]] == ["forward −0.50 m"]


def test_the_ground_moves_below_a_robot_that_moves_forward() -> None:
    episode = walk(stride=0.25)
    first, second = (pixels(episode.draw(t, 200)) for t in (0, 1))
    np.testing.assert_array_equal(near(first, BLUE), near(second, BLUE))
    marks = [np.flatnonzero(picture[174].sum(-1) < 600) for picture in (first, second)]  # just below the ground's line
    moved = marks[0] - 0.25 / 2.1 * 200
    assert len(moved) > 4
    for x in moved[moved > 2]:
        assert np.abs(marks[1] - x).min() < 1.5


@pytest.mark.parametrize(("dt", "last"), [(0.008, 999), (0.05, 236)])
def test_frames_are_never_so_far_apart_that_bodies_jump(dt: float, last: int) -> None:
    *shown, end = shown_steps(walk(length=1000, stride=0.0, dt=dt))
    assert len(shown) < MAX_FRAMES
    assert shown[-1] == last
    assert end == 1000
    assert np.diff(shown).max() * dt <= 0.1 + 1e-6


def test_the_page_needs_nothing_but_itself(tmp_path: Path) -> None:
    page = write_viewer(walk(), tmp_path / "episode.html").read_text("utf-8")
    assert len(page) < 500_000
    assert not re.findall(r"\bsrc\s*=", page)
    assert re.findall(r'\bhref\s*=\s*"([^"]*)"', page) == ["data:,"]
    assert "https://unpkg.com" not in page
    modules = modules_of(page)
    assert {"three", "brax/viewer.js", "brax/animator.js"} <= set(modules)
    for source in modules.values():
        imported = re.findall(r"""\bfrom\s*["']([^"']+)["']|\bimport\s*\(?\s*["']([^"']+)["']""", source)
        assert {name for pair in imported for name in pair if name} <= set(modules)
    assert page.count("Permission is hereby granted") == 2
    assert "Apache License" in page


def test_the_page_holds_the_whole_episode_in_seconds(tmp_path: Path) -> None:
    episode = walk("ant", length=7, dt=0.05)
    page = write_viewer(episode, tmp_path / "episode.html").read_text("utf-8")
    system = json.loads(unpacked(re.search(r'packedSystem = "([^"]+)"', page)[1]))  # type: ignore[index]
    assert system["opt"]["timestep"] == 0.05
    assert len(system["states"]["x"]) == 8
    assert episode.motion is not None
    np.testing.assert_allclose(system["states"]["x"][3]["pos"], episode.motion.positions[3], atol=1e-4)
    links = {geom["link_idx"] for geoms in system["geoms"].values() for geom in geoms}
    assert links == set(range(-1, 9))
    assert "One episode of ant" in page
    assert "3.50 m forward" in page


def test_no_page_without_bodies(tmp_path: Path) -> None:
    spec = EnvSpec("point", (2,), Box(1), 1)
    with pytest.raises(HadesError, match="point has no bodies"):
        write_viewer(Episode(spec, np.zeros((2, 2)), np.zeros((1, 1)), np.zeros(1), False), tmp_path / "x.html")
    assert not list(tmp_path.iterdir())


def test_a_changed_viewer_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scripts = {"viewer.js": "import {X} from 'three/addons/other.js'; export {X};"}
    monkeypatch.setattr(interactive, "_brax_scripts", lambda: scripts)
    with pytest.raises(HadesError, match=r"three/addons/other\.js"):
        write_viewer(walk(), tmp_path / "episode.html")


def test_the_report_links_the_page_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, played: Episode) -> None:
    monkeypatch.setattr(episodes, "record_each", lambda *args: [played] * 3)
    report = write_report(tmp_path, Idle(Point())).read_text("utf-8")
    assert '<a href="episode.html">Open the interactive view</a>' in report
    assert (tmp_path / "episode.html").exists()
    assert report.count('class="film"') == 1
    assert "<script" not in report


def test_without_its_scripts_the_view_names_the_commands_that_install_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "hades_viewer", None)  # an import of it fails
    with pytest.raises(MissingPackageError, match=r"pip install 'hades-rl\[viewer\]'.*pip install \./viewer"):
        write_viewer(walk(), tmp_path / "episode.html")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("absent", ["hades_viewer", "brax"])
def test_the_report_is_written_where_the_viewer_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, played: Episode, absent: str
) -> None:
    def missing() -> dict[str, str]:
        raise MissingPackageError('The interactive view needs the viewer of the package "brax"')

    monkeypatch.setattr(episodes, "record_each", lambda *args: [played] * 3)
    if absent == "hades_viewer":
        monkeypatch.setitem(sys.modules, "hades_viewer", None)
    else:
        monkeypatch.setattr(interactive, "_brax_scripts", missing)
    report = write_report(tmp_path, Idle(Point())).read_text("utf-8")
    assert "There is no interactive view of it." in report
    assert ("pip install ./viewer" in report) == (absent == "hades_viewer")
    assert '<a href="episode.html"' not in report
    assert 'class="film"' in report
    assert not (tmp_path / "episode.html").exists()


@pytest.mark.system
@pytest.mark.slow
@pytest.mark.parametrize("size", [(390, 800), (1280, 800)])
def test_a_browser_without_network_shows_the_runner_in_the_middle(tmp_path: Path, size: tuple[int, int]) -> None:
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no chromium here")
    page = write_viewer(walk("halfcheetah", length=80, stride=0.05), tmp_path / "episode.html")
    flags = [
        *("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--hide-scrollbars", "--enable-logging=stderr"),
        *("--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"),
        *("--virtual-time-budget=4000", f"--window-size={size[0]},{size[1]}"),
    ]
    offline = ["--host-resolver-rules=MAP * ~NOTFOUND", f"--user-data-dir={tmp_path / 'profile'}"]
    shot = tmp_path / "shot.png"
    command = [browser, *flags, *offline, f"--screenshot={shot}", page.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert shot.exists(), done.stderr[-2000:]
    assert "CONSOLE" not in done.stderr
    picture = pixels(Image.open(shot))
    blue = (picture[..., 2] > picture[..., 0] + 60) & (picture[..., 2] > 70)
    assert blue.sum() > 800, "no legs in the picture"
    columns = np.flatnonzero(blue.any(axis=0)) / size[0]
    assert 0.02 < columns.min() < 0.5 < columns.max() < 0.98, "the runner is not in the middle"


def unpacked(text: str) -> str:
    return zlib.decompress(base64.b64decode(text)).decode("utf-8")


def modules_of(page: str) -> dict[str, str]:
    """The scripts of a page by the name they are imported by."""
    packed: dict[str, Any] = json.loads(re.search(r"const modules = (\{.*?\});", page)[1])  # type: ignore[index]
    return {name: unpacked(source) for name, source in packed.items()}
