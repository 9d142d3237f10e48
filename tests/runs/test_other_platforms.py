"""Shipped programs are lowered for accelerators where there is none: what a backend does not know is found here."""

import jax
import pytest

from hades.runs.gin_config import load_experiment
from hades.runs.stages import stages
from tests.support import one_device_mesh

GYMNAX = ("cartpole_hades_r", "freeway_hades_f_laptop", "breakout_es_laptop", "acrobot_ppo", "cartpole_teacher_r")
BRAX = ("hopper_hades_r_laptop", "hopper_gradient_r", "hopper_gradient_r_visited")
SLOW = (*BRAX, "space_invaders_gradient_r")


@pytest.mark.parametrize("config", [*GYMNAX, *(pytest.param(config, marks=pytest.mark.slow) for config in SLOW)])
def test_a_generation_is_lowered_for_gpus_and_tpus(config: str) -> None:
    engine = ["Brax.engine = 'xla'"] if config in BRAX else []  # the one of accelerators
    for stage in stages(load_experiment(config, engine)):
        algorithm = stage.algorithm
        generation = jax.jit(lambda: algorithm.step(algorithm.init(jax.random.key(0)), one_device_mesh())[1])  # noqa: B023
        exported = jax.export.export(generation, platforms=["cuda", "tpu"])()
        assert exported.platforms == ("cuda", "tpu")
