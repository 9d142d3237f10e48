"""Actions of a policy over two features of a vector observation, the others held at one state."""

import dataclasses
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np

from hades.data.dataset import DistilledDataset
from hades.pictures.figures import NARROW, figure, render
from hades.pictures.pairs import Pairs
from hades.pictures.palette import INK, PAPER, channel_colours, rgb
from hades.pictures.scenes.recording import Actor
from hades.report.dataset_table import bar_scale, diverging
from hades.studies.inspection.numbers import Inspection, feature_names
from hades.types import EnvSpec

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SIDE, _SWEEP = 101, 21  # places along an axis of the field, and along a feature to see whether it matters
_SAMPLES = 8  # actions drawn at each place: a policy may sample
_MOST_NUMBERED = 16
_MARGIN = 0.1  # how far beyond the outermost point the view goes, as a share of its width
DARK = "#000000"


def can_show_field(spec: EnvSpec) -> bool:
    """Return True if `action_field` has two features to show."""
    return not spec.is_image and spec.obs_size >= 2


@dataclasses.dataclass(frozen=True)
class View:
    """The state and features at which a policy's actions are shown.

    Attributes:
        features: the two to show; empty: the two that change the actions most.
        held: f64[O], raw, the values of the other features.
        std: f64[O], how far to go along each feature to see whether it matters.
        low, high: f64[O], what the picture shows at least.
        visited: f64[M, O], states to mark; may be none.
        is_visited: whether `held` is a state that was really visited.
    """

    features: tuple[int, ...]
    held: np.ndarray
    std: np.ndarray
    low: np.ndarray
    high: np.ndarray
    visited: np.ndarray
    is_visited: bool

    @staticmethod
    def of(dataset: DistilledDataset, inspection: Inspection | None = None) -> "View":
        """Around the states that an inspection found, or else around the centre of the dataset's coordinates."""
        if inspection is None or not inspection.nearest.typical:
            mean, std = dataset.obs_mean.astype(np.float64), dataset.obs_std.astype(np.float64)
            none = np.zeros((0, len(mean)))
            return View((), mean, std, mean - 1.5 * std, mean + 1.5 * std, none, False)
        names = feature_names(dataset.environment.spec)
        near = inspection.nearest
        held, std, low, high = (np.array(x, np.float64) for x in (near.typical, near.std, near.low, near.high))
        features = tuple(names.index(name) for name in inspection.features)
        return View(features, held, std, low, high, np.array(near.sample, np.float64), True)


@dataclasses.dataclass(frozen=True)
class Field:
    """Actions over a plane of raw observations.

    Attributes:
        features: the two entries of the observation that span it, across and up.
        extent: least and largest value of the first, then of the second.
        actions: f[S, S, A], rows upwards: shares of actions (Discrete) or the mean action within [-1, 1] (Box).
        entry: of the action, the one that varies most over the plane; what a Box field shows.
        view: where it was measured.
        limit: the value of that entry that is a full colour.
    """

    features: tuple[int, int]
    extent: tuple[float, float, float, float]
    actions: np.ndarray
    entry: int
    view: View

    @property
    def limit(self) -> float:
        return min(1.0, bar_scale(self.actions[..., self.entry]))


def measure_field(policy: Actor, dataset: DistilledDataset, view: View | None = None) -> Field:
    """A policy's actions over two features, a little beyond the pairs of the dataset and what the view shows."""
    view = view or View.of(dataset)
    x, y = view.features or telling_features(policy, view.held, view.std)
    points = dataset.observations.astype(np.float64) * dataset.obs_std + dataset.obs_mean
    low, high = np.minimum(view.low, points.min(0)), np.maximum(view.high, points.max(0))
    margin = np.maximum(_MARGIN * (high - low), 1e-6)
    low, high = low - margin, high + margin
    across, up = np.meshgrid(np.linspace(low[x], high[x], _SIDE), np.linspace(low[y], high[y], _SIDE))
    places = np.tile(view.held, (_SIDE * _SIDE, 1))
    places[:, x], places[:, y] = across.ravel(), up.ravel()
    actions = _mean_actions(policy, places).reshape(_SIDE, _SIDE, -1)
    extent = (float(low[x]), float(high[x]), float(low[y]), float(high[y]))
    return Field((x, y), extent, actions, int(actions.var((0, 1)).argmax()), view)


