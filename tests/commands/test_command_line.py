"""What programs share."""

import json
import logging
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from absl import app, flags
from absl import logging as absl_logging

from hades.commands import command_line
from hades.commands.command_line import help_text, import_modules, mistake_text
from hades.errors import ConfigError
from hades.runs.jax_internals import BACKEND_LOGGER


def test_modules_of_a_flag_are_named_before_they_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "of_a_flag.py").write_text("import sys\nprint('running', file=sys.stderr)\n")
    monkeypatch.syspath_prepend(tmp_path)
    import_modules(["of_a_flag"])
    said = capsys.readouterr().err
    assert said.startswith("hades: --import_module imports of_a_flag.")
    assert said.endswith("running\n")
    import_modules([])
    assert not capsys.readouterr().err


@pytest.mark.parametrize("name", ["absent_module", "absent.module", ""])
def test_a_module_that_cannot_be_imported_is_named(name: str) -> None:
    with pytest.raises(ConfigError, match=f"--import_module={name} cannot be imported"):
        import_modules([name])


@pytest.fixture
def own() -> list[flags.Flag[Any]]:
    """The flags of some program."""
    table = flags.FlagValues()
    flags.DEFINE_string("config", None, "A config.", flag_values=table)
    flags.DEFINE_multi_string("gin_bindings", [], "A gin line; repeatable.", flag_values=table)
    flags.DEFINE_integer("seed", 3, "A seed.", flag_values=table)
    flags.DEFINE_bool("progress", True, "Show progress.", flag_values=table)
    return [table[name] for name in ("config", "gin_bindings", "seed", "progress")]


def test_help_has_one_line_a_flag(own: list[flags.Flag[Any]]) -> None:
    assert help_text("What it does.\n", own).splitlines() == [
        "What it does.",
        "",
        "flags:",
        "  --config        A config.",
        "  --gin_bindings  A gin line; repeatable.",
        "  --seed          A seed. (default: 3)",
        "  --[no]progress  Show progress. (default: on)",
        "",
        "--helpfull also lists the flags of absl and libraries.",
    ]


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("--sed=1", "--sed is no flag of hades train. Did you mean --seed?\n  --seed  A seed. (default: 3)\n"),
        ("--noprogres", "--noprogres is no flag of hades train. Did you mean --noprogress?\n"),
        ("--SNES.sigma=0.3", "Write --gin_bindings='SNES.sigma = 0.3'.\n  --gin_bindings  A gin line; repeatable.\n"),
        ("--patience", "Write --gin_bindings='Experiment.patience = VALUE'.\n"),
        ("--xyz", "--xyz is no flag of hades train.\n`hades train --help` lists the flags."),
    ],
)
def test_an_unknown_flag_is_answered_with_what_to_write(own: list[flags.Flag[Any]], word: str, said: str) -> None:
    name, _, _ = word.removeprefix("--").partition("=")
    text = mistake_text(flags.UnrecognizedFlagError(name, word), own, "hades train")
    assert said in text
    assert text.endswith("`hades train --help` lists the flags.")
    assert len(text.splitlines()) <= 4


def test_a_missing_flag_is_answered_with_its_own_line(own: list[flags.Flag[Any]]) -> None:
    text = mistake_text(app.UsageError("give --config"), own, "hades-train")
    assert text == "\nhades: give --config.\n  --config  A config.\n`hades-train --help` lists the flags."


class Ended(Exception):
    """What stands for the end of the process."""


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., int | None]]:
    """Starts a program with some words and returns its exit status; nothing of this process is changed for good."""

    def run_here(main: Callable[[list[str]], int | None], argv: list[str], flags_parser: Any) -> None:
        raise Ended(main(flags_parser(argv)))

    def start_here(main: Callable[[], int | None], *words: str) -> int | None:
        monkeypatch.setattr(sys, "argv", ["/bin/hades", "train", *words])
        with pytest.raises((Ended, SystemExit)) as ended:
            command_line.start(__name__, main, "train")
        status: int | None = ended.value.args[0]
        return status

    for name in ("interrupt_once", "enable_compilation_cache", "ignore_all"):
        monkeypatch.setattr(command_line, name, lambda: None)
    monkeypatch.setattr(command_line.terminal, "prepare", lambda: None)
    monkeypatch.setattr(command_line.app, "run", run_here)
    monkeypatch.setattr(command_line._Result, "value", None)
    monkeypatch.setattr(sys.modules["__main__"], "__doc__", "")
    loggers = [logging.getLogger(name) for name in (BACKEND_LOGGER, "asyncio")]
    levels, verbosity = [logger.level for logger in loggers], absl_logging.get_verbosity()
    yield start_here
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)
    absl_logging.set_verbosity(verbosity)
    flags.FLAGS.unparse_flags()
    delattr(flags.FLAGS, "json")


def finish() -> int:
    print("return: 1")
    command_line.give_result({"return": 1.0, "undefined": float("nan")})
    return 0


def test_json_is_alone_on_stdout(program: Callable[..., int | None], capsys: pytest.CaptureFixture[str]) -> None:
    assert program(finish, "--json") == 0
    said = capsys.readouterr()
    assert json.loads(said.out) == {"return": 1.0, "undefined": None}
    assert said.err == "return: 1\n"


def test_without_json_the_result_is_not_printed(
    program: Callable[..., int | None], capsys: pytest.CaptureFixture[str]
) -> None:
    assert program(finish) == 0
    assert capsys.readouterr().out == "return: 1\n"


def test_a_failure_leaves_stdout_empty_for_who_reads_json(
    program: Callable[..., int | None], capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> int:
        print("so far")
        raise ConfigError("It cannot run.")

    assert program(fail, "--json") == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert "hades: It cannot run." in said.err


@pytest.mark.parametrize("word", ["--help", "-h", "--helpshort", "--helpfull"])
def test_help_ends_with_status_0(
    program: Callable[..., int | None], word: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert program(finish, "--config=x", word) == 0
    said = capsys.readouterr()
    assert "Print the result as JSON" in said.out
    assert ("--verbosity" in said.out) == (word == "--helpfull")


@pytest.mark.parametrize("words", [["--unknown=1"], ["--json=maybe"], ["smoke"]])
def test_a_mistake_in_the_words_ends_with_status_2(
    program: Callable[..., int | None], words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert program(finish, *words) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.endswith("`hades train --help` lists the flags.\n")


def test_a_flag_that_main_misses_ends_with_status_2(program: Callable[..., int | None]) -> None:
    def misses() -> int:
        raise app.UsageError("give --config")

    assert program(misses) == 2
