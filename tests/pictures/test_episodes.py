"""Recorded episodes: what happened, frame by frame, in a GIF that decodes."""

import io
import itertools

import jax
import numpy as np
import pytest
from PIL import Image

from hades.environments.base import Environment
from hades.environments.point import Point
from hades.pictures.scenes.animation import MAX_FRAMES, episode_gif, frame_stride, frames_sheet, shown_steps
from hades.pictures.scenes.episodes import episode_picture
from hades.pictures.scenes.recording import Episode, record
from hades.types import Box, Discrete, EnvSpec


class Pusher:
    """Moves the point to the right as fast as it can."""

    def __init__(self, environment: Environment):
        self.environment = environment

    def act(self, key: jax.Array, observation: jax.Array) -> jax.Array:
        del key, observation
        return jax.numpy.ones(1)


def episode(length: int, spec: EnvSpec, *, terminated: bool = False) -> Episode:
    observations = np.linspace(-1.0, 1.0, (length + 1) * spec.obs_size).reshape(length + 1, *spec.obs_shape)
    actions = np.zeros(length, int) if spec.is_discrete else np.zeros((length, spec.action_space.size))
    return Episode(spec, observations, actions, np.full(length, 0.5), terminated)


def test_a_recorded_episode_is_what_was_played() -> None:
    played = record(Pusher(Point(max_episode_steps=6, stride=0.25)))
    assert len(played) == 6
    assert played.observations.shape == (7, 2)
    assert not played.terminated
    np.testing.assert_allclose(np.diff(played.observations[:, 0]), 0.25, atol=1e-6)
    distances = np.abs(played.observations[1:, 1] - played.observations[1:, 0])
    np.testing.assert_allclose(played.returns[-1], -distances.sum(), rtol=1e-5)


def test_recording_stops_where_the_environment_ends_the_episode() -> None:
    played = record(Pusher(Point(max_episode_steps=6, radius=100.0)))
    assert len(played) == 1
    assert played.terminated


def test_gif_has_one_frame_for_each_step_and_one_for_the_end() -> None:
    gif = Image.open(io.BytesIO(episode_gif(episode(5, Point(discrete=True).spec), size=80)))
    assert gif.format == "GIF"
    assert gif.n_frames == 6
    assert gif.info["loop"] == 0
    frames = []
    for i in range(gif.n_frames):
        gif.seek(i)
        frames.append(np.asarray(gif.convert("RGB"), int))
    assert frames[0].shape[1] == 80
    assert all((a != b).any() for a, b in itertools.pairwise(frames))


@pytest.mark.parametrize("length", [1, 118, 119, 120, 500, 2500])
def test_long_episodes_are_thinned(length: int) -> None:
    stride = frame_stride(length)
    shown = len(range(0, length, stride)) + 1
    assert shown <= MAX_FRAMES
    assert stride == 1 or len(range(0, length, stride - 1)) + 1 > MAX_FRAMES


def test_a_long_game_is_shown_from_its_beginning() -> None:
    *shown, end = shown_steps(episode(2500, EnvSpec("frames", (4, 4, 2), Discrete(2), 2500)), max_frames=50)
    assert (shown, end) == (list(range(0, 147, 3)), 2500)


def test_the_caption_says_how_long_it_was_what_it_earned_and_what_was_left_out() -> None:
    short = episode_picture(episode(3, Point(discrete=True).spec, terminated=True), size=60)
    assert "3 steps, ended by the environment; return 1.50" in short.caption
    assert "Every" not in short.caption
    long = episode_picture(episode(150, Point(discrete=True).spec), size=40)
    assert "Every 2nd step" in long.caption
    assert "time limit" in long.caption


@pytest.mark.parametrize("space", [Discrete(3), Box(2)])
def test_an_environment_that_cannot_be_drawn_is_plotted(space: Discrete | Box) -> None:
    picture = episode_picture(episode(4, EnvSpec("unknown", (12,), space, 4)))
    assert not picture.frames
    assert "cannot be drawn" in picture.caption
    assert Image.open(io.BytesIO(picture.curves)).format == "PNG"
    with pytest.raises(ValueError, match="unknown cannot be drawn"):
        episode_gif(episode(4, EnvSpec("unknown", (12,), space, 4)))


def test_image_episodes_are_animated() -> None:
    picture = episode_picture(episode(3, EnvSpec("frames", (4, 4, 2), Discrete(2), 3)), size=60)
    assert len(picture.frames) == 4


def test_a_sheet_holds_the_frames_row_by_row_and_the_last_one_to_the_end() -> None:
    frames = [Image.new("RGB", (8, 6), colour) for colour in ("red", *["white"] * 10, "blue")]
    sheet = frames_sheet(frames)
    assert (sheet.rows, sheet.size) == (3, (8, 6))
    assert sheet.seconds == pytest.approx(1.8)
    picture = Image.open(io.BytesIO(sheet.content)).convert("RGB")
    assert picture.size == (80, 18)
    cells = [picture.getpixel((8 * column + 4, 6 * row + 3)) for row in range(3) for column in range(10)]
    assert cells == [(255, 0, 0), *[(255, 255, 255)] * 10, *[(0, 0, 255)] * 19]
