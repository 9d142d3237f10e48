"""Shell scripts of the launchers: `.sh` files among the package's data, with `%{name}` where a value goes."""

import importlib.resources
import string


class _Template(string.Template):
    delimiter = "%"  # the scripts are full of $


def fill(file: str, **values: object) -> str:
    """Return the script `file`, a path below `hades/machines`, with the values filled in as they are, unquoted."""
    text = importlib.resources.files("hades.machines").joinpath(file).read_text("utf-8")
    return _Template(text).substitute(values)
