"""The documentation as data: fenced blocks of the README and of docs/, and how they are made small enough to run."""

import dataclasses
import json
import re
from pathlib import Path

from tests.support import ROOT

PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
OUTSIDE = tuple(page for page in PAGES if page.parent.name == "extending")
"""Pages that are done by the letter in a folder of their own (test_extending.py)."""
_FENCE = re.compile(r"^```(\w*)(?: title=\"([^\"]+)\")?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_PROGRAM = re.compile(r"(PYTHONPATH=\S+ )?(hades[- ]|python launch/)")

SMALL = {
    **{"generations": 2, "population_size": 8, "num_inits": 2, "num_episodes": 2, "num_updates": 2, "width": 8},
    "max_env_steps": 1,
}
"""What numbers of a Python snippet are replaced by before it runs; nothing else is changed."""

SMALL_BINDINGS = (f"include '{ROOT / 'tests/docs/small.gin'}'",)
"""What is appended to a documented training command before it runs."""


@dataclasses.dataclass(frozen=True)
class Block:
    """One fenced block; `title` is the name of the file that it stands for, where it has one."""

    page: Path
    line: int
    language: str
    title: str
    text: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks(*languages: str, pages: tuple[Path, ...] = PAGES) -> list[Block]:
    """The fenced blocks in some languages, in the order of the pages."""
    found = []
    for page in pages:
        text = _notebook_text(page) if page.suffix == ".ipynb" else page.read_text("utf-8")
        for match in _FENCE.finditer(text):
            language, title, body = match.groups()
            if language in languages:
                line = text.count("\n", 0, match.start()) + 1
                found.append(Block(page, line, language, title or "", body.replace("\\\n", "")))
    return found


def _notebook_text(page: Path) -> str:
    """The code of a notebook as fenced blocks, without cells that install."""
    cells = ("".join(cell["source"]) for cell in json.loads(page.read_text("utf-8"))["cells"] if "outputs" in cell)
    return "\n".join(f"```python\n{code}\n```" for code in cells if not code.startswith("%"))


def shell_lines(*pages: Path) -> list[str]:
    """Lines of shell blocks that start a program of hades, without comments; every line once."""
    lines = (line.split("  #")[0].strip() for block in blocks("bash", pages=pages) for line in block.text.splitlines())
    return list(dict.fromkeys(line for line in lines if _PROGRAM.match(line)))


def commands() -> list[str]:
    """The programs' command lines on all pages but those of OUTSIDE."""
    return shell_lines(*(page for page in PAGES if page not in OUTSIDE))


def pages_with_python() -> list[Path]:
    """Pages and notebooks whose Python runs; architecture.md quotes interfaces that exist."""
    skipped = (*OUTSIDE, ROOT / "docs/architecture.md")
    pages = (*PAGES, *sorted((ROOT / "docs").rglob("*.ipynb")))
    return [page for page in pages if page not in skipped and blocks("python", pages=(page,))]


def smaller(code: str) -> str:
    """Python code with the numbers of SMALL in the place of its own."""
    for name, value in SMALL.items():
        code = re.sub(rf"\b{name}( ?= ?)[\d_]+", rf"{name}\g<1>{value}", code)
    return code
