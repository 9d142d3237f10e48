"""An import changes nothing that its caller did not ask for."""

import logging
import os

import pytest

from hades.libraries import unchanged


def test_what_an_import_sets_up_is_undone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OF_THE_CALLER", "1")
    monkeypatch.setenv("TAKEN_AWAY", "1")
    monkeypatch.setattr(logging.root, "handlers", [logging.NullHandler()])
    before = dict(os.environ), logging.root.handlers[:]
    with unchanged():
        os.environ.update(OF_THE_CALLER="2", OF_THE_LIBRARY="1")
        del os.environ["TAKEN_AWAY"]
        logging.root.addHandler(logging.StreamHandler())
    assert (dict(os.environ), logging.root.handlers) == before
