"""Find the gin lines that decide something. Another line is explained, and `config.gin` shows every field of a run.

Everything here is about what gin has built last, inside `gin_internals.own_state`.
"""

import contextlib
import dataclasses
import inspect
import typing
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import gin

from hades.errors import ConfigError, HadesError, nearest, offer
from hades.fields import field_types
from hades.registry import gin_internals, name_of


def operative_config() -> str:
    """Every parameter of what was called, as a gin file; a line that nothing binds ends in `# default`."""
    called = gin_internals.calls()
    waiting, unbound = list(called), set()
    while waiting:
        scope, selector = waiting.pop()
        name, made = gin_internals.definition(selector)
        for parameter in inspect.signature(made).parameters.values():
            if parameter.name in gin_internals.sources(scope, selector) or parameter.default is parameter.empty:
                continue
            value = parameter.default
            if component := _made_of_defaults(value):
                value = gin.config.parse_value(f"@{gin_internals.definition(component)[0]}()")
                if ("", component) not in called:
                    called["", component] = {}
                    waiting.append(("", component))
            called[scope, selector][parameter.name] = value
            unbound.add(_key(scope, name, parameter.name))
    lines = [*gin.operative_config_str().splitlines(), ""]
    for i, below in enumerate(lines[1:]):
        if not lines[i].startswith(" "):
            key = lines[i].partition(" = ")[0]
        if key in unbound and not below.startswith(" "):  # the last line of a value
            lines[i] += "  # default"
    return "\n".join(lines)


def _made_of_defaults(value: object) -> str:
    """The selector of a component that has all of its fields' defaults; empty for anything else."""
    if not dataclasses.is_dataclass(value) or isinstance(value, type):
        return ""
    try:
        interface, name = name_of(value)
    except ConfigError:
        return ""
    plain = all(field.default == getattr(value, field.name) for field in dataclasses.fields(value))
    return f"hades.{interface}.{name}" if plain else ""


def idle(text: str) -> list[str]:
    """Explain each binding of a gin text that decides nothing: what stands in its place, and what to write instead."""
    deciding = {
        (source, selector, parameter)
        for scope, selector in gin_internals.calls()
        for parameter, source in gin_internals.sources(scope, selector).items()
    }
    keys = dict.fromkeys(gin_internals.bindings(text))
    return [_explained(*key) for key in keys if key not in deciding]


def _explained(scope: str, selector: str, parameter: str) -> str:
    called = gin_internals.calls()
    if selector == gin_internals.MACRO:
        fields = [f"{_name(other)}.{scope}" for _, other in called if scope in _parameters(other)]
        hint = f"Did you mean {_any(fields)}?" if fields else "Leave the line out."
        return f"{scope} is set as a macro, but nothing in this run uses %{scope}. {hint}"
    name = _name(selector)
    key = _key(scope, name, parameter)
    if scopes := [used for used, other in called if other == selector]:
        known = _any(_key(one, name, parameter) for one in scopes)
        return f"{key} is bound, but no {name} of this run takes its {parameter} from there. Bind {known}."
    text = f"{key} is bound, but this run does not use {name}"
    places = list(_places(selector))
    if not places:
        return f"{text}, nor any other {selector.split('.')[-2]}. Leave the line out."
    there = " and ".join(f"its {place} is {_shown(value)}" for place, value in places[:3])
    references = [r.config_key for _, value in places for r in gin.config.iterate_references([value])]
    same = [_key(s, _name(other), parameter) for s, other in references if parameter in _parameters(other)]
    return f"{text}: {there}. Bind {f'{_any(same)}, or ' * bool(same)}{places[0][0]} = @{name}() too."


def suggestion(name: str, place: Sequence[str] | None) -> str:
    """Say what to write instead of a name that nothing has.

    Args:
        place: the component and its field that the name was given for; None where it was given for no field.
    """
    *owner, last = name.split(".")
    if owner and last in _fields(owner[-1]):  # Evolution.outer.sigma = 0.3
        return f"Fields of a component are set by its own name: {_any(known_names(_fields(owner[-1])[last]))}."
    there = ".".join(place or ())
    kind = _fields(place[0]).get(place[1]) if place else None
    known = known_names(kind)
    if kind is not None and not known:
        return f"{there} takes no component. Write '{last}' in quotes if it is a name."
    if not nearest(last, known, cutoff=0.6):
        for one in known:
            for field, choices in getattr(component(one), "choices", {}).items():
                with contextlib.suppress(HadesError):  # a library that is not installed offers nothing
                    if choice := nearest(last, choices(), cutoff=0.6):
                        put = f" and {there} = @{one}()" if there else ""
                        return f"Did you mean {one}.{field} = '{choice[0]}'{put}? Known: {', '.join(known)}."
    return offer(last, known)


def known_names(kind: Any = None) -> list[str]:
    """Names of the configurables, or of those that fit a field of this type."""
    return sorted(_name(one) for one in gin_internals.selectors() if kind is None or _fits(one, kind))


def component(name: str) -> type:
    """The class of a component, or what a function makes."""
    matching = [one for one in gin_internals.selectors() if one.endswith(f".{name}")]
    return _class(gin_internals.definition(matching[0])[1]) if matching else object


def _fields(name: str) -> dict[str, Any]:
    made = component(name)
    return field_types(made) if dataclasses.is_dataclass(made) else {}


def _fits(selector: str, kind: Any) -> bool:
    """Return True if a field of a type could hold what a configurable makes."""
    made = _class(gin_internals.definition(selector)[1])
    return any(part in made.__mro__ or part.__name__ == selector.split(".")[-2] for part in _classes(kind))


def _places(selector: str) -> Iterator[tuple[str, Any]]:
    """The fields of the run that could hold what a configurable makes, each with what it holds."""
    for (scope, taker), values in gin_internals.calls().items():
        name, made = gin_internals.definition(taker)
        for field, kind in field_types(made).items() if isinstance(made, type) else ():
            if _fits(selector, kind):
                yield _key(scope, name, field), values.get(field, _parameters(taker)[field].default)


def _class(made: Callable[..., Any]) -> type:
    """A class, or what a function returns by its annotation."""
    if isinstance(made, type):
        return made
    with contextlib.suppress(NameError):  # an annotation for type checkers alone
        return next(_classes(typing.get_type_hints(made).get("return")), object)
    return object


def _classes(kind: Any) -> Iterator[type]:
    """The classes that an annotation names, without Python's own."""
    if arguments := typing.get_args(kind):
        for argument in arguments:
            yield from _classes(argument)
    elif isinstance(kind, type) and kind.__module__ != "builtins":
        yield kind


def _parameters(selector: str) -> dict[str, inspect.Parameter]:
    return dict(inspect.signature(gin_internals.definition(selector)[1]).parameters)


def _name(selector: str) -> str:
    return gin_internals.definition(selector)[0]


def _key(scope: str, name: str, parameter: str) -> str:
    return f"{scope}/{name}.{parameter}" if scope else f"{name}.{parameter}"


def _shown(value: Any) -> str:
    """A value of gin for a sentence: SNES instead of @SNES()."""
    if isinstance(value, list | tuple):
        return ", ".join(map(_shown, value))
    return f"the default {value}" if dataclasses.is_dataclass(value) else repr(value).strip("@()")


def _any(names: Iterable[str]) -> str:
    """ "A", "A or B", "A, B, C, …"."""
    names = list(dict.fromkeys(names))
    return " or ".join(names) if len(names) < 4 else ", ".join([*names[:4], "…"])
