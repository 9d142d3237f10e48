"""One recorded episode as an animated GIF, or as curves of its observations where it cannot be drawn."""

import dataclasses
import io
from typing import TYPE_CHECKING, Protocol

import jax
import numpy as np
from jax import Array

from hades.algorithms.keys import Step, Stream, step_key, stream_key
from hades.environments.base import Environment
from hades.environments.rollout import record_episode
from hades.types import EnvSpec, Key
from hades.visualize.canvas import font
from hades.visualize.figures import WIDE, figure, render, return_text
from hades.visualize.pairs import action_names, describe_action, names_or_numbers
from hades.visualize.palette import (
    BLUE,
    GREEN,
    GRID,
    INK,
    MUTED,
    ORANGE,
    PAPER,
    SCENE,
    SKY,
    SLATE,
    VERMILION,
    channel_colours,
    rgb,
)
from hades.visualize.scenes import can_draw, draw

if TYPE_CHECKING:
    from PIL import Image

MAX_FRAMES = 120
_FRAME_MS, _LAST_MS = 60, 1800
_MOST_CURVES = 8
_COLOURS, _FREQUENT = 64, 14
_DRAWN = (BLUE, SKY, ORANGE, VERMILION, GREEN, SLATE, INK, MUTED, SCENE, PAPER)


class Actor(Protocol):
    """What can be shown: `hades.TrainedPolicy`, or anything with these two."""

    @property
    def environment(self) -> Environment: ...

    def act(self, key: Key, observation: Array) -> Array:
        """An action for one raw observation."""
        ...


@dataclasses.dataclass(frozen=True)
class Episode:
    """A whole episode of T steps.

    Attributes:
        spec: of its environment.
        observations: f32[T + 1, *obs_shape], raw; the last one is behind the last step.
        actions: i32[T] or f32[T, A].
        rewards: f32[T].
        terminated: whether the environment ended it, not the time limit.
    """

    spec: EnvSpec
    observations: np.ndarray
    actions: np.ndarray
    rewards: np.ndarray
    terminated: bool

    def __len__(self) -> int:
        return len(self.rewards)

    @property
    def returns(self) -> np.ndarray:
        """f64[T], what was earned up to and with each step."""
        return np.cumsum(self.rewards, dtype=np.float64)

    def earned(self, t: int) -> str:
        """The return up to and with step t, without decimals where all rewards are whole numbers."""
        value = float(self.returns[min(t, len(self) - 1)])
        whole = bool((self.rewards == np.round(self.rewards)).all())
        return f"{value:.0f}".replace("-", "−") if whole else return_text(value)


def record(policy: Actor, seed: int = 0) -> Episode:
    """Play one episode on report keys; it is the first one, not one that was chosen."""
    env = policy.environment
    key = step_key(stream_key(jax.random.key(seed), Stream.REPORT), Step.EPISODES)
    play = jax.jit(lambda k: record_episode(k, env, policy.act))
    steps, actions, observations = jax.tree.map(np.asarray, play(key))
    ended = np.flatnonzero(steps.terminated | steps.truncated)
    length = int(ended[0]) + 1 if len(ended) else len(steps.reward)
    return Episode(
        spec=env.spec,
        observations=np.concatenate([observations[:length], steps.obs[length - 1 : length]]),
        actions=actions[:length],
        rewards=steps.reward[:length],
        terminated=bool(steps.terminated[length - 1]),
    )


@dataclasses.dataclass(frozen=True)
class EpisodePicture:
    """An encoded picture with its MIME type, a caption, and a sentence for those who cannot see it."""

    content: bytes
    mime: str
    caption: str
    description: str


def episode_picture(episode: Episode, size: int = 320) -> EpisodePicture:
    """A GIF where `scenes` can draw the environment, else curves of the observations as a PNG."""
    ending = "ended by the environment" if episode.terminated else "ended by the time limit"
    caption = f"One episode: {len(episode)} steps, {ending}; return {episode.earned(len(episode))}."
    name = episode.spec.name
    if not can_draw(name, episode.spec.obs_shape):
        caption += " This environment cannot be drawn, so its observations are shown over time."
        return EpisodePicture(episode_curves(episode), "image/png", caption, f"Observations of {name} over time")
    stride = frame_stride(len(episode))
    if stride > 1:
        caption += f" Every {_ordinal(stride)} step is shown."
    return EpisodePicture(episode_gif(episode, size), "image/gif", caption, f"The policy playing {name}")


