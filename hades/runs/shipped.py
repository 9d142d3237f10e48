"""The configurations that come with hades: their names, files and header comments. Imports nothing slow."""

import os
from pathlib import Path

import hades
from hades.errors import ConfigError, nearest, printable


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
        ConfigError: when there is none, with the nearest names.
    """
    known = config_names()
    shipped = config_root() / "runs" / f"{config}.gin"  # before a file of that name in the current folder
    for path in (*([shipped] if config in known else []), Path(os.path.expanduser(config))):
        if os.path.isfile(path):  # unlike Path.is_file, it says no to a name that is too long
            return path
    raise ConfigError(f'There is no config "{printable(config)}". {nearest_configs(config)} Or give a path.')


def nearest_configs(config: str) -> str:
    """Suggest the names of configs for an unknown one."""
    names = ", ".join(nearest(config, config_names(), 5))
    return f"The nearest names: {names}. `hades list configs` lists all."


def header_comment(path: Path) -> str:
    """The comment at the top of a gin file, without its number signs."""
    lines = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        lines.append(line.lstrip("#").strip())
    return "\n".join(lines)
