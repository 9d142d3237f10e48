"""The genome of learners whose dataset is searched for, and how it becomes pairs.

A genome holds observations, targets (unless they are fixed) and, where `evolve` names them, numbers of the recipe in a
code in which a step of one size means about as much for each: x multiplies a positive scalar by exp(x), the excess of a
scalar above 1 by exp(x), shifts a scalar of (0, 1) on the logit scale, and is added to a logarithm.
"""

import abc
import dataclasses
import math
from collections.abc import Callable
from typing import Any, Self

import jax
import jax.numpy as jnp
from flax import struct
from jax import Array

from hades.environments.base import Environment
from hades.environments.rollout import visited_observations
from hades.errors import ConfigError, offer, one_of, require
from hades.inner.base import InitScheme, InnerLearner
from hades.inner.codes import Code
from hades.inner.init_scheme import RandomInit
from hades.inner.losses import centred_log
from hades.inner.region import Region
from hades.inner.stage_record import StageRecord
from hades.inner.teacher import Teacher, TeacherRecord
from hades.registry import register
from hades.types import Dataset, EnvSpec, Key, Params


@struct.dataclass
class CloningGenome:
    """Variables of the search. `targets` are logits (Discrete) or actions (Box), None where the targets are fixed."""

    observations: Array  # f32[N, *obs_shape], normalised; or f32[N, ...], their codes; N // 2 where pairs are mirrored
    targets: Array | None  # f32[N, A]; N // 2 + 1 where pairs are mirrored, the last one the mirror's
    recipe: dict[str, Array]  # f32[] each, or f32[N] with one entry a pair; coded


SETTLED_STEP = 0.01
"""Length of a search's steps for pairs that are settled, where it is 1 for the others."""


class Start(abc.ABC):
    """Where the pairs come from that a search starts from; a frozen dataclass."""

    @property
    @abc.abstractmethod
    def teachers(self) -> tuple[TeacherRecord, ...]:
        """Records of the teachers that the pairs come from."""

    @property
    def stages(self) -> tuple[StageRecord, ...]:
        """Records of the searches that the pairs come from."""
        return ()

    @property
    def needs_teacher(self) -> bool:
        """Whether the pairs come from the policy of the stage before."""
        return False

    def taught_by(self, teacher: Teacher) -> "Start":
        """The same with the policy of the stage before."""
        raise NotImplementedError

    @abc.abstractmethod
    def check_count(self, learner: str, num_pairs: int) -> None:
        """Raise ConfigError where there are not N pairs for the learner of that name."""

    @abc.abstractmethod
    def check(self, spec: EnvSpec) -> None:
        """Raise ConfigError where the pairs do not fit the environment."""

    @abc.abstractmethod
    def pairs(
        self, key: Key, env: Environment, num_pairs: int, normalize: Callable[[Array], Array]
    ) -> tuple[Array, Array]:
        """Normalised observations f32[N, *obs_shape], and class probabilities or actions f32[N, A]."""


@register("StartPairs", "StartPairs")
@dataclasses.dataclass(frozen=True)
class StartPairs(Start):
    """Pairs that a search starts from, once or several times over.

    Attributes:
        num_pairs: N.
        observations: f32[N, *obs_shape] in a row, raw.
        targets: f32[N, A] in a row, class probabilities or actions.
        source: where they come from, for readers.
        teachers: those that the pairs come from.
        stages: the searches that the pairs come from, whose steps a run from there owes too.
    """

    num_pairs: int
    observations: tuple[float, ...]
    targets: tuple[float, ...]
    source: str = ""
    teachers: tuple[TeacherRecord, ...] = ()
    stages: tuple[StageRecord, ...] = ()

    def check_count(self, learner: str, num_pairs: int) -> None:
        require(
            num_pairs % self.num_pairs == 0,
            f"{learner}.num_pairs is {num_pairs}, but the pairs to start from ({self.source}) are "
            f"{self.num_pairs}: set it to that, or to a multiple, for which they are repeated.",
        )

    def check(self, spec: EnvSpec) -> None:
        sizes = (self.num_pairs * spec.obs_size, self.num_pairs * spec.action_space.size)
        require(
            (len(self.observations), len(self.targets)) == sizes,
            f"The pairs to start from ({self.source}) have {len(self.observations) // self.num_pairs} observed "
            f"numbers and {len(self.targets) // self.num_pairs} targets each, but {spec.name} has "
            f"{spec.obs_size} and {spec.action_space.size}.",
        )

    def pairs(
        self, key: Key, env: Environment, num_pairs: int, normalize: Callable[[Array], Array]
    ) -> tuple[Array, Array]:
        del key
        observations = normalize(jnp.asarray(self.observations).reshape(self.num_pairs, *env.spec.obs_shape))
        targets = jnp.asarray(self.targets).reshape(self.num_pairs, env.spec.action_space.size)
        repeats = num_pairs // self.num_pairs
        return jnp.concatenate([observations] * repeats), jnp.concatenate([targets] * repeats)


