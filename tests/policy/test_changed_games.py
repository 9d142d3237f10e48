"""Two released datasets earn little today because their games changed: with the old rules back they earn it again."""

from collections.abc import Iterator
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

from hades.policy.published import import_published
from hades.policy.trained_policy import evaluate_dataset
from tests.policy.test_published import PUBLISHED

pytestmark = [pytest.mark.slow]


@pytest.fixture(autouse=True)
def fresh_traces() -> Iterator[None]:
    """Compiled games of other tests, or of these, must not be mistaken for each other."""
    jax.clear_caches()
    yield
    jax.clear_caches()


def released(name: str) -> Path:
    path = Path(PUBLISHED) / f"{name}.npz"
    if not path.is_file():
        pytest.skip(f"the released datasets are not at {PUBLISHED}")
    return path


def test_the_double_pendulum_balances_under_the_old_transform_of_its_tip(monkeypatch: pytest.MonkeyPatch) -> None:
    from brax.base import Transform
    from brax.envs.inverted_double_pendulum import InvertedDoublePendulum

    def step(self, state, action):  # type: ignore[no-untyped-def]  # stands in for one of Brax's
        bodies = self.pipeline_step(state.pipeline_state, action)
        x, _, y = Transform.create(pos=jnp.array([0.0, 0.0, 0.6])).do(bodies.x.take(2)).pos
        v1, v2 = bodies.qd[1:]
        reward = 10 - (0.01 * x**2 + (y - 2) ** 2) - (1e-3 * v1**2 + 5e-3 * v2**2)
        done = jnp.where(y <= 1, 1.0, 0.0)
        return state.replace(pipeline_state=bodies, obs=self._get_obs(bodies), reward=reward, done=done)

    dataset = import_published(released("hadesR_inverted_double_pendulum_D64_seed0"))
    assert evaluate_dataset(dataset, 4, seed=1).mean < 1000
    jax.clear_caches()
    monkeypatch.setattr(InvertedDoublePendulum, "step", step)
    assert evaluate_dataset(dataset, 4, seed=1).mean > 6000


def test_space_invaders_earns_its_old_return_with_28_aliens_and_the_old_bullets(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from gymnax.environments.minatar import space_invaders

    step_agent, reset_env = space_invaders.step_agent, space_invaders.MinSpaceInvaders.reset_env

    def old_step_agent(action, state, params):  # type: ignore[no-untyped-def]  # stands in for one of gymnax's
        out = step_agent(action, state, params)
        return out.replace(terminal=jnp.logical_or(state.terminal, out.e_bullet_map[9, state.pos]))

    def old_reset_env(self, key, params):  # type: ignore[no-untyped-def]  # stands in for one of gymnax's
        _, state = reset_env(self, key, params)
        state = state.replace(alien_map=state.alien_map.at[0:4, 2:9].set(True))
        return self.get_obs(state), state

    dataset = import_published(released("hadesR_SpaceInvaders-MinAtar_D16_5k_seed0"))
    monkeypatch.setattr(space_invaders, "step_agent", old_step_agent)
    monkeypatch.setattr(space_invaders.MinSpaceInvaders, "reset_env", old_reset_env)
    assert evaluate_dataset(dataset, 8, seed=1).mean > 25  # 10.9 over 32 policies by today's rules
