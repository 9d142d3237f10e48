"""The recipes of a generalisation grid: the product of its axes, each applied to the recipe that a dataset names.

Learning rate, number of updates and initialisation scale are factors on the recipe's own values. Width, depth and
activation are those of the recipe's policy, or of an MLP that acts and is scaled like it where the policy lacks one of
the three; other networks are given as policies, and stand beside those of the grid.
"""

import dataclasses
import itertools
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from typing import Any, ClassVar

from hades import registry
from hades.data.dataset import DistilledDataset
from hades.errors import ConfigError, offer, shown
from hades.fields import Positive, checks_fields
from hades.inner.base import InnerLearner
from hades.policies.base import Policy
from hades.policies.mlp import MLP
from hades.policy.trained_policy import changed_learner, parse_call, parse_policy

ORIGINAL = "original"
"""An optimiser, learner or way to act as the dataset's recipe has it."""
_RECIPE = {
    "learning_rate": "learning_rates",
    "num_updates": "num_updates",
    "optimizer": "optimizers",
    "init_scale": "init_scales",
    "acting": "acting",
}
"""Axes that change the recipe of a network, by their name in a cell."""
KIND = "network"
"""Name in a cell of how far its network is from those that the search has trained: SEARCHED, INTERPOLATED, HELD_OUT."""
SEARCHED, INTERPOLATED, HELD_OUT = "searched", "interpolated", "held out"
Settings = Mapping[str, Any]
"""The value of each axis; a network of the grid has width, depth and activation, another one has them as None."""


@dataclasses.dataclass(frozen=True)
class Cell:
    """One recipe of the grid."""

    settings: Settings
    learner: InnerLearner


