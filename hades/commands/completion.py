"""Scripts that complete the words of `hades`, and of the programs beside it, in a shell.

Names are written into the script, so that a key press starts no Python. The flags of a program are found in its source:
importing the programs takes seconds, and a shell evaluates the script whenever it starts.
"""

import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

import hades
from hades.components import COMPONENTS
from hades.data import zoo
from hades.runs.shipped import config_names

SHELLS = ("bash", "zsh")
_DEFINITION = re.compile(r"(?:DEFINE_(\w+)|define_\w+)\(\s*\"(\w+)\"")
_SHARED = {"RunFlags(": "commands/run_flags.py", "process_flags": "machines/process_flags.py"}
"""Files of hades that define flags for several programs, by what stands in the source of one that has them."""
_SCRIPT = """\
_hades_flags() {{
    case $1 in
{flags}
    esac
}}

_hades() {{
    local word=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD-1]}} flag="" all=""
    local command=${{COMP_WORDS[0]##*/}}
    case $command in
        hades) command=${{COMP_WORDS[1]}} ;;
        *) command=${{command#hades-}} command=${{command%-dataset}} ;;
    esac
    COMPREPLY=()
    if [[ $word == "=" ]]; then  # bash makes a word of the sign, zsh does not
        flag=$before word=""
    elif [[ $before == "=" ]]; then
        flag=${{COMP_WORDS[COMP_CWORD-2]}}
    elif [[ $word == --*=* ]]; then
        flag=${{word%%=*}}
    elif [[ $before == --config || $before == --dataset ]]; then
        flag=$before
    fi
    if [[ $COMP_CWORD == 1 && ${{COMP_WORDS[0]##*/}} == hades ]]; then
        all="{commands}"
    elif [[ $flag == --config ]]; then
        all="{configs}"
    elif [[ $flag == --dataset ]]; then
        all="{datasets}"
    elif [[ -z $flag && $command == list ]]; then
        all="{lists} --json"
    elif [[ -z $flag && $command == show ]]; then
        all="{configs} {datasets} {components} --json"
    elif [[ -z $flag && $command == completion ]]; then
        all="{shells}"
    elif [[ -z $flag && $command == help ]]; then
        all="{commands}"
    elif [[ -z $flag ]]; then
        all=$(_hades_flags "$command")
    fi
    local name start="" end
    [[ $word == --*=* ]] && start="$flag="
    for name in $all; do
        [[ $name == *= ]] && end="" || end=" "  # the value of a flag follows at once
        [[ $start$name == "$word"* ]] && COMPREPLY+=("$start$name$end")
    done
}}

complete -o nospace -o default -F _hades hades hades-export-dataset {programs}
"""


_EMULATION = """\
(( $+functions[compdef] )) || { autoload -Uz compinit && compinit; }
autoload -U +X bashcompinit && bashcompinit
"""
"""The lines with which zsh takes a script for bash."""


def flags_in(source: str) -> list[str]:
    """Flags that the source of a program defines, as they are written: `--config=`, `--progress`, `--noprogress`."""
    package = Path(hades.__file__).parent
    shared = [(package / file).read_text() for mark, file in _SHARED.items() if mark in source]
    found = ["--help", "--json"]
    for kind, name in _DEFINITION.findall("\n".join([source, *shared])):
        if kind in ("bool", "boolean"):
            found += [f"--{name}", f"--no{name}"]
        elif kind != "alias":
            found.append(f"--{name}=")
    return found


def script(shell: str, flags: Mapping[str, Sequence[str]], others: Sequence[str], lists: Sequence[str]) -> str:
    """The script for a shell.

    Args:
        shell: one of SHELLS.
        flags: of each program, by its subcommand.
        others: subcommands that are no programs.
        lists: what `hades list` takes.
    """
    text = _SCRIPT.format(
        flags="\n".join(f"        {name}) echo {shlex.quote(' '.join(known))} ;;" for name, known in flags.items()),
        commands=" ".join([*flags, *others]),
        configs=" ".join(config_names()),
        datasets=" ".join(zoo.names()),
        components=" ".join(name for known in COMPONENTS.values() for name in known),
        lists=" ".join(lists),
        shells=" ".join(SHELLS),
        programs=" ".join(f"hades-{name}" for name in flags),
    )
    return f"{_EMULATION}{text}" if shell == "zsh" else text
