"""Summaries of returns that leave the program."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from hades.algorithms.base import Evaluation
from hades.environments.base import Environment
from hades.environments.plausibility import alarms
from hades.errors import ConfigError
from hades.types import EnvSpec


@dataclasses.dataclass(frozen=True)
class Alarm:
    """One bound of plausibility over the episodes of a report."""

    bound: float
    largest: float
    episodes: int


@dataclasses.dataclass(frozen=True)
class ReturnSummary:
    """Mean return of I independent policies with E whole episodes each.

    `ci95` is Student's interval of the mean over policies, the independent units. All are plain floats. `alarms` counts
    episodes beyond each bound of plausibility, with the bound and the largest value met; it is empty where the
    environment states none. `implausible_episodes` raised at least one alarm; they are part of the mean, and
    `plausible_mean` is that of the other episodes, None where all episodes or none raised one.

    With `one_policy` the I "inits" are groups of E episodes of one and the same policy (direct ES, PPO); with E = 1 the
    episodes themselves are the units (`hades.evaluate`).
    Under another `protocol` than whole episodes (such as the published window) each policy has one score,
    `num_episodes` counts the episodes that all of them completed, and `mean_length` is a mean over policies.
    In an environment of several tasks the returns are the combined ones, 1 where every task earns its reference;
    `tasks` holds those of each, by name, in its own units.
    """

    mean: float
    ci95: tuple[float, float]
    std_over_inits: float
    worst_init: float
    best_init: float
    num_inits: int
    num_episodes: int
    mean_length: float
    per_init: tuple[float, ...]
    implausible_episodes: int = 0
    plausible_mean: float | None = None
    alarms: Mapping[str, Alarm] = dataclasses.field(default_factory=dict)
    protocol: str = ""
    one_policy: bool = False
    tasks: Mapping[str, "ReturnSummary"] = dataclasses.field(default_factory=dict)

    def describe(self) -> dict[str, Any]:
        """JSON-ready."""
        tasks = {name: task.describe() for name, task in self.tasks.items()}
        fields = {**dataclasses.asdict(self), "ci95": list(self.ci95), "per_init": list(self.per_init), "tasks": tasks}
        absent = {name for name in ("protocol", "one_policy", "tasks") if not fields[name]}
        absent |= {"plausible_mean"} if self.plausible_mean is None else set()
        return {name: value for name, value in fields.items() if name not in absent}

    def __str__(self) -> str:
        decimals = 3 if self.tasks else 1
        low, high = (f"{end:.{decimals}f}" for end in self.ci95)
        interval = f"95 % interval {low} to {high}" if math.isfinite(self.ci95[0]) else "no interval"
        policies = "1 policy" if self.num_inits == 1 else f"{self.num_inits} policies"
        unit, played = "policy", f"{policies} × {self.num_episodes} episodes"
        if self.one_policy and self.num_episodes == 1:
            unit, played = "episode", f"one policy, {self.num_inits} episodes"
        elif self.one_policy:
            unit, played = "group", f"one policy, {self.num_inits} × {self.num_episodes} episodes"
        if self.protocol:
            played = f"{policies} under {self.protocol}, {self.num_episodes} episodes completed"
        if self.tasks:
            each = "; ".join(f"{name} {task}" for name, task in self.tasks.items())
            return f"{self.mean:.3f} of the references ({interval}); {each}"
        return (
            f"{self.mean:.1f} ({interval}; {played}; "
            f"worst {unit} {self.worst_init:.1f})"
            + (f"; {self.implausible_episodes} implausible episodes" if self.implausible_episodes else "")
            + (f" ({self.plausible_mean:.1f} without them)" if self.plausible_mean is not None else "")
            + (f". {self.faults}" if self.faults else "")
        )

    @property
    def faults(self) -> str:
        """The reasons why returns are not finite, as sentences; empty where they are."""
        undefined = sum(math.isnan(value) for value in self.per_init)
        infinite = sum(math.isinf(value) for value in self.per_init)
        return " ".join(
            f"{count} of {self.num_inits} returns are {what}."
            for count, what in (
                (undefined, "NaN: weights, a loss or actions of these policies are not finite, or rewards are NaN"),
                (infinite, "infinite: the environment gave an infinite reward, which is an error of the environment"),
            )
            if count
        )


def summarize_scores(values: np.ndarray, episodes: np.ndarray, lengths: np.ndarray, protocol: str) -> ReturnSummary:
    """Summarise one score f32[I] for each policy, the episodes i32[I] behind it and their mean lengths f32[I].

    Raises:
        ConfigError: where a policy's score could not be measured, since a mean over the others would flatter.
    """
    unmeasured = int((episodes == 0).sum())
    if unmeasured:
        raise ConfigError(
            f"{unmeasured} of {len(values)} policies completed no episode under {protocol}, so nothing was measured: "
            "evaluate over whole episodes instead."
        )
    summary = summarize(np.asarray(values)[:, None], np.zeros((len(values), 1)))
    return dataclasses.replace(
        summary, num_episodes=int(episodes.sum()), mean_length=float(np.mean(lengths)), protocol=protocol
    )


def summarize_evaluation(evaluation: Evaluation, env: Environment, *, one_policy: bool = False) -> ReturnSummary:
    """Summarise whole episodes in an environment, with exploit alarms, and its single tasks where it has several."""
    specs = {env.spec.name: env.spec, **{member.spec.name: member.spec for member in env.members}}

    def one(name: str, played: Evaluation) -> ReturnSummary:
        returns, lengths, info_max = jax.tree.map(np.asarray, (played.returns, played.lengths, played.info_max))
        summary = summarize(returns, lengths, info_max, specs[name], one_policy=one_policy)
        return dataclasses.replace(summary, tasks={n: one(n, played.tasks[n]) for n in specs if n in played.tasks})

    return one(env.spec.name, evaluation)


def summarize(
    returns: np.ndarray,
    lengths: np.ndarray,
    info_max: Mapping[str, np.ndarray] | None = None,
    spec: EnvSpec | None = None,
    *,
    one_policy: bool = False,
) -> ReturnSummary:
    """Summarise returns f32[I, E] and episode lengths i32[I, E]; `info_max` and the spec add the exploit alarms."""
    returns = np.asarray(returns, np.float64)
    per_init = returns.mean(1)
    count = len(per_init)
    with np.errstate(invalid="ignore"):  # a return that is not finite makes the mean and the interval NaN
        mean, std = float(per_init.mean()), float(per_init.std(ddof=1)) if count > 1 else 0.0
    half = _student(count - 1) * std / count**0.5 if count > 1 else float("nan")
    info = {name: np.asarray(values) for name, values in (info_max or {}).items()}
    raised = {} if spec is None else alarms(jnp.asarray(returns), jax.tree.map(jnp.asarray, info), spec)
    played, bounds = {**info, "return": np.abs(returns)}, {} if spec is None else dict(spec.plausible)
    flagged = np.any([np.zeros_like(returns, bool), *map(np.asarray, raised.values())], axis=0)
    return ReturnSummary(
        mean=mean,
        ci95=(mean - half, mean + half),
        std_over_inits=std,
        worst_init=float(per_init.min()),
        best_init=float(per_init.max()),
        num_inits=count,
        num_episodes=returns.shape[1],
        mean_length=float(np.mean(lengths)),
        per_init=tuple(round(float(r), 4) for r in per_init),
        implausible_episodes=int(flagged.sum()),
        plausible_mean=float(returns[~flagged].mean()) if flagged.any() and not flagged.all() else None,
        one_policy=one_policy,
        alarms={
            name: Alarm(float(bounds.get(name, 0.0)), float(played[name].max()), int(flags.sum()))
            for name, flags in raised.items()
        },
    )


def _student(degrees: int) -> float:
    """The quantile of Student's distribution that a 95 % interval reaches on either side."""
    from scipy.special import stdtrit  # a tenth of a second that training does not need

    return float(stdtrit(degrees, 0.975))
