"""`hades`: its commands, what it imports, and what a shell completes."""

import json
import re
import subprocess
import sys
import tomllib
import types
from pathlib import Path

import pytest

from hades.commands import command_line, completion
from hades.data import zoo
from hades.runs.shipped import config_names
from launch import cli
from tests.support import ROOT, run_python

SCRIPTS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]

LIGHT = """
import contextlib, io, json, sys
from launch import cli
said = io.StringIO()
with contextlib.redirect_stdout(said):
    for words in (["help"], ["--version"], ["list", "zoo"], ["list", "configs", "--json"], ["completion", "bash"],
                  ["show", "cartpole-hades-r-d2"]):
        assert cli.main(words) == 0
slow = {"jax", "jaxlib", "numpy", "gin", "brax", "gymnax", "evosax", "mujoco", "flax", "optax", "matplotlib"}
print(json.dumps([len(said.getvalue()), sorted(slow & {name.partition(".")[0] for name in sys.modules})]))
"""

PROGRAMS = """
import importlib, io, json, sys
from absl import app, flags
from hades.commands import command_line, completion
from launch import cli
found = {}
for command, (module, _) in cli.PROGRAMS.items():
    for flag in list(flags.FLAGS):  # the programs share names of flags, and absl has one table a process
        delattr(flags.FLAGS, flag)
    if "hades.machines.process_flags" in sys.modules:
        importlib.reload(sys.modules["hades.machines.process_flags"])
    program = importlib.import_module(f"launch.{module}")
    command_line.define_json()
    own = command_line.own_flags(program.__name__)
    words = [w for f in own for w in ([f"--{f.name}", f"--no{f.name}"] if f.boolean else [f"--{f.name}="])]
    if command == "sweep":
        flags.FLAGS(["sweep", "--config=smoke", "--workdir=w", "--seed=1", "--seeds=0,1"])
        try:
            program.main()
        except app.UsageError as error:
            refused = str(error)
    found[command] = [words, completion.flags_in(open(program.__file__).read()), command_line.help_text("", own)]
print(json.dumps([found, refused]))
"""


@pytest.mark.system
def test_what_needs_no_library_imports_none() -> None:
    length, slow = run_python(LIGHT)
    assert length > 10_000
    assert slow == []


@pytest.mark.system
def test_every_program_is_completed_with_its_own_flags_and_explains_each_in_a_line() -> None:
    found, refused = run_python(PROGRAMS)
    assert refused == "give --seed for one seed or --seeds for several"
    assert set(found) == set(cli.PROGRAMS)
    for command, (own, completed, text) in found.items():
        assert sorted({*own, "--help"} - {"--nojson"}) == sorted(set(completed)), command
        lines = text.strip().splitlines()[1:-2]
        assert all(line.startswith("  --") and len(line) <= 140 for line in lines), text
        assert len(lines) < 40


def test_every_program_is_a_command_and_a_console_script() -> None:
    modules = {script.removeprefix("hades.launch.").removesuffix(":run") for script in SCRIPTS.values()}
    assert modules == {"cli", *(module for module, _ in cli.PROGRAMS.values())}
    assert {f"{path.stem}" for path in (ROOT / "launch").glob("*.py")} - {"__init__"} == modules


@pytest.mark.parametrize("module", [module for module, _ in cli.PROGRAMS.values()])
def test_every_program_has_a_result_for_json(module: str) -> None:
    assert "give_result(" in (ROOT / "launch" / f"{module}.py").read_text()


def test_the_documented_tables_hold_every_command() -> None:
    page = (ROOT / "docs/commands.md").read_text()
    assert re.findall(r"^\| `hades ([\w-]+)` ", page, re.MULTILINE) == [*cli.PROGRAMS, *cli.OTHERS]


def test_help_has_a_line_for_each_command(capsys: pytest.CaptureFixture[str]) -> None:
    for words in ([], ["help"], ["--help"]):
        assert cli.main(words) == 0
        listed = capsys.readouterr().out.split("commands:\n")[1].split("\n\n")[0].splitlines()
        assert [line.split()[0] for line in listed] == [*cli.PROGRAMS, *cli.OTHERS]
        assert all(len(line) <= 110 for line in listed)


