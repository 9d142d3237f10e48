"""An extension of Griffe, which reads our docstrings for the API reference: their style goes beyond Google's."""

import re

import griffe

_SEVERAL = re.compile(r"^    (\w+(?:, \w+)+): (.*(?:\n {5,}.*)*)", re.MULTILINE)
_COMMENT = re.compile(r"  # (.*)$")


class OurDocstrings(griffe.Extension):
    """`a, b: text` describes several names, and a comment behind a field describes the field."""

    def on_object(self, *, obj: griffe.Object, **_: object) -> None:
        """Give each name an entry of its own."""
        if obj.docstring:
            obj.docstring.value = _SEVERAL.sub(_one_name_an_entry, obj.docstring.value)

    def on_attribute_instance(self, *, attr: griffe.Attribute, **_: object) -> None:
        """Take the comment for the docstring where there is none."""
        if not attr.docstring and (comment := _COMMENT.search(attr.source.rstrip())):
            attr.docstring = griffe.Docstring(comment[1], parent=attr)


def _one_name_an_entry(entry: re.Match[str]) -> str:
    return "\n".join(f"    {name}: {entry[2]}" for name in entry[1].split(", "))
