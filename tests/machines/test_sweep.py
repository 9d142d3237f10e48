"""Sweeps: what their points are, that mistakes are said first, and running them with a `hades-train` that is a fake."""

import json
import os
import re
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from hades.errors import CheckpointError, ConfigError
from hades.machines import sweep
from hades.machines.commands import LaunchError
from hades.machines.sweep import Programs, parse_axis, plan_sweep, point_command, table, write_plan
from hades.runs.signals import FAILED, FINISHED, INTERRUPTED
from hades.studies.many_runs import End, PlannedRun, State, report, run_all
from tests.support import ROOT

TRAIN = """#!{python} -S
import json, pathlib, signal, sys, time
words = dict(word.lstrip("-").split("=", 1) for word in sys.argv[1:] if "=" in word)
folder = pathlib.Path(words["workdir"])
folder.mkdir(parents=True, exist_ok=True)
with (folder / "starts.jsonl").open("a") as file:
    file.write(json.dumps(sys.argv[1:]) + "\\n")
starts = len((folder / "starts.jsonl").read_text().splitlines())
mode = pathlib.Path({modes!r}) / folder.name
mode = mode.read_text() if mode.exists() else ""
print("start", starts)
if mode == "fail":
    print("hades: no finite fitness", flush=True)
    sys.exit(1)
if mode == "lose a process" and starts < 3 or mode == "always lose a process":
    sys.exit(76)
if mode == "be killed" and starts < 3:
    import os; os.kill(os.getpid(), signal.SIGKILL)
if mode == "hand over":
    sys.exit(0)
if mode == "go on for ever":
    signal.signal(signal.SIGTERM, lambda number, frame: (folder / "asked").touch())
    (folder / "ready").touch()
    while True:
        time.sleep(60)
if mode == "wait":
    def save(number, frame):
        (folder / "timing.jsonl").write_text('{{"generation": 4, "seconds": 1}}\\n')
        sys.exit(75)
    signal.signal(signal.SIGTERM, save)
    signal.signal(signal.SIGINT, save)
    (folder / "ready").touch()
    time.sleep(60)
result = {{
    "generations": 10, "env_steps": {{"search": 1}}, "seconds": {{"search": 1, "selection": 1}},
    "selection_return": 1.0, "report": {{"mean": 12.25, "ci95": [11.0, 13.5]}},
}}
(folder / "result.json").write_text(json.dumps(result))
"""
"""A `hades-train` that does at once what a file tells it to, by the name of the point."""


class FakeTrain:
    def __init__(self, folder: Path):
        self.modes = folder / "modes"
        self.modes.mkdir()
        self.program = folder / "hades-train"
        self.program.write_text(TRAIN.format(python=sys.executable, modes=str(self.modes)))
        self.program.chmod(self.program.stat().st_mode | stat.S_IXUSR)

    def mode(self, point: str, mode: str) -> None:
        """ "fail", "be killed", "lose a process", "always lose a process", "hand over", "go on for ever" or "wait"."""
        (self.modes / point).write_text(mode)


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeTrain:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sweep, "POLL_SECONDS", 0.01)
    program = FakeTrain(tmp_path)
    monkeypatch.setattr(sweep, "_program", lambda name: str(program.program))
    return program


def plan(*lines: str, seeds: Sequence[int] = (), **options: Any) -> list[PlannedRun]:
    return plan_sweep("smoke", "runs/sweep", [parse_axis(line) for line in lines], seeds, **options)


def names(*lines: str, seeds: Sequence[int] = ()) -> list[str]:
    return [point.name for point in plan(*lines, seeds=seeds)]


def starts(point: PlannedRun) -> list[list[str]]:
    file = Path(point.job.workdir) / "starts.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def run(
    points: Sequence[PlannedRun], flags: Sequence[str] = (), on: str = "local", restarts: int = 3, parallel: int = 1
) -> tuple[dict[PlannedRun, End], list[str]]:
    said: list[str] = []
    make = Programs(on, flags, Path("runs/sweep/logs"), said.append, restarts)
    return run_all(points, make, said.append, parallel=parallel), said


