"""A folder that holds a dataset file alone: what the file states stands in the place of a run's results."""

import dataclasses

from hades.data import zoo
from hades.runs.record import RunRecord
from hades.runs.workdir import WorkDir


def stated_by(run: RunRecord) -> RunRecord:
    """A folder that holds a dataset file alone, with what the file states in the place of a result.json."""
    if run.dataset is None or run.result or run.experiment or run.metrics:
        return run
    training = run.dataset.metadata.get("training") or {}
    result = {
        "environment": run.dataset.environment.spec.name,
        "method": run.dataset.method,
        "num_pairs": len(run.dataset),
        **{name: training[name] for name in ("generations", "env_steps", "stages", "teachers") if name in training},
        **({"report": dict(run.dataset.returns)} if run.dataset.returns else {}),
    }
    return dataclasses.replace(run, result=result, evaluations=_kept_curve(run))


def _kept_curve(run: RunRecord) -> list[dict[str, float]]:
    """The evaluations of the search that the card of the zoo keeps, where the file is one of the zoo's."""
    content = WorkDir(run.workdir).dataset.read_bytes()
    for name in zoo.names():
        path = zoo.path(name)
        if path.stat().st_size == len(content) and path.read_bytes() == content:
            return [{"env_steps_total": steps, "return_mean": mean} for steps, mean in zoo.card(name).get("curve", ())]
    return []


def is_bare(run: RunRecord) -> bool:
    """Return True if there is a dataset but no file of the run that made it."""
    return run.dataset is not None and not (run.experiment or run.metrics or run.timing or run.config)
