"""gin: strict, layered, and errors that answer with what is known."""

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest

from hades.errors import ConfigError
from hades.outer.open_es import OpenES
from hades.outer.snes import SNES
from hades.runs.gin_config import load_experiment, operative_config
from hades.runs.shipped import config_names, find_config

WRONG = {
    "BehaviourCloning.num_points = 4": 'BehaviourCloning has no field "num_points".*It is called num_pairs now',
    "SNES.sigmaa = 3": 'SNES has no field "sigmaa".*Did you mean "sigma"',
    "SNESS.sigma = 1": 'nothing is called "SNESS".*Did you mean "SNES"',
    "Evolution.outer = @Snes()": 'nothing is called "Snes".*Did you mean "SNES"',
    "Experiment.generations = 0": r"Experiment\.generations is 0, but no stage runs first: use at least 1",
    "MLP.width = %WIDTH": "the macro %WIDTH is used but never set",
    "Evolution.outer = @Evosax()": "Evosax.strategy is required but not set",
    "BehaviourCloning.loss = @MSE()": "MSE is a loss for Box actions, but point-discrete.*Use CrossEntropy",
    "SNES.sigma = 'a'": "SNES.sigma is 'a'; it must be a number",
    "SNES.population_size = 2.5": "SNES.population_size is 2.5; it must be an integer",
    "import nothing_here": "No module named 'nothing_here'",
    "include 'nofile.gin'": 'mine.gin includes "nofile.gin", which is neither in .* nor in .*configs/gin',
    f"include '{'a' * 300}'": "which is neither in",
    "include 'snes.gin'": "The nearest names: .*outer/snes.gin",
    "SNES.sigma = ": r"Unable to parse value.* Lines are as in SNES\.sigma = 0\.3",
    "SNES.sigma = -1": r"^SNES\.sigma is -1; it must be above 0\.$",
    "SNES.lr = 1": 'Did you mean "learning_rate"',
    "MLP.widht = 3": 'MLP has no field "widht". Did you mean "width"',
    "BehaviourCloning.lr = 1": "mirrored.$",
    "Evolution.outer = @CMAES()": r"Evosax\.strategy = 'CMA_ES' and .*outer = @Evosax.* Known: Evosax, OpenES, SNES\.$",
    "Evolution.environment = @CartPole-v1()": r"Did you mean Gymnax\.env_id = 'CartPole-v1' and Evol.*ment = @Gymnax",
    "a/Evolution.normalizer = @Norm()": "Known: ConstantNormalizer, NoNormalizer, .*, normalizer_from_file.$",
    "BehaviourCloning.start_pairs = @pairs()": r"Known: StartPairs, TeacherStates, pairs_from_dataset\.$",
    "Evolution.outer.sigma = 1": r"Fields of a component are set by its own name: Evosax or OpenES or SNES\.$",
    "BehaviourCloning.optimizer = @adam()": r"BehaviourCloning\.optimizer takes no component\. Write 'adam' in quotes",
    "Evolution.outer = snes": r"snes is no value\. Write @SNES\(\)\.$",
    "MLP.activation = relu": r"relu is no value\. Write 'relu' in quotes\.$",
}


IDLE = {
    "OpenES.sigma = 0.9": r"OpenES\.sigma is bound, but this run does not use OpenES: its Evolution\.outer is SNES\. "
    r"Bind SNES\.sigma, or Evolution\.outer = @OpenES\(\) too\.$",
    "OpenES.shaping = 'raw'": r"Bind Evolution\.outer = @OpenES\(\) too\.$",
    "PPO.environment = @Point()": r"its Experiment\.algorithm is Evolution\. Bind Evolution\.environment, or",
    "LowRankNoise.rank = 2": r"its SNES\.noise is the default StoredNoise\(\)\.",
    "pairs_from_dataset.path = 'x'": r"its BehaviourCloning\.start_pairs is None\. Bind .*@pairs_from_dataset\(\)",
    "normalizer_from_file.path = 'x'": r"its Evolution\.normalizer is NoNormalizer\.",
    "teacher_from.path = 'x'": r"does not use teacher_from, nor any other Teacher\. Leave the line out\.$",
    "wide/MLP.width = 3": r"no MLP of this run takes its width from there\. Bind MLP\.width\.$",
    "sigma = 0.3": r"nothing in this run uses %sigma\. Did you mean SNES\.sigma\?$",
    "WIDTH = 3": r"nothing in this run uses %WIDTH\. Leave the line out\.$",
    "OpenES:\n  sigma = 0.9\n": "its Evolution.outer is SNES",
}


