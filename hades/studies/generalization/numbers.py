"""Generalisation of a dataset: train policies by many recipes from it and measure what each keeps of the return.

Definitions. *Retention*: the return of a policy as a share of what the original recipe earns, measured anew in the same
call on the same report keys. *IQM*: mean of the middle half of all trained policies; its interval is the percentile
bootstrap in which inits are drawn again and recipes never are (init i has the same keys in every cell, so it is one
unit). *Worst decile*: mean over the lowest tenth of all trained policies. A policy whose return is not finite keeps 0.

Every training starts from fresh initial policies, those of a HaDES-F dataset too: that is what generalisation asks.
Only its original recipe, which defines 100 %, has the initial weights that the dataset was made for.
"""

import dataclasses
import hashlib
import json
import time
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

import numpy as np

from hades import registry
from hades.data.dataset import DistilledDataset
from hades.errors import ConfigError, offer
from hades.fitness.episodic_return import EpisodicReturn
from hades.policy.trained_policy import evaluate_dataset
from hades.policy.versions import library_versions
from hades.studies.aggregate import LEVEL, Estimate, interquartile_mean
from hades.studies.generalization.grid import Grid, Settings
from hades.studies.generalization.groups import Timing, measure_cells
from hades.studies.retention import Reference, reference

REFERENCE_INITS = 32
REPS = 2_000
"""Bootstrap samples; a share of returns needs no third digit."""

Progress = Callable[[int, int], None]
"""Policies measured so far, and of how many."""


@dataclasses.dataclass(frozen=True)
class Generalization:
    """Retention of C recipes × I inits.

    Attributes:
        name: of the dataset, for tables.
        environment: its name.
        method: what made it, such as "HaDES-R".
        num_pairs: pairs in the dataset.
        settings: value of each axis for each of the C recipes.
        returns: f64[C, I], mean return of each trained policy over whole episodes.
        original: f64[K], of policies trained by the original recipe.
        reference: what 100 % and 0 % are.
        protocol: what decides the numbers: dataset digest, environment, grid, inits, episodes, seed, versions.
        seconds: "total", and the sums over groups of recipes "compile" and "run", which overlap.
    """

    name: str
    environment: str
    method: str
    num_pairs: int
    settings: tuple[Settings, ...]
    returns: np.ndarray
    original: np.ndarray
    reference: Reference
    protocol: Mapping[str, Any]
    seconds: Mapping[str, float]

    @cached_property
    def retention(self) -> np.ndarray:
        """f64[C, I]"""
        return np.where(np.isfinite(self.returns), self.reference.retention(self.returns), 0.0)

    @cached_property
    def iqm(self) -> Estimate:
        """Interquartile mean of all policies."""
        return self.estimate(np.ones(len(self.settings), bool))

    @property
    def worst_decile(self) -> float:
        return worst_decile(self.retention)

    @cached_property
    def axes(self) -> dict[str, tuple[Any, ...]]:
        """The axes with more than one value, and their values in order; not those of single networks (None)."""
        found = {axis: tuple(dict.fromkeys(s[axis] for s in self.settings)) for axis in self.settings[0]}
        present = {axis: tuple(v for v in values if v is not None) for axis, values in found.items()}
        return {axis: values for axis, values in present.items() if len(values) > 1}

    def share(self, threshold: float) -> float:
        """Share of policies that keep at least so much."""
        return float((self.retention >= threshold).mean())

    def chosen(self, **values: Any) -> np.ndarray:
        """bool[C]: the recipes with these values.

        Raises:
            ConfigError: for an unknown axis, or a value that none of the recipes has.
        """
        mask = np.ones(len(self.settings), bool)
        for axis, value in values.items():
            known = {str(s.get(axis)): None for s in self.settings}
            if axis not in self.settings[0]:
                raise ConfigError(f'The grid has no axis "{axis}". {offer(axis, self.settings[0])}')
            if str(value) not in known:
                raise ConfigError(f"The grid has no {axis} {value!r}. {offer(str(value), known)}")
            mask &= np.array([s[axis] == value for s in self.settings])
        return mask

    def estimate(self, mask: np.ndarray) -> Estimate:
        """Interquartile mean over the policies of some recipes bool[C]; of a single init without an interval."""
        kept = self.retention[mask]
        count = kept.shape[1]
        drawn = np.random.default_rng(0).integers(count, size=(REPS, count))
        samples = np.array([interquartile_mean(kept[:, inits].ravel()) for inits in drawn])
        tail = (1.0 - LEVEL) / 2.0
        low, high = np.quantile(samples, (tail, 1.0 - tail))
        return Estimate(float(interquartile_mean(kept.ravel())), float(low), float(high))

    def describe(self) -> dict[str, Any]:
        """JSON-ready, with the summary; `restored` is the inverse."""
        summary = {
            "iqm": dataclasses.asdict(self.iqm),
            "worst_decile": self.worst_decile,
            "share_keeping_50": self.share(0.5),
            "share_keeping_90": self.share(0.9),
            "not_finite": int((~np.isfinite(self.returns)).sum()),
        }
        cells = [{**s, "returns": _floats(row)} for s, row in zip(self.settings, self.returns, strict=True)]
        return {
            **{f: getattr(self, f) for f in ("name", "environment", "method", "num_pairs")},
            "summary": summary,
            "original": _floats(self.original),
            "reference": dataclasses.asdict(self.reference),
            "seconds": dict(self.seconds),
            "protocol": dict(self.protocol),
            "cells": cells,
        }


