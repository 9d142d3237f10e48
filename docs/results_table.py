"""The tables and the figures of results.md and the README: what datasets of the zoo earn, beside the published curves.

python docs/results_table.py          # prints both tables
python docs/results_table.py --write  # also writes them into the pages, and draws the figures

Our figures are those of the zoo's cards. The published ones are population means of the training logs that the paper's
authors released (published_curves.csv: 64 pairs on Brax, 16 on MinAtar at width 512, three seeds), so they are means
over perturbed candidates in windows of 1024 steps, and not over whole episodes of the final dataset.
"""

import csv
import dataclasses
import re
import sys
from pathlib import Path
from typing import Any

from hades.data import zoo
from hades.environments import references

DOCS = Path(__file__).parent
SUITES = {
    "brax": (
        *("hopper", "walker2d", "halfcheetah", "ant", "humanoid", "humanoidstandup"),
        *("inverted_double_pendulum", "reacher"),
    ),
    "minatar": ("Breakout-MinAtar", "Asterix-MinAtar", "Freeway-MinAtar", "SpaceInvaders-MinAtar"),
    "classic": ("CartPole-v1", "Acrobot-v1", "MountainCar-v0", "Pendulum-v1"),
}
EVOLVED, GRADIENT = ("HaDES-F", "HaDES-R"), ("HaDES-F by gradient", "HaDES-R by gradient")
FIXED, FRESH = zip(EVOLVED, GRADIENT, strict=True)
TITLE = f"| task | published F / R | {' | '.join((*EVOLVED, *GRADIENT))} | other networks keep |"
SPACE = "\N{NO-BREAK SPACE}"
SHORT_TITLE = "| task | random | paper: F / R | hades: F (pairs, steps) | hades: R (pairs, steps) | PPO |"


@dataclasses.dataclass(frozen=True)
class Entry:
    """A dataset of the zoo: its return with the largest of its steps in the search and the evaluations that select."""

    name: str
    mean: float
    interval: tuple[float, float]
    num_pairs: int
    env_steps: int
    retention: float | None

    @property
    def cell(self) -> str:
        digits = 1 if abs(self.mean) < 1000 else 0
        return f"**{minus(f'{self.mean:,.{digits}f}')}** ({self.num_pairs},{SPACE}{steps(self.env_steps)})"


def entries(environment: str, method: str) -> list[Entry]:
    """Datasets of a task by a method, the best first, without those that owe their return to an exploit."""
    found = []
    for name in zoo.names():
        card = zoo.card(name)
        if (card["environment"], method_of(card)) == (environment, method) and not rests_on_alarms(card):
            taken = [stage["env_steps"] for stage in (*card.get("stages", ()), card)]
            env_steps = sum(of["search"] + of["selection"] for of in taken)
            report, retention = card["report"], (card.get("retention") or {}).get("iqm")
            low, high = report["ci95"]
            found.append(Entry(name, report["mean"], (low, high), card["num_pairs"], env_steps, retention))
    return sorted(found, key=lambda entry: -entry.mean)


def rests_on_alarms(card: dict[str, Any]) -> bool:
    """Whether most episodes of a card's report raised the exploit alarm."""
    report = card["report"]
    return 2 * report.get("implausible_episodes", 0) > report["num_inits"] * report["num_episodes"]


def method_of(card: dict[str, Any]) -> str:
    """The method of a card; what evolution made of a dataset by gradient counts as by gradient."""
    before = {stage["method"] for stage in card.get("stages", ())}
    by_gradient = f"{card['method']} by gradient"
    return by_gradient if by_gradient in before else card["method"]


def published(environment: str) -> dict[str, dict[str, Any]]:
    """Rows of the published logs by method."""
    with (DOCS / "published_curves.csv").open(newline="") as file:
        return {row["method"]: row for row in csv.DictReader(file) if row["environment"] == environment}


def table(suites: tuple[str, ...] = tuple(SUITES)) -> str:
    """Markdown: a row for each task that has a dataset or a published figure."""
    lines = [TITLE, rule(TITLE)]
    for environment in (name for suite in suites for name in SUITES[suite]):
        logs = published(environment)
        paper = " / ".join(number(float(logs[method]["final_mean"])) for method in EVOLVED if method in logs) or "–"
        best = {method: entries(environment, method)[:1] for method in (*EVOLVED, *GRADIENT)}
        cells = [entry[0].cell if entry else "–" for entry in best.values()]
        kept = [entry.retention for method in FRESH for entry in best[method] if entry.retention is not None]
        shares = " / ".join(f"{minus(f'{share:.0%}').replace('%', f'{SPACE}%')}" for share in kept) or "–"
        lines.append(f"| {shown(environment)} | {paper} | {' | '.join(cells)} | {shares} |")
    return "\n".join(lines)


