"""The table of zoo.md and the returns of gallery.md, from the cards of the zoo.

python docs/zoo_table.py          # prints the table
python docs/zoo_table.py --write  # also writes it and the gallery's returns into the pages
"""

import re
import sys
from pathlib import Path

from results_table import SPACE, minus, replaced

from hades.data import zoo
from hades.environments.references import RANDOM, RELEASED
from hades.runs.result import all_stages
from hades.text import return_text

DOCS = Path(__file__).parent
TITLE = "| name | return (95 %) | worst policy | retention: IQM (worst decile) | steps | file |"
SHOWN = re.compile(
    r"^\| `(?P<name>[\w-]+)` \| (?P<random>[^|]*) \| (?P<own>[^|]*) \| (?P<paper>[^|]*) \|", re.MULTILINE
)
"""A row of the gallery's table up to the paper's return."""
CAPTION = re.compile(r"(?<=Pairs of )(?P<name>[\w-]+), and its return of [^ ]+ beside")


def row(name: str) -> str:
    """The row of a dataset, without its name."""
    card = zoo.card(name)
    report, retention = card["report"], card["retention"]
    low, high = (return_text(end) for end in report["ci95"])
    return " | ".join(
        [
            f"{return_text(report['mean'])} ({low} to {high})",
            return_text(report["worst_init"]),
            minus(f"{100 * retention['iqm']:.0f}{SPACE}% ({100 * retention['worst_decile']:.0f}{SPACE}%)"),
            f"{all_stages(card, 'env_steps', 'search') / 1e6:.1f}{SPACE}M",
            f"{zoo.path(name).stat().st_size / 1024:.1f}{SPACE}kB",
        ]
    )


def table() -> str:
    """A row for every dataset, by name."""
    rows = [f"| `{name}` | {row(name)} |" for name in sorted(zoo.names())]
    return "\n".join([TITLE, "|" + "---|" * TITLE.count(" | ") + "---|", *rows])


def with_returns(gallery: str) -> str:
    """The text of the gallery with the returns of cards and references, in its table and in its captions."""

    def shown(found: re.Match[str]) -> str:
        name = found["name"]
        card = zoo.card(name)
        task, method = card["environment"], card["method"].removesuffix(" by gradient")
        released = RELEASED.get(task, {}).get(method)
        paper = "–" if released is None else f"[{return_text(released)}](results.md)"
        return f"| `{name}` | {return_text(RANDOM[task])} | {return_text(card['report']['mean'])} | {paper} |"

    def captioned(found: re.Match[str]) -> str:
        return f"{found['name']}, and its return of {return_text(zoo.card(found['name'])['report']['mean'])} beside"

    return CAPTION.sub(captioned, SHOWN.sub(shown, gallery))


if __name__ == "__main__":
    print(table())
    if "--write" in sys.argv[1:]:
        for page, change in (("zoo.md", lambda text: replaced(text, table())), ("gallery.md", with_returns)):
            (DOCS / page).write_text(change((DOCS / page).read_text("utf-8")), "utf-8")