@pytest.mark.parametrize("binding", IDLE)
def test_a_line_that_decides_nothing_is_refused_with_what_stands_in_its_place(binding: str) -> None:
    with pytest.raises(ConfigError, match=IDLE[binding]):
        load_experiment("smoke", ["SNES.sigma = 0.25", binding])


@pytest.mark.parametrize(
    "lines",
    [
        ["Evolution.outer = @OpenES()", "OpenES.sigma = 0.9"],
        ["WIDTH = 3", "MLP.width = %WIDTH"],
        ["wide/MLP.width = 3", "BehaviourCloning.policy = @wide/MLP()"],
        ["MLP.width = 3", "BehaviourCloning.policy = @wide/MLP()"],
        ["a/MLP.width = 3", "BehaviourCloning.policy = @a/b/MLP()"],
        ["hades.OuterOptimizer.SNES.sigma = 0.1"],
    ],
)
def test_a_line_that_decides_something_is_none_of_these(lines: list[str]) -> None:
    load_experiment("smoke", lines)


def test_a_line_that_others_outweigh_everywhere_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "own.gin"
    path.write_text(
        "include 'runs/smoke.gin'\nBehaviourCloning.policy = @own/MLP()\nown/MLP.width = 3\nOpenES.sigma = 0.9\n"
    )
    assert load_experiment(str(path)), "lines of files may be for other runs"
    with pytest.raises(ConfigError, match=r"no MLP .* takes its width from there\. Bind own/MLP\.width"):
        load_experiment(str(path), ["MLP.width = 5"])


@pytest.fixture
def config(tmp_path: Path) -> str:
    """A run file of one's own, with an include from the package."""
    path = tmp_path / "mine.gin"
    text = "include 'runs/smoke.gin'\nPoint.discrete = True\nBehaviourCloning.loss = @CrossEntropy()\n"
    path.write_text(text)
    return str(path)


@pytest.mark.parametrize("binding", WRONG)
def test_what_is_wrong_is_named(binding: str, config: str) -> None:
    with pytest.raises(ConfigError, match=WRONG[binding]) as caught:
        load_experiment(config, [binding])
    assert "\n" not in str(caught.value)
    assert "Traceback" not in str(caught.value)


def test_one_string_instead_of_a_list_of_lines_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"bindings is one string, 'SNES.sigma = 1'; give a list"):
        load_experiment("smoke", "SNES.sigma = 1")


def test_a_component_is_swapped_by_one_line(config: str) -> None:
    assert isinstance(load_experiment(config).algorithm.outer, SNES)  # type: ignore[attr-defined]
    swapped = load_experiment(config, ["Evolution.outer = @OpenES()"])
    assert isinstance(swapped.algorithm.outer, OpenES)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "name", ["smoke", "cartpole_acrobot_hades_r", "cartpole_es", "cartpole_ppo", "hopper_gradient_r_visited"]
)
def test_the_operative_config_is_the_run_with_every_field_of_it(name: str, tmp_path: Path) -> None:
    experiment = load_experiment(name, ["Experiment.seed = 25"])
    path = tmp_path / "operative.gin"
    path.write_text(operative_config())
    assert load_experiment(str(path)) == experiment
    bound = {key.rpartition("/")[2] for key in re.findall(r"^(\S+) =", path.read_text(), re.MULTILINE)}
    assert fields_of(experiment) - bound == set()


def fields_of(component: Any) -> set[str]:
    """SNES.sigma and the like: every field of a component and of those in it."""
    if isinstance(component, tuple):
        return set().union(*map(fields_of, component))
    if not dataclasses.is_dataclass(component):
        return set()
    values = {field.name: getattr(component, field.name) for field in dataclasses.fields(component)}
    return {f"{type(component).__name__}.{name}" for name in values}.union(*map(fields_of, values.values()))


