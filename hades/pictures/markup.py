"""HTML by the piece: text is escaped by Jinja, and every picture is part of the page.

`html` holds the macros of `templates/parts.html`: `html.section("Cost", html.table(rows, head), html.note("…"))`.
"""

import base64
import io
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2
from markupsafe import Markup

from hades.data.files import write_bytes
from hades.pictures.palette import GRID, INK, MUTED, TRACK

if TYPE_CHECKING:
    from PIL import Image

    from hades.pictures.scenes.animation import Sheet

_THEME = {INK: "var(--ink)", MUTED: "var(--muted)", GRID: "var(--grid)", TRACK: "var(--track)"}
"""Colours of inline SVG that follow the page's light or dark theme."""
_TEMPLATES = jinja2.Environment(
    loader=jinja2.PackageLoader("hades.pictures"),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_TEMPLATES.globals["anchor"] = lambda title: re.sub(r"[^a-z]+", "-", title.lower()).strip("-")
html: Any = _TEMPLATES.get_template("parts.html").module


def html_page(title: str, header: Markup, sections: Iterable[Markup], footer: str) -> str:
    """A page of sections, of which empty ones are left out; title and footer are text."""
    page = _TEMPLATES.get_template("page.html")
    return page.render(title=title, header=header, sections=list(sections), footer=footer)


def image(content: bytes, mime: str, alt: str) -> Markup:
    """An <img> that holds its own bytes."""
    return html.image(base64.b64encode(content).decode("ascii"), mime, alt)


def png(picture: "Image.Image", alt: str) -> Markup:
    """An <img> of a picture."""
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", optimize=True)
    return image(buffer.getvalue(), "image/png", alt)


def responsive(draw: Callable[..., bytes], name: str, label: str, folder: Path | None = None) -> Markup:
    """Two inline SVGs of which the page shows the one that fits the screen.

    Args:
        draw: makes the SVG, with `narrow=True` the one for a phone.
        name: a letter sequence that is unique on the page; keeps the ids inside the SVGs apart.
        label: describes the picture to those who cannot see it.
        folder: gets the wide one as files of this name, SVG, PNG and PDF, to which links below the picture lead.
    """
    wide, narrow = draw(narrow=False), draw(narrow=True)
    files = {}
    if folder is not None:
        files = {"SVG": wide, **{kind: draw(narrow=False, image_format=kind.lower()) for kind in ("PNG", "PDF")}}
    shown = html.responsive(inline_svg(wide, f"{name}-wide", label), inline_svg(narrow, f"{name}-narrow", label))
    return shown + downloads(name, files, folder)


def downloads(name: str, files: Mapping[str, bytes], folder: Path | None) -> Markup:
    """Write files of one name beside the page, and link to them; empty where there is no folder or file.

    Args:
        name: of all of them, without its ending.
        files: their contents by their kinds, such as "PDF", which is their ending too.
        folder: beside the page.
    """
    if folder is None or not files:
        return Markup()
    paths = {kind: write_bytes(folder / f"{name}.{kind.lower()}", content) for kind, content in files.items()}
    return Markup(html.downloads({kind: f"{folder.name}/{path.name}" for kind, path in paths.items()}))


def film(sheet: "Sheet", name: str, alt: str) -> Markup:
    """A moving picture that can be paused, and does not move for those who want no motion."""
    encoded = base64.b64encode(sheet.content).decode("ascii")
    return Markup(html.film(encoded, name, alt, sheet.rows, *sheet.size, f"{sheet.seconds:g}"))


def inline_svg(svg: bytes, name: str, label: str) -> Markup:
    """An SVG of ours as a part of the page: its ids made unique, its type and greys those of the page."""
    text = svg.decode("utf-8")
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'\bid="', f'id="{name}-', text)
    text = re.sub(r'href="#', f'href="#{name}-', text)
    text = text.replace("url(#", f"url(#{name}-")
    text = re.sub(r"(font(?:-family)?:[^;\"]*?)'DejaVu Sans'", r"\1var(--font)", text)
    for colour, variable in _THEME.items():
        text = text.replace(colour, variable)
    size = re.match(r'<svg[^>]*?viewBox="([^"]+)"[^>]*>', text)
    assert size is not None
    return html.svg(size[1], label, Markup(text[size.end() :].strip()))
