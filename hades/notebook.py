"""Datasets, policies and results in a notebook: figures, small tables, and episodes as files."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup

from hades.data.dataset import DistilledDataset
from hades.data.files import user_path, write_bytes
from hades.displayed import Displayed
from hades.errors import ConfigError, HadesError, offer, require
from hades.pictures.figures import render
from hades.pictures.markup import html, inline_svg, png
from hades.pictures.pairs import pairs_of
from hades.pictures.scenes.animation import episode_gif, episode_mp4
from hades.pictures.scenes.draw import draw
from hades.pictures.scenes.recording import Actor, record
from hades.policy.in_task import in_each_task
from hades.policy.run_policy import RunPolicy
from hades.policy.trained_policy import TrainedPolicy
from hades.report.channels import channel_figure
from hades.report.curves import fitness_figure
from hades.report.dataset_table import dataset_figure, fits_table
from hades.runs.result import RunResult
from hades.text import return_text, si

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MOST_FRAMES = 16
_ENCODERS = {".gif": episode_gif, ".mp4": episode_mp4}


def plot(value: DistilledDataset | RunResult) -> "Figure":
    """The pairs of a dataset, or the curve of a run, as a figure of matplotlib; a notebook shows it as it is.

    Raises:
        HadesError: where a run has logged no generation.
    """
    if isinstance(value, DistilledDataset):
        pairs = pairs_of(value)
        return channel_figure(pairs) if pairs.spec.is_image else dataset_figure(pairs)
    if not value.metrics:
        raise HadesError("This run has logged no generation, so there is no curve to draw.")
    is_evolved = any(name.startswith("population/") for name in value.metrics[-1])
    of = "population" if is_evolved else "training episodes"
    return fitness_figure(value.metrics, value.evaluations, value.details.get("report"), of=of)


def animate(policy: Actor, path: str | Path, *, seed: int = 0, size: int = 320) -> Path:
    """Play one episode of a policy and write it as a GIF or an MP4.

    Args:
        policy: from `train_policy` or `load_policy`; one of several tasks plays the first of them.
        path: the file; it ends in .gif, or in .mp4, which needs the extra `mp4`.
        seed: of the episode.
        size: pixels of a side of the scene.

    Raises:
        ConfigError: for another ending, and for an environment that cannot be drawn.
        MissingPackageError: where the package for an MP4 is not installed.
    """
    path = user_path(path)
    encode = _ENCODERS.get(path.suffix.lower())
    if encode is None:
        raise ConfigError(f'{path} ends in "{path.suffix}". {offer(path.suffix, _ENCODERS)}')
    episode = record(in_each_task(policy)[0], seed)
    reason = "hades has no scene for it, and its observations are no images"
    require(episode.can_be_drawn, f"{episode.spec.name} cannot be drawn: {reason}.")
    return write_bytes(path, encode(episode, size))


def as_html(value: Displayed) -> str:
    """The HTML of a dataset, a policy or a result in a notebook: a small table, and a picture of few pairs."""
    facts = html.table([(name, text) for name, text in _facts(value).items() if text], kind="")
    dataset = value.dataset if isinstance(value, RunResult) else value
    if not isinstance(dataset, DistilledDataset):
        return str(html.displayed((), facts))
    return str(html.displayed(_frames(dataset), facts, _table(dataset)))


def _facts(value: Any) -> dict[str, str]:
    """The rows of the table of a value, by name."""
    if isinstance(value, DistilledDataset):
        earned = value.returns
        return {
            "environment": value.metadata["spec"]["name"],
            "method": value.method,
            "pairs": str(len(value)),
            "return": f"{return_text(earned['mean'])} when it was made" if earned else "not measured",
            "recipe": f"{type(value.learner).__name__} of {_brief(value.learner.policy)}",
        }
    if isinstance(value, TrainedPolicy):
        loss = f"{value.loss:.3g}" if np.isfinite(value.loss) else ""
        return {
            "environment": value.environment.spec.name,
            "policy": _brief(value.learner.policy),
            "trained by": type(value.learner).__name__,
            "final loss": loss,
        }
    if isinstance(value, RunPolicy):
        return {"environment": value.environment.spec.name, "found by": value.algorithm.label}
    details, workdir = value.details, str(value.workdir or "none: nothing was kept")
    if value.interrupted:
        return {"interrupted": f"after generation {value.generation}", "work directory": workdir}
    return {
        "environment": details["environment"],
        "method": details["method"],
        "return": str(value.returns),
        "generations": f"{value.generation}, ended by {details['stopped_by']}",
        "search": f"{si(details['env_steps']['search'])} environment steps, {details['seconds']['search']:.1f} s",
        "work directory": workdir,
    }


def _brief(component: Any) -> str:
    """A component with the fields that are not at their defaults, such as "MLP(width=512)"."""
    given = {field.name: (getattr(component, field.name), field.default) for field in dataclasses.fields(component)}
    changed = ", ".join(f"{name}={value!r}" for name, (value, default) in given.items() if value != default)
    return f"{type(component).__name__}({changed})"


def _table(dataset: DistilledDataset) -> Markup:
    """Few pairs of vectors as a picture; empty where they are many."""
    pairs = pairs_of(dataset)
    if pairs.spec.is_image or not fits_table(pairs):
        return Markup()
    name = f"hades-{hash(dataset) & 0xFFFFFFFF:x}"  # ids that no other picture of the notebook has
    return inline_svg(render(dataset_figure(pairs)), name, "The pairs of the dataset")


def _frames(dataset: DistilledDataset) -> list[tuple[Markup, str]]:
    """Few images with what they teach; none where they are many."""
    pairs = pairs_of(dataset)
    if not pairs.spec.is_image or len(pairs) > _MOST_FRAMES:
        return []
    frames = []
    for i, raw in enumerate(pairs.raw):
        picture, label = draw(pairs.spec.name, raw, 120), pairs.label(i)
        assert picture is not None  # images can be drawn
        frames.append((png(picture, f"State of pair {i + 1}; target: {label}"), label))
    return frames
