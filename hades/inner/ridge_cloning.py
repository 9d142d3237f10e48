"""Cloning in closed form: the last layer by ridge regression, in place of updates by gradient."""

import dataclasses
from collections.abc import Callable
from typing import ClassVar

import jax
import jax.numpy as jnp
import jax.scipy.linalg as linalg
from jax import Array

from hades.errors import ConfigError, one_of, require
from hades.fields import Count, Natural, NonNegative, Positive
from hades.inner.affine import affine_fit, indifferent_at
from hades.inner.base import InitScheme
from hades.inner.codes import Code
from hades.inner.losses import centred_log, centred_logits
from hades.inner.pairs import CloningGenome, PairsLearner, Start
from hades.inner.region import Region
from hades.policies.base import Policy
from hades.policies.distributions import Categorical
from hades.registry import register
from hades.types import Dataset, EnvSpec, Key, Metrics, Params


@register("InnerLearner", "RidgeCloning")
@dataclasses.dataclass(frozen=True)
class RidgeCloning(PairsLearner):
    """Train the last layer on N pairs to convergence, by one N × N solve.

    The output at x becomes k(x, X) (K + λ tr(K) / N · I)⁻¹ Y, where K = k(X, X) are inner products of the features that
    the policy's last layer weighs, and Y the actions or, for discrete ones, the logits of the target probabilities.
    With `MLP` the features are those of a freshly initialised network, and the result is an ordinary policy of that
    network, whose lower layers stay as they were drawn. With `WideMLP` they are those of infinitely many units, so that
    the result depends on no draw.

    Fields that are not listed here are those of PairsLearner.

    Attributes:
        ridge: λ, the regularisation as a share of the mean of K's diagonal.
        hand_over: what the next stage takes for targets: these "targets", or, of mirrored pairs, those of the "affine"
            policy nearest to theirs over the states that it visits. Its mirror moves to where it prefers no action:
            what both sides of a pair have in common fades away from the pairs in a network that is trained to
            convergence, and nothing is left to fade. For policies that draw no weights.
    """

    policy: Policy
    init_scheme: InitScheme
    num_pairs: Count
    ridge: Positive = 0.01
    targets: str = "evolved"
    start: str = "gaussian"
    start_scale: NonNegative = 0.5
    start_logit: float = 2.0
    start_pairs: Start | None = None
    region: Region | None = None
    target_scale: Positive = 1.0
    evolve: tuple[str, ...] = ()
    prefixes: tuple[Count, ...] = ()
    settled: Natural = 0
    mirrored: bool = False
    hand_over: str = "targets"
    code: Code | None = None

    traceable: ClassVar[tuple[str, ...]] = ("ridge",)  # type: ignore[misc]  # a constant in the base class too

    def __post_init__(self) -> None:
        self.check_pairs()
        one_of("RidgeCloning.hand_over", self.hand_over, ("targets", "affine"))
        require(
            self.hand_over == "targets" or not self.policy.draws_weights,
            f'RidgeCloning.hand_over is "{self.hand_over}", but what {type(self.policy).__name__} returns differs from '
            "draw to draw: use WideMLP, or hand over the targets.",
        )

    def check(self, spec: EnvSpec) -> None:
        super().check(spec)
        if type(self.policy).kernel is Policy.kernel:
            raise ConfigError(
                f"RidgeCloning.policy is {type(self.policy).__name__}, which names no features of its last layer: use "
                "MLP or WideMLP, or give the class `kernel` and `fitted`."
            )

    def learn(self, key: Key, genome: CloningGenome, params: Params, spec: EnvSpec) -> tuple[Params, Metrics]:
        recipe, dataset = self.recipe(genome), self.dataset(genome, spec)
        seen = self.drawn_prefix(key)[0] if self.prefixes else jnp.ones(self.num_pairs, bool)
        trained, metrics = self._fit(dataset, seen, params, spec, self.ridge)
        return self.with_log_std(trained, recipe), metrics | self.recipe_metrics(genome)

    def clone(
        self, key: Key, dataset: Dataset, params: Params, spec: EnvSpec, **scalars: Array
    ) -> tuple[Params, Metrics]:
        """See InnerLearner.clone. The metrics are mean squared errors on the pairs; before training the output is 0."""
        del key
        every = jnp.ones(len(dataset.observations), bool)
        return self._fit(dataset, every, params, spec, scalars.get("ridge", self.ridge))

    def check_hand_over(self) -> None:
        require(
            self.hand_over == "targets" or (self.mirrored and self.code is None),
            f'RidgeCloning.hand_over is "{self.hand_over}", which stands for mirrored pairs about the mean of a '
            'normaliser: set RidgeCloning.mirrored, without a code, or hand over the "targets".',
        )

    def handed_over(
        self, dataset: Dataset, spec: EnvSpec, visited: Callable[[], Array]
    ) -> tuple[Dataset, Array | None]:
        if self.hand_over == "targets":
            return dataset, None
        key = jax.random.key(0)  # has no effect: the policy draws no weights, and all pairs are seen
        trained, _ = self.clone(key, dataset, self.policy.init(key, spec), spec)

        def outputs(obs: Array) -> Array:
            found = self.policy.distribution(trained, obs, spec)
            return centred_logits(found.logits) if isinstance(found, Categorical) else found.mode()

        weights, bias = affine_fit(outputs, visited())
        centre, left = indifferent_at(weights, bias)
        x = dataset.observations
        y = x.reshape(len(x), -1) @ weights + left
        targets = jax.nn.softmax(y) if spec.is_discrete else y
        return Dataset(observations=x, targets=targets), centre.reshape(spec.obs_shape)

    def _fit(
        self, dataset: Dataset, seen: Array, params: Params, spec: EnvSpec, ridge: Array | float
    ) -> tuple[Params, Metrics]:
        """The policy of the pairs that are seen, bool[N]; the others get the coefficient 0."""
        x = dataset.observations
        y = centred_log(dataset.targets) if spec.is_discrete else dataset.targets
        y = jnp.where(seen[:, None], y, 0.0)
        gram = jnp.where(seen[:, None] & seen, self.policy.kernel(params, x, spec), 0.0)
        penalty = ridge * jnp.trace(gram) / seen.sum()
        factor = linalg.cho_factor(gram + penalty * jnp.eye(len(gram)))
        coefficients = linalg.cho_solve(factor, y)
        error = penalty * coefficients  # what the solve leaves of the targets
        metrics = {
            name: jnp.square(z).sum() / (seen.sum() * y.shape[1])
            for name, z in (("loss/first", y), ("loss/final", error))
        }
        return self.policy.fitted(params, x, coefficients, spec), metrics
