"""Name -> component class, per interface; `describe` <-> `build`; the only place that registers with gin.

A component is a frozen dataclass of names, scalars and other components. That makes it hashable, printable and
writable: `describe` turns it into JSON-ready dicts and `build` turns those back into an equal component.
Classes are registered with `gin.register`, not `gin.configurable`, so that objects built in Python ignore gin.
"""

import dataclasses
import importlib
import importlib.metadata
import pkgutil
import threading
import typing
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

import gin

from hades.components import COMPONENTS
from hades.errors import ConfigError, offer, shown
from hades.fields import checks_fields

T = TypeVar("T", bound=type)
Choices = Mapping[str, Callable[[], Iterable[str]]]
"""A component's `choices`: what fields that take one of many names take, for suggestions."""

_COMPONENTS: dict[str, dict[str, type]] = {}
_ROOMS = ("environments", "policies", "normalizers", "inner", "outer", "fitness", "algorithms", "runs")


def register(interface: str, name: str) -> Callable[[T], T]:
    """Class decorator: make a component known under `interface` (an abstract base's name) and in gin as `name`.

    A class that is defined again (a notebook cell run twice, `importlib.reload`) takes the place of the old one, whose
    instances can no longer be described.

    Raises:
        ConfigError: when the name is taken by another class, or the class is not a frozen dataclass.
    """

    def decorate(cls: T) -> T:
        table = _COMPONENTS.setdefault(interface, {})
        for shipped in COMPONENTS.values():
            if shipped.get(name, cls.__module__) != cls.__module__:
                importlib.import_module(shipped[name])  # so that the name is taken below
        for other_interface, components in _COMPONENTS.items():
            other = components.get(name, cls)
            if other is not cls and not (other_interface == interface and _same_place(other, cls)):
                raise ConfigError(
                    f'The name "{name}" is already registered for {other_interface} by '
                    f"{other.__module__}.{other.__qualname__}; {cls.__module__}.{cls.__qualname__} needs another name."
                )
        if not (dataclasses.is_dataclass(cls) and cls.__dataclass_params__.frozen):  # type: ignore[attr-defined]  # is_dataclass
            raise ConfigError(
                f"{cls.__module__}.{cls.__qualname__} must be a frozen dataclass to be registered: "
                "put @dataclasses.dataclass(frozen=True) under @register."
            )
        if table.get(name) is not cls:
            checks_fields(cls)
            _register_with_gin(gin.register(name, module=f"hades.{interface}"), cls)
        table[name] = cls
        return cls

    return decorate


def _register_with_gin(registration: Callable[[type], type], cls: type) -> None:
    """Register a class, or a new definition of it, whether or not a parsed configuration has locked gin."""
    with gin.unlock_config():
        try:
            registration(cls)
        except ValueError:
            # gin replaces a class in its interactive mode only. Leaving the mode turns it off for the user too, so it
            # is entered only where gin has refused, which it does not do while the user has it on.
            with gin.config.interactive_mode():
                registration(cls)


def _same_place(one: type, other: type) -> bool:
    """Return True if two classes are two definitions of one name in one module."""
    return (one.__module__, one.__qualname__) == (other.__module__, other.__qualname__)


def _found(interface: str, name: str) -> type | None:
    """The class registered under a name; of hades' own components, the module is imported first, and no other."""
    if name not in _COMPONENTS.get(interface, {}) and name in COMPONENTS.get(interface, {}):
        importlib.import_module(COMPONENTS[interface][name])
    if name not in _COMPONENTS.get(interface, {}):
        discover()
    return _COMPONENTS.get(interface, {}).get(name)


def interfaces() -> tuple[str, ...]:
    """Names of the interfaces that have registered components."""
    discover()
    return tuple(sorted(_COMPONENTS))


def names(interface: str) -> tuple[str, ...]:
    """Registered names of an interface, sorted."""
    discover()
    if interface not in _COMPONENTS:
        raise ConfigError(f'There is no interface "{interface[:80]}". {offer(interface, _COMPONENTS)}')
    return tuple(sorted(_COMPONENTS[interface]))


def get(interface: str, name: str) -> type:
    """The class registered under a name.

    Raises:
        ConfigError: for an unknown name, with the known ones and the nearest match.
    """
    cls = _found(interface, name)
    if cls is None:
        raise ConfigError(f'There is no {interface} "{name[:80]}". {offer(name, names(interface))}')
    return cls


def discover() -> None:
    """Import every component module of hades, and those of other packages' entry points `hades.components`.

    A module that fails to import raises its error at every call until it is mended. A module that looks up components
    while it is imported here sees those registered so far.
    """
    thread = threading.get_ident()
    if _Discovered.done or thread in _Discovered.threads:
        return
    # No lock: imports wait for one another already, and a lock held around them could meet theirs in a deadlock.
    _Discovered.threads.add(thread)
    try:
        for room in _ROOMS:
            package = importlib.import_module(f"hades.{room}")
            for module in pkgutil.iter_modules(package.__path__):
                importlib.import_module(f"hades.{room}.{module.name}")
        for entry_point in importlib.metadata.entry_points(group="hades.components"):
            entry_point.load()
        _Discovered.done = True
    finally:
        _Discovered.threads.remove(thread)