@pytest.mark.parametrize("words", [["list"], ["list", "--help"], ["show"], ["completion"]])
def test_a_command_without_a_word_says_what_it_takes(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(words) == 0
    assert capsys.readouterr().out.startswith(f"hades {words[0]} ")


def test_lists_and_cards_are_json_where_asked(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["list", "zoo", "--json"]) == 0
    assert [row["name"] for row in json.loads(capsys.readouterr().out)] == list(zoo.names())
    assert cli.main(["--json", "show", "cartpole-hades-r-d2"]) == 2
    capsys.readouterr()
    assert cli.main(["show", "cartpole-hades-r-d2", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == zoo.card("cartpole-hades-r-d2")
    assert cli.main(["list", "zoo"]) == 0
    head, *lines = capsys.readouterr().out.splitlines()
    assert head.split() == ["name", "environment", "method", "pairs", "return"]
    assert [line.split()[0] for line in lines] == list(zoo.names())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["trian"], 'There is no command "trian". Did you mean "train"?'),
        (["inspect-dataset"], 'Did you mean "inspect"?'),
        (["list", "confgs"], 'hades list does not take "confgs". Did you mean "configs"?'),
        (["completion", "zhs"], 'Did you mean "zsh"?'),
        (["list", "zoo", "configs"], "hades list takes one word, not zoo configs."),
    ],
)
def test_a_mistake_is_answered_with_the_nearest_word(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(words) == 2
    captured = capsys.readouterr()
    assert said in captured.err
    assert captured.out == ""


@pytest.mark.parametrize(
    ("words", "started"),
    [(["train", "--config=smoke"], ["--config=smoke"]), (["help", "train"], ["--help"])],
)
def test_a_command_starts_the_program(words: list[str], started: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    class Started(Exception):
        pass

    def start(*arguments: object) -> None:
        raise Started(*arguments, sys.argv)

    program = types.ModuleType("launch.train")
    program.main = lambda: 0  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "launch.train", program)
    monkeypatch.setattr(command_line, "start", start)
    monkeypatch.setattr(cli, "prepare", lambda: None)
    monkeypatch.setattr(sys, "argv", ["/bin/hades", *words])
    with pytest.raises(Started) as found:
        cli.run()
    assert found.value.args == ("launch.train", program.main, "train", ["/bin/hades", "train", *started])  # type: ignore[attr-defined]


def test_an_error_ends_the_command_with_its_text(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cli, "prepare", lambda: None)
    monkeypatch.setattr(sys, "argv", ["/bin/hades", "show", "nothing-of-this-name"])
    with pytest.raises(SystemExit, match="1"):
        cli.run()
    assert 'hades: Nothing is called "nothing-of-this-name"' in capsys.readouterr().err


COMPLETE = """
source "$1"
complete_words() {
    shift
    COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
    _hades
    printf '%s\n' "${COMPREPLY[@]}"
}
complete_words "$@"
"""


@pytest.fixture(scope="module")
def bash_script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("completion") / "hades.sh"
    flags = {"train": ["--config=", "--workdir=", "--progress"], "evaluate": ["--dataset="], "export": ["--output="]}
    path.write_text(completion.script("bash", flags, ["list", "help"], ["configs", "zoo"]))
    return path


CARTPOLE = [name for name in config_names() if name.startswith("cart")]


@pytest.mark.system
@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("hades tr", ["train"]),
        ("hades help tr", ["train"]),
        ("hades list ", ["configs", "zoo", "--json"]),
        ("hades train --con", ["--config="]),
        ("hades train --config = cart", CARTPOLE),  # as bash cuts words
        ("hades train --config=cart", [f"--config={name}" for name in CARTPOLE]),  # as zsh does
        ("hades train --config cart", CARTPOLE),
        ("/usr/bin/hades-train --config = cart", CARTPOLE),
        ("hades evaluate --dataset = mountain-car-hades-r", ["mountain-car-hades-r-d3"]),
        ("hades show mountain-car-hades-r", ["mountain-car-hades-r-d3"]),
        ("hades show SN", ["SNES"]),
        ("hades-export-dataset --o", ["--output="]),
        ("hades train --workdir = runs", []),  # files, by the shell
    ],
)
def test_bash_completes(words: str, expected: list[str], bash_script: Path) -> None:
    command = ["bash", "--norc", "-c", COMPLETE, "bash", str(bash_script), *words.split(" ")]
    done = subprocess.run(command, capture_output=True, text=True)
    ended = [word if word.endswith("=") else f"{word} " for word in expected]  # a value follows at once
    assert (done.stdout.splitlines(), done.stderr) == (ended or [""], "")


def test_zsh_gets_the_same_script_behind_its_emulation() -> None:
    of_bash, of_zsh = (completion.script(shell, {"train": ["--config="]}, [], []) for shell in completion.SHELLS)
    assert of_zsh == f"{completion._EMULATION}{of_bash}"
