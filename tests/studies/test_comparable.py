"""What would mislead side by side is refused, and what is missing is named."""

from pathlib import Path
from typing import Any

import pytest

from hades.environments.point import Point
from hades.errors import ConfigError
from hades.studies.comparable import check_agreement, read_finished
from tests.studies.runs import write_run


def test_methods_and_seeds_may_differ(tmp_path: Path) -> None:
    runs = [write_run(tmp_path / f"{m}{s}", m, s) for m in ("ES", "PPO") for s in (0, 1)]
    check_agreement(runs)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"algorithm.environment.max_episode_steps": 6}, "environment.max_episode_steps: 5 in .*/a, 6 in .*/b"),
        ({"eval_episodes": 7}, "protocol.eval_episodes: 2 in .*/a, 7 in .*/b"),
        ({"report_inits": 7}, "protocol.report_inits: 3"),
        ({"result.report.protocol": "WindowedReturn"}, "protocol.report: 'whole episodes' .*'WindowedReturn'"),
        ({"result.device": "TPU v4"}, "device: '1 × cpu' .* '1 × TPU v4'"),
        ({"max_seconds": 3.0}, "budget.max_seconds: None .* 3.0"),
    ],
)
def test_difference_is_refused_by_name(tmp_path: Path, change: dict[str, Any], field: str) -> None:
    runs = [write_run(tmp_path / "a", "ES"), write_run(tmp_path / "b", "PPO", **change)]
    with pytest.raises(ConfigError, match=field):
        check_agreement(runs)


def test_other_versions_of_the_environment_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Point, "versions", {"physics": "2.0"})
    versions = [{"physics": "1.9"}, {"physics": "2.0"}]
    runs = [write_run(tmp_path / m, m, **{"result.versions": v}) for m, v in zip("ab", versions, strict=True)]
    with pytest.raises(ConfigError, match=r"point.*\n.*versions\.physics.*'1\.9'.*/a.*'2\.0'.*/b"):
        check_agreement(runs)


def test_every_difference_is_named(tmp_path: Path) -> None:
    runs = [write_run(tmp_path / "a"), write_run(tmp_path / "b", "PPO", eval_inits=9, report_episodes=9)]
    with pytest.raises(ConfigError, match=r"(?s)eval_inits.*report_episodes"):
        check_agreement(runs)


def test_one_method_has_one_recipe(tmp_path: Path) -> None:
    runs = [write_run(tmp_path / "a"), write_run(tmp_path / "b", seed=1, **{"algorithm.outer.sigma": 9.0})]
    with pytest.raises(ConfigError, match=r"ES on point.*\n.*algorithm.outer.sigma"):
        check_agreement(runs)


def test_a_seed_counts_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"seed.*/a, .*/b"):
        check_agreement([write_run(tmp_path / "a"), write_run(tmp_path / "b")])


def test_missing_and_unfinished_runs_are_all_named_with_their_commands(tmp_path: Path) -> None:
    write_run(tmp_path / "done")
    write_run(tmp_path / "stopped", generations=9)
    (write_run(tmp_path / "begun").workdir / "result.json").unlink()
    commands = {tmp_path / name: f"make {name}" for name in ("done", "stopped", "begun", "never")}
    with pytest.raises(ConfigError) as caught:
        read_finished(commands)
    text = str(caught.value)
    assert "3 of 4 runs" in text
    assert f"{tmp_path / 'stopped'}: unfinished after generation 3; make stopped" in text
    assert f"{tmp_path / 'begun'}: unfinished after generation 3; make begun" in text
    assert f"{tmp_path / 'never'}: missing; make never" in text


def test_a_result_from_before_the_run_went_on_does_not_count(tmp_path: Path) -> None:
    path = write_run(tmp_path / "a").workdir
    with (path / "metrics.jsonl").open("a") as file:
        file.write('{"generation": 4, "env_steps_total": 400}\n')
    with pytest.raises(ConfigError, match="generation 4"):
        read_finished({path: ""})
