"""Hooks that add generated parts to the pages while the site is built (`hooks` of mkdocs.yml)."""

import dataclasses
import inspect
import json
import re
import types
import typing
from pathlib import Path
from typing import Any

from hades import registry
from hades.fields import Range

_CELL = re.compile(r"<td.*?</td>", re.DOTALL)
_CODE = re.compile(r"<code>([^<]+)</code>")
_ENTRY = re.compile(r"^    (\w+(?:, \w+)*): (.*(?:\n {5,}.*)*)", re.MULTILINE)
_ATTRIBUTES = re.compile(r"^Attributes:\n((?: {4}.*\n?|\n)*)", re.MULTILINE)


def on_page_markdown(markdown: str, page: Any, **_: object) -> str:
    """Fill in the page of components, and the pages that stand for a notebook."""
    if page.file.src_uri == "components.md":
        return markdown + component_tables()
    notebook = Path(page.file.abs_src_path).with_suffix(".ipynb")
    if not notebook.exists():
        return markdown
    title, *cells = (_cell(cell) for cell in json.loads(notebook.read_text("utf-8"))["cells"])
    return "\n\n".join([title, markdown, *cells])


def _cell(cell: dict[str, Any]) -> str:
    """A cell of a notebook as Markdown, with its texts and pictures."""
    source = "".join(cell["source"])
    if cell["cell_type"] == "markdown":
        return source
    shown, texts = [f"```python\n{source}\n```"], []
    for output in cell["outputs"]:
        data = output.get("data", {})
        texts += output.get("text", data.get("text/plain", ()))
        if "image/png" in data:
            shown.append(f"![](data:image/png;base64,{''.join(data['image/png']).strip()})")
    if texts:
        shown.insert(1, f"```text\n{''.join(texts)}\n```")
    return "\n\n".join(shown)


def on_page_content(html: str, **_: object) -> str:
    """Keep each word of a command in a table whole: browsers break lines behind hyphens too."""
    return _CELL.sub(lambda cell: _CODE.sub(_unbroken_words, cell[0]), html)


def _unbroken_words(code: re.Match[str]) -> str:
    words = (f'<span class="word">{word}</span>' for word in code[1].split())
    return f"<code>{' '.join(words)}</code>"


def component_tables() -> str:
    """A section for each interface, with a table of each component's fields."""
    parts = []
    for interface in registry.interfaces():
        parts.append(f"\n## {interface}\n")
        parts += [_component(name, registry.get(interface, name)) for name in registry.names(interface)]
    return "\n".join(parts)


def _component(name: str, cls: type) -> str:
    summary = inspect.cleandoc(cls.__doc__ or "").split("\n\n")[0].replace("\n", " ")
    lines = [f"### {name}\n", f"{summary} `{cls.__module__}`\n"]
    meanings = field_meanings(cls)
    if fields := dataclasses.fields(cls):
        lines += ['<div class="fields" markdown>\n', "| field | type | default | meaning |", "|---|---|---|---|"]
        hints = typing.get_type_hints(cls, include_extras=True)
        for field in fields:
            cells = (f"`{field.name}`", type_text(hints[field.name]), _default(field), meanings.get(field.name, ""))
            lines.append("| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |")
        lines.append("\n</div>")
    return "\n".join(lines) + "\n"


def field_meanings(cls: type) -> dict[str, str]:
    """Field -> its line under `Attributes:` in the docstring of its class or of a base."""
    found: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        block = _ATTRIBUTES.search(inspect.cleandoc(vars(base).get("__doc__") or ""))
        for names, text in _ENTRY.findall(block[1]) if block else ():
            found |= dict.fromkeys(names.split(", "), " ".join(text.split()))
    return found


def type_text(kind: Any) -> str:
    """A field's type as text, with the range of a number as far as it is not just that of the device's integers."""
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Annotated:
        bounds = [bound for extra in args[1:] if isinstance(extra, Range) for bound in _bounds(extra)]
        return " ".join([type_text(args[0]), ", ".join(bounds)]).strip()
    if origin in (typing.Union, types.UnionType):
        return " or ".join(map(type_text, args))
    if origin is not None:
        return f"{origin.__name__}[{', '.join('...' if arg is ... else type_text(arg) for arg in args)}]"
    return "None" if kind is type(None) else getattr(kind, "__name__", str(kind))


def _bounds(numbers: Range) -> list[str]:
    signs = {"≥": numbers.least, ">": numbers.above, "≤": numbers.most, "<": numbers.below}
    return [f"{sign} {bound:,.12g}" for sign, bound in signs.items() if bound is not None and bound < 2**31]


def _default(field: dataclasses.Field[Any]) -> str:
    if field.default is not dataclasses.MISSING:
        return f"`{field.default!r}`"
    return f"`{field.default_factory()!r}`" if field.default_factory is not dataclasses.MISSING else "required"
