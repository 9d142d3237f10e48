"""Name -> component class, per interface; `describe` <-> `build`; the only place that registers with gin.

A component is a frozen dataclass of names, scalars and other components. That makes it hashable, printable and
writable: `describe` turns it into JSON-ready dicts and `build` turns those back into an equal component.
Classes are registered with `gin.register`, not `gin.configurable`, so that objects built in Python ignore gin.
"""

import contextlib
import dataclasses
import functools
import importlib
import importlib.metadata
import inspect
import pkgutil
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import gin

from hades.errors import ConfigError, offer

T = TypeVar("T", bound=type)

_COMPONENTS: dict[str, dict[str, type]] = {}
_ROOMS = ("environments", "policies", "normalizers", "inner", "outer", "fitness", "algorithms", "train")


def register(interface: str, name: str) -> Callable[[T], T]:
    """Class decorator: make a component known under `interface` (an abstract base's name) and in gin as `name`.

    Raises:
        ConfigError: when the name is taken by another class, or the class is not a frozen dataclass.
    """

    def decorate(cls: T) -> T:
        table = _COMPONENTS.setdefault(interface, {})
        for other_interface, components in _COMPONENTS.items():
            if name in components and components[name] is not cls:
                other = components[name]
                raise ConfigError(
                    f'The name "{name}" is already registered for {other_interface} by '
                    f"{other.__module__}.{other.__qualname__}; {cls.__module__}.{cls.__qualname__} needs another name."
                )
        if not (dataclasses.is_dataclass(cls) and cls.__dataclass_params__.frozen):  # type: ignore[attr-defined]  # is_dataclass
            raise ConfigError(
                f"{cls.__module__}.{cls.__qualname__} must be a frozen dataclass to be registered: "
                "put @dataclasses.dataclass(frozen=True) under @register."
            )
        if name not in table:
            _check_scalars_at_construction(cls)
            gin.register(name, module=f"hades.{interface}")(cls)
        table[name] = cls
        return cls

    return decorate


def _check_scalars_at_construction(cls: type) -> None:
    """Refuse a field of the wrong plain type by name, before the component's own checks stumble over it."""
    construct = cls.__init__  # type: ignore[misc]  # of a class, not an instance
    signature = inspect.signature(construct)
    accepted = {int: (int,), float: (int, float), str: (str,), bool: (bool,)}
    plain: dict[str, Any] = {f.name: f.type for f in dataclasses.fields(cls) if f.type in accepted}

    @functools.wraps(construct)
    def checked(self: object, *args: Any, **kwargs: Any) -> None:
        with contextlib.suppress(TypeError):  # wrong arguments: the constructor says so better
            for field, value in signature.bind(self, *args, **kwargs).arguments.items():
                kind = plain.get(field)
                if kind is None:
                    continue
                if not isinstance(value, accepted[kind]) or (isinstance(value, bool) and kind is not bool):
                    raise ConfigError(f"{cls.__name__}.{field} is {value!r}; it must be {_ARTICLE[kind]}.")
        construct(self, *args, **kwargs)

    cls.__init__ = checked  # type: ignore[misc]  # replaced on purpose


_ARTICLE = {int: "an integer", float: "a number", str: "a string", bool: "True or False"}


def interfaces() -> tuple[str, ...]:
    """Names of the interfaces that have registered components."""
    discover()
    return tuple(sorted(_COMPONENTS))


def names(interface: str) -> tuple[str, ...]:
    """Registered names of an interface, sorted."""
    discover()
    if interface not in _COMPONENTS:
        raise ConfigError(f'There is no interface "{interface}". {offer(interface, _COMPONENTS)}')
    return tuple(sorted(_COMPONENTS[interface]))


def get(interface: str, name: str) -> type:
    """The class registered under a name.

    Raises:
        ConfigError: for an unknown name, with the known ones and the nearest match.
    """
    known = names(interface)
    if name not in known:
        raise ConfigError(f'There is no {interface} "{name}". {offer(name, known)}')
    return _COMPONENTS[interface][name]


def discover() -> None:
    """Import every component module of hades, and those of other packages' entry points `hades.components`."""
    if _Discovered.done:
        return
    _Discovered.done = True
    for room in _ROOMS:
        package = importlib.import_module(f"hades.{room}")
        for module in pkgutil.iter_modules(package.__path__):
            importlib.import_module(f"hades.{room}.{module.name}")
    for entry_point in importlib.metadata.entry_points(group="hades.components"):
        entry_point.load()


class _Discovered:
    done = False


def name_of(component: object) -> tuple[str, str]:
    """(interface, name) under which a component's class is registered.

    Raises:
        ConfigError: when the class was never registered.
    """
    for interface, components in _COMPONENTS.items():
        for name, cls in components.items():
            if cls is type(component):
                return interface, name
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
        ConfigError: for unknown names or fields, naming what is known, and for missing ones.
    """
    if "interface" not in description or "name" not in description:
        raise ConfigError(f"A component is described by its interface and name, but there is only {dict(description)}.")
    cls = get(description["interface"], description["name"])
    known = {f.name for f in dataclasses.fields(cls)}
    fields = {k: v for k, v in description.items() if k not in ("interface", "name")}
    unknown = sorted(set(fields) - known)
    if unknown:
        raise ConfigError(
            f"{description['name']} has no field {', '.join(unknown)}. {offer(unknown[0], known)}"
            " The description may come from a newer version of hades."
        )
    lacking = [f.name for f in dataclasses.fields(cls) if _is_required(f) and f.name not in fields]
    if lacking:
        raise ConfigError(f"The description of {description['name']} lacks {', '.join(lacking)}.")
    return cls(**{k: _build_value(v) for k, v in fields.items()})


def _is_required(field: dataclasses.Field[Any]) -> bool:
    return field.init and field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _build_value(value: Any) -> Any:
    if isinstance(value, Mapping):
        return build(value)
    if isinstance(value, list):
        return tuple(_build_value(v) for v in value)
    return value


def options(value: Mapping[str, Any] | tuple[tuple[str, Any], ...]) -> tuple[tuple[str, Any], ...]:
    """Keyword options as a sorted, hashable tuple of pairs: what a component may hold instead of a dict."""
    items = value.items() if isinstance(value, Mapping) else value
    return tuple(sorted((str(k), v) for k, v in items))