def frame_stride(length: int, max_frames: int = MAX_FRAMES) -> int:
    """Steps between frames, so that there are at most `max_frames` with the one behind the last step."""
    return max(1, -(-length // (max_frames - 1)))


def episode_gif(episode: Episode, size: int = 320) -> bytes:
    """An endless GIF, each frame with its time step, action and return so far.

    Raises:
        ValueError: where the environment cannot be drawn.
    """
    from PIL import Image

    shown = [*range(0, len(episode), frame_stride(len(episode))), len(episode)]
    frames = [_frame(episode, t, size) for t in shown]
    palette = _common_palette(frames)
    frames = [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]
    buffer = io.BytesIO()
    durations = [_FRAME_MS] * (len(frames) - 1) + [_LAST_MS]
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:], duration=durations, loop=0, optimize=False)
    return buffer.getvalue()


def _frame(episode: Episode, t: int, size: int) -> "Image.Image":
    """The scene before step t with a strip of words below and a line that shows how far the episode is."""
    from PIL import Image, ImageDraw

    scene = draw(episode.spec.name, episode.observations[t], size)
    if scene is None:
        raise ValueError(f"{episode.spec.name} cannot be drawn.")
    strip = round(0.14 * size)
    frame = Image.new("RGB", (scene.width, scene.height + strip), "#ffffff")
    frame.paste(scene, (0, 0))
    pen, bottom = ImageDraw.Draw(frame), scene.height + strip
    pen.rectangle((0, scene.height, scene.width, scene.height + 2), fill=GRID)
    pen.rectangle((0, scene.height, round(scene.width * t / len(episode)), scene.height + 2), fill=BLUE)
    middle, text = (scene.height + 2 + bottom) / 2, font(0.042 * size)
    last = t == len(episode)
    action = "end" if last else describe_action(episode.spec, _applied(episode, t))
    pen.text((0.02 * size, middle), f"step {t}", fill=MUTED, font=text, anchor="lm")
    pen.text((scene.width / 2, middle), action, fill=VERMILION if last else INK, font=text, anchor="mm")
    pen.text((scene.width - 0.02 * size, middle), f"return {episode.earned(t)}", fill=MUTED, font=text, anchor="rm")
    return frame


def _applied(episode: Episode, t: int) -> np.ndarray:
    """The action of step t as the environment takes it: a Box action is clipped to [-1, 1]."""
    action = episode.actions[t]
    return action if episode.spec.is_discrete else np.clip(action, -1.0, 1.0)


def _common_palette(frames: "list[Image.Image]") -> "Image.Image":
    """One palette for all frames, from a sheet of a few of them: nothing flickers, and unchanged pixels cost nothing.

    The colours of scenes and the most frequent ones are in it as they are; the rest is shared out over the others.
    """
    from PIL import Image

    some = frames[:: max(1, len(frames) // 8)]
    sheet = Image.new("RGB", (some[0].width, some[0].height * len(some)))
    for i, frame in enumerate(some):
        sheet.paste(frame, (0, i * frame.height))
    colours, counts = np.unique(np.asarray(sheet).reshape(-1, 3), axis=0, return_counts=True)
    exact = [channel for colour in _DRAWN for channel in rgb(colour)]
    exact += colours[np.argsort(-counts, kind="stable")[:_FREQUENT]].ravel().tolist()
    others = sheet.quantize(_COLOURS - len(exact) // 3, method=Image.Quantize.MAXCOVERAGE).getpalette() or []
    palette = Image.new("P", (1, 1))
    palette.putpalette([*exact, *others][: 3 * _COLOURS])
    return palette


def episode_curves(episode: Episode) -> bytes:
    """PNG: the most varied observation features over time, and the actions below."""
    features = episode.observations.reshape(len(episode) + 1, -1)
    names = names_or_numbers(episode.spec.observation_names, features.shape[1], "obs")
    varied = np.sort(np.argsort(-features.std(0), kind="stable")[:_MOST_CURVES])
    colours = channel_colours("", _MOST_CURVES)
    with figure(WIDE, 4.8) as fig:
        upper, lower = fig.subplots(2, 1, sharex=True, height_ratios=[3, 1])
        for i, colour in zip(varied, colours, strict=False):
            upper.plot(features[:, i], color=colour, linewidth=1.2, label=names[i])
        upper.set_ylabel("observation, raw")
        upper.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
        actions = episode.actions.reshape(len(episode), -1)
        for i, colour in zip(range(actions.shape[1]), colours, strict=False):
            lower.step(np.arange(len(actions)), actions[:, i], color=colour, linewidth=1.0, where="post")
        if episode.spec.is_discrete and len(action_names(episode.spec)) <= 6:
            lower.set_yticks(range(len(action_names(episode.spec))), action_names(episode.spec))
        lower.set(ylabel="action", xlabel="step")
        fig.set_layout_engine("constrained")
        return render(fig, "png")


def _ordinal(n: int) -> str:
    suffix = "th" if 10 <= n % 100 <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(n % 10, "th")
    return f"{n}{suffix}"
