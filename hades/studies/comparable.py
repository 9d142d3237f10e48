"""Check that runs are comparable.

All are finished and share protocol, device, versions and budget; only method and seed may differ.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from hades import registry
from hades.errors import ConfigError
from hades.runs.experiment import FREE_FIELDS, LIMITS
from hades.runs.record import RunRecord, read_run
from hades.runs.stages import described_stages
from hades.runs.workdir import as_configured, differences

K = TypeVar("K")
PROTOCOL = ("eval_inits", "eval_episodes", "report_inits", "report_episodes")
_NOT_OF_THE_METHOD = ("seed", *FREE_FIELDS, *PROTOCOL)


def read_finished(commands: Mapping[Path, str]) -> list[RunRecord]:
    """The runs in some work directories.

    Args:
        commands: the command that makes each of them; may be empty.

    Raises:
        ConfigError: naming every run that is missing or unfinished, with its command.
    """
    records, lacking = [], []
    for path, command in commands.items():
        record = read_run(path) if path.is_dir() else None
        if record is not None and record.is_finished:
            records.append(record)
            continue
        generation = record.metrics[-1]["generation"] if record and record.metrics else 0
        state = f"unfinished after generation {generation}" if generation else "missing"
        lacking.append(f"\n  {path}: {state}" + (f"; {command}" if command else ""))
    if lacking:
        raise ConfigError(f"{len(lacking)} of {len(commands)} runs cannot be compared:{''.join(lacking)}")
    return records


def check_agreement(records: Sequence[RunRecord]) -> None:
    """Refuse what would mislead side by side.

    All runs must share evaluation protocol and device, those of an environment its description, the versions of the
    packages that decide it, and the budget, and those of a method everything but the seed.

    Raises:
        ConfigError: naming the fields that differ with both values and a run for each.
    """
    _check_equal(records, "", [{"protocol": protocol(r), "device": r.device} for r in records])
    for environment, group in grouped(records, lambda r: r.environment).items():
        facts = [
            {"environment": environment_of(r), "versions": environment_versions(r), "budget": budget(r)} for r in group
        ]
        _check_equal(group, environment, facts)
        for method, cell in grouped(group, lambda r: r.method).items():
            recipes = [_recipe(r.experiment) for r in cell]
            _check_equal(cell, f"{method} on {environment}", recipes)
            seeds = [r.result["seed"] for r in cell]
            twice = {seed for seed in seeds if seeds.count(seed) > 1}
            if twice:
                paths = ", ".join(str(r.workdir) for r in cell if r.result["seed"] in twice)
                raise ConfigError(f"{method} on {environment} has several runs with one seed: {paths}. Give each once.")


def protocol(record: RunRecord) -> dict[str, Any]:
    """Evaluation protocol of a run."""
    fields = {name: record.experiment.get(name) for name in PROTOCOL}
    return fields | {"report": (record.report or {}).get("protocol") or "whole episodes"}


def budget(record: RunRecord) -> dict[str, Any]:
    """Limits of a run; the generations are those of its longest stage."""
    longest = max((s.get("generations") or 0 for s in described_stages(record.experiment)), default=None)
    return {name: record.experiment.get(name) for name in LIMITS} | {"generations": longest}


def environment_of(record: RunRecord) -> Mapping[str, Any]:
    """The description of the environment that a run reports on; its backend is a part of it.

    Raises:
        ConfigError: where the run says none.
    """
    found = _environments({name: part for name, part in record.experiment.items() if name != "first"})
    if len(found) != 1:
        raise ConfigError(f"{record.workdir} says {len(found)} environments in experiment.json; a comparison needs 1.")
    return found[0]


def environment_versions(record: RunRecord) -> dict[str, str]:
    """Versions of the packages that define the environment, as they were when the run ended."""
    packages = registry.build(environment_of(record)).versions
    return {name: record.result["versions"].get(name, "unknown") for name in packages}


def grouped(records: Sequence[RunRecord], name_of: Callable[[RunRecord], K]) -> dict[K, list[RunRecord]]:
    """Group records by a name, in the order of first appearance."""
    groups: dict[K, list[RunRecord]] = {}
    for record in records:
        groups.setdefault(name_of(record), []).append(record)
    return groups


def _recipe(experiment: Mapping[str, Any]) -> dict[str, Any]:
    """The part that the runs of a method share: all but the seed, the limits of each stage, and its evaluation."""
    own = {k: v for k, v in as_configured(experiment).items() if k not in _NOT_OF_THE_METHOD}
    return own | ({"first": _recipe(own["first"])} if own.get("first") else {})


def _environments(value: Any) -> list[Mapping[str, Any]]:
    """Every described environment below a description."""
    if isinstance(value, Mapping):
        if value.get("interface") == "Environment":
            return [value]
        return [found for part in value.values() for found in _environments(part)]
    return [found for part in value for found in _environments(part)] if isinstance(value, list) else []


def _check_equal(records: Sequence[RunRecord], whose: str, facts: Sequence[dict[str, Any]]) -> None:
    """Refuse facts that differ from the first run's."""
    different: dict[str, str] = {}
    for record, known in zip(records[1:], facts[1:], strict=True):
        for path, old, new in differences(facts[0], known):
            row = f"\n  {path}: {old!r} in {records[0].workdir}, {new!r} in {record.workdir}"
            different.setdefault(path, row)
    if different:
        of = f" of {whose}" if whose else ""
        raise ConfigError(
            f"Runs{of} differ in what must be equal for one table:{''.join(different.values())}\n"
            "Put them into tables of their own, or run one side again with the other's settings."
        )
