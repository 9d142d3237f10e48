"""The part that adapters to rigid-body simulators share: first states, guarded transitions, and a quiet import.

Physics can turn non-finite. Then the episode ends, the step earns nothing and `info["nonfinite"]` is 1, so that one
broken episode is counted and shown instead of poisoning a generation.
"""

import contextlib
import logging
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from typing import Any, TextIO

import jax
import jax.numpy as jnp
from flax import struct
from jax import Array

from hades.types import Key, TimeStep


@struct.dataclass
class PhysicsState:
    """A simulator's own state and the steps taken."""

    native: Any
    time: Array  # i32[]


def first_state(simulator: Any, key: Key) -> tuple[PhysicsState, Array]:
    """The state and observation that a simulator starts an episode with."""
    native = simulator.reset(jax.random.wrap_key_data(jax.random.key_data(key)))
    native = jax.tree.map(jnp.asarray, native)  # some tasks of Playground leave Python numbers in it
    return PhysicsState(native=native, time=jnp.zeros((), jnp.int32)), jnp.asarray(native.obs, jnp.float32)


def guarded_step(
    simulator: Any,
    before: PhysicsState,
    action: Array,
    measure: Callable[[Any], dict[str, Array]],
    episode_length: int,
) -> tuple[PhysicsState, TimeStep]:
    """One transition of a simulator, with every scalar of its `metrics` in `info`.

    Args:
        simulator: Brax's or Playground's own environment.
        before: the state to step.
        action: f32[A]; it is clipped to [-1, 1].
        measure: further scalars from the simulator's next state.
        episode_length: steps after which the episode is truncated.
    """
    # The simulators write into both dictionaries.
    start = before.native.replace(metrics=dict(before.native.metrics), info=dict(before.native.info))
    native = simulator.step(start, jnp.clip(action, -1.0, 1.0))
    scalars = {name: value for name, value in native.metrics.items() if jnp.ndim(value) == 0}
    values = {name: jnp.asarray(value, jnp.float32) for name, value in (measure(native) | scalars).items()}
    obs, reward = jnp.asarray(native.obs, jnp.float32), jnp.asarray(native.reward, jnp.float32)
    finite = jnp.isfinite(reward) & jnp.isfinite(obs).all() & jnp.isfinite(jnp.stack([*values.values()])).all()
    time = before.time + 1
    step = TimeStep(
        obs=jnp.where(jnp.isfinite(obs), obs, 0.0),
        reward=jnp.where(finite, reward, 0.0),
        terminated=(native.done > 0.5) | ~finite,
        truncated=time >= episode_length,
        info={"nonfinite": 1.0 - finite, **{name: jnp.where(finite, value, 0.0) for name, value in values.items()}},
    )
    kept = jax.tree.map(lambda new, old: jnp.asarray(new, old.dtype), native, before.native)
    return PhysicsState(native=kept, time=time), step


BODY_INFO = ("height", "speed")
"""Names of what `body_info` measures."""


def body_info(positions: Array, velocities: Array) -> dict[str, Array]:
    """`height` and `speed`: the highest and the fastest of L bodies, from f32[L, 3] each (m, m/s)."""
    return {"height": positions[..., 2].max(), "speed": jnp.linalg.norm(velocities, axis=-1).max()}


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep a simulator's import messages and deprecation notes off the user's screen.

    They are printed and warned by Python code; MuJoCo also appends its own to a file MUJOCO_LOG.TXT in the current
    folder. What other threads print meanwhile is shown. Afterwards the process is as it was.
    """
    with _quiet_lock, warnings.catch_warnings(), contextlib.ExitStack() as afterwards:
        with contextlib.suppress(ImportError):
            import mujoco

            afterwards.callback(mujoco.set_mju_user_warning, mujoco.get_mju_user_warning())
            mujoco.set_mju_user_warning(lambda message: None)
        warnings.simplefilter("ignore")
        out, err = _Muted(sys.stdout), _Muted(sys.stderr)
        try:
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                yield
        finally:
            out.muted = err.muted = None
            for handler in logging.root.handlers[:]:  # logging sets one up where an import logs before its user has
                if getattr(handler, "stream", None) is err:
                    logging.root.removeHandler(handler)


_quiet_lock = threading.RLock()
"""Two threads that swap `sys.stdout` in turns would leave the wrong one behind."""


class _Muted:
    """A stream without what one thread writes; a logging handler that was made with it works afterwards, too."""

    def __init__(self, stream: TextIO):
        self._stream = stream
        self.muted: int | None = threading.get_ident()

    def write(self, text: str) -> int:
        return len(text) if self.muted == threading.get_ident() else self._stream.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
