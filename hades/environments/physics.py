"""What the adapters to rigid-body simulators share: a guarded transition, and a quiet import.

Physics can turn non-finite. Then the episode ends, the step earns nothing and `info["nonfinite"]` is 1, so that one
broken episode is counted and shown instead of poisoning a generation.
"""

import contextlib
import os
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from jax import Array

from hades.types import TimeStep


@struct.dataclass
class PhysicsState:
    """A simulator's own state and the steps taken."""

    native: Any
    time: Array  # i32[]


def guarded_step(
    before: PhysicsState, native: Any, info: Mapping[str, Array], episode_length: int
) -> tuple[PhysicsState, TimeStep]:
    """The transition that a simulator's next state stands for.

    Args:
        before: the state that was stepped.
        native: what the simulator made of it, with `obs`, `reward` and `done`.
        info: scalars of this step.
        episode_length: steps after which the episode is truncated.
    """
    time = before.time + 1
    values = {name: jnp.asarray(value, jnp.float32) for name, value in info.items()}
    obs, reward = jnp.asarray(native.obs, jnp.float32), jnp.asarray(native.reward, jnp.float32)
    finite = jnp.isfinite(reward) & jnp.isfinite(obs).all()
    for value in values.values():
        finite &= jnp.isfinite(value)

    def known(x: Array) -> Array:
        return jnp.where(finite, x, 0.0)

    step = TimeStep(
        obs=jnp.where(jnp.isfinite(obs), obs, 0.0),
        reward=known(reward),
        terminated=(native.done > 0.5) | ~finite,
        truncated=time >= episode_length,
        info={"nonfinite": 1.0 - finite, **{name: known(value) for name, value in values.items()}},
    )
    kept = jax.tree.map(lambda new, old: jnp.asarray(new, old.dtype), native, before.native)
    return PhysicsState(native=kept, time=time), step


def body_info(positions: Array, velocities: Array) -> dict[str, Array]:
    """`height` and `speed`: the highest and the fastest of L bodies, from f32[L, 3] each (m, m/s)."""
    return {"height": positions[..., 2].max(), "speed": jnp.linalg.norm(velocities, axis=-1).max()}


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep a simulator's import messages and deprecation notes off the user's screen.

    They come from Python and from C, and MuJoCo also appends its own to a file MUJOCO_LOG.TXT in the current folder.
    """
    with (
        _mujoco_warnings_off(),
        open(os.devnull, "w") as nowhere,
        contextlib.redirect_stdout(nowhere),
        contextlib.redirect_stderr(nowhere),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        kept = os.dup(1), os.dup(2)
        try:
            os.dup2(nowhere.fileno(), 1)
            os.dup2(nowhere.fileno(), 2)
            yield
        finally:
            for fd, copy in zip((1, 2), kept, strict=True):
                os.dup2(copy, fd)
                os.close(copy)


@contextlib.contextmanager
def _mujoco_warnings_off() -> Iterator[None]:
    try:
        import mujoco
    except ImportError:
        yield
        return
    handler = mujoco.get_mju_user_warning()
    mujoco.set_mju_user_warning(lambda message: None)
    try:
        yield
    finally:
        mujoco.set_mju_user_warning(handler)