def states(ends: Mapping[PlannedRun, End]) -> dict[str, State]:
    return {point.name: end.state for point, end in ends.items()}


def test_points_are_the_product_with_the_seeds_last() -> None:
    points = plan("SNES.sigma = 0.1|0.3", "MLP.width = 8|16", seeds=[0, 7])
    assert [point.name for point in points[:3]] == [
        "sigma-0.1_width-8_seed-0",
        "sigma-0.1_width-8_seed-7",
        "sigma-0.1_width-16_seed-0",
    ]
    assert len(points) == 8
    assert points[1].job.workdir == "runs/sweep/sigma-0.1_width-8_seed-7"
    assert points[1].job.bindings == ("SNES.sigma = 0.1", "MLP.width = 8", "Experiment.seed = 7")
    assert points[1].described["seed"] == 7
    assert points[1].described["algorithm"]["outer"]["sigma"] == 0.1


def test_bindings_of_all_points_come_before_what_varies() -> None:
    (point, _) = plan("SNES.sigma = 0.1|0.3", bindings=("SNES.sigma = 5.0", "MLP.width = 9"))
    assert point.job.bindings[:2] == ("SNES.sigma = 5.0", "MLP.width = 9")
    assert point.described["algorithm"]["outer"]["sigma"] == 0.1


def test_names_are_stable_when_values_and_seeds_are_added() -> None:
    few = names("SNES.sigma = 0.1", seeds=[0])
    assert set(few) <= set(names("SNES.sigma = 0.3|0.1", seeds=[1, 0]))


def test_values_that_no_folder_can_be_called_get_a_digest() -> None:
    first, second = names("MLP.acting = 'greedy'|'sample'")
    assert (first, second) == ("acting-greedy", "acting-sample")
    (plain, *odd) = names("Experiment.target_return = 1.5|-1.5|(2.5)")
    assert plain == "target_return-1.5"
    assert odd[0] == "target_return-m1.5"
    assert re.fullmatch(r"target_return-2\.5-[0-9a-f]{8}", odd[1])


def test_names_of_jobs_stay_different_when_names_are_long() -> None:
    lines = ("Experiment.eval_every = 1|2", "Experiment.report_inits = 8|9", "Experiment.report_episodes = 3|4")
    points = plan(*lines, seeds=[0, 1])
    assert all(len(point.name) <= 40 for point in points)
    assert len({point.job.name for point in points}) == 16


def test_fields_of_one_name_are_told_apart() -> None:
    name = names("SNES.learning_rate = 1.0|0.5", "BehaviourCloning.learning_rate = 0.1")[0]
    assert name.startswith("SNES.learning_rate-1.0_Behav")


def test_bars_inside_of_values_belong_to_them() -> None:
    assert parse_axis("A.b = 'x|y'|(1|2)|3").values == ("'x|y'", "(1|2)", "3")


