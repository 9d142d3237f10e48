"""What a policy does over two features of a vector observation, the others held at the mean of the observations."""

import dataclasses
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np

from hades.data.dataset import DistilledDataset
from hades.types import EnvSpec
from hades.visualize.figures import NARROW, figure, render
from hades.visualize.pairs import Pairs
from hades.visualize.palette import INK, PAPER, channel_colours, rgb
from hades.visualize.recording import Actor
from hades.visualize.tables import diverging

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SIDE, _SWEEP = 61, 21  # places along an axis of the field, and along a feature to see whether it matters
_SAMPLES = 8  # actions drawn at each place: a policy may sample
_MOST_NUMBERED = 16
_MARGIN = 1.2  # how far beyond the outermost point the view goes


def can_show_field(spec: EnvSpec) -> bool:
    """Whether `action_field` has two features to show."""
    return not spec.is_image and spec.obs_size >= 2


@dataclasses.dataclass(frozen=True)
class Field:
    """Actions over a plane of raw observations.

    Attributes:
        features: the two entries of the observation that span it, across and up.
        extent: least and largest value of the first, then of the second.
        actions: f[S, S, A], rows upwards: shares of actions (Discrete) or the mean action within [-1, 1] (Box).
    """

    features: tuple[int, int]
    extent: tuple[float, float, float, float]
    actions: np.ndarray


def measure_field(policy: Actor, dataset: DistilledDataset) -> Field:
    """A policy's actions over the two features that change them most, a little beyond the points of the dataset."""
    mean, std = dataset.obs_mean.astype(np.float64), dataset.obs_std.astype(np.float64)
    x, y = telling_features(policy, mean, std)
    reach = std * np.maximum(1.5, _MARGIN * np.abs(dataset.observations).max(0))
    low, high = mean - reach, mean + reach
    across, up = np.meshgrid(np.linspace(low[x], high[x], _SIDE), np.linspace(low[y], high[y], _SIDE))
    places = np.tile(mean, (_SIDE * _SIDE, 1))
    places[:, x], places[:, y] = across.ravel(), up.ravel()
    actions = _mean_actions(policy, places).reshape(_SIDE, _SIDE, -1)
    extent = (float(low[x]), float(high[x]), float(low[y]), float(high[y]))
    return Field(features=(x, y), extent=extent, actions=actions)


def action_field(field: Field, pairs: Pairs, *, narrow: bool = False, image_format: str = "svg") -> bytes:
    """The actions as colours, and the points of the dataset at their own values of the two features.

    Colours are the shares of actions (Discrete), or the first entry of the action: orange -1, white 0, blue +1 (Box).
    """
    x, y = field.features
    picture = _colours(pairs.spec, field.actions).repeat(6, 0).repeat(6, 1)
    with figure(NARROW if narrow else 6.2, 3.6 if narrow else 4.0) as fig:
        ax = fig.add_subplot()
        ax.imshow(picture, origin="lower", extent=field.extent, aspect="auto", interpolation="none")
        ax.grid(False)
        _draw_points(ax, pairs, x, y)
        ax.set(xlabel=pairs.features[x], ylabel=pairs.features[y], xlim=field.extent[:2], ylim=field.extent[2:])
        fig.set_layout_engine("constrained")
        return render(fig, image_format)


def field_legend(spec: EnvSpec, names: tuple[str, ...]) -> dict[str, str]:
    """Action name -> "#rrggbb" of a field over discrete actions; empty for Box."""
    return dict(zip(names, channel_colours("", len(names)), strict=True)) if spec.is_discrete else {}


def telling_features(policy: Actor, mean: np.ndarray, std: np.ndarray) -> tuple[int, int]:
    """The two features along which the policy's actions vary most, each swept over ±2 s.d. with the others at the mean.

    Args:
        mean, std: f64[O], of raw observations.
    """
    size = len(mean)
    sweep = np.tile(mean, (size, _SWEEP, 1))
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


def _colours(spec: EnvSpec, actions: np.ndarray) -> np.ndarray:
    """Of actions f[..., A]: u8[..., 3], light enough to carry points."""
    if not spec.is_discrete:
        return diverging(0.75 * actions[..., 0])
    colours = np.array([rgb(c) for c in channel_colours("", actions.shape[-1])], np.float64)
    return (255.0 - 0.6 * (255.0 - actions @ colours)).round().astype(np.uint8)


def _draw_points(ax: "Axes", pairs: Pairs, x: int, y: int) -> None:
    """The points as discs in the colours of their targets, numbered where they are few."""
    colours = channel_colours("", len(pairs.actions))
    few = len(pairs) <= _MOST_NUMBERED
    for i, (raw, target) in enumerate(zip(pairs.raw, pairs.targets, strict=True)):
        if pairs.spec.is_discrete:
            colour, dark = rgb(colours[int(target.argmax())]), True
        else:
            red, green, blue = diverging(target[:1])[0]
            colour, dark = (int(red), int(green), int(blue)), abs(float(target[0])) > 0.5
        face = tuple(channel / 255.0 for channel in colour)
        size = 15 if few else 8
        ax.plot(raw[x], raw[y], "o", color=face, markersize=size, markeredgecolor=INK, markeredgewidth=1.0)
        if few:
            shade = PAPER if dark else "#000000"
            ax.text(
                raw[x], raw[y], str(i + 1), color=shade, fontsize=8.5, weight="bold", ha="center", va="center_baseline"
            )
