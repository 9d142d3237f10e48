"""Behaviour distillation in JAX: evolve a tiny synthetic dataset such that any policy cloned from it acts well.

The public names are loaded on first use: importing `hades` pulls in neither gymnax, brax, evosax nor mujoco. They
include every component and interface: `from hades import MLP, Brax, SNES`.
"""

import importlib
import importlib.metadata
from typing import TYPE_CHECKING, Any

from hades.components import COMPONENTS, INTERFACES
from hades.errors import offer

if TYPE_CHECKING:
    from hades.algorithms.base import Algorithm as Algorithm
    from hades.algorithms.evolution import Evolution as Evolution
    from hades.algorithms.gradient_distillation import GradientDistillation as GradientDistillation
    from hades.algorithms.ppo import PPO as PPO
    from hades.algorithms.teacher_matching import TeacherMatching as TeacherMatching
    from hades.data import zoo as zoo
    from hades.data.dataset import DistilledDataset as DistilledDataset
    from hades.data.sources import load_dataset as load_dataset
    from hades.environments.base import Environment as Environment
    from hades.environments.brax import Brax as Brax
    from hades.environments.gymnasium import Gymnasium as Gymnasium
    from hades.environments.gymnax import Gymnax as Gymnax
    from hades.environments.labelled import Labelled as Labelled
    from hades.environments.playground import Playground as Playground
    from hades.environments.point import Point as Point
    from hades.environments.rendered import Rendered as Rendered
    from hades.environments.session_object import SessionObject as SessionObject
    from hades.environments.tasks import Tasks as Tasks
    from hades.fitness.base import Fitness as Fitness
    from hades.fitness.curriculum import Curriculum as Curriculum
    from hades.fitness.episodic_return import EpisodicReturn as EpisodicReturn
    from hades.fitness.regularizers import CloningLoss as CloningLoss
    from hades.fitness.regularizers import DatasetL2 as DatasetL2
    from hades.fitness.regularizers import VisitedDistance as VisitedDistance
    from hades.fitness.shaped_return import ShapedReturn as ShapedReturn
    from hades.fitness.weighted_sum import WeightedSum as WeightedSum
    from hades.fitness.windowed_return import WindowedReturn as WindowedReturn
    from hades.inner.base import InitScheme as InitScheme
    from hades.inner.base import InnerLearner as InnerLearner
    from hades.inner.behaviour_cloning import BehaviourCloning as BehaviourCloning
    from hades.inner.codes import Code as Code
    from hades.inner.codes import Cosines as Cosines
    from hades.inner.codes import Drawn as Drawn
    from hades.inner.identity import Identity as Identity
    from hades.inner.init_scheme import FixedInit as FixedInit
    from hades.inner.init_scheme import RandomInit as RandomInit
    from hades.inner.losses import MSE as MSE
    from hades.inner.losses import CrossEntropy as CrossEntropy
    from hades.inner.losses import GaussianNLL as GaussianNLL
    from hades.inner.losses import Huber as Huber
    from hades.inner.losses import LogitMSE as LogitMSE
    from hades.inner.losses import Loss as Loss
    from hades.inner.pairs import Start as Start
    from hades.inner.pairs import StartPairs as StartPairs
    from hades.inner.region import NearStates as NearStates
    from hades.inner.region import Region as Region
    from hades.inner.ridge_cloning import RidgeCloning as RidgeCloning
    from hades.inner.stage_record import StageRecord as StageRecord
    from hades.inner.teacher import Teacher as Teacher
    from hades.inner.teacher import TeacherRecord as TeacherRecord
    from hades.inner.teacher_states import TeacherStates as TeacherStates
    from hades.normalizers.base import Normalizer as Normalizer
    from hades.normalizers.constant import ConstantNormalizer as ConstantNormalizer
    from hades.normalizers.none import NoNormalizer as NoNormalizer
    from hades.normalizers.restarting import RestartingNormalizer as RestartingNormalizer
    from hades.normalizers.running import RunningNormalizer as RunningNormalizer
    from hades.notebook import animate as animate
    from hades.notebook import as_html as as_html
    from hades.notebook import plot as plot
    from hades.outer.base import OuterOptimizer as OuterOptimizer
    from hades.outer.evosax import Evosax as Evosax
    from hades.outer.noise import LowRankNoise as LowRankNoise
    from hades.outer.noise import Noise as Noise
    from hades.outer.noise import SeededNoise as SeededNoise
    from hades.outer.noise import StoredNoise as StoredNoise
    from hades.outer.open_es import OpenES as OpenES
    from hades.outer.snes import SNES as SNES
    from hades.policies.base import Policy as Policy
    from hades.policies.cnn import CNN as CNN
    from hades.policies.cnn import NatureCNN as NatureCNN
    from hades.policies.impala import ImpalaCNN as ImpalaCNN
    from hades.policies.mlp import MLP as MLP
    from hades.policies.network_pool import NetworkPool as NetworkPool
    from hades.policies.wide_mlp import WideMLP as WideMLP
    from hades.policy.draw_dataset import draw_dataset as draw_dataset
    from hades.policy.gymnasium_play import evaluate_in_gymnasium as evaluate_in_gymnasium
    from hades.policy.make_dataset import make_dataset as make_dataset
    from hades.policy.run_policy import RunPolicy as RunPolicy
    from hades.policy.trained_policy import TrainedPolicies as TrainedPolicies
    from hades.policy.trained_policy import TrainedPolicy as TrainedPolicy
    from hades.policy.trained_policy import evaluate as evaluate
    from hades.policy.trained_policy import evaluate_dataset as evaluate_dataset
    from hades.policy.trained_policy import train_policies as train_policies
    from hades.policy.trained_policy import train_policy as train_policy
    from hades.report.report import write_report as write_report
    from hades.runs.distil import distil as distil
    from hades.runs.experiment import Experiment as Experiment
    from hades.runs.gin_config import load_experiment as load_experiment
    from hades.runs.loop import run as run
    from hades.runs.metrics import read_metrics as read_metrics
    from hades.runs.restore import load_policy as load_policy

    __version__: str