@checks_fields
@dataclasses.dataclass(frozen=True)
class Grid:
    """The axes of a grid and their values. Every axis but `policies` needs a value.

    Attributes:
        widths, depths, activations: of MLPs.
        learning_rates, num_updates, init_scales: factors; the last one on `hidden_scale`, the gain of hidden layers.
        optimizers: "original", or optax names with an optional learning rate, "sgd" or "sgd=0.1"; without one the
            learning rate of the recipe stays. Options of the recipe's optimiser stay with that optimiser.
        learners: "original", or a registered learner with changed fields such as "BehaviourCloning(batch_size=1)";
            fields that are not named are the recipe's.
        acting: "original", "sample" or "greedy".
        policies: further networks, taken as they are, such as a CNN for images.

    Raises:
        ConfigError: for an axis without values, with one value twice, or with a factor that is not positive.
    """

    widths: tuple[int, ...] = (32, 64, 128, 256)
    depths: tuple[int, ...] = (1, 2, 3)
    activations: tuple[str, ...] = ("tanh", "relu", "gelu")
    learning_rates: tuple[Positive, ...] = (1 / 3, 1.0, 3.0)
    num_updates: tuple[Positive, ...] = (1.0,)
    optimizers: tuple[str, ...] = (ORIGINAL,)
    init_scales: tuple[Positive, ...] = (1.0,)
    learners: tuple[str, ...] = (ORIGINAL,)
    acting: tuple[str, ...] = (ORIGINAL,)
    policies: tuple[Policy, ...] = ()

    FACTORS: ClassVar[tuple[str, ...]] = ("learning_rates", "num_updates", "init_scales")

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            values = getattr(self, field.name)
            if not values and field.name != "policies":
                raise ConfigError(f"Grid.{field.name} is empty, so the grid is: give it at least one value.")
            if len(set(values)) < len(values):
                raise ConfigError(f"Grid.{field.name} is {shown(values)}, with a value twice: it would count twice.")

    def cells(self, dataset: DistilledDataset) -> tuple[Cell, ...]:
        """The recipes of the grid, in the order of the axes, with fresh initial policies for every training (HaDES-R).

        Raises:
            ConfigError: for an unknown activation, optimiser or learner, for an axis that a learner has no field for,
                and for what does not fit the environment.
        """
        found, searched = [], _searched(dataset)
        for text in self.learners:
            learner = _learner(text, changed_learner(dataset, {})).sized(len(dataset)).randomized()
            self._check_axes(learner)
            for network, policy in self._networks(learner.policy):
                network[KIND] = _kind(policy, searched)
                for values in itertools.product(*(getattr(self, axis) for axis in _RECIPE.values())):
                    choice = dict(zip(_RECIPE, values, strict=True))
                    changed = _changed(learner, policy, choice)
                    changed.check(dataset.environment.spec)
                    found.append(Cell({**network, **choice, "learner": text}, changed))
        return tuple(found)

    def describe(self) -> dict[str, Any]:
        """JSON-ready."""
        described = {field.name: list(getattr(self, field.name)) for field in dataclasses.fields(self)}
        return described | {"policies": [registry.describe(policy) for policy in self.policies]}

    def _check_axes(self, learner: InnerLearner) -> None:
        """Refuse an axis that would change a field which the learner does not have."""
        for axis, field in (("learning_rates", "learning_rate"), ("num_updates",) * 2, ("optimizers", "optimizer")):
            values, same = getattr(self, axis), 1.0 if axis in self.FACTORS else ORIGINAL
            if values != (same,) and field not in learner.field_names():
                raise ConfigError(
                    f"Grid.{axis} is {shown(values)}, but {type(learner).__name__} has no {field} to change: give the "
                    f"axis the one value {same!r}."
                )

    def _networks(self, original: Policy) -> Iterator[tuple[dict[str, Any], Policy]]:
        base: Any = original  # with the three fields, which the type Policy does not have
        fields = {field.name for field in dataclasses.fields(original)}
        if not {"width", "depth", "activation"} <= fields:
            base = MLP(**{field.name: getattr(original, field.name) for field in dataclasses.fields(Policy)})
        for width, depth, activation in itertools.product(self.widths, self.depths, self.activations):
            policy = dataclasses.replace(base, width=width, depth=depth, activation=activation)
            yield {"width": width, "depth": depth, "activation": activation, "policy": type(base).__name__}, policy
        for other in self.policies:
            yield {"width": None, "depth": None, "activation": None, "policy": policy_text(other)}, other


def _searched(dataset: DistilledDataset) -> list[Mapping[str, Any]]:
    """Descriptions of the networks that the search has trained, in all of its stages."""
    stages = dataset.metadata.get("training", {}).get("stages", ())
    of_recipe = [registry.describe(network) for network in dataset.learner.policy.networks]
    return [*of_recipe, *(network for stage in stages for network in stage.get("networks", ()))]


def _kind(policy: Policy, searched: Sequence[Mapping[str, Any]]) -> str:
    """The kind of a network beside those that the search has trained: its class, activation, width and depth count.

    Interpolated ones have a width and a depth between those of networks that were searched with.
    """
    network = registry.describe(policy)
    alike = [other for other in searched if all(other.get(key) == network.get(key) for key in ("name", "activation"))]
    sizes = [(other.get("width"), other.get("depth"), other.get("features")) for other in alike]
    if (network.get("width"), network.get("depth"), network.get("features")) in sizes:
        return SEARCHED
    within = bool(alike) and "depth" in network
    for size in ("width", "depth"):
        values = [other[size] for other in alike if size in other]
        within = within and min(values) <= network[size] <= max(values)
    return INTERPOLATED if within else HELD_OUT


def parse_grid(texts: Mapping[str, Sequence[str]]) -> Grid:
    """A grid from words, as a command line has them: {"widths": ["32", "64"], "learning_rates": ["1/3", "1"]}.

    Raises:
        ConfigError: for an unknown axis and for what is no value of its axis, naming it.
    """
    axes: dict[str, Any] = {}
    known = [field.name for field in dataclasses.fields(Grid)]
    for axis, words in texts.items():
        if axis not in known:
            raise ConfigError(f'A grid has no axis "{axis}". {offer(axis, known)}')
        axes[axis] = tuple(_value(axis, word.strip()) for word in words if word.strip())
    return Grid(**axes)


