"""The package that other machines install: a revision of this checkout, or a pip requirement."""

import dataclasses
import hashlib
import tempfile
from pathlib import Path

import hades
from hades.errors import require
from hades.machines.commands import Command, attempt


@dataclasses.dataclass(frozen=True)
class Source:
    """The package that runs: a pip requirement, or a revision of this checkout.

    Attributes:
        label: name on the workers, different for every package.
        requirement: for pip; bash expands it on the worker.
        archive: command that writes the revision into `file`; None for a requirement.
        file: archive that is copied to the workers.
        note: warning for the user, if any.
    """

    label: str
    requirement: str
    archive: Command | None = None
    file: Path = Path()
    note: str = ""


def package(requirement: str) -> Source:
    """Use a pip requirement such as "hades-rl[tpu] @ git+https://github.com/…@REVISION".

    Raises:
        ConfigError: when it holds a character that is special in a shell.
    """
    require(not set(requirement) & set('"$`\\\n'), f"--package={requirement!r} is no pip requirement.")
    return Source(hashlib.sha256(requirement.encode()).hexdigest()[:12], requirement)


def checkout(revision: str, root: Path | None = None) -> Source:
    """Use a revision of the checkout that this program runs from.

    Raises:
        ConfigError: when there is no checkout, or the checkout lacks the revision.
    """
    root = root or Path(hades.__file__).parents[1]
    require(
        (root / ".git").exists(),
        f"{root} is no git checkout, so there is no --revision to copy. Name the package that the machines install: "
        "--package='hades-rl[tpu] @ git+https://…@REVISION'.",
    )
    found = attempt(Command(("git", "-C", str(root), "rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}")))
    require(found.status == 0, f'--revision="{revision}" is no commit of {root}. See git log.')
    source = at_commit(found.stdout.strip(), root)
    changed = attempt(Command(("git", "-C", str(root), "status", "--porcelain", "--untracked-files=no"))).stdout
    note = f"{root} has changes that are not committed: the machines get {source.label} without them."
    return dataclasses.replace(source, note=note) if changed else source


def at_commit(commit: str, root: Path) -> Source:
    """Use a commit of a checkout, given by its full hash."""
    label = commit[:12]
    file = Path(tempfile.gettempdir()) / f"hades-{label}.tar.gz"
    words = ("git", "-C", str(root), "archive", "--format=tar.gz", f"--prefix=hades-{label}/", f"--output={file}")
    return Source(label, f"hades-rl[tpu] @ file://$HOME/{file.name}", Command((*words, commit)), file)
