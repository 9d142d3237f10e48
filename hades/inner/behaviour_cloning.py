"""Behaviour cloning on a synthetic dataset (Lupu et al., 2024, "Behaviour Distillation", section 4).

The genome holds observations, targets (unless they are fixed) and, where `evolve` names them, recipe scalars in a code
in which a step of one size means about as much for each: x multiplies a positive scalar by exp(x), the excess of a
scalar above 1 by exp(x), and shifts a scalar of (0, 1) on the logit scale.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Self, cast

import jax
import jax.numpy as jnp
import optax
from flax import struct
from jax import Array, lax

from hades.environments.base import Environment
from hades.environments.rollout import visited_observations
from hades.errors import ConfigError, offer
from hades.fields import Count, Natural, NonNegative, Positive, Range
from hades.inner.base import InitScheme, InnerLearner
from hades.inner.init_scheme import RandomInit
from hades.inner.losses import Loss
from hades.inner.span import SPAN_OPTIMIZERS, SpanProblem, dense, with_kernel
from hades.optimizers import check_optimizer, make_optimizer, scalar_bounds
from hades.policies.base import Policy
from hades.registry import register
from hades.types import Dataset, EnvSpec, Key, Metrics, Params, PyTree


@struct.dataclass
class CloningGenome:
    """The evolved arrays. `targets` are logits (Discrete) or actions (Box), None where the targets are fixed."""

    observations: Array  # f32[N, *obs_shape], normalised
    targets: Array | None  # f32[N, A]
    recipe: dict[str, Array]  # f32[] each, coded


@register("InnerLearner", "BehaviourCloning")
@dataclasses.dataclass(frozen=True)
class BehaviourCloning(InnerLearner):
    """Train a policy on N pairs by supervised learning.

    Attributes:
        policy: what is trained.
        init_scheme: FixedInit (HaDES-F) or RandomInit (HaDES-R).
        loss: a Loss that fits the action space.
        num_pairs: N.
        targets: "evolved" (soft class probabilities or actions), "hard" (evolved one-hot labels) or "fixed" (pair i has
            label i mod A, so that every label is used).
        start: where the observations start: "zeros", "gaussian" (times `start_scale`), or "random_policy" (states that
            a uniformly random policy meets). Evolved targets start at zeros.
        optimizer, learning_rate, optimizer_options, max_grad_norm: an optax optimiser by name; 0: no clip.
        num_updates: gradient updates.
        batch_size: 0 is the full batch; else pairs a mini-batch, reshuffled every epoch.
        evolve: recipe scalars in the genome: "learning_rate", "max_grad_norm", or a number in `optimizer_options`.
        span_first_layer: train the first layer in the span of the observations, which is exact for plain and momentum
            SGD and much cheaper where N is far below the observation size.

    Raises:
        ConfigError: at construction for what can never work, in `check` for what does not fit the environment.
    """

    policy: Policy
    init_scheme: InitScheme
    loss: Loss
    num_pairs: Count
    targets: str = "evolved"
    start: str = "zeros"
    start_scale: NonNegative = 1.0
    optimizer: str = "adam"
    learning_rate: Positive = 5e-3
    optimizer_options: tuple[tuple[str, Any], ...] = ()
    max_grad_norm: NonNegative = 0.0
    num_updates: Annotated[int, Range(least=0, most=10_000_000)] = 64
    batch_size: Natural = 0
    evolve: tuple[str, ...] = ()
    span_first_layer: bool = False

    traceable = ("learning_rate", "num_updates")
    renamed: ClassVar[Mapping[str, str]] = {"num_points": "num_pairs"}

    def __post_init__(self) -> None:
        _one_of("targets", self.targets, ("evolved", "hard", "fixed"))
        _one_of("start", self.start, ("zeros", "gaussian", "random_policy"))
        if self.batch_size > self.num_pairs:
            raise ConfigError(
                f"BehaviourCloning.batch_size is {self.batch_size}, but there are {self.num_pairs} pairs; "
                "use 0 for the full batch."
            )
        for name in self.evolve:
            self._check_evolved(name)
        check_optimizer("BehaviourCloning", self.optimizer, self.optimizer_options)
        if self.span_first_layer:
            self._check_span()

    @property
    def label(self) -> str:
        return "HaDES-F" if self.is_fixed else "HaDES-R"

    @property
    def num_inits(self) -> int:
        return self.init_scheme.num_inits

    @property
    def is_fixed(self) -> bool:
        return self.init_scheme.is_fixed

    def check(self, spec: EnvSpec) -> None:
        self.loss.check(spec)
        if not spec.is_discrete and self.targets != "evolved":
            raise ConfigError(
                f'BehaviourCloning.targets is "{self.targets}", which needs discrete actions, but {spec.name} has '
                f'{spec.action_space}. Use "evolved".'
            )
        self.policy.network(spec)

    def init_genome(self, key: Key, env: Environment, normalize: Callable[[Array], Array]) -> CloningGenome:
        shape = (self.num_pairs, *env.spec.obs_shape)
        if self.start == "random_policy":
            observations = normalize(visited_observations(key, env, self.num_pairs))
        elif self.start == "gaussian":
            observations = self.start_scale * jax.random.normal(key, shape)
        else:
            observations = jnp.zeros(shape)
        targets = None if self.targets == "fixed" else jnp.zeros((self.num_pairs, env.spec.action_space.size))
        return CloningGenome(observations, targets, {name: jnp.zeros(()) for name in self.evolve})

    def init_params(self, key: Key, spec: EnvSpec) -> Params:
        return self.init_scheme.init(key, self.policy, spec)

    def dataset(self, genome: CloningGenome, spec: EnvSpec) -> Dataset:
        if self.targets == "fixed":
            targets = jax.nn.one_hot(jnp.arange(self.num_pairs) % spec.action_space.size, spec.action_space.size)
        else:
            assert genome.targets is not None
            targets = genome.targets
            if self.targets == "hard":
                targets = jax.nn.one_hot(jnp.argmax(targets, -1), spec.action_space.size)
            elif spec.is_discrete:
                targets = jax.nn.softmax(targets)
        return Dataset(observations=genome.observations, targets=targets)

    def recipe(self, genome: CloningGenome) -> dict[str, Array]:
        """The evolved recipe scalars, decoded."""
        base = self.evolvable()
        return {
            name: decode_scalar(scalar_bounds(self.optimizer, name), base[name], code)
            for name, code in genome.recipe.items()
        }

    def constant(self, genome: CloningGenome) -> Self:
        recipe = {name: float(value) for name, value in self.recipe(genome).items()}
        return dataclasses.replace(
            self,
            evolve=(),
            optimizer_options=tuple((k, recipe.get(k, v)) for k, v in self.optimizer_options),
            learning_rate=recipe.get("learning_rate", self.learning_rate),
            max_grad_norm=recipe.get("max_grad_norm", self.max_grad_norm),
        )

    def adapted(self, **fields: Any) -> Self:
        """Options stay with their optimiser; the first layer is trained in the span of the data where that is exact."""
        optimizer, policy = fields.get("optimizer", self.optimizer), fields.get("policy", self.policy)
        options = self.optimizer_options if optimizer == self.optimizer else ()
        span = self.span_first_layer and optimizer in SPAN_OPTIMIZERS and policy.first_layer is not None
        return self.changed(**{"optimizer_options": options, "span_first_layer": span, **fields})

    def sized(self, num_pairs: int, **fields: Any) -> Self:
        return self.changed(**{"num_pairs": num_pairs, **fields})

    def randomized(self) -> Self:
        return dataclasses.replace(self, init_scheme=RandomInit(1), evolve=())

    def merged(self, others: Sequence[InnerLearner]) -> "BehaviourCloning":
        """One with Adam, where there is one, whose steps do not depend on the scale of gradients; of those the one with
        the most updates, and of those the one with the lowest learning rate.

        It gets as many times the updates as there are datasets, because each is but a share of every update.
        """
        recipes = [self, *cast(Sequence[BehaviourCloning], others)]
        best = max(recipes, key=lambda r: (r.optimizer == "adam", r.num_updates, -r.learning_rate))
        return dataclasses.replace(best, num_updates=best.num_updates * len(recipes))

    def learn(self, key: Key, genome: CloningGenome, params: Params, spec: EnvSpec) -> tuple[Params, Metrics]:
        recipe = self.recipe(genome)
        trained, metrics = self._train(key, self.dataset(genome, spec), params, spec, recipe)
        return trained, metrics | {f"recipe/{name}": value for name, value in recipe.items()}

    def assemble(self, params: Params, trained: Params) -> Params:
        return with_kernel(params, trained, str(self.policy.first_layer)) if self.span_first_layer else trained

    def clone(
        self, key: Key, dataset: Dataset, params: Params, spec: EnvSpec, **scalars: Array
    ) -> tuple[Params, Metrics]:
        """Train `params` on a dataset by the configured recipe. See InnerLearner.clone.

        Args:
            key: of mini-batches.
            dataset: what to clone.
            params: the initial policy.
            spec: of the environment.
            **scalars: f32[] by the names that `evolvable` knows, and `num_updates` i32[], in the place of the
                configured ones. They may be traced; a loop with a traced number of updates cannot be differentiated.

        Returns:
            Trained params and `loss/first`, `loss/final`: the loss on the whole dataset before and after.
        """
        num_updates = scalars.pop("num_updates", None)
        trained, metrics = self._train(key, dataset, params, spec, scalars, num_updates)
        assembled = self.assemble(params, trained)
        return dense(assembled, str(self.policy.first_layer)) if self.span_first_layer else assembled, metrics

    def working_arrays(self, trained: Params) -> PyTree:
        """Gradients and the optimiser's state."""
        return trained, self.make_optimizer().init(trained)

    def _train(
        self,
        key: Key,
        dataset: Dataset,
        params: Params,
        spec: EnvSpec,
        recipe: dict[str, Array],
        num_updates: Array | None = None,
    ) -> tuple[Params, Metrics]:
        optimizer = self.make_optimizer(recipe)
        problem = self._problem(params, dataset, spec)

        def update(carry: tuple[Any, Any], t: Array) -> tuple[tuple[Any, Any], None]:
            weights, state = carry
            gradient = jax.grad(problem.loss)(weights, self._batch(key, t))
            updates, state = optimizer.update(gradient, state, weights)
            return (optax.apply_updates(weights, updates), state), None

        start = (problem.start, optimizer.init(problem.start))
        if num_updates is None:
            (weights, _), _ = lax.scan(update, start, jnp.arange(self.num_updates))
        else:
            weights, _ = lax.fori_loop(0, num_updates, lambda t, carry: update(carry, t)[0], start)
        metrics = {"loss/first": problem.loss(problem.start, None), "loss/final": problem.loss(weights, None)}
        return problem.trained(weights), metrics

    def evolvable(self) -> dict[str, float]:
        """Recipe scalars that `evolve` may name, with their configured values."""
        scalars = {"learning_rate": self.learning_rate}
        if self.max_grad_norm:
            scalars["max_grad_norm"] = self.max_grad_norm
        numbers = {k: v for k, v in self.optimizer_options if isinstance(v, float) and v > 0}
        return scalars | numbers

    def make_optimizer(self, recipe: dict[str, Array] | None = None) -> optax.GradientTransformation:
        """The optax optimiser, with evolved scalars where given."""
        recipe = recipe or {}
        opts = tuple((name, recipe.get(name, value)) for name, value in self.optimizer_options)
        clip = recipe.get("max_grad_norm", self.max_grad_norm) if self.max_grad_norm else None
        return make_optimizer(self.optimizer, recipe.get("learning_rate", self.learning_rate), opts, clip)

    def _problem(self, params: Params, dataset: Dataset, spec: EnvSpec) -> "SpanProblem | _PlainProblem":
        kind = SpanProblem if self.span_first_layer else _PlainProblem
        return kind(self.policy, self.loss, params, dataset, spec)

    def _batch(self, key: Key, t: Array) -> Array | None:
        """Indices of the pairs of update t, None for all pairs."""
        if not self.batch_size:
            return None
        per_epoch = self.num_pairs // self.batch_size
        order = jax.random.permutation(jax.random.fold_in(key, t // per_epoch), self.num_pairs)
        return lax.dynamic_slice(order, [(t % per_epoch) * self.batch_size], [self.batch_size])

    def _check_evolved(self, name: str) -> None:
        known = self.evolvable()
        configured = dict(self.optimizer_options) | known
        if name not in configured:
            raise ConfigError(
                f'BehaviourCloning.evolve names "{name}", not a scalar of this recipe. {offer(name, known)}'
            )
        low, high = scalar_bounds(self.optimizer, name)
        if name not in known or not low < known[name] < high:
            raise ConfigError(
                f'BehaviourCloning.evolve names "{name}", which is {configured[name]!r}; a scalar that evolves must be '
                f"a float strictly between {low} and {high}. Change it, or do not evolve it."
            )

    def _check_span(self) -> None:
        if self.optimizer not in SPAN_OPTIMIZERS or self.max_grad_norm or self.policy.first_layer is None:
            raise ConfigError(
                "BehaviourCloning.span_first_layer is exact only for an MLP trained by "
                f"{' or '.join(SPAN_OPTIMIZERS)} without gradient clipping; here the policy is "
                f"{type(self.policy).__name__}, the optimizer {self.optimizer} and max_grad_norm {self.max_grad_norm}."
            )


class _PlainProblem:
    """Cloning in the policy's own weights."""

    def __init__(self, policy: Policy, loss: Loss, params: Params, dataset: Dataset, spec: EnvSpec):
        self.start = params
        self._policy, self._loss, self._dataset, self._spec = policy, loss, dataset, spec

    def loss(self, weights: Params, rows: Array | None) -> Array:
        dataset = self._dataset if rows is None else jax.tree.map(lambda x: x[rows], self._dataset)
        return self._loss(self._policy.distribution(weights, dataset.observations, self._spec), dataset.targets)

    def trained(self, weights: Params) -> Params:
        return weights


def decode_scalar(bounds: tuple[float, float], base: float, code: Array) -> Array:
    """A recipe scalar between `bounds`, (0, 1) or (low, inf), from its code; code 0 is the configured value."""
    low, high = bounds
    if high < math.inf:
        return jax.nn.sigmoid(jnp.log(base / (1.0 - base)) + code)
    return low + (base - low) * jnp.exp(code)


def _one_of(field: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise ConfigError(f'BehaviourCloning.{field} is "{value}". {offer(value, known)}')