@pytest.mark.parametrize(
    ("lines", "seeds", "said"),
    [
        ((), (), "The sweep is empty"),
        (("SNES.sigma",), (), "no gin line with several values"),
        (("SNES sigma = 1",), (), "no gin line with several values"),
        (("SNES.sigma = ",), (), "has an empty value"),
        (("SNES.sigma = 0.1||0.3",), (), "has an empty value"),
        (("SNES.sigma = 0.1|0.1",), (), "has a value twice"),
        (("SNES.sigma = 0.1", "SNES.sigma = 0.3"), (), "SNES.sigma is varied twice"),
        (("SNES.sigma = 0.1|0.10",), (), r"are the same run: SNES.sigma \(0.1 or 0.10\) changes nothing"),
        (("OpenES.sigma = 0.1|0.3",), (), r"does not use OpenES: its Evolution.outer is SNES"),
        (("Experiment.seed = 0|1",), (0, 1), "Experiment.seed is varied twice"),
        (("SNES.sgima = 0.1|0.3",), (), 'Did you mean "sigma"'),
        (("SNSE.sigma = 0.1|0.3",), (), 'Did you mean "SNES"'),
        (("SNES.sigma = 0.1|-1.0",), (), "sigma"),
        (("MLP.acting = 'greedy'|'Greedy'",), (), "Greedy"),
    ],
)
def test_mistakes_are_said_before_anything_runs(lines: tuple[str, ...], seeds: tuple[int, ...], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        plan(*lines, seeds=seeds)


@pytest.mark.system
def test_all_points_run_one_after_another(fake: FakeTrain) -> None:
    points = plan("SNES.sigma = 0.1|0.3", seeds=[0])
    ends, said = run(points, flags=["--host_devices=2"])
    assert report(points, ends) == FINISHED
    assert states(ends) == dict.fromkeys(["sigma-0.1_seed-0", "sigma-0.3_seed-0"], State.FINISHED)
    assert said[0] == "run 1 of 2: sigma-0.1_seed-0"
    assert said[1].startswith("    sigma-0.1_seed-0: return 12.25 (11 to 13.5)")
    ((words,), _) = starts(points[0]), starts(points[1])
    assert words == [
        *("--config=smoke", "--workdir=runs/sweep/sigma-0.1_seed-0", "--gin_bindings=SNES.sigma = 0.1"),
        *("--gin_bindings=Experiment.seed = 0", "--noprogress", "--host_devices=2"),
    ]
    assert Path("runs/sweep/logs/sigma-0.1_seed-0.log").read_text() == "start 1\n"


@pytest.mark.system
def test_finished_points_are_skipped_and_others_run(fake: FakeTrain) -> None:
    run(plan("SNES.sigma = 0.1"))
    points = plan("SNES.sigma = 0.1|0.3")
    ends, said = run(points)
    assert said[0] == "1 of 2 runs are finished already"
    assert [len(starts(point)) for point in points] == [1, 1]
    assert set(states(ends).values()) == {State.FINISHED}


@pytest.mark.system
def test_a_finished_point_that_is_asked_for_more_generations_goes_on(fake: FakeTrain) -> None:
    (point,) = plan("SNES.sigma = 0.1")
    run([point])
    (longer,) = plan("SNES.sigma = 0.1", bindings=("Experiment.generations = 20",))
    assert point.result()
    assert not longer.result()


@pytest.mark.system
def test_a_failed_point_is_reported_and_the_others_go_on(fake: FakeTrain) -> None:
    fake.mode("sigma-0.1", "fail")
    points = plan("SNES.sigma = 0.1|0.3")
    ends, said = run(points)
    assert report(points, ends) == FAILED
    reason = "status 1, see runs/sweep/logs/sigma-0.1.log: hades: no finite fitness"
    assert ends[points[0]] == End(State.FAILED, reason)
    assert f"    sigma-0.1: FAILED: {reason}" in said
    text = table(points, ends)
    assert "| sigma-0.1 | FAILED   |                        |" in text
    assert "| sigma-0.3 | finished | 12.25 (11 to 13.5)     |" in text


@pytest.mark.system
@pytest.mark.parametrize("mode", ["lose a process", "be killed"])
def test_a_point_that_was_interrupted_is_continued(fake: FakeTrain, mode: str) -> None:
    fake.mode("sigma-0.1", mode)
    (point,) = plan("SNES.sigma = 0.1")
    ends, _ = run([point])
    assert (ends[point].state, len(starts(point))) == (State.FINISHED, 3)


@pytest.mark.system
def test_a_point_is_not_continued_for_ever(fake: FakeTrain) -> None:
    fake.mode("sigma-0.1", "always lose a process")
    (point,) = plan("SNES.sigma = 0.1")
    ends, _ = run([point], restarts=2)
    assert (ends[point].state, len(starts(point))) == (State.FAILED, 3)
    assert ends[point].reason.startswith("status 76")


@pytest.mark.system
def test_points_run_at_once_when_asked_to(fake: FakeTrain) -> None:
    points = plan("SNES.sigma = 0.1|0.2|0.3")
    for point in points:
        fake.mode(point.name, "wait")
    with _when_ready(points[:2], lambda: os.kill(os.getpid(), signal.SIGTERM)):
        _, said = run(points, parallel=2)
    begun = sorted(line for line in said if line.startswith("run"))  # two threads say it, in either order
    assert begun == ["run 1 of 3: sigma-0.1", "run 2 of 3: sigma-0.2"]
    assert not starts(points[2])


@pytest.mark.system
def test_a_signal_lets_the_points_save_and_the_same_command_continues(fake: FakeTrain) -> None:
    points = plan("SNES.sigma = 0.1|0.2")
    fake.mode("sigma-0.1", "wait")
    with _when_ready(points[:1], lambda: os.kill(os.getpid(), signal.SIGINT)):
        ends, said = run(points)
    assert report(points, ends) == INTERRUPTED
    assert said[-1] == "    sigma-0.1: stopped after generation 4"
    assert re.findall("interrupted|not started", table(points, ends)) == ["interrupted", "not started"]
    assert points[0].state() == "generation 4 of 10"
    fake.mode("sigma-0.1", "")
    ends, said = run(points)
    assert said[0] == "run 1 of 2: sigma-0.1, continuing after generation 4"
    assert set(states(ends).values()) == {State.FINISHED}


class _when_ready:
    """Do something once the fake programs of some points wait, while the body runs."""

    def __init__(self, points: Sequence[PlannedRun], act: Any):
        self._points, self._act = points, act

    def __enter__(self) -> None:
        threading.Thread(target=self._watch, daemon=True).start()

    def __exit__(self, *error: object) -> None:
        pass

    def _watch(self) -> None:
        while not all((Path(point.job.workdir) / "ready").exists() for point in self._points):
            time.sleep(0.01)
        self._act()


@pytest.mark.system
def test_a_long_point_is_shown_while_it_runs(fake: FakeTrain, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep, "SHOW_SECONDS", 0.05)
    points = plan("SNES.sigma = 0.1|0.2")
    fake.mode("sigma-0.1", "wait")
    said: list[str] = []

    def say(line: str) -> None:
        said.append(line)
        if "generation 0 of 10" in line:
            os.kill(os.getpid(), signal.SIGTERM)

    with _when_ready(points[:1], lambda: None):
        run_all(points, Programs("local", (), Path("logs"), say), say)
    assert "    sigma-0.1: generation 0 of 10" in said


def test_a_folder_with_another_run_is_refused(fake: FakeTrain) -> None:
    (point,) = plan("SNES.sigma = 0.1")
    other = {**point.described, "seed": 9, "generations": 3}
    Path(point.job.workdir).mkdir(parents=True)
    Path(point.job.workdir, "experiment.json").write_text(json.dumps(other))
    with pytest.raises(CheckpointError, match="different configuration: seed is 9 there and 0 now"):
        table([point], {})


def test_a_longer_run_of_the_same_config_is_not_refused(fake: FakeTrain) -> None:
    (point,) = plan("SNES.sigma = 0.1")
    Path(point.job.workdir).mkdir(parents=True)
    Path(point.job.workdir, "experiment.json").write_text(json.dumps({**point.described, "generations": 3}))
    assert point.state() == "not started"


def test_sweep_json_says_what_the_points_are(tmp_path: Path) -> None:
    points = plan("SNES.sigma = 0.1|0.3", seeds=[2])
    content = json.loads(write_plan(tmp_path, "smoke", "slurm", points).read_text())
    assert (content["config"], content["on"], len(content["points"])) == ("smoke", "slurm", 2)
    assert content["points"][1] == {
        "name": "sigma-0.3_seed-2",
        "values": {"SNES.sigma": "0.3", "Experiment.seed": "2"},
        "bindings": ["SNES.sigma = 0.3", "Experiment.seed = 2"],
        "workdir": "runs/sweep/sigma-0.3_seed-2",
    }


@pytest.mark.system
def test_a_launcher_gets_each_point(fake: FakeTrain) -> None:
    points = plan("SNES.sigma = 0.1|0.3")
    run(points[:1])
    fake.mode("sigma-0.3", "fail")
    ends, said = run(points, ["--nodes=2"], on="slurm")
    assert starts(points[1]) == [
        [
            *("--config=smoke", "--workdir=runs/sweep/sigma-0.3", "--gin_bindings=SNES.sigma = 0.3"),
            *("--execute", "--nodes=2"),
        ]
    ]
    assert said[:2] == ["1 of 2 runs are finished already", "run 2 of 2: sigma-0.3"]
    assert said[2:4] == ["    start 1", "    hades: no finite fitness"]
    assert states(ends) == {"sigma-0.1": State.FINISHED, "sigma-0.3": State.FAILED}
    assert Path("runs/sweep/logs/sigma-0.3.log").read_text() == "start 1\nhades: no finite fitness\n"


@pytest.mark.system
def test_a_point_that_ends_on_other_machines_is_handed_over(fake: FakeTrain) -> None:
    points = plan("SNES.sigma = 0.1|0.3")
    fake.mode("sigma-0.1", "hand over")
    ends, said = run(points, on="slurm")
    assert states(ends) == {"sigma-0.1": State.HANDED_OVER, "sigma-0.3": State.FINISHED}
    assert "    sigma-0.1: handed over" in said


@pytest.mark.system
def test_a_signal_interrupts_a_launcher(fake: FakeTrain) -> None:
    points = plan("SNES.sigma = 0.1|0.2")
    fake.mode("sigma-0.1", "wait")
    with _when_ready(points[:1], lambda: os.kill(os.getpid(), signal.SIGTERM)):
        ends, _ = run(points, on="tpu_pod")
    assert states(ends) == {"sigma-0.1": State.INTERRUPTED}


@pytest.mark.system
def test_a_second_signal_kills_what_runs(fake: FakeTrain) -> None:
    points = plan("SNES.sigma = 0.1|0.2")
    fake.mode("sigma-0.1", "go on for ever")

    def signal_twice() -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        while not (points[0].workdir / "asked").exists():
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGTERM)

    with _when_ready(points[:1], signal_twice):
        ends, _ = run(points)
    assert states(ends) == {"sigma-0.1": State.INTERRUPTED}