_PUBLIC = {
    "DistilledDataset": "hades.data.dataset",
    "RunPolicy": "hades.policy.run_policy",
    "TrainedPolicies": "hades.policy.trained_policy",
    "TrainedPolicy": "hades.policy.trained_policy",
    "animate": "hades.notebook",
    "as_html": "hades.notebook",
    "draw_dataset": "hades.policy.draw_dataset",
    "distil": "hades.runs.distil",
    "evaluate": "hades.policy.trained_policy",
    "evaluate_in_gymnasium": "hades.policy.gymnasium_play",
    "evaluate_dataset": "hades.policy.trained_policy",
    "load_dataset": "hades.data.sources",
    "load_experiment": "hades.runs.gin_config",
    "load_policy": "hades.runs.restore",
    "plot": "hades.notebook",
    "read_metrics": "hades.runs.metrics",
    "make_dataset": "hades.policy.make_dataset",
    "run": "hades.runs.loop",
    "train_policies": "hades.policy.trained_policy",
    "train_policy": "hades.policy.trained_policy",
    "write_report": "hades.report.report",
    **INTERFACES,
    **{name: module for table in COMPONENTS.values() for name, module in table.items()},
}

_MODULES = {"zoo": "hades.data.zoo"}

__all__ = sorted([*_PUBLIC, *_MODULES])


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(importlib.import_module(_PUBLIC[name]), name)
    if name in _MODULES:
        return importlib.import_module(_MODULES[name])
    if name == "__version__":
        return _version()
    raise AttributeError(f"module 'hades' has no attribute {name!r}. {offer(name, __all__)}")


def __dir__() -> list[str]:
    return [*globals(), "__version__", *__all__]


def _version() -> str:
    """Version of the installed distribution; "unknown" for a bare checkout on the path."""
    try:
        return importlib.metadata.version("hades-rl")
    except importlib.metadata.PackageNotFoundError:
        return "unknown"
