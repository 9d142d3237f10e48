"""gin: strict, layered, and errors that answer with what is known."""

from pathlib import Path

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
    "SNES.sigma = ": "Unable to parse value",
}


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


def test_a_component_is_swapped_by_one_line(config: str) -> None:
    assert isinstance(load_experiment(config).algorithm.outer, SNES)  # type: ignore[attr-defined]
    swapped = load_experiment(config, ["Evolution.outer = @OpenES()"])
    assert isinstance(swapped.algorithm.outer, OpenES)  # type: ignore[attr-defined]


def test_the_operative_config_is_the_run(config: str, tmp_path: Path) -> None:
    experiment = load_experiment(config, ["SNES.sigma = 0.25"])
    path = tmp_path / "operative.gin"
    path.write_text(operative_config())
    assert load_experiment(str(path)) == experiment


def test_bindings_do_not_leak_into_the_next_config(config: str) -> None:
    load_experiment(config, ["SNES.sigma = 0.25"])
    assert load_experiment(config).algorithm.outer.sigma == 0.5  # type: ignore[attr-defined]


def test_an_unknown_config_is_answered_with_the_five_nearest_and_where_the_list_is() -> None:
    nearest = "cartpole_hades_r, cartpole_hades_f, cartpole_es, cartpole_acrobot_hades_r, ant_hades_r"
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
