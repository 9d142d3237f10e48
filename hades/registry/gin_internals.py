"""Parts of gin that are not public and that hades uses: its tables, its parser and the wording of its errors.

Read in gin-config 0.5.0. `tests/test_private_names.py` fails where an installed version differs; then read that
version's `config.py`, mend this file and move the bound in pyproject.toml.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any, TextIO

import gin
from gin import config_parser

UNKNOWN_NAME = re.compile(r"No configurable matching (?:reference )?'@?([\w./]+)")
"""Group 1: the selector."""
UNKNOWN_FIELD = re.compile(r"Configurable '(?:hades\.\w+\.)?(\w+)' doesn't have a parameter.* named '(\w+)'")
"""Groups 1 and 2: the name of the configurable and that of the parameter."""
UNSET_MACRO = re.compile(r"No bindings specified for '(\w+)/gin.macro'")
"""Group 1: the macro."""
UNQUOTED = re.compile(r"Failed to parse token '(\w+)'")
"""Group 1: a bare word in the place of a value."""
IN_BINDING = re.compile(r"^\s*(?:\w+/)*(\w+)\.(\w+) *=", re.MULTILINE)
"""Groups 1 and 2: the name and the parameter on the line of a binding that gin quotes."""
CALL_NOTE = "In call to configurable"
"""Prefix of the lines that gin appends to the message of an error inside a configurable."""
MACRO = "gin.macro"
"""The selector of macros; the name of one is its scope."""


@contextmanager
def own_state(read: Callable[[str], AbstractContextManager[TextIO]]) -> Iterator[None]:
    """Inside, gin has no bindings and opens files with `read` only; afterwards it is as the caller left it.

    Registered classes and constants are shared with the caller.

    Args:
        read: opens the file of a name as it stands after `include`.
    """
    config = gin.config
    tables: tuple[Any, ...] = (config._CONFIG, config._OPERATIVE_CONFIG, config._SINGLETONS, config._IMPORTS)
    files: tuple[list[Any], ...] = (config._FILE_READERS, config._LOCATION_PREFIXES)
    was_locked, contents, known = gin.config_is_locked(), [table.copy() for table in tables], [f[:] for f in files]
    for table in tables:
        table.clear()
    files[0][:], files[1][:] = [(read, lambda name: True)], [""]
    config._set_config_is_locked(False)
    try:
        with gin.config_scope(None):
            yield
    finally:
        for table, before in zip(tables, contents, strict=True):
            table.clear()
            table.update(before)
        for paths, before in zip(files, known, strict=True):
            paths[:] = before
        config._set_config_is_locked(was_locked)


class _Names(config_parser.ParserDelegate):
    """Reads references without looking them up."""

    def configurable_reference(self, scoped_configurable_name: str, evaluate: bool) -> None:
        return None

    def macro(self, macro_name: str) -> None:
        return None


def imported_modules(text: str) -> list[str]:
    """The modules that a gin text imports, by gin's own parser; up to the first line that it would refuse."""
    modules: dict[str, None] = {}
    with suppress(Exception):  # the error belongs to the reader that means it
        for statement in config_parser.ConfigParser(text, _Names()):
            if isinstance(statement, config_parser.ImportStatement) and not statement.module.startswith("__gin__."):
                modules[statement.module] = None
    return list(modules)


def bindings(text: str) -> list[tuple[str, str, str]]:
    """Scope, selector and parameter of each binding in a gin text that gin has accepted; not those of its includes."""
    found = []
    for statement in config_parser.ConfigParser(text, _Names()):
        if isinstance(statement, config_parser.BindingStatement):
            scope, selector, parameter = statement[:3]
            if parameter:
                found.append((scope, gin.config._REGISTRY.get_match(selector).selector, parameter))
            else:
                found.append((f"{scope}/{selector}" if scope else selector, MACRO, "value"))
    return found


def calls() -> dict[tuple[str, str], dict[str, Any]]:
    """The parameters of each configurable that was called, by scope and selector: gin's own table, to be added to.

    A reference without parentheses counts as a call: nothing tells whether what it refers to is called later.
    """
    called = gin.config._OPERATIVE_CONFIG
    for reference in list(gin.config.iterate_references(called)):
        if not reference.evaluate:
            called.setdefault(reference.config_key, {})
    return called


def sources(scope: str, selector: str) -> dict[str, str]:
    """The scope whose binding holds, for each parameter that is bound where a configurable is called in `scope`."""
    parts = scope.split("/") if scope else []
    outwards = ["/".join(parts[:depth]) for depth in range(len(parts) + 1)]
    return {name: outer for outer in outwards for name in gin.config._CONFIG.get((outer, selector), {})}


def selectors() -> list[str]:
    """Selectors of every configurable of hades, and of components that others have registered."""
    return sorted(one for one, _ in gin.config._REGISTRY.items() if one.startswith("hades."))


def definition(selector: str) -> tuple[str, Callable[..., Any]]:
    """The shortest name of a configurable, and its class or function as it was registered."""
    return gin.config._REGISTRY.minimal_selector(selector), gin.config._REGISTRY[selector].wrapped
