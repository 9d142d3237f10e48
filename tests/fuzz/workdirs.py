"""Files of a work directory: damaged, or with other values, each beside the intact other ones."""

import contextlib
import functools
import io
import json
import random
import tempfile
from pathlib import Path

from hades.report import illustrations, sections
from hades.report.dataset_only import stated_by
from hades.runs.log import RunLog
from hades.runs.loop import run
from hades.runs.record import finished_result, read_run
from hades.runs.restore import load_policy, read_experiment
from hades.runs.workdir import WorkDir
from tests.fuzz.harness import Attempt, kind, mutated, mutated_json
from tests.runs.tiny import tiny_experiment

LOGS = ("metrics.jsonl", "evaluations.jsonl", "timing.jsonl")
DOCUMENTS = ("experiment.json", "result.json")


@functools.cache
def finished() -> dict[str, bytes]:
    """The files of a tiny finished run by name; its checkpoints are left out."""
    with tempfile.TemporaryDirectory() as folder:
        run(tiny_experiment(), folder, progress=False, config="SNES.sigma = 0.1\n")
        return {path.name: path.read_bytes() for path in Path(folder).iterdir() if path.is_file()}


def changed_log(rng: random.Random, content: bytes) -> bytes:
    """One row of a log with another value, or its bytes damaged."""
    if rng.random() < 0.5:
        return mutated(rng, content)
    lines = content.splitlines()
    at = rng.randrange(len(lines))
    lines[at] = json.dumps(mutated_json(rng, json.loads(lines[at]))[1]).encode()
    return b"\n".join(lines) + b"\n"


def changed_document(rng: random.Random, content: bytes) -> bytes:
    """A document with one to three other values, or its bytes damaged."""
    if rng.random() < 0.3:
        return mutated(rng, content)
    value = json.loads(content)
    for _ in range(rng.choice((1, 1, 1, 3))):
        value = mutated_json(rng, value)[1]
    if rng.random() < 0.2:  # null stands where a number was not finite
        value = {name: dict.fromkeys(part) if isinstance(part, dict) else part for name, part in value.items()}
    return json.dumps(value).encode()


def folder_with(folder: Path, changed: dict[str, bytes]) -> None:
    for name, content in (finished() | changed).items():
        (folder / name).write_bytes(content)


@kind("run-logs")
def run_logs(rng: random.Random, folder: Path) -> Attempt:
    """A log is damaged and the run continues: no row and no byte of it is lost."""
    name = rng.choice(LOGS)
    content = changed_log(rng, finished()[name])
    folder_with(folder, {name: content})

    def call() -> None:
        with contextlib.redirect_stderr(io.StringIO()):
            read_run(folder)
            RunLog(WorkDir(folder), resume_at=12).close()

    def accept(result: None) -> str:
        left = [path.read_bytes() for path in folder.glob(f"{name.split('.')[0]}*") if path.is_file()]
        if content in left:
            return ""
        lost = set(finished()[name].splitlines()) & set(content.splitlines()) - set(b"\n".join(left).splitlines())
        return f"{len(lost)} rows are lost" if lost else ""

    return Attempt(f"{name}: {content[:200]!r}", call, accept)


@kind("run-documents")
def run_documents(rng: random.Random, folder: Path) -> Attempt:
    """`experiment.json` or `result.json` changed: what reads the folder, and the texts of its report."""
    name = rng.choice(DOCUMENTS)
    content = changed_document(rng, finished()[name])
    folder_with(folder, {name: content, "config.gin": mutated(rng, finished()["config.gin"])})
    pictures = rng.random() < 0.02

    def call() -> None:
        with contextlib.redirect_stderr(io.StringIO()):
            record = stated_by(read_run(folder))
            finished_result(folder, record.experiment)
            for section in (sections.tasks, sections.headline, sections.plausibility, sections.cost, sections.recipe):
                section(record)
            if pictures:
                illustrations.search(record), illustrations.returns(record)
            if not read_experiment(WorkDir(folder)).algorithm.evolves_dataset:
                load_policy(folder)  # there is no checkpoint

    def unchanged() -> str:
        return "" if (folder / name).read_bytes() == content else f"{name} was written again"

    return Attempt(f"{name}: {content[:200]!r}", call, lambda result: unchanged())
