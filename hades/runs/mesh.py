"""The one-axis device mesh that a generation is sharded over."""

import jax
import numpy as np
from jax.sharding import Mesh

from hades.types import POPULATION_AXIS


def make_mesh() -> Mesh:
    """Over all devices of all processes, those of one process next to each other."""
    return Mesh(np.asarray(jax.devices()), (POPULATION_AXIS,))