def action_field(field: Field, pairs: Pairs, *, narrow: bool = False, image_format: str = "svg") -> bytes:
    """The actions as colours, and the pairs of the dataset at their own values of the two features.

    Colours are the shares of actions (Discrete), or one entry of the action: orange below 0, blue above (Box).
    """
    x, y = field.features
    picture = _colours(pairs.spec, field).repeat(4, 0).repeat(4, 1)
    with figure(NARROW if narrow else 6.2, 3.6 if narrow else 4.0) as fig:
        ax = fig.add_subplot()
        ax.imshow(picture, origin="lower", extent=field.extent, aspect="auto", interpolation="none")
        ax.grid(False)
        visited = field.view.visited
        ax.plot(visited[:, x], visited[:, y], "o", color=DARK, markersize=2.2, alpha=0.45, markeredgewidth=0)
        _draw_pairs(ax, pairs, field)
        ax.set(xlabel=pairs.features[x], ylabel=pairs.features[y], xlim=field.extent[:2], ylim=field.extent[2:])
        fig.set_layout_engine("constrained")
        return render(fig, image_format)


def field_legend(spec: EnvSpec, names: tuple[str, ...]) -> dict[str, str]:
    """Action name -> "#rrggbb" of a field over discrete actions; empty for Box."""
    return dict(zip(names, channel_colours("", len(names)), strict=True)) if spec.is_discrete else {}


def telling_features(policy: Actor, held: np.ndarray, std: np.ndarray) -> tuple[int, int]:
    """The two features along which the policy's actions vary most, each swept over ±2 `std` with the others held.

    Args:
        held, std: f64[O], of raw observations.
    """
    size = len(held)
    sweep = np.tile(held, (size, _SWEEP, 1))
    for i in range(size):
        sweep[i, :, i] += np.linspace(-2.0, 2.0, _SWEEP) * std[i]
    actions = _mean_actions(policy, sweep.reshape(size * _SWEEP, size)).reshape(size, _SWEEP, -1)
    first, second = np.argsort(-actions.var(1).sum(-1), kind="stable")[:2]
    return int(first), int(second)


def _mean_actions(policy: Actor, observations: np.ndarray) -> np.ndarray:
    """f[M, A]: shares of discrete actions, or the mean action within [-1, 1], at raw observations f[M, O]."""
    spec = policy.environment.spec
    keys = jax.random.split(jax.random.key(0), _SAMPLES)

    @jax.jit
    def act(points: jax.Array) -> jax.Array:
        actions = jax.vmap(lambda obs: jax.vmap(lambda key: policy.act(key, obs))(keys))(points)
        each = jax.nn.one_hot(actions, spec.action_space.size) if spec.is_discrete else jnp.clip(actions, -1.0, 1.0)
        return each.mean(1)

    return np.asarray(act(jnp.asarray(observations, jnp.float32)))


def _colours(spec: EnvSpec, field: Field) -> np.ndarray:
    """The colours of its actions u8[S, S, 3], light enough to carry discs."""
    if not spec.is_discrete:
        return diverging(0.75 * field.actions[..., field.entry] / field.limit)
    colours = np.array([rgb(c) for c in channel_colours("", field.actions.shape[-1])], np.float64)
    return (255.0 - 0.6 * (255.0 - field.actions @ colours)).round().astype(np.uint8)


def _draw_pairs(ax: "Axes", pairs: Pairs, field: Field) -> None:
    """Draw the pairs as discs in the colours of their targets, numbered where they are few."""
    colours, (x, y) = channel_colours("", len(pairs.actions)), field.features
    few = len(pairs) <= _MOST_NUMBERED
    for i, (raw, target) in enumerate(zip(pairs.raw, pairs.targets, strict=True)):
        if pairs.spec.is_discrete:
            colour, dark = rgb(colours[int(target.argmax())]), True
        else:
            share = float(target[field.entry]) / field.limit
            red, green, blue = diverging(np.array(share))
            colour, dark = (int(red), int(green), int(blue)), abs(share) > 0.5
        face = tuple(channel / 255.0 for channel in colour)
        size = 15 if few else 8
        ax.plot(raw[x], raw[y], "o", color=face, markersize=size, markeredgecolor=INK, markeredgewidth=1.0)
        if few:
            shade = PAPER if dark else DARK
            ax.text(
                raw[x], raw[y], str(i + 1), color=shade, fontsize=8.5, weight="bold", ha="center", va="center_baseline"
            )
