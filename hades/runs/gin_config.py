"""Build an Experiment from a gin file: strict parsing, and errors that name the nearest known name.

A `--config` is a name below configs/gin/runs (such as "cartpole_hades_r") or a path. Included files are looked up
beside the package's configs. Every component module is imported first, so that a gin file needs an `import` line only
for components from elsewhere.
"""

import functools
import logging
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import gin

import hades
from hades import errors, registry
from hades.errors import ConfigError, HadesError, offer
from hades.registry import gin_internals
from hades.runs.experiment import Experiment
from hades.runs.normalizer_file import normalizer_from_file


def config_root() -> Path:
    """The folder of the shipped gin files: inside an installed package, or beside it in a checkout."""
    package = Path(hades.__file__).parent
    for root in (package / "configs" / "gin", package.parent / "configs" / "gin"):
        if root.is_dir():
            return root
    raise ConfigError(
        f"The configs were not installed with hades: neither {root} nor {package / 'configs' / 'gin'} exists."
    )


def config_names() -> tuple[str, ...]:
    """Names that `--config` takes."""
    return tuple(sorted(path.stem for path in (config_root() / "runs").glob("*.gin")))


def find_config(config: str) -> Path:
    """The gin file of a name or path.

    Raises:
        ConfigError: when there is none, with the known names.
    """
    for path in (Path(config), config_root() / "runs" / f"{config}.gin"):
        if path.is_file():
            return path
    known = config_names()
    raise ConfigError(f'There is no config "{config}". {offer(config, known)} Or give a path.')


def load_experiment(config: str, bindings: Sequence[str] = ()) -> Experiment:
    """Parse a config and build its experiment.

    Args:
        config: a name below configs/gin/runs, or a path.
        bindings: further gin lines such as "SNES.sigma = 0.3", applied last.

    Raises:
        ConfigError: for anything misspelt, missing or impossible.
    """
    path = find_config(config)
    registry.discover()
    gin.clear_config()
    _add_search_path(str(config_root()))
    try:
        with gin.unlock_config(), _quiet_search(), gin_internals.files_only():
            gin.parse_config_files_and_bindings([str(path)], list(bindings), finalize_config=True)
        return gin.get_configurable(Experiment)()
    except HadesError as error:
        raise _hades_class(error)(_plain(str(error))) from None
    except Exception as error:  # gin raises ValueError, TypeError, SyntaxError, RuntimeError, ImportError, OSError …
        raise ConfigError(_explain(error, path, bindings)) from error


def operative_config() -> str:
    """The bindings that the last `load_experiment` used, as a gin file."""
    return gin.operative_config_str()


@functools.cache
def _add_search_path(path: str) -> None:
    gin.add_config_file_search_path(path)


@contextmanager
def _quiet_search() -> Iterator[None]:
    """gin logs an error for every folder in which an included file is not found before it finds it."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        yield
    finally:
        logging.disable(before)


def _hades_class(error: HadesError) -> type[HadesError]:
    """gin raises a proxy class of its own; the class of ours that it wraps."""
    return next(cls for cls in type(error).__mro__ if vars(errors).get(cls.__name__) is cls)


def _explain(error: Exception, path: Path, bindings: Sequence[str]) -> str:
    """One paragraph instead of gin's traceback."""
    text = _plain(str(error))
    where = f"In {path}" + (f" with {list(bindings)}" if bindings else "")
    if match := gin_internals.UNKNOWN_NAME.search(text):
        known = _configurables()
        return f'{where}: nothing is called "{match[1]}". {offer(match[1].split(".")[-1], known)}'
    if match := gin_internals.UNKNOWN_FIELD.search(text):
        fields = _fields(match[1])
        today = registry.renamed_fields(_component(match[1])).get(match[2])
        hint = f"It is called {today} now." if today else offer(match[2], fields)
        return f'{where}: {match[1]} has no field "{match[2]}". {hint}'
    if match := re.search(r"(\w+)\.__init__\(\) missing \d+ required .*?: (.*)", text):
        name = re.findall(r"'(\w+)'", match[2])[0]
        return f"{where}: {match[1]}.{name} is required but not set: bind it in the config or with --gin_bindings."
    if match := gin_internals.UNSET_MACRO.search(text):
        return f"{where}: the macro %{match[1]} is used but never set. Give it a value with {match[1]} = value."
    return f"{where}: {text or type(error).__name__}"


def _plain(text: str) -> str:
    """gin appends lines about where a call happened; keep the message and the first of them."""
    lines = [line.strip() for line in text.strip().splitlines() if line.strip()]
    return " ".join(line for line in lines if not line.startswith(gin_internals.CALL_NOTE))


def _configurables() -> list[str]:
    components = {name for interface in registry.interfaces() for name in registry.names(interface)}
    return sorted(components | {normalizer_from_file.__name__})


def _component(name: str) -> type | None:
    found = [interface for interface in registry.interfaces() if name in registry.names(interface)]
    return registry.get(found[0], name) if found else None


def _fields(name: str) -> list[str]:
    return list(getattr(_component(name), "__dataclass_fields__", ()))