def test_defaults_are_marked_in_the_operative_config() -> None:
    load_experiment("smoke", ["SNES.sigma = 0.25", "MLP.activation = 'tanh'"])
    lines = operative_config().splitlines()
    assert "SNES.sigma = 0.25" in lines
    assert "SNES.temperature = 0.0  # default" in lines
    assert "SNES.noise = @StoredNoise()  # default" in lines
    assert "MLP.activation = 'tanh'" in lines, "a line that repeats the default is a line"


def test_bindings_do_not_leak_into_the_next_config(config: str) -> None:
    load_experiment(config, ["SNES.sigma = 0.25"])
    assert load_experiment(config).algorithm.outer.sigma == 0.5  # type: ignore[attr-defined]


def test_an_unknown_config_is_answered_with_the_five_nearest_and_where_the_list_is() -> None:
    nearest = "cartpole_hades_r, cartpole_hades_f, cartpole_pixels_hades_r, cartpole_nested_hades_r, cartpole_es"
    with pytest.raises(ConfigError, match=f'"cartpol_hades_r". The nearest names: {nearest}. `hades list configs`'):
        find_config("cartpol_hades_r")
    with pytest.raises(ConfigError, match="There is no config"):
        find_config("a" * 300)
    assert "smoke" in config_names()


def test_an_include_is_found_beside_a_folder_of_its_name(
    config: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "runs").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    assert load_experiment(config).generations == 10


def test_a_shipped_config_reads_nothing_of_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shipped = load_experiment("smoke")
    monkeypatch.chdir(tmp_path)
    for name in ("base.gin", "outer/snes.gin", "runs/smoke.gin", "smoke"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("SNES.sigma = 99.0\n")
    assert load_experiment("smoke") == shipped


def test_an_include_is_looked_up_beside_its_file_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inner = tmp_path / "one" / "two"
    inner.mkdir(parents=True)
    (tmp_path / "one" / "mine.gin").write_text("include 'two/first.gin'\ninclude 'common.gin'\n")
    (inner / "first.gin").write_text("include 'runs/smoke.gin'\ninclude 'common.gin'\nExperiment.eval_inits = 7\n")
    (inner / "common.gin").write_text("Experiment.seed = 3\nExperiment.eval_inits = 3\n")
    (tmp_path / "one" / "common.gin").write_text("Experiment.report_inits = 5\n")
    (tmp_path / "common.gin").write_text("Experiment.seed = 99\n")
    monkeypatch.chdir(tmp_path)
    one = load_experiment("one/mine.gin")
    assert (one.seed, one.eval_inits, one.report_inits) == (3, 7, 5)
    binding = f"include '{tmp_path / 'common.gin'}'"
    assert load_experiment("one/mine.gin", [binding]).seed == 99, "a whole path is taken as it is"
    assert load_experiment("one/mine.gin", ["include 'common.gin'"]).seed == 3, "bindings are the config's last lines"


def test_a_config_that_includes_itself_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.gin").write_text("include 'b.gin'\n")
    (tmp_path / "b.gin").write_text(f"include '../{tmp_path.name}/a.gin'\n")
    with pytest.raises(ConfigError, match=r"a\.gin includes itself"):
        load_experiment(str(tmp_path / "a.gin"))


def test_modules_that_a_foreign_config_imports_are_named_before_they_run(
    config: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "speaks_at_import.py").write_text("import sys\nprint('running', file=sys.stderr)\n")
    (tmp_path / "below.gin").write_text("import speaks_at_import\nimport json\n")
    monkeypatch.syspath_prepend(tmp_path)
    load_experiment(config, ["include 'below.gin'", "import zlib"])
    said = capsys.readouterr().err
    assert "hades: --gin_bindings imports zlib." in said
    assert f"hades: {tmp_path / 'below.gin'} imports speaks_at_import, json." in said
    assert said.index("imports speaks_at_import") < said.index("running")
    load_experiment("smoke")
    assert not capsys.readouterr().err, "nothing is said of shipped configs"


def test_a_very_long_value_is_refused_before_the_test_times_out() -> None:
    with pytest.raises(ConfigError) as caught:
        load_experiment("smoke", [f"EpisodicReturn.num_episodes = {'9' * 10**6}"])
    assert len(str(caught.value)) < 4000
