"""Importing a simulator is quiet, and leaves the process of its caller as it was."""

import json
import logging
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from hades.environments.physics import quiet
from tests.support import ROOT

IMPORTING = """
import json, logging, os, sys, threading, time, warnings

def state():
    loggers = [logging.getLogger(), *(logging.getLogger(name) for name in ("absl", "asyncio"))]
    filters = [(log.level, [str(f) for f in log.filters], [str(h) for h in log.handlers]) for log in loggers]
    descriptors = [(os.fstat(fd).st_dev, os.fstat(fd).st_ino) for fd in (1, 2)]
    return [filters, descriptors, [str(f) for f in warnings.filters], id(sys.stdout), id(sys.stderr)]

import jax
from hades.environments import brax
warnings.simplefilter("default")
seen, before, done = [], state(), threading.Event()

def look():
    print("another thread works", flush=True)
    while not done.wait(0.01):
        seen.append(state()[1])

thread = threading.Thread(target=look, daemon=True)
thread.start()
brax.Brax("inverted_pendulum").spec
assert "brax" in sys.modules
done.set()
thread.join()
assert seen and all(descriptors == before[1] for descriptors in seen)
print(json.dumps([before, state()]))
"""


@pytest.mark.system
def test_importing_brax_prints_nothing_and_leaves_the_process_as_it_was(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", IMPORTING],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    spoken, states = done.stdout.splitlines()
    assert (spoken, done.stderr) == ("another thread works", "")
    before, after = json.loads(states)
    assert before == after
    assert not list(tmp_path.iterdir())


def test_only_the_thread_that_asks_for_it_is_quiet(capfd: pytest.CaptureFixture[str]) -> None:
    other = threading.Thread(target=lambda: print("from another thread"))
    with quiet():
        print("an import's message")
        print("an import's error", file=sys.stderr)
        handler = logging.StreamHandler()
        other.start()
        other.join()
        os.write(1, b"from the descriptor\n")
        handler.emit(logging.makeLogRecord({"msg": "inside"}))
    print("afterwards")
    handler.emit(logging.makeLogRecord({"msg": "a handler of the import"}))
    out, err = capfd.readouterr()
    assert sorted(out.splitlines()) == ["afterwards", "from another thread", "from the descriptor"]
    assert err == "a handler of the import\n"