class PairsLearner(InnerLearner):
    """A learner whose genome is a dataset. Its dataclass has these fields, and `evolvable` says which scalars evolve.

    Attributes:
        policy: what is trained.
        init_scheme: FixedInit (HaDES-F) or RandomInit (HaDES-R).
        num_pairs: N.
        targets: "evolved" (soft class probabilities or actions), "hard" (evolved one-hot labels) or "fixed" (pair i has
            label i mod A, so that every label is used).
        start: where the observations start: "zeros", "gaussian" (times `start_scale`), or "random_policy" (states that
            a uniformly random policy meets).
        start_scale: standard deviation of a "gaussian" start.
        start_logit: where evolved targets of discrete actions start: the logit of label i mod A. Others start at 0.
        start_pairs: a dataset, or a teacher's states, to start from instead.
        region: where the observations may lie; None: anywhere.
        target_scale: a factor of the evolved targets, which `evolve` may name: the step size of a search then fits
            targets of any size.
        evolve: scalars in the genome: "target_scale", "log_std" (of the policy's actions), and those of the recipe.
        prefixes: for a nested dataset, whose first pairs train policies by themselves: numbers of pairs, of which each
            training of the search draws one and sees that many. Reports train on all pairs. Empty: always all.
        settled: how many of the first pairs a stage before has found; steps of this search move them by a hundredth of
            what they move the others by. A nested dataset grows so, stage by stage.
        mirrored: every second pair is the mirror image of the one before. In normalised observations the mirror is 0;
            in targets (or their logits) it is searched for too. An odd number of pairs ends with the mirror itself.
            Networks trained on such pairs become nearly the same affine policy. Of a start whose pairs are no mirror
            images, half the differences of each two are taken.
        code: what the genome holds in the place of observations, such as the state that a picture is drawn of. The
            start is then of what is coded, and the run has no normaliser.
    """

    init_scheme: InitScheme
    num_pairs: int
    targets: str
    start: str
    start_scale: float
    start_logit: float
    start_pairs: Start | None
    region: Region | None
    target_scale: float
    evolve: tuple[str, ...]
    prefixes: tuple[int, ...]
    settled: int
    mirrored: bool
    code: Code | None

    def check_pairs(self) -> None:
        """Raise ConfigError for fields above that can never work."""
        name = type(self).__name__
        one_of(f"{name}.targets", self.targets, ("evolved", "hard", "fixed"))
        one_of(f"{name}.start", self.start, ("zeros", "gaussian", "random_policy"))
        if self.start_pairs is not None:
            self.start_pairs.check_count(name, self.num_pairs)
            require(
                self.targets == "evolved",
                f'{name}.targets is "{self.targets}", but a search that starts from pairs moves their targets too: use '
                '"evolved".',
            )
        if self.region is not None:
            require(
                self.code is None,
                f"{name}.region keeps observations in place, but with {name}.code a genome holds none: leave one out.",
            )
            self.region.check_count(name, self.num_pairs)
        if self.mirrored:
            self._check_mirrored(name)
        require(
            max(self.prefixes, default=0) <= self.num_pairs,
            f"{name}.prefixes is {self.prefixes}, but there are {self.num_pairs} pairs: none can be longer.",
        )
        if self.settled:
            self._check_settled(name)
        for scalar in self.evolve:
            self._check_evolved(scalar)

    @property
    def label(self) -> str:
        return "HaDES-F" if self.is_fixed else "HaDES-R"

    @property
    def num_inits(self) -> int:
        return self.init_scheme.num_inits

    @property
    def is_fixed(self) -> bool:
        return self.init_scheme.is_fixed

    @property
    def makes_raw_observations(self) -> bool:  # type: ignore[override]  # a constant in the base class
        return self.code is not None

    @property
    def teachers(self) -> tuple[TeacherRecord, ...]:
        return self.start_pairs.teachers if self.start_pairs is not None else ()

    @property
    def for_report(self) -> Self:
        return self.changed(prefixes=()) if self.prefixes else self

    @property
    def stages(self) -> tuple[StageRecord, ...]:
        return self.start_pairs.stages if self.start_pairs is not None else ()

    def check(self, spec: EnvSpec) -> None:
        name = type(self).__name__
        if not spec.is_discrete and self.targets != "evolved":
            raise ConfigError(
                f'{name}.targets is "{self.targets}", which needs discrete actions, but {spec.name} has '
                f'{spec.action_space}. Use "evolved".'
            )
        if spec.is_discrete and "log_std" in self.evolve:
            raise ConfigError(f'{name}.evolve names "log_std", but the actions of {spec.name} are discrete.')
        if self.code is not None:
            self.code.check(spec)
        if self.start_pairs is not None:
            self.start_pairs.check(spec if self.code is None else self.code.coded_spec(spec))
        if self.region is not None:
            self.region.check(spec)
        self.policy.network(spec)

    def check_differentiable(self) -> None:
        name = type(self).__name__
        require(
            self.targets != "hard",
            f'{name}.targets is "hard", and a label has no gradient: use "evolved" or "fixed".',
        )
        require(
            self.start != "zeros" or self.start_pairs is not None,
            f'{name}.start is "zeros": pairs that start at one point have one gradient and never part. Use "gaussian", '
            '"random_policy" or `start_pairs`.',
        )

    def init_genome(self, key: Key, env: Environment, normalize: Callable[[Array], Array]) -> CloningGenome:
        start = self._start(key, env, normalize)
        if self.mirrored:
            return _unmirrored(start)
        if self.region is not None:
            inside = self.region.observations(self.region.code(start.observations))
            start = CloningGenome(self.region.code(inside), start.targets, start.recipe)
        return self._settled(start, 1.0 / SETTLED_STEP)

    def _start(self, key: Key, env: Environment, normalize: Callable[[Array], Array]) -> CloningGenome:
        """The genome before a region moves it."""
        recipe = {name: jnp.zeros(self.recipe_shape(name)) for name in self.evolve}
        if self.code is not None:
            env, normalize = self.code.coded(env), self.code.encode
        if self.start_pairs is not None:
            observations, targets = self.start_pairs.pairs(key, env, self.num_pairs, normalize)
            targets = (centred_log(targets) if env.spec.is_discrete else targets) / self.target_scale
            return CloningGenome(observations, targets, recipe)
        size = env.spec.action_space.size
        none = jax.eval_shape(normalize, jax.ShapeDtypeStruct((self.num_pairs, *env.spec.obs_shape), jnp.float32))
        if self.start == "random_policy":
            observations = normalize(visited_observations(key, env, self.num_pairs))
        elif self.start == "gaussian":
            observations = self.start_scale * jax.random.normal(key, none.shape)
        else:
            observations = jnp.zeros(none.shape)
        if self.targets == "fixed":
            return CloningGenome(observations, None, recipe)
        targets = jnp.zeros((self.num_pairs, size))
        if env.spec.is_discrete and self.start_logit:
            targets = self.start_logit * self._labels(size)
        return CloningGenome(observations, targets, recipe)

    def init_params(self, key: Key, spec: EnvSpec) -> Params:
        return self.init_scheme.init(key, self.policy, spec)

    def dataset(self, genome: CloningGenome, spec: EnvSpec) -> Dataset:
        genome = self._settled(genome, SETTLED_STEP)
        observations = genome.observations
        if self.region is not None:
            observations = self.region.observations(observations)
        if self.code is not None:
            observations = self.code.decode(observations, spec)
        if self.targets == "fixed":
            return Dataset(observations=observations, targets=self._labels(spec.action_space.size))
        assert genome.targets is not None
        targets = self.recipe(genome).get("target_scale", self.target_scale) * genome.targets
        if self.mirrored:
            observations, targets = _mirrored(observations, targets, self.num_pairs)
        if self.targets == "hard":
            targets = jax.nn.one_hot(jnp.argmax(targets, -1), spec.action_space.size)
        elif spec.is_discrete:
            targets = jax.nn.softmax(targets)
        return Dataset(observations=observations, targets=targets)

    def check_hand_over(self) -> None:
        """Raise ConfigError where a stage after this one cannot take what it hands over."""

    def handed_over(
        self, dataset: Dataset, spec: EnvSpec, visited: Callable[[], Array]
    ) -> tuple[Dataset, Array | None]:
        """The pairs that a stage after this one starts from.

        Args:
            dataset: what this stage has found.
            spec: of its environment.
            visited: plays the policy of that dataset: normalised observations f32[M, *obs_shape] that it meets.

        Returns:
            The pairs, and the normalised observation f32[*obs_shape] to which they move the mean of the normaliser;
            None: it stays.
        """
        del spec, visited
        return dataset, None

    def codes(self, genome: CloningGenome) -> Array | None:
        return None if self.code is None else self._settled(genome, SETTLED_STEP).observations

    def recipe(self, genome: CloningGenome) -> dict[str, Array]:
        """The evolved scalars, decoded."""
        base = self.evolvable()
        return {name: decode_scalar(self.bounds(name), base[name], code) for name, code in genome.recipe.items()}

    def evolvable(self) -> dict[str, float]:
        """Scalars that `evolve` may name, with their configured values."""
        return {"target_scale": self.target_scale, "log_std": self.policy.log_std}

    def recipe_shape(self, name: str) -> tuple[int, ...]:
        """The shape of a number that `evolve` may name."""
        del name
        return ()

    def bounds(self, name: str) -> tuple[float, float]:
        """The open interval in which an evolvable scalar lies."""
        return (-math.inf, math.inf) if name == "log_std" else (0.0, math.inf)

    def constant(self, genome: CloningGenome) -> Self:
        log_std = self.recipe(genome).get("log_std")
        policy = self.policy if log_std is None else dataclasses.replace(self.policy, log_std=float(log_std))
        plain = {
            "target_scale": 1.0,
            "start_pairs": None,
            "region": None,
            "mirrored": False,
            "code": None,
            "settled": 0,
        }
        return self.changed(policy=policy, evolve=(), prefixes=(), **plain)

    def sized(self, num_pairs: int, **fields: Any) -> Self:
        return self.adapted(**{"num_pairs": num_pairs, **fields})

    def randomized(self) -> Self:
        return self.changed(init_scheme=RandomInit(1), evolve=())

    def with_log_std(self, params: Params, recipe: dict[str, Array]) -> Params:
        """The weights with the evolved log standard deviation, where it evolves."""
        if "log_std" not in recipe:
            return params
        return {**params, "log_std": jnp.full_like(params["log_std"], recipe["log_std"])}

    def drawn_prefix(self, key: Key) -> tuple[Array, Array]:
        """Which pairs a training of a nested search sees, bool[N], and how many they are, i32[]."""
        length = jax.random.choice(key, jnp.array(self.prefixes))
        return jnp.arange(self.num_pairs) < length, length

    def _settled(self, genome: CloningGenome, factor: float) -> CloningGenome:
        """The genome with the numbers of settled pairs multiplied by a factor."""
        if not self.settled:
            return genome
        assert genome.targets is not None
        observations, targets = (x.at[: self.settled].multiply(factor) for x in (genome.observations, genome.targets))
        return CloningGenome(observations, targets, genome.recipe)

    def _labels(self, size: int) -> Array:
        """Label i mod A of each pair as a one-hot row: f32[N, A]."""
        return jax.nn.one_hot(jnp.arange(self.num_pairs) % size, size)

    def _check_mirrored(self, name: str) -> None:
        require(
            self.targets == "evolved",
            f'{name}.targets is "{self.targets}", but a label has no mirror image: with mirrored pairs use "evolved".',
        )
        require(
            self.region is None and self.code is None,
            f"{name}.mirrored puts pairs where {name}.region and {name}.code need not reach: leave one out.",
        )
        require(
            self.num_pairs > 1 and not any(count % 2 for count in self.prefixes),
            f"{name}.mirrored needs two pairs at least and prefixes of even length, but num_pairs is {self.num_pairs} "
            f"and prefixes is {self.prefixes}.",
        )

    def _check_settled(self, name: str) -> None:
        require(
            self.targets == "evolved" and not self.mirrored,
            f"{name}.settled is {self.settled}, which is for evolved targets of pairs that are not mirrored: leave it "
            'at 0, or use targets = "evolved" and mirrored = False.',
        )
        require(
            self.settled < self.num_pairs,
            f"{name}.settled is {self.settled}, but there are {self.num_pairs} pairs: none is left to search for.",
        )

    def _check_evolved(self, name: str) -> None:
        known, owner = self.evolvable(), type(self).__name__
        configured = dict(getattr(self, "optimizer_options", ())) | known
        if name not in configured:
            raise ConfigError(f'{owner}.evolve names "{name}", not a scalar of this recipe. {offer(name, known)}')
        low, high = self.bounds(name)
        if name not in known or not low < known[name] < high:
            raise ConfigError(
                f'{owner}.evolve names "{name}", which is {configured[name]!r}; a scalar that evolves must be '
                f"a float strictly between {low} and {high}. Change it, or do not evolve it."
            )
        if name == "log_std" and not self.policy.learn_log_std:
            raise ConfigError(
                f'{owner}.evolve names "log_std", which learn_log_std = False of its policy holds fixed: change '
                "one of them."
            )


