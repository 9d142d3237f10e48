"""What every page shares: one HTML file in the report's style, and tables for the terminal."""

import importlib.resources
import string
from collections.abc import Iterable

from hades.pictures.markup import escape, paragraph


def html_page(title: str, parts: Iterable[str], footer: str) -> str:
    """A page of HTML parts, of which empty ones are left out; title and footer are text."""
    text = importlib.resources.files("hades.pictures").joinpath("page_template.html").read_text("utf-8")
    body = "\n".join(part for part in parts if part)
    return string.Template(text).substitute(title=escape(title), body=body, footer=escape(footer))


def header(eyebrow: str, title: str, conditions: Iterable[str]) -> str:
    """The top of a page: what kind it is, what came out, and what is equal for every number."""
    lines = "\n".join(paragraph(line, "note") for line in conditions)
    return f'<header>\n<p class="eyebrow">{escape(eyebrow)}</p>\n<h1>{escape(title)}</h1>\n{lines}\n</header>'
