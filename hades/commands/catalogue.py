"""Lists for `hades list` and descriptions for `hades show`, as JSON-ready values and as text.

Configs and the zoo are read without importing JAX; components and environments have to be imported.
"""

import dataclasses
import inspect
import os
import re
import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hades.data import zoo
from hades.errors import ConfigError, MissingPackageError, nearest, notice, printable
from hades.runs.shipped import config_names, config_root, find_config, header_comment

Row = dict[str, Any]


def configs() -> list[Row]:
    """Shipped configurations, each with the first sentence of its header."""
    paths = [config_root() / "runs" / f"{name}.gin" for name in config_names()]
    return [{"name": path.stem, "about": _first_sentence(header_comment(path))} for path in paths]


def datasets() -> list[Row]:
    """Datasets of the zoo, each with the task, the method, the number of pairs and the mean return of its card."""
    cards = {name: zoo.card(name) for name in zoo.names()}
    return [
        {
            "name": name,
            "environment": card["environment"],
            "method": card["method"],
            "pairs": card["num_pairs"],
            "return": round(card["report"]["mean"], 1),
        }
        for name, card in cards.items()
    ]


def components() -> list[Row]:
    """Registered components by interface, each with the first sentence of its docstring."""
    from hades import registry

    return [
        {"interface": interface, "name": name, "about": _first_sentence(_about(registry.get(interface, name)))}
        for interface in registry.interfaces()
        for name in registry.names(interface)
    ]


def environments() -> list[Row]:
    """Environments, each with the gin line that chooses it and with the beginning of its configs' names."""
    from hades import registry

    lines = {
        line: path.stem for path in (config_root() / "env").glob("*.gin") for line in path.read_text().splitlines()
    }
    rows = []
    for name in registry.names("Environment"):
        cls: Any = registry.get("Environment", name)
        try:
            offered = cls.offered()
        except MissingPackageError as error:
            notice(f"hades: {error}")
            continue
        field = dataclasses.fields(cls)[0].name
        chosen = {known: f"{name}.{field} = {known!r}" for known in offered} or {name: f"@{name}()"}
        for known, gin in chosen.items():
            rows.append({"name": known, "gin": gin, "configs": f"{lines[gin]}_*" if gin in lines else ""})
    return rows


LISTS: Mapping[str, Callable[[], list[Row]]] = {
    "configs": configs,
    "zoo": datasets,
    "components": components,
    "environments": environments,
}
"""Arguments of `hades list`."""


def rows_text(rows: Sequence[Row], head: bool = False) -> str:
    """Rows in aligned columns, under their names where `head` is true."""
    lines = [[str(value) for value in row.values()] for row in rows]
    lines[:0] = [list(rows[0])] * head
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    padded = ("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines)
    return "\n".join(line.rstrip() for line in padded)


def show(name: str) -> tuple[Row, str]:
    """A dataset of the zoo or of a file, a config or a component, as a JSON-ready value and as text.

    Raises:
        ConfigError: where nothing is called so, with the nearest names.
    """
    path = os.path.expanduser(name)
    if name in zoo.names():
        card = zoo.card(name)
        return card, _flat_text(card)
    if name in config_names() or name.endswith(".gin"):
        return _config(name)
    if os.path.exists(path) or "://" in name:
        from hades.data.sources import load_dataset

        header = dict(load_dataset(path).metadata)
        return header, _flat_text(header)
    from hades import registry

    found = [interface for interface in registry.interfaces() if name in registry.names(interface)]
    if found:
        card = component_card(found[0], name)
        return card, _component_text(card)
    known = [*zoo.names(), *config_names(), *(row["name"] for row in components())]
    raise ConfigError(
        f'Nothing is called "{printable(name)}": no dataset, config or component, and no file. The nearest names: '
        f"{', '.join(nearest(name, known, 5))}. `hades list {'|'.join(LISTS)}` lists all."
    )


def component_card(interface: str, name: str) -> Row:
    """A component's interface, docstring and fields, and the gin lines that put it into a run."""
    from hades import registry
    from hades.fields import fits

    cls: Any = registry.get(interface, name)
    kinds = fits(cls)
    fields = [{"name": field.name, "takes": kinds[field.name], **_default(field)} for field in dataclasses.fields(cls)]
    return {
        "name": name,
        "interface": interface,
        "module": cls.__module__,
        "about": _about(cls),
        "fields": fields,
        "gin": [f"{holder} = @{name}()" for holder in _holders(interface)],
    }


def _holders(interface: str) -> list[str]:
    """Fields that take one component of an interface, as `Evolution.outer`."""
    from hades import registry
    from hades.fields import takes

    rows = components()
    return [
        f"{row['name']}.{field}"
        for row in rows
        for field in takes(registry.get(row["interface"], row["name"]), interface)
    ]


def _default(field: "dataclasses.Field[Any]") -> Row:
    if field.default is not dataclasses.MISSING:
        default = field.default
    elif field.default_factory is not dataclasses.MISSING:
        default = field.default_factory()
    else:
        return {}
    return {"default": repr(default)}


def _config(name: str) -> tuple[Row, str]:
    from hades.runs.gin_config import load_experiment, operative_config

    path = find_config(name)
    load_experiment(name)
    card = {"name": name, "file": str(path), "about": header_comment(path), "config": operative_config()}
    return card, f"{card['about']}\n\n{card['file']}, resolved:\n\n{card['config'].strip()}"


def _component_text(card: Row) -> str:
    rows = [
        {"name": f["name"], "default": f"= {f['default']}" if "default" in f else "required", "takes": f["takes"]}
        for f in card["fields"]
    ]
    parts = [f"{card['name']} ({card['interface']}, {card['module']})", card["about"]]
    parts += [f"fields:\n{_indented(rows_text(rows))}"] if rows else []
    example = next((f"{card['name']}.{field['name']} = {field.get('default', '…')}" for field in card["fields"]), "")
    gin = "\n".join([*card["gin"], example]).strip()
    return "\n\n".join([*parts, f"in gin:\n{_indented(gin)}"])


def _indented(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.splitlines())


def _flat_text(value: Row) -> str:
    """A nested value with a line for each of its leaves."""
    return rows_text([{"place": place, "value": leaf} for place, leaf in _leaves(value, "")])


def _leaves(value: Any, place: str) -> list[tuple[str, Any]]:
    if not isinstance(value, Mapping):
        return [(place, ", ".join(map(str, value)) if isinstance(value, list) else value)]
    return [leaf for name, part in value.items() for leaf in _leaves(part, f"{place}.{name}".lstrip("."))]


def _about(cls: type) -> str:
    return inspect.getdoc(cls) or ""


def _first_sentence(text: str) -> str:
    """The first sentence of a text, or its first paragraph where that is shorter."""
    paragraph = " ".join(text.partition("\n\n")[0].split())
    sentence = re.split(r"(?<=[\w)]{2}\.) ", paragraph)[0]
    return textwrap.shorten(sentence.rstrip(".:"), 90, placeholder=" …")
