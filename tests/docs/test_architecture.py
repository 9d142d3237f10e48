"""The map of docs/architecture.md names files that exist, and every room."""

import re

from tests.support import ROOT

BLOCK = re.search(r"## Folders\n\n```\n(.*?)```", (ROOT / "docs/architecture.md").read_text(), re.DOTALL)


def rooms() -> dict[str, str]:
    """The text about each room of hades, by its folder."""
    assert BLOCK
    inside = BLOCK[1][BLOCK[1].index("hades/") : BLOCK[1].index("viewer/")]
    found = re.split(r"^  (\w+)/ ", inside, flags=re.MULTILINE)[1:]
    return dict(zip(found[::2], found[1::2], strict=True))


def test_the_map_names_every_room() -> None:
    assert set(rooms()) == {path.parent.name for path in (ROOT / "hades").glob("*/__init__.py")}


def test_the_files_of_the_map_exist() -> None:
    for room, text in rooms().items():
        there = {path.name for path in (ROOT / "hades" / room).rglob("*.py")}
        named = set(re.findall(r"\b\w+\.py\b", text))
        assert named <= there, f"{room}: {named - there}"
