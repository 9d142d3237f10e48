"""The page that all studies share, on a small one."""

from pathlib import Path

import pytest

from hades.pictures.figures import figure, render
from hades.studies.page import Figure, Section, StudyPage, Table
from tests.report.test_report import Page


def draw(*, narrow: bool = False, image_format: str = "svg") -> bytes:
    with figure(2.0 if narrow else 4.0, 1.0) as fig:
        fig.add_subplot().plot([0, 1])
        return render(fig, image_format)


@pytest.fixture
def study() -> StudyPage:
    return StudyPage(
        eyebrow="A study",
        title="<b> & more",
        conditions=["equal <i>everywhere</i>"],
        sections=[
            Section("Two figures", [Figure(draw, 'a "label"', "caption <1>"), Figure(draw, "again", "caption 2")]),
            Section("Tables", [Table(("name", "value"), [("<x>", "1")]), Table(("n",), [("y",)], folded="All <rows>")]),
            Section("Nothing", []),
        ],
        summary=[Table(("name", "both"), [("<x>", "1 | 2")]), "A note."],
        notes=["How <words> are meant."],
        footer="Written <here>.",
    )


def test_the_page_holds_all_parts_and_escapes_them(study: StudyPage) -> None:
    page = Page(study.html())
    texts = ("A study", "<b> & more", "equal <i>everywhere</i>", "caption <1>", "<x>", "All <rows>", "How <words>")
    assert not [text for text in (*texts, "Written <here>.") if text not in page.text]
    assert {"two-figures", "tables", "how-to-read-this"} <= set(page.ids)
    assert "nothing" not in page.ids
    assert len(page.ids) == len(set(page.ids))
    assert (page.tags.count("svg"), page.tags.count("details"), page.tags.count("table")) == (4, 1, 2)


def test_markdown_has_the_summary_in_the_place_of_the_sections(study: StudyPage) -> None:
    assert study.markdown().splitlines() == [
        *("# <b> & more", "", "- equal <i>everywhere</i>", ""),
        *("| name | both |", "| --- | --- |", "| <x> | 1 \\| 2 |", ""),
        *("A note.", "", "How <words> are meant."),
    ]


def test_all_files_are_written(study: StudyPage, tmp_path: Path) -> None:
    files = study.write(tmp_path, "mine", figures={"one": draw}, files={"numbers": ("mine.csv", "a\n1\n")})
    found = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert found == {"mine.html", "mine.md", "mine.csv", *(f"figures/one.{kind}" for kind in ("svg", "png", "pdf"))}
    assert files["numbers"].read_text() == "a\n1\n"
    assert set(files) == {"page", "markdown", "numbers", "figures"}
