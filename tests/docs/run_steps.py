"""Run documented commands and snippets in one fresh process, which is what makes many of them affordable.

Reads a JSON list of steps from the standard input and prints a JSON list of what became of them. A step is either
`{"command": [program, argument, ...], "only_parse": bool}`, run by the program's `main` with flags parsed by the
program itself, or `{"page": name, "blocks": [[line, code], ...]}`, executed in turn in one namespace. Works in the
current folder.
"""

import contextlib
import importlib
import io
import json
import sys
import time
import traceback
from typing import Any

from absl import flags

from hades.commands.command_line import define_json
from hades.costs import plan
from launch import cli

SHARED_FLAGS = "hades.machines.process_flags"
"""The module that defines flags for several programs."""


def main() -> None:
    # Every documented dry run would compile its search; tests/costs/test_plan.py compiles some and compares them.
    plan._generation_bytes = lambda *_: 0
    print(json.dumps([_outcome(step) for step in json.load(sys.stdin)]))


def _outcome(step: dict[str, Any]) -> dict[str, Any]:
    output, began, failure = io.StringIO(), time.process_time(), ""
    try:
        with contextlib.redirect_stdout(output):
            if "command" in step:
                _run_command(step["only_parse"], *step["command"])
            else:
                _run_blocks(step["page"], step["blocks"])
    except BaseException:
        failure = traceback.format_exc()
    return {"output": output.getvalue(), "failure": failure, "cpu_seconds": round(time.process_time() - began, 1)}


def _run_command(only_parse: bool, program: str, *arguments: str) -> None:
    if program == "hades":  # a command that is no program
        if status := cli.main(arguments):
            raise RuntimeError(f"status {status}")
        return
    for flag in list(flags.FLAGS):  # the programs share names of flags, and absl has one table a process
        delattr(flags.FLAGS, flag)
    if SHARED_FLAGS in sys.modules:
        importlib.reload(sys.modules[SHARED_FLAGS])
    name = "launch." + program.removeprefix("hades-").replace("-", "_")
    if name == "launch.inspect":  # launch/inspect.py would hide Python's own module from every program beside it
        name = "launch.inspect_dataset"
    loaded = sys.modules.get(name)
    module: Any = importlib.reload(loaded) if loaded else importlib.import_module(name)
    define_json()
    rest = flags.FLAGS([program, *arguments])[1:]
    status = print("parsed") if only_parse else module.main()
    if status or rest:
        raise RuntimeError(f"status {status}, arguments not understood: {rest}")


def _run_blocks(page: str, blocks: list[tuple[int, str]]) -> None:
    names: dict[str, Any] = {}
    for line, code in blocks:
        exec(compile("\n" * line + code, page, "exec"), names)  # so that a traceback names the line of the page


if __name__ == "__main__":
    main()
