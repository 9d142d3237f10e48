"""Importing libraries that set up the process as if it were theirs."""

import contextlib
import logging
import os
from collections.abc import Iterator


@contextlib.contextmanager
def unchanged() -> Iterator[None]:
    """Undo what the imports inside change for their caller: handlers of the root logger and environment variables."""
    environment, handlers = dict(os.environ), logging.root.handlers[:]
    try:
        yield
    finally:
        for handler in [one for one in logging.root.handlers if one not in handlers]:
            logging.root.removeHandler(handler)
        for name in {name for name, _ in os.environ.items() ^ environment.items()}:
            os.environ.pop(name, None)
            os.environ.update({name: environment[name]} if name in environment else {})
