"""Build an Experiment from a gin file: strict parsing, and errors that name the nearest known name.

A `--config` is a name below configs/gin/runs (such as "cartpole_hades_r") or a path. An included file is looked up
beside the file that includes it, then in configs/gin, and never in the current folder. Every component module is
imported first, so that a gin file needs an `import` line only for components from elsewhere. Such a line runs the
module: a config is code, so those of other people are named before they run.
"""

import difflib
import functools
import itertools
import os
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

import gin

from hades import devices, errors, registry
from hades.errors import ConfigError, HadesError, notice, printable, require, shown
from hades.fields import no_field
from hades.registry import gin_internals
from hades.runs import gin_bindings
from hades.runs.experiment import Experiment
from hades.runs.shipped import config_root, find_config
from hades.runs.stages import stages


def load_experiment(config: str, bindings: Sequence[str] = ()) -> Experiment:
    """Parse a config and build its experiment.

    Args:
        config: a name below configs/gin/runs, or a path.
        bindings: a list of further gin lines such as "SNES.sigma = 0.3", applied last.

    Raises:
        ConfigError: for anything misspelt, missing or impossible, and for one of `bindings` that decides nothing.
    """
    with _parsed(config, bindings):
        experiment: Experiment = gin.get_configurable(Experiment)()
        problems = gin_bindings.idle("\n".join(bindings))
        require(not problems, f"In {config}: {' '.join(problems)}")
        _Last.operative_config = gin_bindings.operative_config()
    return experiment


def idle_lines(config: str, bindings: Sequence[str]) -> dict[str, str]:
    """Those of the lines that decide nothing in a config, each with an explanation.

    Raises:
        ConfigError: like `load_experiment`, for anything else.
    """
    with _parsed(config, bindings):
        gin.get_configurable(Experiment)()
        explained = {line: gin_bindings.idle(line) for line in bindings}
    return {line: " ".join(problems) for line, problems in explained.items() if problems}


def stage_scopes(config: str, bindings: Sequence[str] = ()) -> list[str]:
    """Scopes of a config's stages in gin, in the order in which they run: "wide/", …, and "" for the experiment itself.

    Raises:
        ConfigError: like `load_experiment`.
    """
    with _parsed(config, bindings):
        scopes = [""]
        with suppress(ValueError):  # not bound: no stage before
            while (first := gin.query_parameter(f"{scopes[0]}Experiment.first")) is not None:
                scopes.insert(0, "".join(f"{scope}/" for scope in first.scopes))
    return scopes


def stage_shares(config: str, bindings: Sequence[str] = ()) -> dict[str, float]:
    """The used part of a run's budget when each stage of a config ends, by its scope; 0 where it does not search.

    In proportion to the generations of the stages in the config.

    Raises:
        ConfigError: like `load_experiment`.
    """
    scopes = stage_scopes(config, bindings)
    if len(scopes) == 1:
        return {"": 1.0}
    counts = [stage.generations for stage in stages(load_experiment(config, bindings))]
    until = itertools.accumulate(counts)
    return {s: done / sum(counts) if n else 0.0 for s, n, done in zip(scopes, counts, until, strict=True)}


def limits_of_stage(share: float, max_seconds: float | None, max_env_steps: float | None) -> dict[str, float | None]:
    """The limits of a stage that ends at a share of the run's budget; a stage that does not search has the whole."""
    return {
        "max_seconds": None if max_seconds is None else (share or 1.0) * max_seconds,
        "max_env_steps": None if max_env_steps is None else max(1, int((share or 1.0) * max_env_steps)),
    }


def setting_lines(shares: Mapping[str, float], limits: Mapping[str, float], seed: int | None = None) -> list[str]:
    """Gin lines that set a seed and limits of a run whose stages have these shares, see `stage_shares`."""
    lines, before = [], 0
    for scope, share in shares.items():
        values = limits_of_stage(share, limits.get("max_seconds"), limits.get("max_env_steps")) | {"seed": seed}
        if share and "generations" in limits:
            until = round(share * limits["generations"])
            values["generations"], before = max(1, until - before), until
        lines += [f"{scope}Experiment.{name} = {value!r}" for name, value in values.items() if value is not None]
    return lines


@contextmanager
def _parsed(config: str, bindings: Sequence[str]) -> Iterator[None]:
    """Inside, gin holds a config; what it or a component raises becomes an error of hades."""
    require(not isinstance(bindings, str), f"bindings is one string, {shown(bindings)}; give a list of gin lines.")
    path = find_config(config)
    registry.discover()
    files = _Files(path)
    try:
        with _LOADING, gin_internals.own_state(files.read):
            _announce("--gin_bindings", "\n".join(bindings))
            gin.parse_config_files_and_bindings([str(path.absolute())], list(bindings), finalize_config=True)
            yield
    except HadesError as error:
        raise _hades_class(error)(_plain(str(error))) from None
    except Exception as error:  # gin raises ValueError, TypeError, SyntaxError, RuntimeError, ImportError, OSError …
        devices.explain(error)
        raise ConfigError(_explain(error, path, bindings)) from error