def generalize(
    dataset: DistilledDataset,
    grid: Grid | None = None,
    num_inits: int = 8,
    num_episodes: int = 4,
    seed: int = 1,
    *,
    name: str = "dataset",
    progress: Progress | None = None,
) -> Generalization:
    """Train policies from a dataset by every recipe of a grid and measure them on report keys.

    Args:
        dataset: from `load_dataset` or the zoo.
        grid: the recipes; None: the default grid.
        num_inits: initial policies of each recipe, always fresh ones.
        num_episodes: whole episodes of each policy, whatever protocol the file names.
        seed: of initial policies and episodes; the original recipe is measured with it too, with at least
            REFERENCE_INITS policies.
        name: of the dataset, for tables.
        progress: called after each group of recipes.

    Raises:
        ConfigError: for a recipe that cannot work, before anything is measured.
        DatasetError: where the original recipe earns nothing, or its initial weights cannot be rebuilt here.
    """
    if num_inits < 1 or num_episodes < 1:
        raise ConfigError(f"num_inits is {num_inits} and num_episodes {num_episodes}; both must be at least 1.")
    grid = grid or Grid()
    began = time.monotonic()
    cells = grid.cells(dataset)
    count = max(num_inits, REFERENCE_INITS)
    original = np.array(evaluate_dataset(dataset, count, seed=seed, protocol=EpisodicReturn(num_episodes)).per_init)
    whole = reference(dataset.environment, float(original.mean()))
    returns, timing = measure_cells(dataset, [cell.learner for cell in cells], num_inits, num_episodes, seed, progress)
    return Generalization(
        name=name,
        environment=dataset.environment.spec.name,
        method=dataset.method,
        num_pairs=len(dataset),
        settings=tuple(cell.settings for cell in cells),
        returns=returns,
        original=original,
        reference=whole,
        protocol=protocol_of(dataset, grid, num_inits, num_episodes, seed),
        seconds=_seconds(timing, time.monotonic() - began),
    )


def restored(description: Mapping[str, Any]) -> Generalization:
    """From `Generalization.describe`.

    Raises:
        KeyError, TypeError: where it is none.
    """
    description = {"num_pairs": description.get("num_points"), **description}  # its name in older files
    cells = [dict(cell) for cell in description["cells"]]
    returns = np.array([[np.nan if x is None else x for x in cell.pop("returns")] for cell in cells], np.float64)
    return Generalization(
        **{f: description[f] for f in ("name", "environment", "method", "num_pairs", "protocol", "seconds")},
        settings=tuple(cells),
        returns=returns,
        original=np.array(description["original"], np.float64),
        reference=Reference(**description["reference"]),
    )


def protocol_of(dataset: DistilledDataset, grid: Grid, num_inits: int, num_episodes: int, seed: int) -> dict[str, Any]:
    """Settings that decide the numbers, JSON-ready; results with equal protocols are equal."""
    digest = hashlib.sha256(json.dumps(dataset.metadata, sort_keys=True).encode())
    for array in (dataset.observations, dataset.targets, dataset.obs_mean, dataset.obs_std, *dataset.init.values()):
        digest.update(np.ascontiguousarray(array, np.float32).tobytes())
    return {
        "dataset": digest.hexdigest(),
        "environment": registry.describe(dataset.environment),
        "grid": grid.describe(),
        "num_inits": num_inits,
        "num_episodes": num_episodes,
        "seed": seed,
        "versions": library_versions(dataset.environment.versions),
    }


def worst_decile(retention: np.ndarray) -> float:
    """Mean over the lowest tenth, at least one."""
    ordered = np.sort(retention, axis=None)
    return float(ordered[: max(1, len(ordered) // 10)].mean())


def _seconds(timing: list[Timing], total: float) -> dict[str, float]:
    groups = {"compile": sum(t.compiling for t in timing), "run": sum(t.running for t in timing)}
    return {"total": round(total, 2), **{name: round(value, 2) for name, value in groups.items()}}


def _floats(row: np.ndarray) -> list[float | None]:
    return [round(float(x), 4) if np.isfinite(x) else None for x in row]
