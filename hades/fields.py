"""Types and ranges of components' fields: a value that fits is converted to the annotated type, any other is refused.

`sigma: Positive = 0.5` is a finite number above 0. NumPy's and JAX's scalars become Python's, lists and arrays become
tuples, and a mapping becomes sorted pairs, so that a component is hashable and can be written into a file.
"""

import collections.abc
import contextlib
import dataclasses
import difflib
import functools
import inspect
import math
import numbers
import sys
import types
import typing
from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar, Union

import numpy as np

from hades.errors import ConfigError, offer, shown

T = TypeVar("T", bound=type)


@dataclasses.dataclass(frozen=True)
class Range:
    """The numbers that a field takes, to be put into `Annotated[int, Range(least=1)]`; a bound that is None is none."""

    least: float | None = None
    above: float | None = None
    most: float | None = None
    below: float | None = None

    def __contains__(self, number: float) -> bool:
        # A step size of 1e-60 is 0 on the device.
        number = number if isinstance(number, int) else float(np.float32(number))
        return (
            (self.least is None or number >= self.least)
            and (self.above is None or number > self.above)
            and (self.most is None or number <= self.most)
            and (self.below is None or number < self.below)
        )

    def __str__(self) -> str:
        words = {"at least": self.least, "above": self.above, "at most": self.most, "below": self.below}
        return " and ".join(f"{word} {_bound(bound)}" for word, bound in words.items() if bound is not None)


Count = Annotated[int, Range(least=1, below=2**31)]
"""How many; the device counts in int32."""
Natural = Annotated[int, Range(least=0, below=2**31)]
"""A number that may be 0, where that means none or all."""
Total = Annotated[int, Range(least=0, below=2**63)]
"""A number that only the host counts, such as the environment steps of a whole run."""
Seed = Annotated[int, Range(least=0, below=2**32)]
"""JAX makes the same key of a seed and of that seed plus 2³²."""
Positive = Annotated[float, Range(above=0)]
NonNegative = Annotated[float, Range(least=0)]
Fraction = Annotated[float, Range(least=0, most=1)]

_INT64 = Range(least=-(2**63), below=2**63)
_FLOAT32 = float(np.finfo(np.float32).max)
_LONGEST = 1000
_SCALARS = {bool: "True or False", int: "an integer", float: "a number", str: "a string"}
_UNFIT = object()


def checked(value: Any, kind: Any, place: str) -> Any:
    """The value as the annotation `kind` has it.

    Raises:
        ConfigError: where it does not fit, with `place`, the value and what would fit.
    """
    converted = _converted(value, kind, place)
    if converted is _UNFIT:
        raise ConfigError(f"{place} is {shown(value)}; it must be {_described(kind, value)}.")
    return converted


def checks_fields(cls: T) -> T:
    """Class decorator of dataclasses: fields are converted to their annotated types, or refused by name.

    It happens before the class's own `__post_init__` sees them.
    """
    construct = cls.__init__  # type: ignore[misc]  # of a class, not an instance
    signature = inspect.signature(construct)

    @functools.cache  # at the first construction: by then the module has the names that its annotations use
    def kinds() -> dict[str, Any]:
        return field_types(cls)

    @functools.wraps(construct)
    def checking(self: object, *args: Any, **kwargs: Any) -> None:
        try:
            given = signature.bind(self, *args, **kwargs)
        except TypeError:  # wrong arguments: the constructor says so better
            for name in kwargs:
                if name not in kinds():
                    raise ConfigError(no_field(cls, name)) from None
            return construct(self, *args, **kwargs)
        for name, value in given.arguments.items():
            if name in kinds():
                given.arguments[name] = checked(value, kinds()[name], f"{cls.__name__}.{name}")
        construct(*given.args, **given.kwargs)

    cls.__init__ = checking  # type: ignore[misc]  # replaced on purpose
    return cls


def field_types(cls: type) -> dict[str, Any]:
    """The annotation of each field of a dataclass."""
    return {field.name: _field_type(cls, field) for field in dataclasses.fields(cls)}


def fits(cls: type) -> dict[str, str]:
    """Values that fit each field of a dataclass, in words."""
    return {name: _described(kind) for name, kind in field_types(cls).items()}


def takes(cls: type, interface: str) -> list[str]:
    """The fields of a dataclass that take one component of an interface."""
    return [name for name, kind in field_types(cls).items() if interface in _class_names(kind)]


