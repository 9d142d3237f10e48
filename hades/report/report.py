"""The report of a run: one HTML file that holds everything it shows, for any screen, without JavaScript."""

from pathlib import Path

from hades.data.files import write_bytes
from hades.pictures.markup import html_page
from hades.pictures.scenes.recording import Actor
from hades.report import illustrations, sections
from hades.report.dataset_only import stated_by
from hades.runs.record import read_run
from hades.studies.inspection.page import in_words, influence, nearest_states
from hades.studies.readable.page import readable_pairs


def write_report(workdir: str | Path, policy: Actor | None = None) -> Path:
    """Write `report.html` into a work directory, from whatever files there are, and its figures beside it.

    Args:
        workdir: of a finished or unfinished run, or a folder with a dataset file alone.
        policy: what plays the episode; by default one that is trained from the dataset file, where there is one.

    Raises:
        HadesError: when there is no such directory, or it cannot be written to.
    """
    run = stated_by(read_run(workdir))
    parts = [
        sections.tasks(run),
        readable_pairs(run),
        illustrations.dataset(run),
        illustrations.states(run),
        illustrations.policy(run, policy),
        in_words(run),
        nearest_states(run),
        influence(run),
        illustrations.search(run),
        illustrations.returns(run),
        sections.plausibility(run),
        sections.cost(run),
        sections.how_to_use(run),
        sections.recipe(run),
    ]
    footer = (
        f"Written by hades from the files in {run.workdir.resolve().name}. Its figures lie in {run.figures.name}/ as "
    )
    footer += "SVG, PNG and PDF, and its episodes as GIF."
    page = html_page(run.title, sections.headline(run), parts, footer)
    return write_bytes(run.workdir / "report.html", page.encode("utf-8"))
