"""Several environments for one policy: observations and actions padded with zeros to spaces that hold all of theirs.

A policy is measured on each task by itself (`members`), and the returns are combined, each scaled by its own
reference. As an environment of its own, a `Tasks` draws one task for every episode; that serves where only observations
count, as in the estimate of a normaliser.
"""

import dataclasses
import functools
import itertools
from collections import Counter
from collections.abc import Sequence
from functools import cached_property

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax import Array, lax

from hades.environments.base import Environment, EnvState
from hades.errors import ConfigError, one_of
from hades.fields import NonNegative, Positive
from hades.registry import register
from hades.types import Box, Discrete, EnvSpec, Key, TimeStep

LAYOUTS = ("blocks", "overlap")


@struct.dataclass
class TasksState:
    """States of all tasks, of which one is played."""

    task: Array  # i32[]
    states: tuple[EnvState, ...]


@register("Environment", "Tasks")
@dataclasses.dataclass(frozen=True)
class Tasks(Environment):
    """Several environments with either discrete or Box actions.

    Images of one height and width are padded in their channels, other observations are flattened. A discrete task acts
    on its own actions only; a Box task ignores the entries of the others.

    Attributes:
        environments: the tasks, with distinct names.
        references: returns that count as 1, one a task.
        floors: returns that count as 0, one a task; empty: 0.
        layout: "blocks" gives every task entries of its own, in observations and in actions; "overlap" puts all tasks
            into the same ones, as many as the largest needs.
        task_token: append the task's one-hot vector; for images, a constant channel for each of its entries.
        means: what is taken from each task's own flattened observations; empty: nothing. Merged datasets have it.
        stds: what they are divided by then.
        clips: limit of each task's normalised observations; 0 is none.

    Raises:
        ConfigError: for tasks that cannot share a policy, and for numbers that do not fit the tasks.
    """

    environments: tuple[Environment, ...]
    references: tuple[float, ...]
    floors: tuple[float, ...] = ()
    layout: str = "blocks"
    task_token: bool = False
    means: tuple[tuple[float, ...], ...] = ()
    stds: tuple[tuple[Positive, ...], ...] = ()
    clips: tuple[NonNegative, ...] = ()

    def __post_init__(self) -> None:
        if len(self.environments) < 2:
            raise ConfigError(
                f"Tasks.environments has {len(self.environments)} entries; it must have at least two. One environment "
                "is given to Evolution.environment as it is."
            )
        if not self.floors:
            object.__setattr__(self, "floors", (0.0,) * len(self.environments))
        one_of("Tasks.layout", self.layout, LAYOUTS)
        self._check()

    @cached_property
    def _specs(self) -> tuple[EnvSpec, ...]:
        return tuple(env.spec for env in self.environments)

    @cached_property
    def spec(self) -> EnvSpec:
        size = self._actions[1]
        tokens = tuple(f"task {s.name}" for s in self._specs) * self.task_token
        return EnvSpec(
            name=" + ".join(s.name for s in self._specs),
            obs_shape=self._obs_shape,
            action_space=Discrete(size) if self._specs[0].is_discrete else Box(size),
            max_episode_steps=max(s.max_episode_steps for s in self._specs),
            observation_names=self._names("observation_names", tokens),
            action_names=self._names("action_names"),
            can_terminate=all(s.can_terminate for s in self._specs),
        )

    def _names(self, field: str, more: tuple[str, ...] = ()) -> tuple[str, ...]:
        """Names of the tasks' entries in blocks, with those of their tasks; none where a task has none."""
        if self.layout != "blocks" or not all(getattr(s, field) for s in self._specs):
            return ()
        if field == "observation_names" and any(s.is_image for s in self._specs) and not self._grid:
            return ()
        return (*(f"{s.name}: {name}" for s in self._specs for name in getattr(s, field)), *more)

    @cached_property
    def members(self) -> tuple["PaddedTask", ...]:
        count = len(self.environments)
        return tuple(
            PaddedTask(
                environment=env,
                obs_shape=self._obs_shape,
                first_entry=self._entries[0][i],
                first_action=self._actions[0][i],
                action_size=self._actions[1],
                token=(i, count) if self.task_token else (),
                mean=self.means[i] if self.means else (),
                std=self.stds[i] if self.stds else (),
                clip=self.clips[i] if self.clips else 0.0,
            )
            for i, env in enumerate(self.environments)
        )

    @cached_property
    def versions(self) -> dict[str, str]:
        return {name: version for env in self.environments for name, version in env.versions.items()}

    @property
    def for_selection(self) -> "Tasks":
        return dataclasses.replace(self, environments=tuple(env.for_selection for env in self.environments))

    @property
    def for_report(self) -> "Tasks":
        return dataclasses.replace(self, environments=tuple(env.for_report for env in self.environments))

    def combine(self, values: Sequence[Array]) -> Array:
        """Mean over tasks of (value - floor) / (reference - floor)."""
        each = zip(values, self.references, self.floors, strict=True)
        return sum((value - low) / (high - low) for value, high, low in each) / jnp.float32(len(self.environments))

    def reset(self, key: Key) -> tuple[TasksState, Array]:
        k_task, k_reset = jax.random.split(key)
        task = jax.random.randint(k_task, (), 0, len(self.environments))
        states, observations = zip(*(member.reset(k_reset) for member in self.members), strict=True)
        return TasksState(task=task, states=states), jnp.stack(observations)[task]

    def step(self, key: Key, state: TasksState, action: Array) -> tuple[TasksState, TimeStep]:
        """One transition of the episode's task; the reward is scaled, so that floor and reference are 1 apart."""
        branches = [functools.partial(self._step_task, i) for i in range(len(self.environments))]
        states, step = lax.switch(state.task, branches, key, state.states, action)
        return TasksState(task=state.task, states=states), step

    def _step_task(
        self, task: int, key: Key, states: tuple[EnvState, ...], action: Array
    ) -> tuple[tuple[EnvState, ...], TimeStep]:
        member, scale = self.members[task], self.references[task] - self.floors[task]
        space = member.spec.action_space
        own = jnp.clip(action - space.first, 0, space.n - 1) if isinstance(space, Discrete) else action
        after, step = member.step(key, states[task], own)
        step = dataclasses.replace(step, reward=step.reward / scale, info={})
        return (*states[:task], after, *states[task + 1 :]), step

    @cached_property
    def _actions(self) -> tuple[tuple[int, ...], int]:
        return self._places([s.action_space.size for s in self._specs])

    @cached_property
    def _entries(self) -> tuple[tuple[int, ...], int]:
        """Size of the last axis of observations: channels of images, or features of flattened observations."""
        return self._places([s.obs_shape[2] if self._grid else s.obs_size for s in self._specs])

    @cached_property
    def _grid(self) -> tuple[int, ...]:
        """Height and width, where all tasks are images of one size; else nothing."""
        first, *others = (s.obs_shape[:2] if s.is_image else () for s in self._specs)
        return first if all(other == first for other in others) else ()

    @cached_property
    def _obs_shape(self) -> tuple[int, ...]:
        return (*self._grid, self._entries[1] + len(self.environments) * self.task_token)

    def _places(self, sizes: Sequence[int]) -> tuple[tuple[int, ...], int]:
        """First entry of each task, and the total number of entries."""
        if self.layout == "overlap":
            return (0,) * len(sizes), max(sizes)
        *starts, total = itertools.accumulate(sizes, initial=0)
        return tuple(starts), total

    def _check(self) -> None:
        count = len(self.environments)
        for name in ("references", "floors", "means", "stds", "clips"):
            given = len(getattr(self, name))
            if given != count and (given or name in ("references", "floors")):
                raise ConfigError(f"Tasks.{name} has {given} entries for {count} environments; give one for each.")
        for spec, high, low in zip(self._specs, self.references, self.floors, strict=True):
            if not high > low:
                raise ConfigError(
                    f"Tasks.references is {high:g} for {spec.name}, which is not above its floor {low:g}: give the "
                    "return of a good policy and, in Tasks.floors, that of a bad one."
                )
        for name in ("means", "stds"):
            for spec, row in zip(self._specs, getattr(self, name), strict=False):
                if len(row) != spec.obs_size:
                    raise ConfigError(
                        f"Tasks.{name} has {len(row)} numbers for {spec.name}, whose observations have {spec.obs_size}."
                    )
        discrete = [s.name for s in self._specs if s.is_discrete]
        box = [s.name for s in self._specs if not s.is_discrete]
        if discrete and box:
            raise ConfigError(
                f"One policy cannot have both kinds of actions: {', '.join(discrete)} with discrete ones, "
                f"{', '.join(box)} with continuous ones. Take tasks of one kind."
            )
        if twice := sorted(name for name, times in Counter(discrete + box).items() if times > 1):
            raise ConfigError(
                f"{', '.join(twice)} is among the tasks more than once; every task needs a name of its own."
            )