def _mirrored(offsets: Array, targets: Array, num_pairs: int) -> tuple[Array, Array]:
    """N pairs of the N // 2 offsets from the mirror, whose target follows those of the offsets."""

    def both_sides(x: Array) -> Array:
        return jnp.stack([x, -x], 1).reshape(-1, *x.shape[1:])

    observations = jnp.concatenate([both_sides(offsets), jnp.zeros((1, *offsets.shape[1:]))])
    mirror = targets[-1:]
    return observations[:num_pairs], jnp.concatenate([mirror + both_sides(targets[:-1]), mirror])[:num_pairs]


def _unmirrored(start: CloningGenome) -> CloningGenome:
    """The genome of N mirrored pairs; of pairs that are not, it takes half the difference of each two."""
    assert start.targets is not None
    paired = len(start.targets) // 2 * 2
    observations, targets = ((x[:paired:2] - x[1:paired:2]) / 2.0 for x in (start.observations, start.targets))
    mirror = start.targets[paired:] if paired < len(start.targets) else start.targets.mean(0, keepdims=True)
    return CloningGenome(observations, jnp.concatenate([targets, mirror]), start.recipe)


def decode_scalar(bounds: tuple[float, float], base: float, code: Array) -> Array:
    """A scalar of a recipe from its code, by the interval that it lies in; code 0 is the configured value."""
    low, high = bounds
    if low == -math.inf:
        return base + code
    if high < math.inf:
        return jax.nn.sigmoid(jnp.log(base / (1.0 - base)) + code)
    return low + (base - low) * jnp.exp(code)
