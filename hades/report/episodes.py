"""The episodes that a report shows: of the best, the median and the worst of several policies, or of one."""

import dataclasses
from collections.abc import Callable, Sequence
from functools import partial

import jax
import numpy as np

from hades.algorithms.playing import is_usable
from hades.pictures.scenes.recording import Actor, Episode, record, record_each
from hades.policy.in_task import in_each_task
from hades.policy.trained_policy import TrainedPolicies, TrainedPolicy, train_policies, train_policy
from hades.runs.record import RunRecord
from hades.runs.restore import load_policy
from hades.types import ActFn, Params

PLAYED = 15
"""Policies that play an episode each, or episodes of one policy; an odd number has a median."""


@dataclasses.dataclass(frozen=True)
class Shown:
    """An episode with what played it, and what it is: "best", or the name of its task; empty for the only one."""

    episode: Episode
    actor: Actor
    label: str = ""


@dataclasses.dataclass(frozen=True)
class Choice:
    """The episodes of a report.

    Attributes:
        episodes: what is shown.
        usual: the median of them, or the first.
        choice: a sentence on how they were chosen.
        who: what played the usual one, in words.
    """

    episodes: Sequence[Shown]
    usual: Shown
    choice: str
    who: str = "the same policy"


def shown_episodes(run: RunRecord, given: Actor | None = None) -> Choice:
    """Play the episodes of a report.

    Args:
        run: its dataset trains the policies; without one, its own policy plays.
        given: what plays instead.

    Raises:
        HadesError: where there is nothing that plays.
    """
    if given is None and run.dataset is not None:
        learner, several = run.dataset.learner, len(run.dataset.environment.members) > 1
        if several or learner.is_fixed or not learner.policy.draws_weights:  # one policy, whatever the seed
            given = train_policy(run.dataset, seed=0)
        else:
            policies = train_policies(run.dataset, PLAYED)
            usable = np.flatnonzero(jax.vmap(is_usable)(policies.params, policies.metrics))
            if not len(usable):
                train_policy(run.dataset, seed=0)  # raises, and explains what diverged
            return _of_policies(policies[usable])
    return _of_one(given or load_policy(run.workdir))


def _of_policies(policies: TrainedPolicies) -> Choice:
    count, first = len(policies), policies[0]
    episodes = record_each(first.environment, partial(_act_with, first), policies.params, range(count))
    who = f"{count} policies were trained on the pairs above, each from another seed, and played an episode each"
    choice = _ranked(episodes, lambda i: policies[i], who)
    return dataclasses.replace(choice, who="the median policy") if len(choice.episodes) > 1 else choice


def _of_one(policy: Actor) -> Choice:
    tasks = in_each_task(policy)
    if len(tasks) > 1:
        shown = [Shown(record(task), policy, task.environment.spec.name) for task in tasks]
        return Choice(shown, shown[0], "Its first episode in each of its tasks, not a chosen one.")
    weights = np.zeros(PLAYED)  # of one policy, which needs none
    episodes = record_each(policy.environment, lambda _: policy.act, weights, range(PLAYED))
    return _ranked(episodes, lambda _: policy, f"The policy played {PLAYED} episodes")


def _ranked(episodes: Sequence[Episode], actor: Callable[[int], Actor], what: str) -> Choice:
    """The best, the median and the worst episode; the first, where all of them earned the same."""
    earned = np.array([episode.returns[-1] for episode in episodes])
    order = np.argsort(-earned, kind="stable")
    if len(episodes) < 3 or earned[order[0]] == earned[order[-1]]:
        one = Shown(episodes[0], actor(0))
        return Choice([one], one, f"{what}. All earned {episodes[0].earned(len(episodes[0]))}; this is the first.")
    chosen = (order[0], order[len(order) // 2], order[-1])
    shown = [
        Shown(episodes[i], actor(int(i)), label) for i, label in zip(chosen, ("best", "median", "worst"), strict=True)
    ]
    return Choice(shown, shown[1], f"{what}, of which these are the best, the median and the worst.")


def _act_with(policy: TrainedPolicy, params: Params) -> ActFn:
    return dataclasses.replace(policy, params=params).act