@dataclasses.dataclass(frozen=True)
class PaddedTask(Environment):
    """One task in the spaces that it shares; its rewards are its own. See Tasks."""

    environment: Environment
    obs_shape: tuple[int, ...]
    first_entry: int
    first_action: int
    action_size: int
    token: tuple[int, ...]  # (index, count), or empty
    mean: tuple[float, ...]
    std: tuple[float, ...]
    clip: float

    @cached_property
    def spec(self) -> EnvSpec:
        spec = self.environment.spec
        space: Discrete | Box = Box(self.action_size)
        if isinstance(spec.action_space, Discrete):
            space = Discrete(spec.action_space.n, self.action_size, self.first_action)
        return dataclasses.replace(
            spec, obs_shape=self.obs_shape, action_space=space, observation_names=(), action_names=()
        )

    @cached_property
    def versions(self) -> dict[str, str]:
        return dict(self.environment.versions)

    def reset(self, key: Key) -> tuple[EnvState, Array]:
        state, obs = self.environment.reset(key)
        return state, self.observe(obs)

    def step(self, key: Key, state: EnvState, action: Array) -> tuple[EnvState, TimeStep]:
        state, step = self.environment.step(key, state, self.own_action(action))
        return state, dataclasses.replace(step, obs=self.observe(step.obs))

    def native_action(self, action: Array) -> Array:
        return self.environment.native_action(self.own_action(action))

    def own_action(self, action: Array) -> Array:
        """The task's action from one in the shared space; discrete ones are the task's already."""
        space, first = self.environment.spec.action_space, self.first_action
        return action if isinstance(space, Discrete) else action[..., first : first + space.size]

    def observe(self, obs: Array) -> Array:
        """A raw observation of the task in the shared space."""
        own = self.environment.spec.obs_shape
        if self.mean:
            mean, std = (np.asarray(x, np.float32).reshape(own) for x in (self.mean, self.std))
            obs = (obs - mean) / std
            obs = jnp.clip(obs, -self.clip, self.clip) if self.clip else obs
        return self.pad(obs)

    def pad(self, obs: Array) -> Array:
        """A normalised observation f32[*own_shape] with zeros and the token: f32[*obs_shape]."""
        if len(self.obs_shape) == 1:
            obs = obs.reshape(-1)
        index, count = self.token or (0, 0)
        token = (jnp.arange(count) == index).astype(jnp.float32)
        behind = self.obs_shape[-1] - self.first_entry - obs.shape[-1] - count
        edges = [(0, 0)] * (obs.ndim - 1)
        own = jnp.pad(obs, [*edges, (self.first_entry, behind)])
        return jnp.concatenate([own, jnp.broadcast_to(token, (*obs.shape[:-1], count))], axis=-1)
