"""References hold for environments as they come."""

import pytest

from hades.environments import references as data
from hades.environments.gymnax import Gymnax, env_ids


def test_every_reference_has_its_length() -> None:
    assert {*data.RANDOM, *data.RELEASED, *data.HERE} <= set(data.LENGTH)


@pytest.mark.parametrize("name", sorted(set(data.LENGTH) & set(env_ids())))
def test_lengths_are_those_of_the_environments(name: str) -> None:
    assert Gymnax(name).spec.max_episode_steps == data.LENGTH[name]


def test_only_an_environment_as_it_comes_has_references() -> None:
    assert data.references("CartPole-v1", 500)["uniformly random actions"] == 22.2
    assert data.references("CartPole-v1", 200) == data.references("unknown", 500) == {}
