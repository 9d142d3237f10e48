"""Students come to act like the teacher, exactly as often as the run is resumed, and the result names the teacher."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from hades.algorithms.teacher_matching import TeacherMatching, mismatch
from hades.costs.plan import algorithm_lines
from hades.environments.base import Environment
from hades.environments.labelled import Labelled
from hades.environments.point import Point
from hades.errors import ConfigError
from hades.inner.behaviour_cloning import BehaviourCloning
from hades.inner.identity import Identity
from hades.inner.init_scheme import RandomInit
from hades.inner.losses import MSE
from hades.normalizers.restarting import RestartingNormalizer
from hades.normalizers.running import RunningNormalizer
from hades.policies.distributions import Categorical, Stacked
from hades.policies.mlp import MLP
from hades.report.report import write_report
from hades.runs.experiment import Experiment
from hades.runs.loop import run
from hades.runs.stages import pairs_of
from tests.runs.tiny import assert_same_run, tiny_experiment
from tests.support import EXAMPLES, POINT, RIDGE, SMALL, run_python, to_the_goal

MATCHING: TeacherMatching = dataclasses.replace(
    EXAMPLES["TeacherMatching"], learner=dataclasses.replace(RIDGE, policy=MLP(width=8, depth=1, acting="greedy"))
)
LABELS = dataclasses.replace(
    MATCHING.learner,
    policy=MLP(width=64, depth=1, activation="relu", output_scale=1.0),
    num_pairs=10,
    start="gaussian",
    targets="fixed",
)
EIGHT = dataclasses.replace(
    MATCHING, learner=dataclasses.replace(MATCHING.learner, init_scheme=RandomInit(8)), num_envs=16
)


def searched(algorithm: TeacherMatching, iterations: int, mesh: Any) -> tuple[Any, dict[str, jax.Array]]:
    @jax.jit
    def search(key: jax.Array) -> Any:
        return lax.scan(lambda s, _: algorithm.step(s, mesh), algorithm.init(key), None, length=iterations)

    return search(jax.random.key(0))


@pytest.mark.parametrize("env", [Point(), Point(discrete=True)], ids=["box", "discrete"])
def test_students_come_to_act_like_the_teacher(env: Environment, mesh: Any) -> None:
    learner = dataclasses.replace(MATCHING.learner, num_pairs=4, start_scale=1.0, policy=MLP(width=32, depth=1))
    algorithm = dataclasses.replace(
        MATCHING, environment=env, teacher=to_the_goal(env), learner=learner, num_steps=16, learning_rate=0.03
    )
    _, metrics = searched(algorithm, 30, mesh)
    first, last = metrics["match/loss"][0], metrics["match/loss"][-5:].mean()
    assert last < 0.4 * first
    assert metrics["match/dropped"].tolist() == [0.0] * 30
    assert metrics["env_steps"].tolist() == [128] * 30


def test_students_come_to_give_the_labels_of_examples(mesh: Any) -> None:
    algorithm = dataclasses.replace(
        MATCHING, environment=Labelled(), teacher=None, learner=LABELS, num_envs=64, num_steps=4, learning_rate=0.1
    )
    state, metrics = searched(algorithm, 20, mesh)
    assert metrics["match/loss"][-3:].mean() < 0.3 * metrics["match/loss"][0]
    assert metrics["fitness/mean"][:2].mean() < 20 < 30 < metrics["fitness/mean"][-5:].mean(), "percent of right labels"
    assert (algorithm.label, algorithm.teachers) == ("HaDES-R by gradient from labels", ())
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(state.genome))


def test_a_label_is_matched_by_the_cross_entropy() -> None:
    students = Stacked(Categorical(jnp.array([[[1.0, 2.0, 0.5]]])))
    targets = dataclasses.replace(MATCHING, environment=Labelled(), teacher=None, learner=LABELS)._targets(
        jnp.zeros((1, 1)), jnp.array([[3]])
    )
    assert targets.shape == (1, 1, 10)
    np.testing.assert_allclose(
        mismatch(students, targets[..., 2:5]), -jax.nn.log_softmax(jnp.array([1.0, 2.0, 0.5]))[1], rtol=1e-6
    )


def test_the_mismatch_is_zero_where_both_act_alike() -> None:
    students = Stacked(Categorical(jnp.array([[[1.0, 2.0, 0.5]]])))
    np.testing.assert_allclose(mismatch(students, students.parts.log_probs()), 0.0, atol=1e-6)
    even = jnp.log(jnp.full((1, 1, 3), 1 / 3))
    probabilities = jax.nn.softmax(students.parts.logits)
    expected = (jnp.exp(even) * (even - jnp.log(probabilities))).sum()
    np.testing.assert_allclose(mismatch(students, even), expected, rtol=1e-5)


def test_the_teacher_acts_in_its_share_of_every_students_environments(mesh: Any) -> None:
    """The returns that are shown are those of the students."""
    algorithm = dataclasses.replace(MATCHING, num_steps=12, teacher_share=0.5)
    returns = searched(algorithm, 1, mesh)[0].last_returns
    np.testing.assert_array_equal(jnp.isfinite(returns), [False, False, True, True] * 2)


def test_updates_that_are_not_finite_are_dropped_and_counted(mesh: Any) -> None:
    algorithm = dataclasses.replace(
        MATCHING, optimizer="sgd", optimizer_options=(), learning_rate=1e38, max_grad_norm=1e38
    )
    state, metrics = searched(algorithm, 3, mesh)
    assert metrics["match/dropped"][-1] == 1.0
    assert int(state.failures) >= 1
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(state.genome))


def experiment(generations: int = 6) -> Experiment:
    algorithm = dataclasses.replace(MATCHING, normalizer=RunningNormalizer(episodes=2))
    return tiny_experiment(algorithm=algorithm, generations=generations, eval_every=2, checkpoint_every=3)


def test_a_resumed_run_is_the_uninterrupted_one_and_names_its_teacher(tmp_path: Path) -> None:
    run(experiment(), tmp_path / "whole", progress=False)
    run(experiment(4), tmp_path / "parts", progress=False)
    result = run(experiment(), tmp_path / "parts", progress=False)
    assert_same_run(tmp_path / "whole", tmp_path / "parts")
    details = json.loads((tmp_path / "parts" / "result.json").read_text())
    record = {"source": "a test", "method": "PPO", "env_steps": 640}
    assert (details["method"], details["teachers"]) == ("HaDES-R matching a teacher", [record])
    assert details["env_steps"]["search"] == 6 * 8 * 3, "the teacher's steps are apart"
    dataset = result.dataset
    assert dataset is not None
    assert (dataset.method, dataset.metadata["training"]["teachers"]) == (details["method"], [record])
    assert [r.source for r in pairs_of(dataset, "a file").teachers] == ["a test"], "who starts from it owes it too"
    page = write_report(tmp_path / "parts").read_text()
    assert "HaDES-R matching a teacher on point" in page
    assert "Not from nothing" in page
    assert "640" in page


def test_a_plan_counts_its_steps() -> None:
    text = "\n".join(algorithm_lines(MATCHING, 10))
    assert "24 an iteration, 240 in 10 iterations; 4 updates" in text
    assert "cloning" in text


@pytest.mark.system
def test_eight_devices_learn_as_one(mesh: Any) -> None:
    code = """
