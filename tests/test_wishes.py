"""Wishes of somebody at a notebook, each in three lines at most, one after the other as a session would have them."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

WISHES = {
    "load a dataset of the zoo": "hades.zoo.load('cartpole-hades-r-d2')",
    "load one by its name, a path or a work directory": """
        dataset = hades.load_dataset('cartpole-hades-r-d2')
        copy = hades.load_dataset(dataset.save('copy.safetensors'))
        assert copy == dataset""",
    "train a policy": "policy = hades.train_policy(dataset, seed=0)",
    "evaluate it over some episodes": "assert hades.evaluate(policy, num_episodes=4).mean > 100",
    "train many policies at once": """
        policies = hades.train_policies(dataset, 8)
        assert hades.evaluate(policies, num_episodes=2).num_inits == 8""",
    "train inside jit and scan": """
        train = lambda carry, seed: (carry, hades.train_policies(dataset, seed[None]).losses[0])
        losses = jax.jit(lambda seeds: jax.lax.scan(train, 0, seeds))(jnp.arange(3))[1]
        assert losses.shape == (3,)""",
    "act inside scan": """
        act = lambda obs, key: (obs, policy.act(key, obs))
        actions = jax.lax.scan(act, jnp.zeros(4), jax.random.split(jax.random.key(0), 5))[1]
        assert actions.shape == (5,)""",
    "act without keys, on a batch": "assert policy.predict(np.zeros((7, 4))).shape == (7,)",
    "play it in Gymnasium": """
        assert hades.evaluate_in_gymnasium(policy, 'CartPole-v1', num_episodes=1).mean > 0""",
    "another network": "hades.train_policy(dataset, policy=hades.MLP(width=16, depth=2))",
    "a flax module of one's own": """
        module = flax.linen.Sequential([flax.linen.Dense(8), flax.linen.relu, flax.linen.Dense(2)])
        hades.train_policy(dataset, policy=module)""",
    "an optimiser by its name": "hades.train_policy(dataset, optimizer='adamw', learning_rate=0.01)",
    "an optax transformation, and a schedule": """
        hades.train_policy(dataset, optimizer=optax.chain(optax.clip(1.0), optax.adam(0.01)))
        hades.train_policy(dataset, learning_rate=optax.cosine_decay_schedule(0.01, 64))""",
    "drop a pair": "dataclasses.replace(dataset, observations=dataset.observations[:1], targets=dataset.targets[:1])",
    "other physics": "hades.Gymnax('CartPole-v1', params={'gravity': 5.0}).spec",
    "an environment object of one's own": """
        from gymnax.environments.classic_control.cartpole import CartPole
        own = hades.Gymnax(env=CartPole(), env_id='my cartpole')
        assert own.spec.obs_shape == (4,)""",
    "an environment of Gymnasium": "assert hades.Gymnasium('CartPole-v1').spec.obs_shape == (4,)",
    "a shipped configuration": "experiment = hades.load_experiment('smoke')",
    "a run without a work directory": "result = hades.run(experiment, progress=False)",
    "a run that continues": """
        first = hades.run(experiment, 'runs/smoke', progress=False)
        assert hades.run(experiment, 'runs/smoke', progress=False).returns == first.returns""",
    "follow a run, and stop it": """
        stopped = hades.run(experiment, progress=False, callback=lambda now: now.generation == 1)
        assert stopped.details['stopped_by'] == 'callback'""",
    "step a population by hand": """
        from hades.runs.mesh import make_mesh
        state = experiment.algorithm.init(jax.random.key(0))
        state, metrics = jax.jit(lambda state: experiment.algorithm.step(state, make_mesh()))(state)""",
    "components from scratch": """
        learner = hades.BehaviourCloning(hades.MLP(), hades.RandomInit(), hades.CrossEntropy(), num_pairs=2)
        space = (learner, hades.SNES(population_size=8), hades.EpisodicReturn(), hades.NoNormalizer())
        hades.Evolution(hades.Gymnax('CartPole-v1'), *space)""",
    "from an environment's name to a dataset": """
        hades.distil('CartPole-v1', pairs=2, generations=1, progress=False)""",
    "a dataset from two arrays": """
        made = hades.make_dataset(np.eye(4)[:2], np.eye(2), hades.Gymnax('CartPole-v1'))
        assert len(made) == 2""",
    "save and load a policy": """
        same = hades.load_policy(policy.save('policy.safetensors'))
        assert (same.predict(np.ones((3, 4))) == policy.predict(np.ones((3, 4)))).all()""",
    "a policy without JAX": "assert policy.to_numpy()(np.ones((3, 4), np.float32)).shape[0] == 3",
    "metrics as a table": "assert len(hades.read_metrics('runs/smoke')['fitness/mean']) > 0",
    "plot the pairs and the curve": """
        dataset.plot().savefig('pairs.png')
        result.plot().savefig('curve.png')""",
    "an episode as a film": "hades.animate(policy, 'episode.gif')",
}


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """The names of a session whose imports are done, in a folder of its own."""
    import dataclasses

    import flax
    import flax.linen
    import jax
    import jax.numpy as jnp
    import numpy as np
    import optax

    import hades

    before = Path.cwd()
    os.chdir(tmp_path_factory.mktemp("session"))
    modules = {
        "hades": hades,
        "jax": jax,
        "jnp": jnp,
        "np": np,
        "optax": optax,
        "flax": flax,
        "dataclasses": dataclasses,
    }
    yield modules
    os.chdir(before)


@pytest.mark.parametrize("wish", WISHES)
def test_wish(wish: str, session: dict[str, Any]) -> None:
    lines = [line.strip() for line in WISHES[wish].strip().splitlines()]
    assert len(lines) <= 3
    exec("\n".join(lines), session)


def test_most_of_thirty_wishes_are_here() -> None:
    """Of the thirty that were tried; a hub is asked, without network, in tests/data/test_sources.py."""
    assert len(WISHES) >= 27
