"""Folders that may not be written or read, as a program of its own: `python without_privileges.py FINISHED FOLDER`.

Permissions do not bind root, so the test starts it without that power. It continues copies of a finished run and prints
one JSON object: what was said about each fault.
"""

import contextlib
import io
import json
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

from hades.errors import HadesError
from hades.runs.checkpoint import Checkpoints
from hades.runs.loop import run
from tests.runs.tiny import tiny_experiment


def main(finished: Path, folder: Path) -> None:
    workdir = folder / "run"
    shutil.copytree(finished, workdir)
    said = {}
    folder.chmod(0o555)
    said["from the start"] = start(folder / "another")
    folder.chmod(0o755)
    with forbidden(workdir, 0o222):
        said["on resume"] = start(workdir)
    with forbidden(workdir / "checkpoints" / "12", 0o777):
        said["unreadable"] = start(workdir)
    shutil.rmtree(workdir / "checkpoints" / "12")
    (workdir / "checkpoints" / "12.orbax-checkpoint-tmp").mkdir()
    with forbidden(workdir / "checkpoints", 0o222):
        said["checkpoints"] = start(workdir)
    said["during the run"] = forbid_at_next_save(workdir)
    said["at last"] = start(workdir)
    print(json.dumps(said))


def start(workdir: Path) -> str:
    """Run, or continue; what was said."""
    said = io.StringIO()
    with contextlib.redirect_stderr(said):
        try:
            run(tiny_experiment(), workdir)
        except HadesError as error:
            said.write(f"hades: {error}")
    return said.getvalue()


def forbid_at_next_save(workdir: Path) -> str:
    with contextlib.ExitStack() as stack:
        save: Callable[..., None] = Checkpoints.save

        def forbid(*arguments: object) -> None:
            stack.enter_context(forbidden(workdir, 0o222))
            save(*arguments)

        with mock.patch.object(Checkpoints, "save", forbid):
            return start(workdir)


@contextlib.contextmanager
def forbidden(folder: Path, bits: int) -> Iterator[None]:
    """Take permissions away from everything in a folder."""
    before = {path: path.stat().st_mode & 0o777 for path in [folder, *folder.rglob("*")]}
    for path in reversed(before):
        path.chmod(before[path] & ~bits)
    try:
        yield
    finally:
        for path, mode in before.items():
            if path.exists():
                path.chmod(mode)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
