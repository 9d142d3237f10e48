"""The states that a dataset's own policies visit, as the region of a search for readable pairs, and that search.

Policies are trained and episodes played on search keys; selection keys choose among results, and report keys measure
them once.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from hades.algorithms.evolution import Evolution
from hades.algorithms.gradient_distillation import GradientDistillation
from hades.algorithms.keys import Purpose, Stream, purpose_key, root_key, stream_key
from hades.data.dataset import DistilledDataset
from hades.environments.base import Environment
from hades.errors import ConfigError, one_of, require
from hades.fitness.episodic_return import EpisodicReturn
from hades.inner.init_scheme import RandomInit
from hades.inner.pairs import PairsLearner
from hades.inner.region import NearStates
from hades.normalizers.constant import ConstantNormalizer
from hades.outer.snes import SNES
from hades.policy.trained_policy import draw_policies, freeze_statistics, normalizer_state
from hades.runs.experiment import Experiment
from hades.runs.stages import pairs_of, stages_of
from hades.studies.inspection.nearest import band, nearest_places, neighbour_distances, raw_observations, scale_of
from hades.studies.inspection.visited import Visited, visit

USUAL = 0.75
"""Share of the visited states that a pair may move to: those with the nearest neighbours in other episodes. A state
that a single episode met would not be met again by other policies."""
NEAR_ENOUGH = 0.05
"""Standard deviations from a visited state that a search by gradient takes for none."""
NUM_ENVS, NUM_STEPS = 64, 128
"""Of an iteration by gradient."""
MOST_NUMBERS = 2**17
"""Numbers in the states of a region; it has as many states as fit, 2048 at most."""
SOFTENED = 0.04
"""Share of the uniform distribution in the class probabilities that a search starts from; it could not move certain
ones."""


@dataclasses.dataclass(frozen=True)
class Search:
    """Settings of the search that follows a projection.

    Attributes:
        by: "evolution", or "gradient" for policy gradient through cloning.
        generations: of each search; by gradient, iterations of 8192 steps.
        population_size: P, of evolution.
        sigma: initial step size of evolution, in standard deviations of a visited feature.
        learning_rate: by gradient, of the first iteration; it falls to 0.
        visited_weight: by gradient, see GradientDistillation.
        num_inits: k, policies that every candidate (by gradient, every iteration) trains; a HaDES-F dataset has one.
        num_episodes: whole episodes of each candidate.
        eval_every: generations between evaluations on selection keys.
        max_seconds: after which a search ends; None: never.

    Raises:
        ConfigError: for another way to search, and by gradient for policies that cannot share its environments.
    """

    by: str = "evolution"
    generations: int = 60
    population_size: int = 64
    sigma: float = 0.3
    learning_rate: float = 1e-3
    visited_weight: float = 1.0
    num_inits: int = 4
    num_episodes: int = 2
    eval_every: int = 5
    max_seconds: float | None = None

    def __post_init__(self) -> None:
        one_of("--by", self.by, ("evolution", "gradient"))
        require(
            self.by == "evolution" or NUM_ENVS % self.num_inits == 0,
            f"--search names {self.num_inits} policies, which cannot share the {NUM_ENVS} environments of a search by "
            "gradient equally: use a power of 2.",
        )


@dataclasses.dataclass(frozen=True)
class Protocol:
    """Policies and whole episodes of measurements.

    Attributes:
        seed: root of every key.
        visits: policies whose states are visited, and episodes of each.
        selection: policies and episodes of an evaluation on selection keys.
        report: the same of the one on report keys.
    """

    seed: int = 0
    visits: tuple[int, int] = (16, 2)
    selection: tuple[int, int] = (32, 2)
    report: tuple[int, int] = (64, 4)


def check_projectable(dataset: DistilledDataset, name: str) -> None:
    """Raise ConfigError for a dataset whose pairs cannot be moved among visited states."""
    tasks = [member.spec.name for member in dataset.environment.members]
    if len(tasks) > 1:
        raise ConfigError(
            f"{name} trains one policy for {' and '.join(tasks)}, whose states have no common unit: give the datasets "
            "that it was merged from."
        )
    if not isinstance(dataset.learner, PairsLearner):
        raise ConfigError(
            f"The learner of {name} is {type(dataset.learner).__name__}, which searches for no pairs in a region: give "
            "a dataset of BehaviourCloning or RidgeCloning."
        )
    if dataset.init:
        raise ConfigError(
            f"{name} embeds its initial weights, and a search would start from others: give the file that was written "
            "without embed_init."
        )


def with_constant_statistics(dataset: DistilledDataset, seed: int) -> DistilledDataset:
    """The dataset itself, or with constant statistics where its own restart at every evaluation."""
    return freeze_statistics(dataset, seed=seed) if dataset.normalizer.has_memory else dataset


def visited_states(dataset: DistilledDataset, protocol: Protocol, stream: Stream) -> Visited:
    """States that policies trained from a dataset visit, on keys of a stream."""
    num_inits, num_episodes = protocol.visits
    key = stream_key(root_key(protocol.seed), stream)
    policies = draw_policies(dataset, key, num_inits)
    return visit(
        purpose_key(key, Purpose.EPISODES),
        dataset.environment,
        policies.act_for,
        policies.params,
        num_episodes,
    )


def region_of(dataset: DistilledDataset, visited: Visited, radius: np.ndarray) -> NearStates:
    """The region around usual visited states, with a radius f64[N] for each pair in standard deviations."""
    scale = scale_of(dataset, visited)
    places = scale.places(visited.observations)
    lonely = neighbour_distances(places, visited.episode_index, len(places))
    usual = np.flatnonzero(lonely <= np.quantile(lonely, USUAL))
    size = dataset.environment.spec.obs_size
    count = max(1, min(2048, MOST_NUMBERS // size, len(usual)))
    kept = visited.observations[usual[np.linspace(0, len(usual) - 1, count).astype(int)]]
    normalised = (kept - dataset.obs_mean) / dataset.obs_std
    return NearStates(
        num_states=count,
        states=tuple(map(float, normalised.ravel())),
        unit=tuple(map(float, np.where(scale.varies, scale.unit, 0.0) / dataset.obs_std.ravel())),
        radius=tuple(map(float, radius)),
    )


def distances(dataset: DistilledDataset, visited: Visited) -> tuple[np.ndarray, float]:
    """Distance f64[N] of each pair to the nearest visited state, and the end of the band of visited states."""
    scale = scale_of(dataset, visited)
    places = scale.places(visited.observations)
    apart = nearest_places(scale.places(raw_observations(dataset)), places)[1]
    return apart, band(places, visited.episode_index)[1]


def projected(dataset: DistilledDataset, region: NearStates) -> DistilledDataset:
    """The dataset with its observations moved into a region, and nothing measured."""
    moved = region.observations(region.code(jnp.asarray(dataset.observations)))
    metadata = {name: value for name, value in dataset.metadata.items() if name != "evaluation"} | {"returns": {}}
    return dataclasses.replace(dataset, observations=np.asarray(jax.device_get(moved)), metadata=metadata)


def search(
    dataset: DistilledDataset, region: NearStates, settings: Search, protocol: Protocol, source: str
) -> Experiment:
    """The search for other pairs in the region, that starts from the projected ones.

    It moves observations and targets; evolution also the rate of the cloning updates, or the scale of the targets where
    a formula takes the place of updates.

    Raises:
        ConfigError: by gradient, where the learner has none.
    """
    learner = dataset.learner
    assert isinstance(learner, PairsLearner)  # check_projectable
    softened = dataset
    if dataset.environment.spec.is_discrete:
        targets = (1.0 - SOFTENED) * dataset.targets + SOFTENED / dataset.targets.shape[1]
        softened = dataclasses.replace(dataset, targets=targets.astype(np.float32))
    scalar = next(name for name in ("learning_rate", "target_scale") if name in learner.evolvable())
    is_evolution = settings.by == "evolution"
    changed = learner.sized(
        len(dataset),
        targets="evolved",
        start_pairs=dataclasses.replace(pairs_of(softened, source), stages=stages_of(dataset)),
        region=region,
        evolve=(scalar,) if is_evolution else (),
        **({} if learner.is_fixed else {"init_scheme": RandomInit(settings.num_inits)}),
    )
    mean, std, clip = dataset.normalizer.affine(normalizer_state(dataset))
    normalizer = ConstantNormalizer(
        mean=tuple(map(float, np.ravel(mean))),
        std=tuple(map(float, np.ravel(std))),
        floor=float(np.min(std)),
        clip=float(clip),
    )
    algorithm = (_by_evolution if is_evolution else _by_gradient)(dataset.environment, changed, normalizer, settings)
    inits, episodes = protocol.selection
    return Experiment(
        algorithm=algorithm,
        generations=settings.generations,
        seed=protocol.seed,
        eval_every=min(settings.eval_every, settings.generations),
        eval_inits=inits,
        eval_episodes=episodes,
        report_inits=protocol.report[0],
        report_episodes=protocol.report[1],
        max_seconds=settings.max_seconds,
    )


def _by_evolution(
    environment: Environment, learner: PairsLearner, normalizer: ConstantNormalizer, settings: Search
) -> Evolution:
    return Evolution(
        environment=environment,
        learner=learner,
        outer=SNES(population_size=settings.population_size, sigma=settings.sigma, antithetic=True),
        fitness=EpisodicReturn(settings.num_episodes),
        normalizer=normalizer,
    )


def _by_gradient(
    environment: Environment, learner: PairsLearner, normalizer: ConstantNormalizer, settings: Search
) -> GradientDistillation:
    """Without a limit of the divergence: a pair between two states may move to another one in another compilation."""
    return GradientDistillation(
        environment=environment,
        learner=learner,
        normalizer=normalizer,
        num_envs=NUM_ENVS,
        num_steps=NUM_STEPS,
        num_epochs=4,
        num_minibatches=16,
        learning_rate=settings.learning_rate,
        anneal_steps=NUM_ENVS * NUM_STEPS * settings.generations,
        optimizer_options=(("eps", 1e-5),),
        entropy_weight=0.0,
        normalize_rewards=True,
        kl_target=0.01,
        visited_weight=settings.visited_weight,
        visited_radius=NEAR_ENOUGH,
    )
