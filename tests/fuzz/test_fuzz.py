"""A slice of the fuzzer with fixed seeds; `python -m tests.fuzz` tries as many inputs as there is time for."""

import time
from pathlib import Path
from random import Random

import pytest

from hades.errors import DatasetError
from tests.fuzz import harness
from tests.fuzz.harness import Attempt, kinds, mutated, run

SECONDS = 24.0
"""For all kinds together."""


@pytest.mark.parametrize("name", sorted(kinds()))
def test_no_input_of_a_kind_breaks_anything(name: str) -> None:
    run([name], [0])  # imports libraries and makes what all inputs share
    tally = run([name], range(10_000), seconds=SECONDS / len(kinds()))
    assert not tally.failures, "\n\n".join(map(str, tally.failures))
    assert sum(tally.outcomes.values()) > 1


@pytest.mark.parametrize(
    ("call", "accept", "what"),
    [
        (lambda: 1 / 0, lambda result: "", "ZeroDivisionError"),
        (lambda: time.sleep(1), lambda result: "", "did not end within"),
        (lambda: 3, lambda result: f"it is {result}", "accepted, but it is 3"),
    ],
)
def test_what_goes_wrong_is_found_and_can_be_repeated(monkeypatch, call, accept, what) -> None:
    monkeypatch.setitem(harness._KINDS, "broken", lambda rng, folder: Attempt("x", call, accept))
    monkeypatch.setattr(harness, "MOST_SECONDS", 0.1)
    (failure,) = run(["broken"], [7]).failures
    assert what in str(failure)
    assert "--kinds=broken --seed=7" in str(failure)


def test_an_error_of_ours_is_no_failure(monkeypatch) -> None:
    def refuse() -> None:
        raise DatasetError("no")

    monkeypatch.setitem(harness._KINDS, "refused", lambda rng, folder: Attempt("x", refuse))
    assert run(["refused"], [0]).outcomes == {("refused", "refused"): 1}


def test_inputs_follow_from_their_seed(tmp_path: Path) -> None:
    content = bytes(range(256))
    assert mutated(Random(3), content) == mutated(Random(3), content) != mutated(Random(4), content)
