"""Environment objects of the user's own: searched in like any other, and named by the files that they lead to."""

import dataclasses
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import pytest
from flax import struct
from gymnax.environments import environment, spaces

import hades
from hades import registry
from hades.environments import session_object
from hades.environments.brax import Brax
from hades.environments.gymnax import Gymnax
from hades.errors import ConfigError, HadesError
from hades.runs.loop import run
from tests.runs.tiny import tiny_experiment


@struct.dataclass
class CorridorParams(environment.EnvParams):
    max_steps_in_episode: int = 5
    length: float = 1.0
    walls: Any = struct.field(default_factory=lambda: jnp.zeros((2, 2)))


@struct.dataclass
class CorridorState(environment.EnvState):
    x: jax.Array


class Corridor(environment.Environment):  # type: ignore[misc]  # gymnax has no types
    """Walk to the end of a corridor."""

    def __init__(self, stride: float = 0.1):
        super().__init__()
        self.stride = stride

    __hash__ = None  # type: ignore[assignment]  # as of a dataclass that can be compared

    @property
    def default_params(self) -> CorridorParams:
        return CorridorParams()

    def reset_env(self, key: jax.Array, params: CorridorParams) -> tuple[jax.Array, CorridorState]:
        state = CorridorState(time=jnp.zeros((), int), x=jax.random.uniform(key))
        return state.x[None], state

    def step_env(self, key: jax.Array, state: CorridorState, action: jax.Array, params: CorridorParams) -> Any:
        x = state.x + self.stride * action[0] * params.length
        return x[None], CorridorState(time=state.time + 1, x=x), x, x > 10.0, {}

    def action_space(self, params: CorridorParams | None = None) -> spaces.Box:
        return spaces.Box(-2.0, 2.0, (1,))

    def observation_space(self, params: CorridorParams | None = None) -> spaces.Box:
        return spaces.Box(-10.0, 10.0, (1,))


@pytest.fixture(autouse=True)
def own_session(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    objects: dict[str, Any] = {}
    monkeypatch.setattr(session_object, "_OBJECTS", objects)
    return objects


def test_an_own_gymnax_environment_is_one_like_any_other() -> None:
    own = Gymnax(env=Corridor(), params=CorridorParams(max_steps_in_episode=7, length=2.0))
    assert (own.spec.name, own.spec.obs_shape, own.spec.max_episode_steps) == ("Corridor", (1,), 7)
    state, obs = own.reset(jax.random.key(0))
    step = own.step(jax.random.key(1), state, jnp.array([0.5]))[1]
    assert step.obs == pytest.approx(obs + 0.1 * 1.0 * 2.0)
    assert dict(own.params)["walls"] == ((0.0, 0.0), (0.0, 0.0))
    assert registry.build(registry.describe(own)) == own
    assert hash(registry.build(registry.describe(own))) == hash(own)
    assert Gymnax(env=own.env, params=own.params) == own


def test_parameters_of_gymnax_are_taken_as_they_are() -> None:
    from gymnax.environments.classic_control.cartpole import EnvParams

    assert Gymnax("CartPole-v1", params=EnvParams(gravity=5.0))._params == EnvParams(gravity=5.0)


def test_a_run_in_an_own_environment_leaves_a_dataset_that_says_what_is_missing(
    tmp_path: Path, own_session: dict[str, Any]
) -> None:
    algorithm = dataclasses.replace(tiny_experiment().algorithm, environment=Gymnax(env=Corridor(), env_id="mine"))
    experiment = tiny_experiment(algorithm=algorithm, generations=3)
    result = run(experiment, tmp_path / "run", progress=False)
    assert result.dataset.environment == algorithm.environment
    own_session.clear()  # another session
    dataset = hades.load_dataset(tmp_path / "run" / "dataset.safetensors")
    assert len(dataset) == 4
    kind = f"{__name__}.Corridor"
    with pytest.raises(HadesError, match=rf'"mine": that was an object.*{kind}.*Gymnax\(env=…, env_id="mine"\)'):
        _ = dataset.environment
    again = Gymnax(env=Corridor(), env_id="mine")
    assert hades.load_dataset(tmp_path / "run" / "dataset.safetensors").environment == again


def test_a_name_stands_for_one_object() -> None:
    old = Gymnax(env=Corridor(0.1))
    new = Gymnax(env=Corridor(0.2))
    assert old != new
    assert new.spec.name == "Corridor"
    with pytest.raises(ConfigError, match=r'Another object is called "Corridor".*env_id="Corridor-2"'):
        old.reset(jax.random.key(0))
    other = Gymnax(env=Corridor(0.3), env_id="third")
    assert (other.spec.name, new.spec.name) == ("third", "Corridor")


def test_what_is_no_environment_or_none_is_explained() -> None:
    with pytest.raises(ConfigError, match=r"Gymnax\.env is 3; it must be"):
        Gymnax(env=3)  # type: ignore[arg-type]  # on purpose
    with pytest.raises(ConfigError, match=r"Gymnax\.env_id is not set.*CartPole-v1.*env"):
        Gymnax()
    with pytest.raises(ConfigError, match=r"Brax\.env_name is not set"):
        Brax()
    with pytest.raises(ConfigError, match=r"no parameter 'lenght'.*Did you mean \"length\""):
        _ = Gymnax(env=Corridor(), params={"lenght": 2.0}).spec


def test_an_own_brax_environment_is_one_like_any_other() -> None:
    from brax import envs

    native = envs.get_environment("inverted_pendulum", backend="spring")
    own, shipped = Brax(env=native, episode_length=9), Brax("inverted_pendulum", "spring", episode_length=9)
    assert (own.env_name, own.backend) == ("InvertedPendulum", "spring")
    assert dataclasses.replace(own.spec, name="inverted_pendulum", observation_names=()) == dataclasses.replace(
        shipped.spec, observation_names=()
    )
    assert own.native is native
    assert own._identity == ""  # nothing on disk stands for an object that may change
    assert registry.build(registry.describe(own)) == own
