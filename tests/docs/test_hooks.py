"""What the build of the site adds to the pages, and that the reference leaves nothing out."""

import dataclasses
import re
import sys

import pytest

import hades
from hades import registry
from hades.fields import Count, Fraction, Positive
from tests.support import ROOT

sys.path.insert(0, str(ROOT / "docs"))
import hooks

NAMES = [(interface, name) for interface in registry.interfaces() for name in registry.names(interface)]
COMPONENTS = [cls for cls in (registry.get(*place) for place in NAMES) if cls.__module__.startswith("hades.")]


def test_a_command_in_a_table_breaks_between_its_words_only() -> None:
    command = "<code>hades-train --dry_run</code>"
    words = '<code><span class="word">hades-train</span> <span class="word">--dry_run</span></code>'
    assert hooks.on_page_content(f"<td>{command}</td><p>{command}</p>") == f"<td>{words}</td><p>{command}</p>"


@pytest.mark.parametrize("cls", COMPONENTS, ids=lambda cls: cls.__name__)
def test_every_field_has_a_meaning(cls: type) -> None:
    assert {field.name for field in dataclasses.fields(cls)} <= set(hooks.field_meanings(cls))  # type: ignore[arg-type]


def test_the_page_has_every_component() -> None:
    text = hooks.component_tables()
    assert set(re.findall(r"^### (\w+)$", text, re.MULTILINE)) >= {cls.__name__ for cls in COMPONENTS}
    assert "| `sigma` | float > 0 | `0.5` | initial step size of every coordinate. |" in text


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (Count, "int ≥ 1"),
        (Fraction, "float ≥ 0, ≤ 1"),
        (Positive | None, "float > 0 or None"),
        (tuple[tuple[str, Count], ...], "tuple[tuple[str, int ≥ 1], ...]"),
    ],
)
def test_types_as_text(kind: object, text: str) -> None:
    assert hooks.type_text(kind) == text


def test_every_public_name_is_in_the_reference() -> None:
    pages = "\n".join((ROOT / f"docs/{page}.md").read_text() for page in ("api", "interfaces"))
    listed = set(re.findall(r"^::: hades\.(?:\w+\.)*(\w+)$", pages, re.MULTILINE))
    components = {cls.__name__ for cls in COMPONENTS}
    lacking = set(hades.__all__) - components - listed
    assert not lacking, f"add a line `::: hades.NAME` to docs/api.md, or the class to docs/interfaces.md: {lacking}"


def test_names_that_share_a_line_of_a_docstring_have_an_entry_each() -> None:
    griffe = pytest.importorskip("griffe")
    import docstrings

    cls = griffe.Class("C", docstring=griffe.Docstring("C.\n\nAttributes:\n    a, b: of\n        both."))
    docstrings.OurDocstrings().on_object(obj=cls)
    assert cls.docstring.value.endswith("    a: of\n        both.\n    b: of\n        both.")