def test_jobs_of_two_sweeps_are_called_differently_where_names_are_shared() -> None:
    (here,) = plan("SNES.sigma = 0.1")
    (there,) = plan_sweep("smoke", "runs/other", [parse_axis("SNES.sigma = 0.1")], ())
    named = [next(w for w in point_command("gke", p, ()) if w.startswith("--name=")) for p in (here, there)]
    assert named[0] != named[1]
    assert all(name.startswith("--name=sigma-0-1-") and len(name) <= len("--name=") + 40 for name in named)


def test_a_launcher_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    with pytest.raises(LaunchError, match=r"hades-train is neither beside .* nor on PATH"):
        run_all(plan("SNES.sigma = 0.1"), Programs("local", (), tmp_path, print), print)


@pytest.mark.system
@pytest.mark.slow
def test_a_sweep_from_its_plan_to_its_table(tmp_path: Path) -> None:
    words = ["--config=smoke", f"--workdir={tmp_path}", "--seeds=2", "--gin_bindings=Experiment.generations = 3"]
    program = [sys.executable, str(ROOT / "launch/sweep.py"), *words]
    variables = {**os.environ, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}
    for further in ([], ["--execute", "--parallel=2"], ["--execute"]):
        done = subprocess.run([*program, *further], capture_output=True, text=True, env=variables, timeout=240)
        assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("2 of 2 runs are finished already")
    assert done.stdout.count("| finished |") == 2
