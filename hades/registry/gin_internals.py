"""Parts of gin that are not public and that hades uses: a private list and the wording of its errors.

Read in gin-config 0.5.0. `tests/test_private_names.py` fails where an installed version differs; then read that
version's `config.py`, mend this file and move the bound in pyproject.toml.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import gin

UNKNOWN_NAME = re.compile(r"No configurable matching (?:reference )?'@?([\w./]+)")
"""Group 1: the selector."""
UNKNOWN_FIELD = re.compile(r"Configurable '(?:hades\.\w+\.)?(\w+)' doesn't have a parameter.* named '(\w+)'")
"""Groups 1 and 2: the name of the configurable and that of the parameter."""
UNSET_MACRO = re.compile(r"No bindings specified for '(\w+)/gin.macro'")
"""Group 1: the macro."""
CALL_NOTE = "In call to configurable"
"""Prefix of the lines that gin appends to the message of an error inside a configurable."""


@contextmanager
def files_only() -> Iterator[None]:
    """Inside, gin looks for included files on disk only.

    It also looks for `runs/x.gin` in a package `runs`, and fails where a plain folder `runs` is on the path.
    """
    readers = gin.config._FILE_READERS
    known = readers[:]
    readers[:] = known[:1]
    try:
        yield
    finally:
        readers[:] = known
