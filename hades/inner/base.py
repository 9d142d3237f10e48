"""The InnerLearner and InitScheme interfaces."""

import abc
import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, Self, TypeAlias

from jax import Array

from hades.environments.base import Environment
from hades.errors import ConfigError, offer
from hades.inner.stage_record import StageRecord
from hades.inner.teacher import TeacherRecord
from hades.policies.base import Policy
from hades.types import Dataset, EnvSpec, Genome, Key, Metrics, Params, PyTree

Trained: TypeAlias = Any


class InitScheme(abc.ABC):
    """The choice of initial policies that a generation trains: always the same one, or fresh ones."""

    num_inits: int
    """k, the independent inner trainings of every candidate in a generation."""

    is_fixed: bool
    """True if a dataset made under this scheme needs the scheme's own weights (HaDES-F)."""

    @abc.abstractmethod
    def init(self, key: Key, policy: Policy, spec: EnvSpec) -> Params:
        """One initial policy."""


class InnerLearner(abc.ABC):
    """The inner loop, a frozen dataclass.

    A learner whose genome is a dataset writes `init_genome`, `dataset` and `clone`; one whose genome is the policy
    writes `init_genome` and `learn`. The rest has defaults.
    """

    policy: Policy

    num_updates: int = 0
    """Gradient updates of one training; 0 where a formula takes their place."""

    batch_size: int = 0
    """Pairs of a mini-batch; 0: every update sees all pairs."""

    makes_raw_observations: bool = False
    """True if datasets of genomes hold raw observations, which no normaliser may change."""

    traceable: tuple[str, ...] = ()
    """Numeric fields that `clone` also takes as keywords, which may be traced.

    Learners that differ in these fields alone then share one compilation.
    """

    @property
    def label(self) -> str:
        """Name of the method in results and reports."""
        return type(self).__name__

    @property
    def num_inits(self) -> int:
        """k, the independent inner trainings of every candidate in a generation."""
        return 1

    @property
    def is_fixed(self) -> bool:
        """True if all policies start from the same weights, which a dataset then needs (HaDES-F)."""
        return False

    @property
    def teachers(self) -> tuple[TeacherRecord, ...]:
        """Records of the teachers that the start of the search uses."""
        return ()

    @property
    def stages(self) -> tuple[StageRecord, ...]:
        """Records of the searches that the start of the search comes from."""
        return ()

    @property
    def for_report(self) -> Self:
        """The learner that reports measure: one that trains on all of the dataset, whatever the search does."""
        return self

    @abc.abstractmethod
    def init_genome(self, key: Key, env: Environment, normalize: Callable[[Array], Array]) -> Genome:
        """Genome that the search starts from; may play a random policy.

        `normalize` maps raw observations to the coordinates of a dataset.
        """

    def init_params(self, key: Key, spec: EnvSpec) -> Params:
        """One initial policy."""
        return self.policy.init(key, spec)

    def dataset(self, genome: Genome, spec: EnvSpec) -> Dataset | None:
        """The pairs that a genome stands for; None where the genome is the policy."""
        del genome, spec
        return None

    def codes(self, genome: Genome) -> Array | None:
        """f32[N, ...], from which `dataset` makes the observations of a genome; None where it holds them themselves."""
        del genome
        return None

    def constant(self, genome: Genome) -> Self:
        """The learner that trains from `dataset(genome)`: scalars that evolved are written in as constants."""
        del genome
        return self

    def clone(self, key: Key, dataset: Dataset, params: Params, spec: EnvSpec) -> tuple[Params, Metrics]:
        """Train one policy from pairs.

        Args:
            key: decides whatever is random.
            dataset: the pairs.
            params: the initial policy.
            spec: of the environment.

        Returns:
            The trained policy's weights, and scalar metrics: `loss/first` and `loss/final` where there is a loss.

        Raises:
            ConfigError: where this learner trains no policy from pairs.
        """
        raise ConfigError(f"{type(self).__name__} trains no policy from pairs: its genome is the policy.")

    def learn(self, key: Key, genome: Genome, params: Params, spec: EnvSpec) -> tuple[Trained, Metrics]:
        """Train from `params` on the genome; by default `clone` on its dataset.

        Returns:
            What training changed, and scalar metrics.
        """
        dataset = self.dataset(genome, spec)
        if dataset is None:
            raise NotImplementedError(f"{type(self).__name__} has neither a dataset nor a `learn` of its own.")
        return self.clone(key, dataset, params, spec)

    def assemble(self, params: Params, trained: Trained) -> Params:
        """The trained policy's weights from its initial ones and what `learn` returned.

        By default `trained` is all of the weights. A learner that changes an initial policy in few directions returns
        only those, so that a population keeps sharing the rest.
        """
        del params
        return trained

    def working_arrays(self, trained: Trained) -> PyTree:
        """Arrays that training one network holds beside its weights, such as gradients; for memory plans."""
        del trained
        return ()

    def check(self, spec: EnvSpec) -> None:
        """Raise ConfigError where this learner cannot serve the environment."""
        del spec

    def check_differentiable(self) -> None:
        """Raise ConfigError where a gradient with respect to the genome cannot search for a dataset."""
        return None

    def recipe(self, genome: Genome) -> dict[str, Array]:
        """Numbers of the recipe that are searched for with the dataset, by name: f32[] each, or one for each pair."""
        del genome
        return {}

    def recipe_metrics(self, genome: Genome) -> Metrics:
        """Numbers that are searched for with the dataset, as scalar metrics."""
        return {f"recipe/{name}": value for name, value in self.recipe(genome).items()}

    @classmethod
    def field_names(cls) -> tuple[str, ...]:
        """Names of the dataclass's fields."""
        return tuple(field.name for field in dataclasses.fields(cls))  # type: ignore[arg-type]  # subclasses are dataclasses

    def changed(self, **fields: Any) -> Self:
        """This learner with other values of some fields.

        Raises:
            ConfigError: for an unknown field, naming the known ones.
        """
        known = self.field_names()
        for name in fields:
            if name not in known:
                raise ConfigError(f'The recipe has no field "{name}". {offer(name, known)}')
        return dataclasses.replace(self, **fields)  # type: ignore[type-var]  # subclasses are dataclasses

    def adapted(self, **fields: Any) -> Self:
        """Like `changed`; fields that depend on the changed ones are made to fit."""
        return self.changed(**fields)

    def sized(self, num_pairs: int, **fields: Any) -> Self:
        """`adapted` for a dataset of `num_pairs` pairs, where a field depends on their number."""
        del num_pairs
        return self.adapted(**fields)

    def randomized(self) -> Self:
        """This learner with a fresh initial policy for every training (HaDES-R)."""
        return self

    def merged(self, others: "Sequence[InnerLearner]") -> "InnerLearner":
        """The learner for the union of datasets, this one's and those of `others` of the same class."""
        del others
        return self
