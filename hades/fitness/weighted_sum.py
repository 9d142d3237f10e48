"""A weighted sum of fitness terms."""

import dataclasses

import jax
import jax.numpy as jnp

from hades.environments.base import Environment
from hades.errors import ConfigError
from hades.fitness.base import Fitness, weighted
from hades.registry import register
from hades.types import ActFn, Candidate, EnvSpec, Key, Metrics, Moments, Score


@register("Fitness", "WeightedSum")
@dataclasses.dataclass(frozen=True)
class WeightedSum(Fitness):
    """Σ weightᵢ · termᵢ; counts are summed and the metrics of all terms kept (the first term of a name wins).

    Attributes:
        terms: what is summed.
        weights: one of each term.
    """

    terms: tuple[Fitness, ...]
    weights: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.terms or len(self.terms) != len(self.weights):
            raise ConfigError(
                f"WeightedSum has {len(self.terms)} terms and {len(self.weights)} weights; give one weight a term."
            )

    def __call__(
        self, key: Key, env: Environment, act: ActFn, candidate: Candidate, *, with_moments: bool = False
    ) -> Score:
        scores = [
            term(jax.random.fold_in(key, i), env, act, candidate, with_moments=with_moments)
            for i, term in enumerate(self.terms)
        ]
        moments: Moments | None = None
        metrics: Metrics = {}
        for score in scores:
            metrics = score.metrics | metrics
            if score.moments is not None:
                moments = score.moments if moments is None else moments.merge(score.moments)
        return Score(
            value=jnp.stack([weighted(w, s.value) for w, s in zip(self.weights, scores, strict=True)]).sum(),
            episodes=jnp.stack([s.episodes for s in scores]).sum(),
            env_steps=jnp.stack([s.env_steps for s in scores]).sum(),
            moments=moments,
            metrics=metrics,
        )

    def check(self, spec: EnvSpec) -> None:
        for term in self.terms:
            term.check(spec)

    def max_env_steps(self, spec: EnvSpec) -> int:
        return sum(term.max_env_steps(spec) for term in self.terms)

    def parallel_episodes(self, spec: EnvSpec) -> int:
        """Episodes of the widest term: rollouts are loops that run one after another and reuse each other's memory."""
        return max(term.parallel_episodes(spec) for term in self.terms)

    @property
    def plays_windows(self) -> bool:
        return any(term.plays_windows for term in self.terms)
