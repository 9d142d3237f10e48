"""A recorded episode as a picture: one that moves, or curves of its observations where it cannot be drawn."""

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from hades.pictures.figures import WIDE, figure, render
from hades.pictures.pairs import action_names, names_or_numbers
from hades.pictures.palette import channel_colours
from hades.pictures.scenes.animation import episode_frames, shown_steps
from hades.pictures.scenes.recording import Episode

if TYPE_CHECKING:
    from PIL import Image

_MOST_CURVES = 8


@dataclasses.dataclass(frozen=True)
class EpisodePicture:
    """A picture with a caption, and a sentence for those who cannot see it.

    Attributes:
        frames: of the episode, one for each of the shown steps; empty where it cannot be drawn.
        curves: of its observations, as a PNG, where it cannot be drawn.
    """

    caption: str
    description: str
    frames: "list[Image.Image]" = dataclasses.field(default_factory=list)
    curves: bytes = b""


def episode_picture(episode: Episode, size: int = 320) -> EpisodePicture:
    """Frames where the environment can be drawn, else curves of the observations."""
    ending = "ended by the environment" if episode.terminated else "ended by the time limit"
    caption = f"One episode: {len(episode)} steps, {ending}; return {episode.earned(len(episode))}."
    if forward := episode.distance(len(episode)):
        caption = f"{caption.removesuffix('.')}; {forward} forward."
    name = episode.spec.name
    if not episode.can_be_drawn:
        caption += " This environment cannot be drawn, so its observations are shown over time."
        return EpisodePicture(caption, f"Observations of {name} over time", curves=episode_curves(episode))
    *shown, _ = shown_steps(episode)
    stride = shown[1] - shown[0] if len(shown) > 1 else 1
    if stride > 1:
        caption += f" Every {_ordinal(stride)} step is shown."
    if shown[-1] + stride < len(episode):
        caption += f" The pictures stop after step {shown[-1]} and go to the end."
    return EpisodePicture(caption, f"The policy playing {name}", frames=episode_frames(episode, size))


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
