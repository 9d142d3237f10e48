"""Pictures of states: different for different states, true to the geometry, absent where hades cannot draw."""

import numpy as np
import pytest
from PIL import Image, ImageOps

from hades.pictures.palette import SCENE, rgb
from hades.pictures.scenes.classic import SCENES
from hades.pictures.scenes.draw import can_draw, draw
from hades.pictures.scenes.frames import draw_frame, legend

STATES = {
    "CartPole-v1": [0.3, -0.8, 0.1, 1.5],
    "Acrobot-v1": [np.cos(0.5), np.sin(0.5), np.cos(1.0), np.sin(1.0), 2.0, -3.0],
    "Pendulum-v1": [np.cos(0.5), np.sin(0.5), 4.0],
    "MountainCar-v0": [-0.7, 0.05],
    "MountainCarContinuous-v0": [-0.7, 0.05],
    "point": [-0.4, 0.6],
    "point-discrete": [-0.4, 0.6],
}
MIRRORED = {
    "CartPole-v1": [-1, -1, -1, -1],
    "Acrobot-v1": [1, -1, 1, -1, -1, -1],
    "Pendulum-v1": [1, -1, -1],
}


def pixels(picture: Image.Image) -> np.ndarray:
    return np.asarray(picture, np.float64)


@pytest.mark.parametrize("name", sorted(SCENES))
def test_every_feature_changes_the_picture(name: str) -> None:
    state = np.array(STATES[name])
    picture = draw(name, state)
    assert picture is not None
    assert picture.size == (240, 240)
    for i in range(len(state)):
        other = state.copy()
        other[i] += 0.3 * np.abs(state[i]) + 0.01
        assert np.abs(pixels(draw(name, other)) - pixels(picture)).max() > 40, f"feature {i} cannot be seen"


@pytest.mark.parametrize("name", sorted(MIRRORED))
def test_the_mirrored_state_is_the_mirrored_picture(name: str) -> None:
    state = np.array(STATES[name])
    mirrored = pixels(draw(name, state * MIRRORED[name]))
    picture = draw(name, state)
    difference = np.abs(mirrored - pixels(ImageOps.mirror(picture))).mean()  # not 0: dashes begin at one end
    assert difference < 0.5 * np.abs(mirrored - pixels(picture)).mean()


def test_an_upright_pendulum_stands_above_its_pivot_and_a_hanging_acrobot_below() -> None:
    assert _middle_of_ink("Pendulum-v1", [1.0, 0.0, 0.0]) < 110
    assert _middle_of_ink("Pendulum-v1", [-1.0, 0.0, 0.0]) > 130
    assert _middle_of_ink("Acrobot-v1", [1.0, 0.0, 1.0, 0.0, 0.0, 0.0]) > 130
    assert _middle_of_ink("Acrobot-v1", [-1.0, 0.0, 1.0, 0.0, 0.0, 0.0]) < 110


def test_positive_angles_lean_to_the_right() -> None:
    for angle in (0.2, -0.2):
        lean = _middle_of_ink("CartPole-v1", [0.0, 0.0, angle, 0.0], axis=1) - 119.5
        assert np.sign(lean) == np.sign(angle)
        assert abs(lean) > 3


@pytest.mark.parametrize("name", sorted(SCENES))
def test_states_far_from_any_real_one_are_drawn(name: str) -> None:
    for value in (1e6, -1e6, np.nan):
        assert draw(name, np.full(len(STATES[name]), value), 60) is not None


def test_no_picture_where_the_environment_is_unknown() -> None:
    assert draw("Reacher-misc", np.zeros(8)) is None
    assert not can_draw("Reacher-misc", (8,))
    assert can_draw("whatever", (5, 5, 2))


def test_a_frame_shows_each_channel_in_its_colour_of_the_legend() -> None:
    for channel, colour in enumerate(legend("Breakout-MinAtar", (), 4).values()):
        image = np.zeros((10, 10, 4))
        image[2, 7, channel] = 1.0
        picture = pixels(draw_frame("Breakout-MinAtar", image, 200))
        np.testing.assert_allclose(picture[50, 150], rgb(colour), atol=2)
        np.testing.assert_allclose(picture[50, 110], rgb(SCENE), atol=2)


def test_a_frame_tells_strength_second_channels_and_negative_values_apart() -> None:
    colours = list(legend("Breakout-MinAtar", (), 4).values())
    cells = {"half": (0, 0.5), "negative": (0, -1.0)}
    image = np.zeros((1, 4, 4))
    for column, (channel, value) in enumerate(cells.values()):
        image[0, column, channel] = value
    image[0, 2, [0, 3]] = 1.0
    picture = pixels(draw_frame("Breakout-MinAtar", image, 400))
    half = (np.array(rgb(colours[0])) + rgb(SCENE)) / 2
    np.testing.assert_allclose(picture[50, 50], half, atol=2)
    np.testing.assert_allclose(picture[50, 150], rgb(SCENE), atol=2)  # inside the ring
    np.testing.assert_allclose(picture[50, 118], rgb(colours[0]), atol=2)  # the ring
    np.testing.assert_allclose(picture[50, 250], rgb(colours[3]), atol=2)  # the inner square
    np.testing.assert_allclose(picture[50, 210], rgb(colours[0]), atol=2)


def test_legend_uses_names_where_there_is_one_for_each_channel() -> None:
    assert list(legend("Breakout-MinAtar", ("paddle", "ball", "trail", "brick"), 4)) == [
        "paddle",
        "ball",
        "trail",
        "brick",
    ]
    assert list(legend("other", ("one",), 2)) == ["channel 0", "channel 1"]
    assert len(set(legend("Seaquest-MinAtar", (), 10).values())) == 10


def _middle_of_ink(name: str, state: list[float], axis: int = 0) -> float:
    """Mean row (or column) of the saturated pixels: of what is drawn in colour."""
    picture = pixels(draw(name, np.array(state)))
    coloured = (picture.max(-1) - picture.min(-1) > 100) & (picture[..., 1] < 130)
    return float(np.nonzero(coloured)[axis].mean())
