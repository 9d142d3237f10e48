"""Formats of numbers and tables."""

import json

import pytest

from hades import text
from hades.errors import DatasetError, offer, printable
from hades.text import json_text


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ([text.number(x) for x in (0.0, -0.01234, 1.5, 123456.0)], ["0", "−0.0123", "1.5", "1.2e+05"]),
        ([text.fixed(x, 1) for x in (-0.01, -1.25, 2)], ["0.0", "−1.2", "2.0"]),
        ([text.signed(x) for x in (0.5, -1.5)], ["+0.50", "−1.50"]),
        ([text.percent(x) for x in (0.97, -0.004, -0.5)], ["97 %", "0 %", "−50 %"]),
        (
            [text.return_text(x) for x in (-1.234, 499.66, 12345.6, float("nan"), None)],
            ["−1.23", "499.7", "12,346", "unknown", "unknown"],
        ),
        ([text.integer(x) for x in (1234567, None)], ["1,234,567", ""]),
        (
            [text.duration(x) for x in (None, 0.5, 12.34, 754, 12_034, float("inf"))],
            ["", "0.50 s", "12.3 s", "12 min 34 s", "3 h 20 min", "–"],
        ),
        (
            [text.si(x) for x in (12.0, 1234.0, 12_345_678.0, 4.1e11, float("inf"))],
            ["12", "1.23 k", "12.3 M", "410 G", "–"],
        ),
        (
            [text.interval(x) for x in ((-1.5, 2.0), (None, 2.0), (float("nan"), 2.0), None)],
            ["−1.50 to 2.00", "–", "–", "–"],
        ),
    ],
)
def test_numbers_are_short_and_have_real_minus_signs(found: list[str], expected: list[str]) -> None:
    assert found == expected


def test_cells_cannot_break_a_markdown_table() -> None:
    table = text.markdown_table(("a", "b"), [("x | y", "two\nlines"), ("", "1")])
    assert table.splitlines() == ["| a | b |", "| --- | --- |", "| x \\| y | two / lines |", "|  | 1 |"]


def test_an_aligned_table_has_lines_of_one_length() -> None:
    lines = text.markdown_table(("a", "longer"), [("value", "1")], aligned=True).splitlines()
    assert lines[2] == "| value | 1      |"
    assert len(set(map(len, lines))) == 1


def test_csv_has_a_column_for_every_name() -> None:
    assert text.csv_text([{"a": 1}, {"a": None, "b": "x"}]).splitlines() == ["a,b", "1,", ",x"]


def test_json_has_null_where_a_number_is_not_finite() -> None:
    value = {"a": (1, float("nan")), "b": [float("inf"), {"c": -float("inf"), "d": 0.5}], "e": "NaN", "f": True}
    assert json.loads(json_text(value)) == {"a": [1, None], "b": [None, {"c": None, "d": 0.5}], "e": "NaN", "f": True}


def test_a_message_is_cut_in_its_middle_and_holds_no_control_characters() -> None:
    message = str(DatasetError("place " + "x" * 10**6 + "\x1b[31m\u202e\n remedy"))
    assert len(message) < 3100
    assert message.startswith("place xxx")
    assert message.endswith("\\x1b[31m\\u202e\n remedy")
    assert printable("σ = 0.5\n") == "σ = 0.5\\n"
    assert len(offer("x" * 10**7, ["abc"])) < 100