def _class_names(kind: Any) -> set[str]:
    """Names of the classes whose instances fit `kind`."""
    if typing.get_origin(kind) in (Union, types.UnionType):
        return {name for part in typing.get_args(kind) for name in _class_names(part)}
    return {getattr(kind, "__name__", str(kind))}


def no_field(cls: type, name: str) -> str:
    """Describe a field that a dataclass does not have: what it is called now, or the nearest one."""
    today = getattr(cls, "renamed", {}).get(name)
    hint = f"It is called {today} now." if today else offer(name, [field.name for field in dataclasses.fields(cls)])
    return f'{cls.__name__} has no field "{name}". {hint}'


def _field_type(cls: type, field: dataclasses.Field[Any]) -> Any:
    """The type of a dataclass's field; its text where that is not the name of anything.

    Under `from __future__ import annotations` a field has its type as text, to be read in the module of the class that
    defined the field.
    """
    if not isinstance(field.type, str):
        return field.type
    owner = next(c for c in reversed(cls.__mro__) if vars(c).get("__dataclass_fields__", {}).get(field.name) is field)
    annotated = types.SimpleNamespace(__annotations__={field.name: field.type})
    try:
        return typing.get_type_hints(annotated, vars(sys.modules[owner.__module__]), include_extras=True)[field.name]
    except Exception:  # any expression may stand there, and be meant for type checkers alone
        return field.type


def _converted(value: Any, kind: Any, place: str) -> Any:
    """The value as `kind` has it, _UNFIT where it does not fit; an item that does not fit raises by its own place."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is Annotated:
        converted = _converted(value, arguments[0], place)
        ranges = (note for note in arguments[1:] if isinstance(note, Range))
        return converted if converted is _UNFIT or all(converted in allowed for allowed in ranges) else _UNFIT
    if origin in (Union, types.UnionType):
        return _first_fit(value, arguments, place)
    if origin is Literal:
        value = _python(value)
        return next((known for known in arguments if type(known) is type(value) and known == value), _UNFIT)
    if kind in (None, type(None)):
        return None if value is None else _UNFIT
    if kind is Any:
        return _plain(value, place)
    if isinstance(kind, type) and kind in _SCALARS:
        return _scalar(_python(value), kind)
    if origin in (tuple, collections.abc.Sequence):
        return _options(value, kind, place) if _named_values(kind) else _items(_python(value), arguments, place)
    if origin is collections.abc.Callable:
        return value if callable(value) else _UNFIT
    with contextlib.suppress(TypeError):  # not every annotation is a class
        return value if isinstance(value, origin or kind) else _UNFIT
    return value


def _python(value: Any) -> Any:
    """A NumPy or JAX scalar or array as Python's scalar or lists; anything else as it is."""
    if isinstance(value, np.generic | np.ndarray) or type(value).__module__.startswith("jax"):
        with contextlib.suppress(Exception):  # while a program is traced there is no number yet
            return value.tolist()
    return value


def _scalar(value: Any, kind: type) -> Any:
    if kind is bool or isinstance(value, bool):
        return value if kind is bool and isinstance(value, bool) else _UNFIT
    if kind is str:
        return str.__str__(value) if isinstance(value, str) and len(value) <= _LONGEST else _UNFIT
    if kind is int:
        return int(value) if isinstance(value, numbers.Integral) and int(value) in _INT64 else _UNFIT
    with contextlib.suppress(OverflowError):
        if isinstance(value, numbers.Real) and abs(float(value)) <= _FLOAT32:
            return float(value)
    return _UNFIT


def _plain(value: Any, place: str) -> Any:
    """Values that may stand in options: None, scalars, components and tuples of them."""
    value = _python(value)
    if value is None or (dataclasses.is_dataclass(value) and not isinstance(value, type)):
        return value
    if isinstance(value, list | tuple):
        return tuple(checked(item, Any, f"{place}[{i}]") for i, item in enumerate(value))
    return next((fit for kind in _SCALARS if (fit := _scalar(value, kind)) is not _UNFIT), _UNFIT)


def _first_fit(value: Any, kinds: tuple[Any, ...], place: str) -> Any:
    for kind in kinds:
        with contextlib.suppress(ConfigError):
            if (converted := _converted(value, kind, place)) is not _UNFIT:
                return converted
    return _UNFIT