def operative_config() -> str:
    """Every field of what the last `load_experiment` built, as a gin file; defaults are marked."""
    return _Last.operative_config


class _Last:
    operative_config = ""


_LOADING = threading.RLock()
"""gin's state is one for all threads."""


def find_include(name: str, config: Path) -> Path:
    """The file that a config includes under a name: one beside it, or else one of the package.

    Raises:
        ConfigError: when there is none, with the places and the nearest names.
    """
    folder, root = config.parent, config_root()
    for path in (folder / name, root / name):
        if os.path.isfile(path):
            return path
    known = [
        *(path.name for path in folder.glob("*.gin")),
        *(str(path.relative_to(root)) for path in root.rglob("*.gin")),
    ]
    nearest = ", ".join(dict.fromkeys(difflib.get_close_matches(name, known, n=3, cutoff=0.5)))
    raise ConfigError(
        f'{config} includes "{name}", which is neither in {folder} nor in {root}.'
        f"{nearest and f' The nearest names: {nearest}.'}"
    )


class _Files:
    """Opens a config and what it includes, for gin."""

    def __init__(self, config: Path):
        self._stack = [config.absolute()]  # --gin_bindings count as the last lines of the config

    @contextmanager
    def read(self, name: str) -> Iterator[TextIO]:
        path = find_include(name, self._stack[-1])
        require(not any(path.samefile(above) for above in self._stack[1:]), f"{path} includes itself.")
        self._stack.append(path)
        try:
            with path.open(encoding="utf-8") as file:
                if not path.resolve().is_relative_to(config_root().resolve()):
                    _announce(str(path), file.read())
                    file.seek(0)
                yield file
        finally:
            self._stack.pop()


def _announce(source: str, text: str) -> None:
    if modules := gin_internals.imported_modules(text):
        announce_imports(source, *modules)


@functools.cache
def announce_imports(source: str, *modules: str) -> None:
    """Print, once, which modules are about to be imported because a config or a flag names them."""
    notice(f"hades: {source} imports {', '.join(modules)}. This runs their code, so use only what you trust.")


def _hades_class(error: HadesError) -> type[HadesError]:
    """gin raises a proxy class of its own; the class of ours that it wraps."""
    return next(cls for cls in type(error).__mro__ if vars(errors).get(cls.__name__) is cls)


def _explain(error: Exception, path: Path, bindings: Sequence[str]) -> str:
    """One paragraph instead of gin's traceback."""
    text = _plain(printable(str(error), 4000, keep="\n"))  # patterns take the square of a long word's time
    where = f"In {path}" + (f" with {list(bindings)}" if bindings else "")
    if match := gin_internals.UNKNOWN_NAME.search(text):
        place = gin_internals.IN_BINDING.search(str(error))
        return f'{where}: nothing is called "{match[1]}". {gin_bindings.suggestion(match[1], place and place.groups())}'
    if match := gin_internals.UNKNOWN_FIELD.search(text):
        return f"{where}: {no_field(gin_bindings.component(match[1]), match[2])}"
    if match := re.search(r"(\w+)\.__init__\(\) missing \d+ required .*?: (.*)", text):
        name = re.findall(r"'(\w+)'", match[2])[0]
        return f"{where}: {match[1]}.{name} is required but not set: bind it in the config or with --gin_bindings."
    if match := gin_internals.UNSET_MACRO.search(text):
        return f"{where}: the macro %{match[1]} is used but never set. Give it a value with {match[1]} = value."
    if match := gin_internals.UNQUOTED.search(text):
        name = next((known for known in gin_bindings.known_names() if known.lower() == match[1].lower()), "")
        return f"{where}: {match[1]} is no value. " + (
            f"Write @{name}()." if name else f"Write '{match[1]}' in quotes."
        )
    if isinstance(error, SyntaxError):
        text += (
            " Lines are as in SNES.sigma = 0.3, MLP.activation = 'relu' or Evolution.outer = @SNES(), each by itself."
        )
    return f"{where}: {text or type(error).__name__}"


def _plain(text: str) -> str:
    """gin appends lines about where a call happened; keep the message and the first of them."""
    lines = [line.strip() for line in text.strip().splitlines() if line.strip()]
    return " ".join(line for line in lines if not line.startswith(gin_internals.CALL_NOTE))
