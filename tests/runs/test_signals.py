"""Requests to stop, in a process whose main thread is inside C code that no Python handler interrupts."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import TypeAlias

import pytest

from hades.runs.signals import handled
from tests.support import ROOT

pytestmark = pytest.mark.system

PROGRAM = """
import hashlib, sys, time
from hades.runs import signals
signals.GRACE_SECONDS = 0.5
signals.SAME_REQUEST_SECONDS = 0.3
mode = sys.argv[1]
if mode == "program":
    signals.end_at_once()
saved_at = time.monotonic() + (2.0 if mode == "late" else 0.0)
with signals.stop_requests(lambda: mode != "unsaved" and time.monotonic() > saved_at) as asked:
    print("up", flush=True)
    if mode in ("short", "program"):
        while not asked():
            time.sleep(0.01)
    if mode == "short":
        sys.exit(3)
    while mode == "deaf":
        time.sleep(0.01)
    if mode != "program":
        hashlib.pbkdf2_hmac("sha256", b"", b"", 6_000_000 if mode == "unsaved" else 10**9)
        sys.exit(4 if asked() else 5)
time.sleep(1.0)
print("after", flush=True)
time.sleep(60)
"""


Start: TypeAlias = Callable[[str], subprocess.Popen[str]]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts the program in a mode, and leaves none behind."""
    started = []

    def start(mode: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, mode],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        return process

    yield start
    for process in started:
        process.kill()


@pytest.mark.parametrize(
    ("mode", "status"),
    [
        ("short", 3),  # the main thread sees the request
        ("long", 75),  # it does not, and all is saved
        ("late", 75),  # all is saved a little later
        ("unsaved", 4),  # what is not saved is waited for
    ],
)
def test_sigterm_ends_a_run_within_its_grace(start: Start, mode: str, status: int) -> None:
    process = start(mode)
    process.send_signal(signal.SIGTERM)
    said = process.communicate(timeout=120)[1]
    assert process.returncode == status
    assert "SIGTERM: saving after the current block" in said
    assert ("stopped without it" in said) == (status == 75)


def test_the_same_request_twice_is_one(start: Start) -> None:
    process = start("short")
    process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=120) == 3


@pytest.mark.parametrize(
    ("mode", "status", "said"), [("deaf", -signal.SIGINT, "KeyboardInterrupt"), ("long", 76, "Stopped at once")]
)
def test_a_second_request_acts_at_once(start: Start, mode: str, status: int, said: str) -> None:
    """In Python code, and in C code that no handler interrupts."""
    process = start(mode)
    process.send_signal(signal.SIGINT)
    time.sleep(0.6)
    process.send_signal(signal.SIGINT)
    assert said in process.communicate(timeout=120)[1]
    assert process.returncode == status


def test_a_scheduler_that_repeats_itself_does_not_end_a_run_at_once(start: Start) -> None:
    process = start("deaf")
    for _ in range(3):
        process.send_signal(signal.SIGTERM)
        time.sleep(0.4)
    said = process.communicate(timeout=60)[1]
    assert process.returncode == 75
    assert "KeyboardInterrupt" not in said


def test_a_burst_of_signals_outlasts_a_run_and_changes_nothing(start: Start) -> None:
    """Outside of its run, a program ends with the status of one that continues, but a burst is one request."""
    process = start("program")
    for _ in range(200):
        process.send_signal(signal.SIGTERM)
        time.sleep(0.002)
    assert process.stdout is not None
    assert process.stdout.readline() == "after\n"
    process.send_signal(signal.SIGTERM)
    assert "Stopped" in process.communicate(timeout=60)[1]
    assert process.returncode == 75


SWALLOWS = """
import gc, signal, time
from hades.runs.signals import interrupt_once
interrupt_once()
def during_collection(*_):
    gc.callbacks.clear()
    signal.raise_signal(signal.SIGINT)
    time.sleep(0.01)
gc.callbacks.append(during_collection)
try:
    gc.collect()
    time.sleep(60)
except KeyboardInterrupt:
    print("interrupted")
"""


def test_ctrl_c_during_a_garbage_collection_is_not_lost() -> None:
    """There, Python prints an exception and drops it; and JAX collects often."""
    done = subprocess.run(
        [sys.executable, "-c", SWALLOWS],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert (done.stdout, done.stderr) == ("interrupted\n", "")


def test_handled_signals_call_the_function_until_the_end() -> None:
    numbers: list[int] = []
    before = signal.getsignal(signal.SIGTERM), signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with handled(numbers.append):
            for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
                signal.raise_signal(number)
        assert numbers == [signal.SIGTERM, signal.SIGINT], "what nohup ignores stays ignored"
        assert signal.getsignal(signal.SIGTERM) == before[0]
    finally:
        signal.signal(signal.SIGHUP, before[1])


def test_signals_are_handled_in_the_main_thread_only() -> None:
    inside: list[object] = []

    def enter() -> None:
        with handled(print):
            inside.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert inside == [signal.getsignal(signal.SIGTERM)]