def short_table() -> str:
    """Markdown for the README: the best dataset of each kind, beside a random policy, the paper and PPO."""
    lines = [SHORT_TITLE, rule(SHORT_TITLE)]
    for environment in (name for suite in SUITES.values() for name in suite):
        logs = published(environment)
        paper = " / ".join(number(float(logs[method]["final_mean"])) for method in EVOLVED if method in logs) or "–"
        found = [[e for method in kind for e in entries(environment, method)] for kind in (FIXED, FRESH)]
        best = [max(of_kind, key=lambda entry: entry.mean, default=None) for of_kind in found]
        ppo = [number(x) for name, x in references.HERE.get(environment, {}).items() if name.startswith("PPO")]
        random = number(references.RANDOM[environment])
        cells = [entry.cell if entry else "–" for entry in best]
        lines.append(f"| {shown(environment)} | {random} | {paper} | {' | '.join(cells)} | {', '.join(ppo) or '–'} |")
    return "\n".join(lines)


def shown(environment: str) -> str:
    """A task's name in words."""
    return environment.removesuffix("-MinAtar").replace("_", " ")


def rule(title: str) -> str:
    return "|---" * (title.count("|") - 1) + "|"


def number(value: float) -> str:
    return minus(f"{value:,.0f}" if abs(value) >= 100 else f"{value:.1f}")


def minus(text: str) -> str:
    return text.replace("-", "−")


def steps(count: int) -> str:
    return f"{count / 1e6:.0f}{SPACE}M"


def draw(suite: str, columns: int = 4) -> bytes:
    """PNG: return against environment steps (log axis), a panel a task."""
    from matplotlib.lines import Line2D

    from hades.pictures.figures import WIDE, figure, render
    from hades.pictures.palette import BLUE, MUTED, SLATE, VERMILION

    tasks = SUITES[suite]
    rows = -(-len(tasks) // columns)
    styles = {
        **{method: (BLUE, marker) for method, marker in zip(EVOLVED, "so", strict=True)},
        **{method: (VERMILION, marker) for method, marker in zip(GRADIENT, "sD", strict=True)},
    }
    with figure(WIDE, 2.1 * rows + 0.5) as fig:
        for i, environment in enumerate(tasks):
            axes = fig.add_subplot(rows, columns, i + 1)
            for method, row in published(environment).items():
                curve = [(int(g[3:]), float(v)) for g, v in row.items() if g.startswith("gen") and v]
                x = [generation * int(row["steps_per_generation"]) for generation, _ in curve]
                line = "-" if method == "HaDES-R" else ":"
                axes.plot(x, [value for _, value in curve], line, color=SLATE, linewidth=1.4)
            for method, (colour, marker) in styles.items():
                for entry in entries(environment, method):
                    axes.plot(entry.env_steps, entry.mean, marker, color=colour, markersize=5.5, clip_on=False)
            axes.margins(y=0.1)
            axes.set_xscale("log")
            axes.set_xlim(1e6, 2e11)
            axes.set_xticks([1e6, 1e8, 1e10])
            axes.minorticks_off()
            axes.set_title(shown(environment), fontsize=9.0, loc="left")
            if i // columns == rows - 1:
                axes.set_xlabel("environment steps", fontsize=8.5, color=MUTED)
        handles = [
            Line2D([], [], color=SLATE, linestyle="-", label="published, HaDES-R"),
            Line2D([], [], color=SLATE, linestyle=":", label="published, HaDES-F"),
            *(Line2D([], [], color=c, marker=m, linestyle="", label=name) for name, (c, m) in styles.items()),
        ]
        fig.legend(handles=handles, loc="lower center", ncols=len(handles), fontsize=8.5)
        fig.tight_layout(rect=(0, 0.32 / (2.1 * rows + 0.5), 1, 1))
        return render(fig, "png")


def replaced(text: str, table: str) -> str:
    """A page's text with a table in the place of the one that has the same title."""
    title = table.splitlines()[0]
    return re.sub(rf"^{re.escape(title)}\n(\|.*\n)*", f"{table}\n", text, flags=re.MULTILINE)


if __name__ == "__main__":
    print(table(), short_table(), sep="\n\n")
    if "--write" in sys.argv[1:]:
        for page, rows in ((DOCS / "results.md", table()), (DOCS.parent / "README.md", short_table())):
            page.write_text(replaced(page.read_text("utf-8"), rows), "utf-8")
        for suite in ("brax", "minatar"):
            (DOCS / "images" / f"results_{suite}.png").write_bytes(draw(suite))
