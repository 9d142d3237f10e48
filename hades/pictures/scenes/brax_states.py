"""The pose that an observation of a Brax task describes, up to the place along the ground, which it leaves out.

MuJoCo's kinematics of Brax's own model files; nothing is simulated and no backend is compiled.
"""

import functools
from typing import Any

import numpy as np

from hades.environments.brax import HIDDEN_POSITIONS, observation_names
from hades.environments.physics import quiet
from hades.pictures.scenes.bodies import Bodies, bodies_of
from hades.pictures.scenes.cameras import CAMERAS, camera_of
from hades.pictures.scenes.canvas import Canvas
from hades.pictures.scenes.stage import Stage

_ABSOLUTE_HEIGHT = ("hopper", "walker2d")  # their second entry is the torso's height, not its displacement


def can_pose(env_name: str, obs_shape: tuple[int, ...]) -> bool:
    """Return True if `state_scene` can draw observations of this shape; an option of an environment can change it."""
    return env_name in CAMERAS and obs_shape == (len(observation_names(env_name, _model(env_name)[1])),)


def state_scene(env_name: str, observation: np.ndarray, size: int) -> Canvas:
    """The bodies as a raw observation f64[O] describes them, and the root's velocity as an arrow."""
    bodies, model = _model(env_name)
    positions, rotations = pose(env_name, observation)
    stage = Stage.fitting(bodies, camera_of(env_name, bodies), positions[None], rotations[None])
    return stage.draw(positions, rotations, size, velocity=_root_velocity(env_name, observation, model))


def pose(env_name: str, observation: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Positions f64[L, 3] and rotations f64[L, 4] of the links."""
    import mujoco

    _, model = _model(env_name)
    data = mujoco.MjData(model)
    data.qpos[:] = _generalized_position(env_name, np.clip(np.nan_to_num(observation), -1e3, 1e3), model)
    mujoco.mj_kinematics(model, data)
    return data.xpos[1:].copy(), data.xquat[1:].copy()


@functools.cache
def _model(env_name: str) -> tuple[Bodies, Any]:
    with quiet():
        import brax
        from brax.io import mjcf
        from etils import epath

        folder = epath.resource_path(brax.__name__) / "envs" / "assets"
        model = mjcf.load_mjmodel(folder / f"{env_name.replace('halfcheetah', 'half_cheetah')}.xml")
    return bodies_of(model), model


def _generalized_position(env_name: str, obs: np.ndarray, model: Any) -> np.ndarray:
    """q f64[nq] with x = 0 (and y = 0); a quaternion or (cos, sin) pair is taken for its direction."""
    if env_name == "inverted_double_pendulum":
        return np.array([obs[0], np.arctan2(obs[1], obs[3]), np.arctan2(obs[2], obs[4])])
    if env_name == "reacher":
        return np.array([np.arctan2(obs[2], obs[0]), np.arctan2(obs[3], obs[1]), obs[4], obs[5]])
    if env_name == "pusher":
        base = model.body_pos[-2:, 1::-1]  # y and x of the object and of the goal where q is 0
        return np.concatenate([obs[:7], obs[[18, 17]] - base[0], obs[[21, 20]] - base[1]])
    hidden = HIDDEN_POSITIONS[env_name]
    q = np.concatenate([np.zeros(hidden), obs[: model.nq - hidden]])
    if env_name in _ABSOLUTE_HEIGHT:
        q[1] -= model.body_pos[1, 2]
    if model.jnt_type[0] == 0:  # a free root
        length = np.linalg.norm(q[3:7])
        q[3:7] = q[3:7] / length if length > 1e-6 else [1.0, 0.0, 0.0, 0.0]
    return q


def _root_velocity(env_name: str, obs: np.ndarray, model: Any) -> np.ndarray | None:
    """f64[3] in m/s; None where the root does not move, or the observation leaves it out."""
    if env_name == "inverted_double_pendulum":
        return np.array([obs[5], 0.0, 0.0])
    if env_name not in HIDDEN_POSITIONS:
        return None
    velocity = obs[model.nq - HIDDEN_POSITIONS[env_name] :]
    if model.jnt_type[0] == 0:  # a free root
        return velocity[:3]
    slides = (model.jnt_type == 2) & (model.jnt_bodyid == 1)  # of the root
    return velocity[: model.njnt][slides] @ model.jnt_axis[slides]