class _Discovered:
    """State of the discovery: whether it is done, and the threads that are importing."""

    done = False
    threads: typing.ClassVar[set[int]] = set()


def name_of(component: object) -> tuple[str, str]:
    """(interface, name) under which a component's class is registered.

    Raises:
        ConfigError: when the class was never registered, or was defined again after the component was made.
    """
    for interface, components in _COMPONENTS.items():
        for name, cls in components.items():
            if cls is type(component):
                return interface, name
    if reason := getattr(component, "session_only", ""):
        raise ConfigError(f"{type(component).__name__} cannot be written into a file: {reason}.")
    for components in _COMPONENTS.values():
        for cls in components.values():
            if _same_place(cls, type(component)):
                raise ConfigError(
                    f"{cls.__module__}.{cls.__qualname__} was defined again after this {cls.__qualname__} was made, "
                    "so it cannot be written into a file. Make it again from the new class."
                )
    raise ConfigError(
        f"{type(component).__module__}.{type(component).__qualname__} is not registered, so it cannot be written "
        f"into a "
        'file. Decorate it with @hades.registry.register("<interface>", "<name>").'
    )


def describe(component: object) -> dict[str, Any]:
    """A component as JSON-ready nested dicts; `build` is the inverse."""
    interface, name = name_of(component)
    fields = {
        f.name: _describe_value(getattr(component, f.name))
        for f in dataclasses.fields(component)  # type: ignore[arg-type]  # a dataclass: `register` takes no other
    }
    return {"interface": interface, "name": name, **fields}


def _describe_value(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return describe(value)
    if isinstance(value, tuple | list):
        return [_describe_value(v) for v in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise ConfigError(f"{value!r} cannot be part of a component: use names, numbers, tuples of them, or components.")


def build(description: Mapping[str, Any]) -> Any:
    """The component that `describe` described.

    Raises:
        ConfigError: for unknown names, and for fields that are unknown, missing or unfit, naming what is known.
    """
    try:
        return _built(description)
    except RecursionError:
        raise ConfigError("The description of a component is nested too deeply: it cannot be one of ours.") from None


def _built(description: Mapping[str, Any]) -> Any:
    if not all(isinstance(description.get(part), str) for part in ("interface", "name")):
        raise ConfigError(
            f"A component is described by its interface and name, but there is only {shown(description)}."
        )
    cls = get(description["interface"], description["name"])
    known = {f.name for f in dataclasses.fields(cls)}
    fields = {k: v for k, v in upgraded(description).items() if k not in ("interface", "name")}
    unknown = sorted(set(fields) - known)
    if unknown:
        raise ConfigError(
            f"{description['name']} has no field {', '.join(unknown)[:200]}. {offer(unknown[0], known)}"
            " The description may come from a newer version of hades."
        )
    lacking = [f.name for f in dataclasses.fields(cls) if _is_required(f) and f.name not in fields]
    if lacking:
        raise ConfigError(f"The description of {description['name']} lacks {', '.join(lacking)}.")
    return cls(**{k: _build_value(v) for k, v in fields.items()})


def upgraded(value: Any) -> Any:
    """A JSON value whose component descriptions have today's fields, so that old files load and old runs continue.

    A class lists former names of its fields in `renamed`. A field that a description lacks is younger than it, and has
    its default value.
    """
    if isinstance(value, Mapping):
        is_component = {"interface", "name"} <= value.keys()
        cls = _found(str(value["interface"]), str(value["name"])) if is_component else None
        today = renamed_fields(cls)
        return _defaults(cls) | {today.get(key, key): upgraded(part) for key, part in value.items()}
    return [upgraded(part) for part in value] if isinstance(value, list) else value


def _defaults(cls: type | None) -> dict[str, Any]:
    """Described default values of a component class's fields, where they have one."""
    fields = dataclasses.fields(cls) if cls and dataclasses.is_dataclass(cls) else ()
    return {f.name: _describe_value(f.default) for f in fields if f.init and f.default is not dataclasses.MISSING}


def renamed_fields(cls: type | None) -> Mapping[str, str]:
    """Former field names of a component class with today's."""
    return getattr(cls, "renamed", {})


def described_defaults(description: Mapping[str, Any]) -> dict[str, Any]:
    """The defaults of a described component's fields, described; empty for one that is not known here."""
    discover()
    cls = _COMPONENTS.get(str(description.get("interface")), {}).get(str(description.get("name")))
    known = [] if cls is None else [f for f in dataclasses.fields(cls) if f.default is not dataclasses.MISSING]
    return {field.name: _describe_value(field.default) for field in known}


def _is_required(field: dataclasses.Field[Any]) -> bool:
    return field.init and field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _build_value(value: Any) -> Any:
    if isinstance(value, Mapping):
        return _built(value)
    if isinstance(value, list):
        return tuple(_build_value(v) for v in value)
    return value
