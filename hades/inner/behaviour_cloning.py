"""Behaviour cloning on a synthetic dataset (Lupu et al., 2024, "Behaviour Distillation", section 4)."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Self, cast

import jax
import jax.numpy as jnp
import optax
from jax import Array, lax

from hades.errors import ConfigError, require
from hades.fields import Count, Natural, NonNegative, Positive, Range
from hades.inner.base import InitScheme, InnerLearner
from hades.inner.codes import Code
from hades.inner.losses import Loss, weighted_mean
from hades.inner.pairs import CloningGenome, PairsLearner, Start
from hades.inner.region import Region
from hades.inner.span import SPAN_OPTIMIZERS, SpanProblem, dense, with_kernel
from hades.optimizers import Transformation, check_optimizer, make_optimizer, scalar_bounds
from hades.policies.base import Policy
from hades.registry import register
from hades.types import Dataset, EnvSpec, Key, Metrics, Params, PyTree


@register("InnerLearner", "BehaviourCloning")
@dataclasses.dataclass(frozen=True)
class BehaviourCloning(PairsLearner):
    """Train a policy on N pairs by supervised learning.

    Fields that are not listed here are those of PairsLearner.

    Attributes:
        loss: a Loss that fits the action space.
        optimizer: name of any optax optimiser; a Transformation has its own learning rate and options.
        learning_rate: of that optimiser.
        optimizer_options: further arguments of that optimiser.
        max_grad_norm: clip by the global norm; 0 is none.
        num_updates: gradient updates.
        batch_size: 0 is the full batch; else pairs a mini-batch, reshuffled every epoch.
        evolve: what is in the genome: "target_scale", "log_std", "learning_rate", "max_grad_norm", a number in
            `optimizer_options`, or "pair_weights", whose mean stays 1.
        span_first_layer: train the first layer in the span of the observations, which is exact for plain and momentum
            SGD and much cheaper where N is far below the observation size.
        pair_weights: a factor for the loss of each pair; empty: all 1.

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
    start_logit: float = 0.0
    start_pairs: Start | None = None
    region: Region | None = None
    target_scale: Positive = 1.0
    optimizer: str | Transformation = "adam"
    learning_rate: Positive = 5e-3
    optimizer_options: tuple[tuple[str, Any], ...] = ()
    max_grad_norm: NonNegative = 0.0
    num_updates: Annotated[int, Range(least=0, most=10_000_000)] = 64
    batch_size: Natural = 0
    evolve: tuple[str, ...] = ()
    code: Code | None = None
    span_first_layer: bool = False
    pair_weights: tuple[NonNegative, ...] = ()
    prefixes: tuple[Count, ...] = ()
    settled: Natural = 0
    mirrored: bool = False

    traceable = ("learning_rate", "num_updates")
    renamed: ClassVar[Mapping[str, str]] = {"num_points": "num_pairs"}

    def __post_init__(self) -> None:
        if self.batch_size > self.num_pairs:
            raise ConfigError(
                f"BehaviourCloning.batch_size is {self.batch_size}, but there are {self.num_pairs} pairs; "
                "use 0 for the full batch."
            )
        self._check_pair_weights()
        self._check_prefixes()
        self.check_pairs()  # names what cannot evolve before the optimiser refuses its value
        check_optimizer("BehaviourCloning", self.optimizer, self.optimizer_options)
        if self.span_first_layer:
            self._check_span()

    def check(self, spec: EnvSpec) -> None:
        self.loss.check(spec)
        super().check(spec)

    def check_differentiable(self) -> None:
        super().check_differentiable()
        adaptive = {"adam", "adamw", "nadam", "nadamw", "rmsprop", "amsgrad"}
        if self.optimizer in adaptive and not dict(self.optimizer_options).get("eps_root", 0.0):
            raise ConfigError(
                f'BehaviourCloning.optimizer is "{self.optimizer}", which takes a square root whose derivative at 0 is '
                "infinite: give it optimizer_options = (('eps_root', 1e-8),), or use \"sgd\"."
            )

    def constant(self, genome: CloningGenome) -> Self:
        found = self.recipe(genome)
        weights = tuple(found.pop("pair_weights", self.pair_weights))
        recipe = {name: float(value) for name, value in found.items()}
        return dataclasses.replace(
            super().constant(genome),
            optimizer_options=tuple((k, recipe.get(k, v)) for k, v in self.optimizer_options),
            learning_rate=recipe.get("learning_rate", self.learning_rate),
            max_grad_norm=recipe.get("max_grad_norm", self.max_grad_norm),
            pair_weights=weights,
        )

    def changed(self, **fields: Any) -> Self:
        """As InnerLearner.changed; an optax transformation serves as the optimizer, a schedule as the learning rate."""
        rate, options = fields.get("learning_rate"), fields.get("optimizer_options", self.optimizer_options)
        if isinstance(optimizer := fields.get("optimizer"), optax.GradientTransformation):
            fields["optimizer"] = Transformation(optimizer)
            require(rate is None, "learning_rate has no effect on an optimizer that is an optax transformation.")
        elif callable(rate):
            optimizer = optimizer or self.optimizer
            check_optimizer("BehaviourCloning", optimizer, options)
            made = Transformation(make_optimizer(optimizer, rate, options))
            fields |= {"optimizer": made, "optimizer_options": (), "span_first_layer": False}
            del fields["learning_rate"]
        return super().changed(**fields)

    def adapted(self, **fields: Any) -> Self:
        """Options stay with their optimiser; the first layer is trained in the span of the data where that is exact."""
        optimizer, policy = fields.get("optimizer", self.optimizer), fields.get("policy", self.policy)
        options = self.optimizer_options if optimizer == self.optimizer else ()
        span = self.span_first_layer and optimizer in SPAN_OPTIMIZERS and policy.first_layer is not None
        return self.changed(**{"optimizer_options": options, "span_first_layer": span, **fields})

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
        if self.prefixes:
            recipe["pair_weights"] = self._prefix_weights(key)
        trained, metrics = self._train(key, self.dataset(genome, spec), params, spec, recipe)
        return self.with_log_std(trained, recipe), metrics | self.recipe_metrics(genome)

    def recipe(self, genome: CloningGenome) -> dict[str, Array]:
        """The evolved numbers, decoded: f32[] each, and "pair_weights" f32[N]."""
        found = super().recipe(genome)
        if "pair_weights" in found:
            # Normalised, because a common factor would act like the learning rate.
            found["pair_weights"] = self.num_pairs * jax.nn.softmax(genome.recipe["pair_weights"])
        return found

    def recipe_metrics(self, genome: CloningGenome) -> Metrics:
        metrics = super().recipe_metrics(genome)
        if (weights := metrics.pop("recipe/pair_weights", None)) is not None:
            metrics |= {"recipe/least_pair_weight": weights.min(), "recipe/largest_pair_weight": weights.max()}
        return metrics

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
            **scalars: f32[] by the names that `evolvable` knows ("pair_weights": f32[N]), and `num_updates` i32[], in
                the place of the configured ones. They may be traced; a loop with a traced number of updates cannot be
                differentiated.

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
        problem = self._problem(params, dataset, spec, recipe.get("pair_weights"))

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
        scalars = {**super().evolvable(), "learning_rate": self.learning_rate, "pair_weights": 1.0}
        if self.max_grad_norm:
            scalars["max_grad_norm"] = self.max_grad_norm
        numbers = {k: v for k, v in self.optimizer_options if isinstance(v, float) and v > 0}
        return scalars | numbers

    def recipe_shape(self, name: str) -> tuple[int, ...]:
        return (self.num_pairs,) if name == "pair_weights" else super().recipe_shape(name)

    def bounds(self, name: str) -> tuple[float, float]:
        shared = name in super().evolvable() or name == "pair_weights"
        return super().bounds(name) if shared else scalar_bounds(self.optimizer, name)

    def make_optimizer(self, recipe: dict[str, Array] | None = None) -> optax.GradientTransformation:
        """The optax optimiser, with evolved scalars where given."""
        recipe = recipe or {}
        opts = tuple((name, recipe.get(name, value)) for name, value in self.optimizer_options)
        clip = recipe.get("max_grad_norm", self.max_grad_norm) if self.max_grad_norm else None
        return make_optimizer(self.optimizer, recipe.get("learning_rate", self.learning_rate), opts, clip)

    def _problem(
        self, params: Params, dataset: Dataset, spec: EnvSpec, weights: Array | None
    ) -> "SpanProblem | _PlainProblem":
        kind = SpanProblem if self.span_first_layer else _PlainProblem
        if weights is None and self.pair_weights:
            weights = jnp.asarray(self.pair_weights)
        return kind(self.policy, self.loss, params, dataset, spec, weights)

    def _batch(self, key: Key, t: Array) -> Array | None:
        """Indices of the pairs of update t, None for all pairs."""
        if not self.batch_size:
            return None
        per_epoch = self.num_pairs // self.batch_size
        order = jax.random.permutation(jax.random.fold_in(key, t // per_epoch), self.num_pairs)
        return lax.dynamic_slice(order, [(t % per_epoch) * self.batch_size], [self.batch_size])

    def _prefix_weights(self, key: Key) -> Array:
        """Weights f32[N] of one of the prefixes, drawn: 0 for the pairs behind it, a mean of 1 over all pairs."""
        seen, length = self.drawn_prefix(key)
        return jnp.where(seen, self.num_pairs / length, 0.0)

    def _check_prefixes(self) -> None:
        weighted = self.pair_weights or "pair_weights" in self.evolve
        require(
            not self.prefixes or not (self.batch_size or weighted),
            "BehaviourCloning.prefixes weighs whole batches: leave batch_size at 0 and pair_weights out.",
        )

    def _check_pair_weights(self) -> None:
        count = len(self.pair_weights)
        require(
            count in (0, self.num_pairs),
            f"BehaviourCloning.pair_weights has {count} entries, but there are {self.num_pairs} pairs: give one for "
            "each, or none.",
        )
        require(
            not count or any(self.pair_weights), "BehaviourCloning.pair_weights are all 0: nothing would be learnt."
        )
        require(
            not count or "pair_weights" not in self.evolve,
            'BehaviourCloning.evolve names "pair_weights", which start at 1: leave BehaviourCloning.pair_weights '
            "empty.",
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

    def __init__(
        self, policy: Policy, loss: Loss, params: Params, dataset: Dataset, spec: EnvSpec, pair_weights: Array | None
    ):
        self.start, self._pair_weights = params, pair_weights
        self._policy, self._loss, self._dataset, self._spec = policy, loss, dataset, spec

    def loss(self, weights: Params, rows: Array | None) -> Array:
        pairs = self._dataset.observations, self._dataset.targets, self._pair_weights
        if rows is not None:
            pairs = jax.tree.map(lambda x: x[rows], pairs)

        def loss(observations: Array, targets: Array) -> Array:
            return self._loss(self._policy.distribution(weights, observations, self._spec), targets)

        return weighted_mean(loss, *pairs)

    def trained(self, weights: Params) -> Params:
        return weights
