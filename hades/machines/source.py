"""The package that machines elsewhere install: a revision of this checkout, or a pip requirement."""

import dataclasses
import hashlib
import tempfile
from pathlib import Path

import hades
from hades.machines.commands import Command, LaunchError, attempt


@dataclasses.dataclass(frozen=True)
class Source:
    """The package that runs: a pip requirement, or a revision of this checkout.

    Attributes:
        label: tells one package from another, on the workers.
        requirement: for pip; bash expands it on the worker.
        archive: writes the revision into `file`; None for a requirement.
        file: what is copied to the workers.
        note: what to know about it, where there is something.
    """

    label: str
    requirement: str
    archive: Command | None = None
    file: Path = Path()
    note: str = ""


def package(requirement: str) -> Source:
    """A pip requirement such as "hades-rl[tpu] @ git+https://github.com/…@REVISION".

    Raises:
        LaunchError: when it holds what a shell would take for its own.
    """
    if set(requirement) & set('"$`\\\n'):
        raise LaunchError(f"--package={requirement!r} is no pip requirement.")
    return Source(hashlib.sha256(requirement.encode()).hexdigest()[:12], requirement)


def checkout(revision: str, root: Path | None = None) -> Source:
    """A revision of the checkout that this program runs from.

    Raises:
        LaunchError: when there is no checkout, or it does not know the revision.
    """
    root = root or Path(hades.__file__).parents[1]
    if not (root / ".git").exists():
        raise LaunchError(
            f"{root} is no git checkout, so there is no --revision to copy. Say what the machines install: "
            "--package='hades-rl[tpu] @ git+https://…@REVISION'."
        )
    found = attempt(Command(("git", "-C", str(root), "rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}")))
    if found.status != 0:
        raise LaunchError(f'--revision="{revision}" is no commit of {root}. See git log.')
    source = at_commit(found.stdout.strip(), root)
    changed = attempt(Command(("git", "-C", str(root), "status", "--porcelain", "--untracked-files=no"))).stdout
    note = f"{root} has changes that are not committed: the machines get {source.label} without them."
    return dataclasses.replace(source, note=note) if changed else source


def at_commit(commit: str, root: Path) -> Source:
    """A commit of a checkout, by its full name."""
    label = commit[:12]
    file = Path(tempfile.gettempdir()) / f"hades-{label}.tar.gz"
    words = ("git", "-C", str(root), "archive", "--format=tar.gz", f"--prefix=hades-{label}/", f"--output={file}")
    return Source(label, f"hades-rl[tpu] @ file://$HOME/{file.name}", Command((*words, commit)), file)
