"""A study for readers: a page of HTML, the same as Markdown, and figures and tables as files beside them."""

import dataclasses
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from markupsafe import Markup

from hades.data.files import write_bytes
from hades.pictures.markup import html, html_page, responsive
from hades.text import markdown_table

Draw = Callable[..., bytes]
"""Draws a figure, with `narrow=True` for a phone, with `image_format="png"` as PNG instead of SVG."""


@dataclasses.dataclass(frozen=True)
class Table:
    """Rows of text; where `folded` is a text, the page hides the rows behind it."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    folded: str = ""


@dataclasses.dataclass(frozen=True)
class Figure:
    """A figure; `label` describes it to those who cannot see it."""

    draw: Draw
    label: str
    caption: str


@dataclasses.dataclass(frozen=True)
class Section:
    """A section of a page; its texts are notes. Without parts it is left out."""

    title: str
    parts: Sequence[Table | Figure | str]


@dataclasses.dataclass(frozen=True)
class StudyPage:
    """The content of a page.

    Attributes:
        eyebrow: kind of the page, above its title.
        title: the outcome.
        conditions: lines on what is equal for every number.
        sections: of the HTML page.
        summary: tables and notes that take the place of the sections in Markdown.
        notes: explain the words of the page; its last section.
        footer: of the HTML page.
    """

    eyebrow: str
    title: str
    conditions: Sequence[str]
    sections: Sequence[Section]
    summary: Sequence[Table | str]
    notes: Sequence[str]
    footer: str

    def html(self) -> str:
        """One file that holds everything it shows."""
        names = (f"figure-{i}" for i in itertools.count(1))
        header = html.header(self.eyebrow, self.title, *map(html.note, self.conditions))
        sections = [html.section(s.title, *(_part(part, names) for part in s.parts)) for s in self.sections]
        sections.append(html.section("How to read this", *self.notes))
        return html_page(self.title, header, sections, self.footer)

    def markdown(self) -> str:
        """Title, conditions, summary and notes."""
        tables = [part if isinstance(part, str) else markdown_table(part.head, part.rows) for part in self.summary]
        conditions = "\n".join(f"- {line}" for line in self.conditions)
        return "\n\n".join([f"# {self.title}", conditions, *tables, *self.notes]) + "\n"

    def write(
        self, folder: Path, name: str, figures: Mapping[str, Draw], files: Mapping[str, tuple[str, str]]
    ) -> dict[str, Path]:
        """Write `<name>.html`, `<name>.md`, further files, and each figure as SVG, PNG and PDF below `figures/`.

        Args:
            folder: of all files.
            name: of the page.
            figures: by name.
            files: name and content of further files, by kind.

        Returns:
            Paths by kind: "page", "markdown", those of `files`, and "figures", a folder.
        """
        for figure, draw in figures.items():
            for kind in ("svg", "png", "pdf"):
                write_bytes(folder / f"figures/{figure}.{kind}", draw(image_format=kind))
        pages = {"page": (f"{name}.html", self.html()), "markdown": (f"{name}.md", self.markdown())}
        written = {kind: write_bytes(folder / file, text.encode()) for kind, (file, text) in {**pages, **files}.items()}
        return {**written, "figures": folder / "figures"}


def _part(part: Table | Figure | str, names: Iterator[str]) -> Markup:
    if isinstance(part, str):
        return html.note(part)
    if isinstance(part, Figure):
        return html.figure(responsive(part.draw, next(names), part.label), part.caption)
    table = html.table(part.rows, part.head, "numbers whole")
    return html.details(part.folded, table) if part.folded else table
