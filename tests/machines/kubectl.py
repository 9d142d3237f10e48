"""A `kubectl` for tests: an executable that keeps JobSets in a file, answers as told, and notes every call.

Its `script.json` is a list of status objects; each `get` of a JobSet moves on to the next one and stays at the last.
"""

import json
import os
import stat
import sys
from pathlib import Path
from typing import Any

PROGRAM = """#!{python} -S
import json, pathlib, sys, time
here = pathlib.Path({folder!r})
words = sys.argv[1:]
with (here / "calls.jsonl").open("a") as file:
    file.write(json.dumps(words) + "\\n")
mode = (here / "mode").read_text() if (here / "mode").exists() else ""
verb = next(word for word in words if not word.startswith("--"))
if mode == "hang":
    time.sleep(60)
if mode.startswith("fail " + verb):
    print(mode.split(" ", 2)[2], file=sys.stderr)
    sys.exit(1)
there = here / "jobset.json"
if verb == "get" and there.exists():
    script = json.loads((here / "script.json").read_text())
    status = script.pop(0) if len(script) > 1 else script[0]
    if len(script) >= 1:
        (here / "script.json").write_text(json.dumps(script))
    jobset = json.loads(there.read_text())
    print(json.dumps(jobset | {{"status": status}}))
if verb == "apply":
    text = sys.stdin.read()
    (here / "applied.yaml").write_text(text)
    digest = text.split("hades/manifest: ")[1].split()[0].strip("'")
    there.write_text(json.dumps({{"metadata": {{"annotations": {{"hades/manifest": digest}}}}}}))
if verb == "delete":
    there.unlink(missing_ok=True)
if verb == "logs":
    logs = here / "logs"
    text = logs.read_text().split("---\\n") if logs.exists() else [""]
    logs.write_text("---\\n".join(text[1:] or [""]))
    print(text[0], end="")
    if "waiting to start" in text[0]:
        sys.exit(1)
"""


class FakeKubectl:
    """The executable in a folder of its own, which the test puts on PATH."""

    def __init__(self, folder: Path):
        self.folder = folder
        folder.mkdir()
        program = folder / "kubectl"
        program.write_text(PROGRAM.format(python=sys.executable, folder=str(folder)))
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        self.statuses({})

    @property
    def path(self) -> str:
        return f"{self.folder}{os.pathsep}{os.environ['PATH']}"

    def statuses(self, *script: dict[str, Any]) -> None:
        """What the JobSet's status is, one question after another."""
        (self.folder / "script.json").write_text(json.dumps(script))

    def logs(self, *texts: str) -> None:
        """What the first pod says, each time that its log is asked for."""
        (self.folder / "logs").write_text("---\n".join(texts))

    def mode(self, mode: str) -> None:
        """ "hang", or "fail VERB what it says"."""
        (self.folder / "mode").write_text(mode)

    @property
    def calls(self) -> list[list[str]]:
        file = self.folder / "calls.jsonl"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    @property
    def verbs(self) -> list[str]:
        return [next(word for word in words if not word.startswith("--")) for words in self.calls]


def ended(kind: str, message: str = "", restarts: int = 0) -> dict[str, Any]:
    """The status of a JobSet that has "Completed" or "Failed"."""
    return {"restarts": restarts, "conditions": [{"type": kind, "status": "True", "message": message}]}