def _items(value: Any, kinds: tuple[Any, ...], place: str) -> Any:
    """A tuple of checked items from a sequence; `kinds` are those of tuple[X, ...], Sequence[X] or tuple[X, Y]."""
    if not isinstance(value, collections.abc.Sequence) or isinstance(value, str | bytes | bytearray):
        return _UNFIT
    if len(kinds) == 1 or kinds[-1] is ...:
        kinds = (kinds[0],) * len(value)
    if len(kinds) != len(value):
        return _UNFIT
    return tuple(checked(item, kinds[i], f"{place}[{i}]") for i, item in enumerate(value))


def _named_values(kind: Any) -> Any:
    """X of tuple[tuple[str, X], ...], which is how a component holds a mapping; else None."""
    arguments = typing.get_args(kind)
    pair = typing.get_args(arguments[0]) if len(arguments) == 2 and arguments[1] is ... else ()
    return pair[1] if len(pair) == 2 and pair[0] is str and typing.get_origin(arguments[0]) is tuple else None


def _options(value: Any, kind: Any, place: str) -> Any:
    if getattr(value, "_flax_dataclass", False):  # such as gymnax's parameters
        value = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    pairs = list(value.items()) if isinstance(value, Mapping) else _python(value)
    if not isinstance(pairs, list | tuple) or not all(isinstance(p, list | tuple) and len(p) == 2 for p in pairs):
        return _UNFIT
    names = [_scalar(name, str) for name, _ in pairs]
    if _UNFIT in names or len(set(names)) < len(names):
        return _UNFIT
    inner = _named_values(kind)
    values = [checked(item, inner, f"{place}[{name!r}]") for name, (_, item) in zip(names, pairs, strict=True)]
    return tuple(sorted(zip(names, values, strict=True), key=lambda pair: pair[0]))


def _described(kind: Any, value: Any = None) -> str:
    """Describe in words the values that fit `kind`; `value` helps to suggest a component."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is Annotated:
        ranges = " and ".join(str(note) for note in arguments[1:] if isinstance(note, Range))
        if not ranges or _converted(value, arguments[0], "") is not _UNFIT:
            return ranges or _described(arguments[0], value)
        return f"{_described(arguments[0], value)}{' of' * ranges.startswith('at')} {ranges}"
    if origin in (Union, types.UnionType):
        return ", or ".join(_described(part, value) for part in arguments)
    if origin is Literal:
        return " or ".join(f'"{known}"' if isinstance(known, str) else repr(known) for known in arguments)
    if kind in (None, type(None)):
        return "None"
    if kind is Any:
        return "None, a string, a finite number, a component, or a tuple of these"
    if isinstance(kind, type) and kind in _SCALARS:
        if kind is float and isinstance(value, numbers.Real):
            return "a finite number"
        return _SCALARS[kind] + f" of at most {_LONGEST:,} characters" * (isinstance(value, str) and kind is str)
    if inner := _named_values(kind):
        return f"a mapping of different names, each to {_described(inner)}"
    if origin in (tuple, collections.abc.Sequence):
        if len(arguments) == 1 or arguments[-1] is ...:
            return f"a tuple, each entry {_described(arguments[0])}"
        return f"a tuple of {len(arguments)}: {', '.join(map(_described, arguments))}"
    return _described_class(kind, value) if isinstance(kind, type) else str(kind)


def _described_class(kind: type, value: Any) -> str:
    article = "an" if kind.__name__[0] in "AEIO" else "a"
    known = sorted(_implementations(kind))
    named = value.__name__ if isinstance(value, type) else value if isinstance(value, str) else ""
    folded = {name.lower(): name for name in known}
    nearest = [folded[name] for name in difflib.get_close_matches(named.lower()[:80], folded, n=1)]
    return f"{article} {kind.__name__}" + "".join(f", such as @{name}()" for name in (nearest or known)[:1])


def _implementations(kind: type) -> set[str]:
    """Names of the classes that can be made from a file and are a `kind`."""
    is_abstract = inspect.isabstract(kind) or getattr(kind, "_is_protocol", False) or hasattr(kind, "session_only")
    names = set() if is_abstract else {kind.__name__}
    return names.union(*map(_implementations, kind.__subclasses__()))


def _bound(bound: float) -> str:
    power = round(math.log2(abs(bound))) if abs(bound) >= 2**31 else 0
    if power and abs(bound) == 2**power:
        return "-" * (bound < 0) + "2" + str(power).translate(str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return f"{bound:,}"
