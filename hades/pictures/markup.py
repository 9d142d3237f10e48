"""HTML by the piece: everything that comes from a file is escaped here, and every picture is embedded."""

import base64
import html
import io
import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from hades.pictures.palette import GRID, INK, MUTED, TRACK

if TYPE_CHECKING:
    from PIL import Image

_THEME = {INK: "var(--ink)", MUTED: "var(--muted)", GRID: "var(--grid)", TRACK: "var(--track)"}
"""Colours of inline SVG that follow the page's light or dark theme."""


def escape(text: object) -> str:
    return html.escape(str(text))


def paragraph(text: str, kind: str = "") -> str:
    """A paragraph of text that is escaped."""
    return f'<p class="{kind}">{escape(text)}</p>' if kind else f"<p>{escape(text)}</p>"


def section(title: str, *parts: str) -> str:
    """A section with a heading; empty where it has nothing to say."""
    body = "\n".join(part for part in parts if part)
    anchor = re.sub(r"[^a-z]+", "-", title.lower()).strip("-")
    return f'<section id="{anchor}">\n<h2>{escape(title)}</h2>\n{body}\n</section>' if body else ""


def details(summary: str, *parts: str) -> str:
    """Content that is folded away; works without JavaScript."""
    return f"<details>\n<summary>{escape(summary)}</summary>\n" + "\n".join(parts) + "\n</details>"


def table(rows: Iterable[Sequence[object]], head: Sequence[str] = (), kind: str = "") -> str:
    """A table in a box that scrolls where the screen is too narrow. The first cell of a row is its heading."""
    lines = [f'<div class="scroll"><table class="{kind}">' if kind else '<div class="scroll"><table>']
    if head:
        lines.append("<thead><tr>" + "".join(f'<th scope="col">{escape(h)}</th>' for h in head) + "</tr></thead>")
    for first, *rest in rows:
        cells = "".join(f"<td>{escape(cell)}</td>" for cell in rest)
        lines.append(f'<tr><th scope="row">{escape(first)}</th>{cells}</tr>')
    return "\n".join([*lines, "</table></div>"])


def image(content: bytes, mime: str, alt: str, kind: str = "") -> str:
    """An <img> that holds its own bytes."""
    encoded = base64.b64encode(content).decode("ascii")
    return f'<img class="{kind}" alt="{escape(alt)}" src="data:{mime};base64,{encoded}">'


def png(picture: "Image.Image", alt: str) -> str:
    """An <img> of a picture."""
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", optimize=True)
    return image(buffer.getvalue(), "image/png", alt)


def captioned(content: str, caption: str, kind: str = "") -> str:
    """A <figure> around HTML, with a caption that is escaped."""
    return f'<figure class="{kind}">{content}<figcaption>{escape(caption)}</figcaption></figure>'


def responsive(wide: bytes, narrow: bytes, name: str, label: str) -> str:
    """Two inline SVGs of which the page shows the one that fits the screen.

    Args:
        wide, narrow: SVG bytes.
        name: a letter sequence that is unique on the page; keeps the ids inside the SVGs apart.
        label: what the picture shows, for those who cannot see it.
    """
    both = ((wide, "wide"), (narrow, "narrow"))
    return "".join(f'<div class="{kind}">{inline_svg(svg, f"{name}-{kind}", label)}</div>' for svg, kind in both)


def inline_svg(svg: bytes, name: str, label: str) -> str:
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
    size = re.match(r'<svg[^>]*?viewBox="([^"]+)"', text)
    assert size is not None
    head = f'<svg viewBox="{size[1]}" role="img" aria-label="{escape(label)}" xmlns="http://www.w3.org/2000/svg" '
    return re.sub(r"^<svg[^>]*>", head + 'xmlns:xlink="http://www.w3.org/1999/xlink">', text, count=1).strip()
