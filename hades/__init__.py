"""Behaviour distillation in JAX: evolve a tiny synthetic dataset such that any policy cloned from it acts well.

The public names are loaded on first use: importing `hades` pulls in neither gymnax, brax, evosax nor mujoco.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hades.algorithms.evolution import Evolution as Evolution
    from hades.algorithms.ppo import PPO as PPO
    from hades.data import zoo as zoo
    from hades.data.dataset import DistilledDataset as DistilledDataset
    from hades.data.dataset import load_dataset as load_dataset
    from hades.policy.run_policy import RunPolicy as RunPolicy
    from hades.policy.trained_policy import TrainedPolicy as TrainedPolicy
    from hades.policy.trained_policy import evaluate as evaluate
    from hades.policy.trained_policy import evaluate_dataset as evaluate_dataset
    from hades.policy.trained_policy import train_policy as train_policy
    from hades.report.report import write_report as write_report
    from hades.runs.experiment import Experiment as Experiment
    from hades.runs.gin_config import load_experiment as load_experiment
    from hades.runs.loop import run as run
    from hades.runs.metrics import read_metrics as read_metrics
    from hades.runs.restore import load_policy as load_policy

_PUBLIC = {
    "DistilledDataset": "hades.data.dataset",
    "Evolution": "hades.algorithms.evolution",
    "Experiment": "hades.runs.experiment",
    "PPO": "hades.algorithms.ppo",
    "RunPolicy": "hades.policy.run_policy",
    "TrainedPolicy": "hades.policy.trained_policy",
    "evaluate": "hades.policy.trained_policy",
    "evaluate_dataset": "hades.policy.trained_policy",
    "load_dataset": "hades.data.dataset",
    "load_experiment": "hades.runs.gin_config",
    "load_policy": "hades.runs.restore",
    "read_metrics": "hades.runs.metrics",
    "run": "hades.runs.loop",
    "train_policy": "hades.policy.trained_policy",
    "write_report": "hades.report.report",
}

_MODULES = {"zoo": "hades.data.zoo"}

__all__ = sorted([*_PUBLIC, *_MODULES])


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(importlib.import_module(_PUBLIC[name]), name)
    if name in _MODULES:
        return importlib.import_module(_MODULES[name])
    raise AttributeError(f"module 'hades' has no attribute {name!r}; it offers {', '.join(__all__)}")


def __dir__() -> list[str]:
    return [*globals(), *__all__]
