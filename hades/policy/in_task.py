"""A policy of several tasks, acting in the own environment of one of them."""

import dataclasses
from typing import Any

from jax import Array

from hades.environments.base import Environment
from hades.environments.tasks import PaddedTask
from hades.policy.trained_policy import TrainedPolicy
from hades.types import Key


@dataclasses.dataclass(frozen=True)
class InTask:
    """A policy of several tasks, acting in the own environment of one of them."""

    policy: TrainedPolicy
    member: PaddedTask

    @property
    def environment(self) -> Environment:
        return self.member.environment

    def act(self, key: Key, observation: Array) -> Array:
        """An action for one raw observation of the task."""
        policy = dataclasses.replace(self.policy, task=self.member)
        return self.member.own_action(policy.act(key, self.member.observe(observation)))


def in_each_task(policy: Any) -> list[Any]:
    """The policy in each task of its environment; itself where there is one."""
    if not isinstance(policy, TrainedPolicy):
        return [policy]
    tasks = [InTask(policy, member) for member in policy.environment.members if isinstance(member, PaddedTask)]
    return tasks or [policy]
