"""Forms of the JSON files in a work directory: what their readers may rely on, also where somebody edited a file.

A form is a type or several, `[form]` for a list, `(form, form)` for a list of that length, and a mapping of names to
forms. A name may be missing, since older versions wrote fewer; ANY stands for all other names.
"""

import math
from collections.abc import Mapping
from types import NoneType
from typing import Any

ANY = "*"
DEEPEST = 50
"""Levels of nesting that no description reaches."""
LARGEST = 2**63
"""Beyond every count; larger integers have no float."""

_NUMBER = (int, float, NoneType)
_PHASES = ("compile", "search", "inside", "selection", "total", "report")
_RETURNS = {
    **dict.fromkeys(("mean", "std_over_inits", "worst_init", "best_init", "mean_length", "plausible_mean"), _NUMBER),
    **dict.fromkeys(("num_inits", "num_episodes", "implausible_episodes"), int),
    "ci95": (_NUMBER, _NUMBER),
    "per_init": [_NUMBER],
    "protocol": str,
    "alarms": {ANY: {"largest": (int, float), "bound": (int, float), "episodes": int}},
}
_COSTS = {"env_steps": dict.fromkeys(_PHASES, int), "seconds": dict.fromkeys(_PHASES, (int, float))}
RESULT = {
    **dict.fromkeys(("environment", "method", "device"), str),
    **dict.fromkeys(("generations", "genome_size", "num_pairs", "seed", "best_generation"), int),
    "improved_generation": int,
    "stopped_by": str,
    **dict.fromkeys(("num_devices", "num_processes"), int),
    "selection_return": _NUMBER,
    **_COSTS,
    "stages": [{"method": str, "recipe": str, "generations": int, "return": _NUMBER, **_COSTS}],
    "teachers": [{"source": str, "method": str, "env_steps": (int, NoneType)}],
    "versions": {ANY: str},
    "report": {**_RETURNS, "tasks": {ANY: _RETURNS}},
}
"""Of `result.json`."""
EXPERIMENT = {
    **dict.fromkeys(("generations", "seed", "eval_every", "eval_inits", "eval_episodes"), int),
    **dict.fromkeys(("report_inits", "report_episodes", "checkpoint_every"), int),
    **dict.fromkeys(("target_return", "max_seconds", "max_env_steps", "plateau_notice", "patience"), _NUMBER),
    "algorithm": dict,
}
"""Of `experiment.json`, beside that it is a description."""


def fits(value: Any, form: Any) -> bool:
    """Return True if a JSON value has a form."""
    if isinstance(form, Mapping):
        if not isinstance(value, Mapping):
            return False
        parts = ((part, form.get(name, form.get(ANY))) for name, part in value.items())
        return all(part_form is None or fits(part, part_form) for part, part_form in parts)
    if isinstance(form, list):
        return isinstance(value, list) and all(fits(part, form[0]) for part in value)
    if isinstance(form, tuple) and not all(isinstance(part, type) for part in form):
        return isinstance(value, list) and len(value) == len(form) and all(map(fits, value, form))
    if isinstance(value, float) and not math.isfinite(value):  # older files hold NaN where null may stand
        return isinstance(form, tuple) and NoneType in form
    return isinstance(value, form) and not (isinstance(value, int) and abs(value) > LARGEST)


def is_description(value: Any, levels: int = DEEPEST) -> bool:
    """Return True if every mapping in a JSON value names an interface and a component, as `registry.describe` does."""
    if isinstance(value, Mapping):
        named = all(isinstance(value.get(name), str) for name in ("interface", "name"))
        return named and is_description(list(value.values()), levels)
    if isinstance(value, list):
        return levels > 0 and all(is_description(part, levels - 1) for part in value)
    return True