import jax, json
from tests.algorithms.test_teacher_matching import EIGHT, searched
mesh = jax.make_mesh((8,), ("population",), axis_types=(jax.sharding.AxisType.Auto,))
print(json.dumps([float(x) for x in searched(EIGHT, 4, mesh)[1]["match/loss"]]))
"""
    eight = run_python(code, JAX_NUM_CPU_DEVICES="8")
    np.testing.assert_allclose(eight, searched(EIGHT, 4, mesh)[1]["match/loss"], rtol=1e-3)


ADAM = BehaviourCloning(policy=SMALL, init_scheme=RandomInit(2), loss=MSE(), num_pairs=3, start="gaussian")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"teacher": to_the_goal(Point(discrete=True))}, "environment of the teacher from a test is point-discrete"),
        ({"learner": Identity(policy=SMALL)}, "Identity has no dataset to search for by gradient"),
        ({"learner": ADAM}, 'optimizer is "adam", which takes a square root'),
        ({"learner": dataclasses.replace(RIDGE, start="zeros")}, 'start is "zeros"'),
        ({"num_envs": 9, "num_steps": 4}, r"TeacherMatching\.num_envs is 9, which the 2 initial policies"),
        ({"normalizer": RestartingNormalizer()}, "statistics restart with every evaluation"),
        ({"teacher": None}, "teacher is None, but point has no labels to match"),
        ({"teacher_share": 1.5}, r"TeacherMatching\.teacher_share is 1\.5"),
    ],
)
def test_what_cannot_work_is_refused_by_name(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        dataclasses.replace(MATCHING, **changes)


def test_devices_that_cannot_share_the_policies_are_refused() -> None:
    assert MATCHING.environments == (POINT,)
    with pytest.raises(ConfigError, match="The 2 initial policies of an iteration are not divisible by 4 devices"):
        MATCHING.check_devices(4)