def axis_text(axis: str) -> str:
    """The name of an axis for readers."""
    return {"num_updates": "updates"}.get(axis, axis.replace("_", " "))


def value_text(axis: str, value: Any) -> str:
    """A value of an axis for readers: factors as "× 1/3"."""
    if value is None:
        return "–"
    if axis in ("learning_rate", "num_updates", "init_scale"):
        simple = Fraction(value).limit_denominator(12)
        return f"× {simple}" if abs(simple - value) < 1e-9 else f"× {value:.3g}"
    return str(value)


def policy_text(policy: Policy) -> str:
    """A policy with the fields that are not its defaults: "CNN(width=64)"."""
    changed = [
        f"{field.name}={getattr(policy, field.name)!r}"
        for field in dataclasses.fields(policy)
        if field.default is dataclasses.MISSING or getattr(policy, field.name) != field.default
    ]
    return f"{type(policy).__name__}({', '.join(changed)})"


def _changed(learner: InnerLearner, policy: Policy, choice: Settings) -> InnerLearner:
    """A recipe of the grid; fields whose axis leaves them alone are not named, so a learner may lack them."""
    scale, acting = choice["init_scale"], choice["acting"]
    acting = policy.acting if acting == ORIGINAL else acting
    policy = dataclasses.replace(policy, hidden_scale=policy.hidden_scale * scale, acting=acting)
    fields = _optimizer(choice["optimizer"])
    if (rate := choice["learning_rate"]) != 1.0:
        fields["learning_rate"] = fields.get("learning_rate", getattr(learner, "learning_rate", None)) * rate
    if (updates := choice["num_updates"]) != 1.0:
        fields["num_updates"] = max(1, round(learner.num_updates * updates))
    return learner.adapted(policy=policy, **fields)


def _optimizer(text: str) -> dict[str, Any]:
    """The fields that "sgd=0.1", "sgd" or "original" change."""
    if text == ORIGINAL:
        return {}
    name, _, rate = text.partition("=")
    try:
        return {"optimizer": name.strip(), **({"learning_rate": float(rate)} if rate else {})}
    except ValueError:
        raise ConfigError(f'Grid.optimizers has "{text}"; write "sgd" or, with a learning rate, "sgd=0.1".') from None


def _learner(text: str, original: InnerLearner) -> InnerLearner:
    """The learner that a text names, with the fields of the original where it says nothing else."""
    if text == ORIGINAL:
        return original
    name, arguments = parse_call(text)
    kind: Any = registry.get("InnerLearner", name) if name else InnerLearner
    if kind.clone is InnerLearner.clone:
        raise ConfigError(
            f'Grid.learners has "{text}", which trains no policy from pairs: write "{ORIGINAL}" or changes such as '
            '"BehaviourCloning(batch_size=1)".'
        )
    fields = kind.field_names()
    for argument in arguments:
        if argument not in fields:
            raise ConfigError(f'Grid.learners has "{text}", but {name} has no "{argument}". {offer(argument, fields)}')
    kept = {name: getattr(original, name) for name in original.field_names() if name in fields}
    return kind(**(kept | arguments))


def _value(axis: str, word: str) -> Any:
    try:
        if axis in ("widths", "depths"):
            return int(word)
        if axis in Grid.FACTORS:
            numerator, _, denominator = word.partition("/")
            return float(numerator) / float(denominator or 1)
    except (ValueError, ZeroDivisionError):
        what = "a factor such as 3, 0.5 or 1/3" if axis in Grid.FACTORS else "an integer"
        raise ConfigError(f'Grid.{axis}: "{word[:80]}" is not {what}.') from None
    return parse_policy(word) if axis == "policies" else word
