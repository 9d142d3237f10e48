"""The report of a run: one HTML file that holds everything it shows, for any screen, without JavaScript."""

from pathlib import Path

from hades.data.files import write_bytes
from hades.train.run_record import RunRecord, read_run
from hades.visualize import inspected, pictures, sections, stated
from hades.visualize.page import html_page
from hades.visualize.recording import Actor


def write_report(workdir: str | Path, policy: Actor | None = None) -> Path:
    """Write `report.html` into a work directory, from whatever files there are.

    Args:
        workdir: of a finished or unfinished run, or a folder with a dataset file alone.
        policy: what plays the episode; by default one that is trained from the dataset file, where there is one.

    Raises:
        HadesError: when there is no such directory, or it cannot be written to.
    """
    run = stated.stated_by(read_run(workdir))
    footer = f"Written by hades from the files in {run.workdir.resolve().name}."
    page = html_page(run.title, _body(run, policy), footer)
    return write_bytes(run.workdir / "report.html", page.encode("utf-8"))


def _body(run: RunRecord, policy: Actor | None) -> list[str]:
    about_search = [pictures.search(run)] if not stated.is_bare(run) else []
    return [
        sections.headline(run),
        sections.tasks(run),
        pictures.dataset(run),
        pictures.states(run),
        pictures.policy(run, policy),
        inspected.nearest_states(run),
        inspected.influence(run),
        *about_search,
        pictures.returns(run),
        sections.plausibility(run),
        sections.cost(run),
        sections.how_to_use(run),
        sections.recipe(run),
    ]
