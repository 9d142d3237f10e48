"""Codes in the genome, pictures in the dataset."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hades.environments.gymnax import Gymnax
from hades.environments.rendered import Rendered
from hades.errors import ConfigError
from hades.inner.behaviour_cloning import BehaviourCloning
from hades.inner.codes import Cosines, Drawn
from hades.inner.init_scheme import RandomInit
from hades.inner.losses import CrossEntropy
from hades.inner.pairs import StartPairs
from hades.normalizers.constant import ConstantNormalizer
from hades.policies.mlp import MLP
from tests.support import EVOLUTION

CARTPOLE = Rendered(Gymnax("CartPole-v1"), size=30, frames=2)
SPEC = CARTPOLE.spec
LEARNER = BehaviourCloning(
    policy=MLP(width=2, depth=0),
    init_scheme=RandomInit(1),
    loss=CrossEntropy(),
    num_pairs=3,
    start="gaussian",
    start_scale=0.1,
    code=Drawn(CARTPOLE),
)


def test_a_genome_holds_states_and_its_dataset_their_pictures(key):
    genome = LEARNER.init_genome(key, CARTPOLE, lambda obs: obs)
    assert genome.observations.shape == (3, 4)
    pairs = LEARNER.dataset(genome, SPEC)
    np.testing.assert_allclose(pairs.observations[1], CARTPOLE.picture(genome.observations[1]), atol=1e-6)
    np.testing.assert_array_equal(LEARNER.codes(genome), genome.observations)
    assert LEARNER.constant(genome).code is None  # trains from pictures
    assert dataclasses.replace(LEARNER, code=None).codes(genome) is None


def test_a_search_starts_from_pairs_of_states(key):
    states = tuple(np.linspace(-0.1, 0.1, 12).tolist())
    start = StartPairs(num_pairs=3, observations=states, targets=(0.9, 0.1) * 3, source="a test")
    learner = dataclasses.replace(LEARNER, start_pairs=start)
    learner.check(SPEC)
    genome = learner.init_genome(key, CARTPOLE, lambda obs: obs)
    np.testing.assert_allclose(genome.observations.reshape(-1), states, rtol=1e-6)
    assert learner.dataset(genome, SPEC).observations.shape == (3, *SPEC.obs_shape)
    settled = dataclasses.replace(learner, settled=2)
    codes = settled.codes(settled.init_genome(key, CARTPOLE, lambda obs: obs))
    np.testing.assert_allclose(codes.reshape(-1), states, rtol=1e-5)  # those of a file, and not of the genome


def test_pairs_to_start_from_that_are_no_codes_are_refused():
    start = StartPairs(num_pairs=3, observations=(0.0,) * 15, targets=(0.5, 0.5) * 3, source="a test")
    with pytest.raises(ConfigError, match=r"5 observed numbers.*CartPole-v1 has 4"):
        dataclasses.replace(LEARNER, start_pairs=start).check(SPEC)


def test_cosines_come_near_a_smooth_picture():
    code, spec = Cosines(6), dataclasses.replace(SPEC, obs_shape=(12, 16, 1))
    smooth = jax.nn.sigmoid(jnp.linspace(-2, 2, 12)[:, None, None] + jnp.linspace(-1, 1, 16)[:, None])
    found = code.decode(code.encode(smooth[None]), spec)
    assert found.shape == (1, 12, 16, 1)
    np.testing.assert_allclose(found[0], smooth, atol=0.03)
    np.testing.assert_allclose(
        Cosines(12).decode(Cosines(12).encode(smooth[None, :, :12]), dataclasses.replace(SPEC, obs_shape=(12, 12, 1))),
        smooth[None, :, :12],
        atol=1e-4,
    )  # all frequencies


def test_cosines_start_from_what_the_environment_shows(key):
    learner = dataclasses.replace(LEARNER, code=Cosines(4), start="gaussian")
    genome = learner.init_genome(key, CARTPOLE, lambda obs: obs)
    assert genome.observations.shape == (3, 4, 4, 2)
    assert learner.dataset(genome, SPEC).observations.shape == (3, *SPEC.obs_shape)


@pytest.mark.parametrize(
    ("code", "spec", "message"),
    [
        (Drawn(Rendered(Gymnax("CartPole-v1"), size=42)), SPEC, "42px.*use one Rendered for both"),
        (Drawn(Rendered(Gymnax("CartPole-v1"), size=30)), SPEC, r"\(30, 30, 1\).*use one Rendered for both"),
        (Cosines(31), SPEC, "frequencies is 31.*as many pixels"),
        (Cosines(2), Gymnax("CartPole-v1").spec, r"needs pictures.*\(4,\)"),
    ],
)
def test_a_code_that_does_not_fit_the_environment_is_refused(code, spec, message):
    with pytest.raises(ConfigError, match=message):
        dataclasses.replace(LEARNER, code=code).check(spec)


def test_what_draws_nothing_is_refused():
    with pytest.raises(ConfigError, match="CartPole-v1, which draws nothing"):
        Drawn(Gymnax("CartPole-v1"))


def test_a_normaliser_would_change_what_a_code_makes():
    with pytest.raises(ConfigError, match=r"normalizer is ConstantNormalizer.*use NoNormalizer"):
        dataclasses.replace(EVOLUTION, environment=CARTPOLE, learner=LEARNER, normalizer=ConstantNormalizer())
