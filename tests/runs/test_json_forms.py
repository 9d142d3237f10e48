"""Forms of JSON files: numbers that are not finite stand only where null may stand."""

import math

import pytest

from hades.runs.json_forms import RESULT, fits


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        ({"report": {"mean": None}}, True),
        ({"report": {"mean": math.nan}}, True),
        ({"seconds": {"report": 0.5}}, True),
        ({"seconds": {"report": math.nan}}, False),
        ({"seconds": {"report": math.inf}}, False),
        ({"seconds": {"report": None}}, False),
    ],
)
def test_only_numbers_that_may_be_unknown_may_be_not_finite(result: dict[str, object], expected: bool) -> None:
    assert fits(result, RESULT) == expected
