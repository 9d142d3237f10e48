"""Environment objects of the user's own: a component holds them, and a file names them."""

import dataclasses
from typing import Any, Self

from hades.errors import ConfigError
from hades.registry import register


@register("SessionObject", "SessionObject")
@dataclasses.dataclass(frozen=True, eq=False)
class SessionObject:
    """An object of this Python session. It equals whatever holds the same one.

    Attributes:
        key: its name in files. An object that is given a name takes it from an earlier one, which cannot be used then.
        kind: module and name of its class, for people.

    Raises:
        ConfigError: where this session has no object of that name, as when a file is loaded in another one.
    """

    key: str
    kind: str = ""

    def __post_init__(self) -> None:
        if self.key not in _OBJECTS:
            raise ConfigError(
                f'SessionObject.key is "{self.key}": that was an object of a Python session ({self.kind}), which a '
                "file cannot hold. Make the component that holds it first, such as "
                f'Gymnax(env=…, env_id="{self.key}"), and then load the file in the same session.'
            )
        vars(self)["_held"] = _OBJECTS[self.key]

    @classmethod
    def of(cls, value: Any, key: str) -> Self:
        """Hold an object under a name."""
        _OBJECTS[key] = value
        return cls(key, f"{type(value).__module__}.{type(value).__qualname__}")

    @property
    def value(self) -> Any:
        """The object.

        Raises:
            ConfigError: where another one has taken its name, so that a file would name that one.
        """
        held = vars(self)["_held"]
        if _OBJECTS[self.key] is not held:
            raise ConfigError(
                f'Another object is called "{self.key}" since this component was made. Make the component again, or '
                f'give each its own name, such as Gymnax(env=…, env_id="{self.key}-2").'
            )
        return held

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SessionObject) and vars(other)["_held"] is vars(self)["_held"]

    def __hash__(self) -> int:
        return id(vars(self)["_held"])


_OBJECTS: dict[str, Any] = {}
"""Objects of this session by name."""
