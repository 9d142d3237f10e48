"""Fifty kills of one run, as the script beside this file does it."""

from pathlib import Path

import pytest

from tests.runs.kill_and_resume import INTERVAL, kill_and_resume

pytestmark = pytest.mark.system


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_fifty_kills_change_no_byte_and_lose_at_most_an_interval(tmp_path: Path) -> None:
    kills, _, different = kill_and_resume(tmp_path / "kills", 50, seed=1)
    assert not different
    assert len(kills) == 50
    assert {kill.name for kill in kills} == {"SIGKILL", "SIGTERM"}
    assert max(kill.lost for kill in kills) <= INTERVAL
    assert all(kill.lost == 0 for kill in kills if kill.name == "SIGTERM" and not kill.starting)
