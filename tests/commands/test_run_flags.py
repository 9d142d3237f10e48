"""Flags that stand for gin lines."""

import pytest
from absl import flags

from hades.commands.run_flags import RunFlags
from hades.errors import ConfigError
from hades.runs.gin_config import load_experiment, setting_lines, stage_shares
from hades.runs.stages import stages

STAGED = "hopper_gradient_r"


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> RunFlags:
    """The flags in a table of their own."""
    table = flags.FlagValues()
    for name in ("DEFINE_string", "DEFINE_multi_string", "DEFINE_integer", "DEFINE_float"):
        define = getattr(flags, name)
        monkeypatch.setattr(flags, name, lambda *args, define=define, **kw: define(*args, flag_values=table, **kw))
    run = RunFlags()
    run.parse = lambda *words: table(["program", *words])  # type: ignore[attr-defined]
    return run


def test_flags_are_the_gin_lines_of_a_run_of_one_stage(run: RunFlags) -> None:
    run.parse("--config=smoke", "--gin_bindings=SNES.sigma = 0.3", "--seed=7", "--generations=3", "--max_seconds=2.5")
    lines = run.bindings()
    assert lines[0] == "SNES.sigma = 0.3"
    assert set(lines[1:]) == {
        "Experiment.seed = 7",
        "Experiment.generations = 3",
        "Experiment.max_seconds = 2.5",
    }
    experiment = load_experiment("smoke", lines)
    assert (experiment.seed, experiment.generations, experiment.max_seconds) == (7, 3, 2.5)


def test_the_stages_of_a_run_share_its_limits_by_their_generations(run: RunFlags) -> None:
    run.parse(f"--config={STAGED}", "--seed=7", "--generations=217", "--max_seconds=217", "--max_env_steps=2.17e6")
    wide, features, last = stages(load_experiment(STAGED, run.bindings()))
    assert [stage.seed for stage in (wide, features, last)] == [7, 7, 7]
    assert [stage.generations for stage in (wide, features, last)] == [97, 120, 0]
    assert [stage.max_seconds for stage in (wide, features, last)] == [97.0, 217.0, 217.0]
    assert [stage.max_env_steps for stage in (wide, features, last)] == [970_000, 2_170_000, 2_170_000]


def test_a_limit_of_one_stage_in_the_config_does_not_outlast_the_flag(run: RunFlags) -> None:
    own = "wide/Experiment.max_seconds = 1000"
    run.parse(f"--config={STAGED}", f"--gin_bindings={own}", "--max_seconds=217")
    assert stages(load_experiment(STAGED, run.bindings()))[0].max_seconds == 97.0


def test_every_stage_that_searches_keeps_a_generation() -> None:
    lines = setting_lines({"a/": 0.01, "b/": 1.0, "": 0.0}, {"generations": 2})
    assert lines == ["a/Experiment.generations = 1", "b/Experiment.generations = 2"]


def test_without_the_flags_nothing_is_added_and_no_config_is_read(run: RunFlags) -> None:
    run.parse("--gin_bindings=SNES.sigma = 0.3")
    assert run.config is None
    assert run.bindings() == ["SNES.sigma = 0.3"]


@pytest.mark.parametrize("value", ["inf", "nan"])
@pytest.mark.parametrize("name", ["max_seconds", "max_env_steps"])
def test_a_limit_is_a_number(run: RunFlags, name: str, value: str) -> None:
    run.parse("--config=smoke", f"--{name}={value}")
    with pytest.raises(ConfigError, match=f"--{name} is {value}"):
        run.bindings()


def test_stages_have_shares_of_the_generations() -> None:
    assert stage_shares("smoke") == {"": 1.0}
    assert stage_shares(STAGED) == {"wide/": 970 / 2170, "features/": 1.0, "": 0.0}
