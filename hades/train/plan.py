"""What a run will cost before it runs: sizes, environment steps and a memory plan."""

from hades.train.experiment import Experiment


def plan(experiment: Experiment, compile_too: bool = False) -> str:
    return repr(experiment)
