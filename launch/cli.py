"""hades: every program under one name, and what there is to run.

hades train --config=cartpole_hades_r --workdir=runs/demo
hades list configs                  # or zoo, components, environments
hades show cartpole-hades-r-d2      # the card of a dataset; also a config, a component or a file
eval "$(hades completion bash)"     # or zsh: completes commands, flags and names
"""

import importlib
import sys
from collections.abc import Sequence
from pathlib import Path

import hades
from hades.commands import catalogue, completion
from hades.commands.terminal import prepare
from hades.errors import HadesError, nearest, notice, printable
from hades.runs.signals import FAILED, FINISHED, MISUSED
from hades.text import json_text

PROGRAMS = {
    "train": ("train", "Distil a dataset: start a run in a work directory, or continue it."),
    "evaluate": ("evaluate", "Train fresh policies from a dataset and measure what they earn."),
    "inspect": ("inspect_dataset", "Read a dataset: distances to visited states, and what each pair is worth."),
    "readable": ("readable", "Move pairs to states that policies visit, and draw the front of return over distance."),
    "generalize": ("generalize", "Train other networks by other recipes from datasets, and measure what they keep."),
    "multitask": ("multitask", "Merge datasets into policies that act in several tasks."),
    "compare": ("compare", "Compare methods: environments × methods × seeds under one budget."),
    "sweep-size": ("sweep_size", "Measure the return over the number of pairs."),
    "export": ("export_dataset", "Write the dataset of a run as one file, or print the header of a file."),
    "import-published": ("import_published", "Convert released pickles and npz files into dataset files."),
    "replicate": ("replicate", "Measure released datasets under the published protocol."),
    "benchmark": ("benchmark", "Time a generation and its parts."),
    "sweep": ("sweep", "Run seeds × gin lines, here or through a launcher."),
    "slurm": ("slurm", "Train on a Slurm cluster."),
    "tpu-pod": ("tpu_pod", "Train on Cloud TPU VMs."),
    "gke": ("gke", "Train on Google Kubernetes Engine."),
    "doctor": ("doctor", "Check the installation and the machine."),
}
"""The module of each program in this folder, and what the program does. A module called inspect would hide Python's own
from every program beside it."""
OTHERS: dict[str, tuple[tuple[str, ...], str]] = {
    "list": (tuple(catalogue.LISTS), f"List {', '.join(catalogue.LISTS)}."),
    "show": ((), "Show a dataset of the zoo, a dataset file, a config or a component."),
    "completion": (completion.SHELLS, f"Print a script that completes words in {' or '.join(completion.SHELLS)}."),
    "help": ((), "Show this, or the help of a command."),
}
"""The other subcommands: the words that they take, any where there are none, and what they do."""


def main(words: Sequence[str]) -> int:
    """Run a command that is no program of its own; returns its exit status."""
    command, *rest = words or ["help"]
    as_json = "--json" in rest
    rest = [word for word in rest if word != "--json"]
    if command in ("help", "--help", "-h"):
        return _print(help_text())
    if command == "--version":
        return _print(f"hades {hades.__version__}")
    if command not in OTHERS:
        return _misused(f'There is no command "{printable(command)}".', command, [*PROGRAMS, *OTHERS])
    choices, about = OTHERS[command]
    if not rest or "--help" in rest:
        return _print(f"hades {command} {'|'.join(choices) or 'NAME'}\n\n{about}")
    if len(rest) > 1:
        return _misused(f"hades {command} takes one word, not {printable(' '.join(rest))}.")
    name = rest[0]
    if choices and name not in choices:
        return _misused(f'hades {command} does not take "{printable(name)}".', name, choices)
    if command == "completion":
        sources = {one: Path(__file__).with_name(f"{module}.py").read_text() for one, (module, _) in PROGRAMS.items()}
        flags = {one: completion.flags_in(source) for one, source in sources.items()}
        return _print(completion.script(name, flags, tuple(OTHERS), tuple(catalogue.LISTS)))
    if command == "show":
        value, text = catalogue.show(name)
        return _print(json_text(value, indent=1) if as_json else text)
    rows = catalogue.LISTS[name]()
    return _print(json_text(rows, indent=1) if as_json else catalogue.rows_text(rows, head=True))


def help_text() -> str:
    """The text of `hades help`: a line for each command."""
    abouts = {name: about for table in (PROGRAMS, OTHERS) for name, (_, about) in table.items()}
    rows = catalogue.rows_text([{"command": f"  {name}", "about": about} for name, about in abouts.items()])
    return f"{(__doc__ or '').strip()}\n\ncommands:\n{rows}\n\n`hades help train` lists the flags of train."


def _print(text: str) -> int:
    print(text)
    return FINISHED


def _misused(text: str, name: str = "", known: Sequence[str] = ()) -> int:
    suggestion = f' Did you mean "{nearest(name, known)[0]}"?' if known else ""
    notice(f"hades: {text}{suggestion} `hades help` lists the commands.")
    return MISUSED


def run() -> None:
    """Console script."""
    prepare()
    words = sys.argv[1:]
    if words[:1] in (["help"], ["--help"]) and len(words) > 1:
        words = [*words[1:], "--help"]
    if words and words[0] in PROGRAMS:
        sys.argv[1:] = words
        program = importlib.import_module(f"{__package__ or 'hades.launch'}.{PROGRAMS[words[0]][0]}")
        importlib.import_module("hades.commands.command_line").start(program.__name__, program.main, words[0])
    try:
        sys.exit(main(words))
    except HadesError as error:
        notice(f"hades: {error}")
        sys.exit(FAILED)


if __name__ == "__main__":
    run()
