"""Slurm: the script against golden files, and real runs of it on a cluster that is a fake."""

import dataclasses
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from hades.errors import ConfigError
from hades.machines.commands import LaunchError
from hades.machines.slurm import Allocation, SlurmRun
from hades.runs.job import Job
from tests.machines.fakes import FakeSlurm
from tests.support import ROOT

GOLDEN = Path(__file__).parent / "golden"
NODES = Allocation(
    nodes=2,
    gpus_per_node=4,
    cpus_per_task=8,
    partition="gpu-long",
    account="rl/team",
    time="2-12:00:00",
    setup=("module load cuda/12.8", 'source "$HOME/hades/.venv/bin/activate"'),
    sbatch_flags=("--constraint=h100",),
    grace_seconds=300,
    max_restarts=40,
)
CASES = {
    "small": SlurmRun(Job("cartpole_hades_r", "/work/runs/demo"), Allocation()),
    "cpu": SlurmRun(Job("cartpole_hades_r", "/work/runs/my run/"), Allocation(nodes=3, gpus_per_node=0)),
    "nodes": SlurmRun(Job("/work/mine.gin", "/work/runs/Hopper_2", ("A.b = 'it\\'s $5'", "C.d = 1")), NODES),
}
NASTY = ("A.b = 'it\\'s \"quoted\"'", "A.c = '$HOME `id` \\\\ *'", "# two\nA.d = 'lines'", "A.e = 'σ & ; | > #'")


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeSlurm:
    fake = FakeSlurm(tmp_path / "bin")
    monkeypatch.setenv("PATH", f"{fake.folder}:{os.environ['PATH']}")
    return fake


@pytest.fixture
def run(tmp_path: Path) -> SlurmRun:
    """Two processes, and no waiting for notes of tasks."""
    return SlurmRun(
        Job("smoke", str(tmp_path / "runs/demo")),
        Allocation(gpus_per_node=2, note_seconds=0, max_restarts=3),
        timeout=120.0,
    )


def submitted(run: SlurmRun) -> Path:
    run.submit()
    return run.script


@pytest.mark.parametrize("name", CASES)
def test_the_script_is_the_golden_one(name):
    assert CASES[name].render() == (GOLDEN / f"slurm_{name}.sh").read_text("utf-8")


@pytest.mark.system
@pytest.mark.parametrize("name", CASES)
def test_the_script_is_valid_bash(name):
    done = subprocess.run(["bash", "-n"], input=CASES[name].render(), text=True, capture_output=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_commands():
    run = CASES["small"]
    assert str(run.sbatch()) == "sbatch --parsable /work/runs/demo/slurm.sh"
    assert str(run.squeue()) == f"squeue --me --noheader --name={run.job.unique_name} '--format=%i|%T|%r'"


def test_two_work_directories_of_one_name_are_two_jobs():
    other = SlurmRun(Job("smoke", "/scratch/runs/demo"), Allocation())
    assert other.job.unique_name.startswith("demo-")
    assert other.job.unique_name != CASES["small"].job.unique_name


@pytest.mark.system
def test_submit_writes_the_script_and_says_how_to_watch(cluster, run):
    said = run.submit()
    assert cluster.read("submitted") == str(run.script)
    assert run.script.read_text("utf-8") == run.render()
    assert said.startswith("Submitted job 4711. Watch it with: tail -F ")
    assert "slurm-4711.log" in said


@pytest.mark.system
@pytest.mark.parametrize("state", ["PENDING", "RUNNING", "COMPLETING"])
def test_a_job_that_is_queued_or_running_is_not_submitted_again(cluster, run, state):
    (cluster.folder / "queue").write_text(f"4700|{state}|Priority\n")
    assert run.submit().startswith(f"Job 4700 runs it already ({state}, Priority). Nothing was submitted.")
    assert cluster.read("submitted") == ""


@pytest.mark.system
def test_a_job_that_has_ended_is_submitted_again(cluster, run):
    (cluster.folder / "queue").write_text("4700|TIMEOUT|TimeLimit\n")
    assert run.submit().startswith("Submitted job 4711.")


def test_a_finished_run_is_not_submitted(cluster, run):
    Path(run.job.workdir).mkdir(parents=True)
    (Path(run.job.workdir) / "result.json").write_text("{}")
    assert run.submit().startswith("The run is finished: ")
    assert cluster.calls() == []


@pytest.mark.system
def test_every_task_receives_the_words_unharmed(cluster, run):
    run = dataclasses.replace(run, job=dataclasses.replace(run.job, bindings=NASTY))
    assert cluster.play(submitted(run), tasks=2)[0] == 0
    for task in (0, 1):
        assert cluster.argv(task) == [*run.job.words()[1:], "--distributed"]


@pytest.mark.system
def test_interrupted_and_lost_runs_are_requeued_until_they_finish(cluster, run):
    cluster.behave("case $start in 1) exit 75;; 2) exit $((75 + WORKER));; esac")
    status, said = cluster.play(submitted(run), tasks=2)
    assert status == 0
    assert cluster.starts() == 3
    assert "ended with 75; requeued, restart 1 of 3." in said
    assert "ended with 76; requeued, restart 2 of 3." in said


@pytest.mark.system
def test_requeueing_is_bounded(cluster, run):
    cluster.behave("exit 76")
    status, said = cluster.play(submitted(run), tasks=2)
    assert status == 76
    assert cluster.starts() == 4
    assert "after 3 restarts (--max_restarts). Run hades-slurm again to continue." in said


@pytest.mark.system
@pytest.mark.parametrize("status", [1, 2, 127])
def test_a_failure_is_final_although_its_peers_are_interrupted(cluster, run, status):
    cluster.behave(f"[ $WORKER = 0 ] || exit {status}; trap 'exit 75' TERM; while :; do sleep 0.01; done")
    ended, said = cluster.play(submitted(run), tasks=2)
    assert ended == status
    assert cluster.starts() == 1
    assert f"failed with {status}; not started again." in said


@pytest.mark.system
def test_a_killed_task_counts_as_lost(cluster, run):
    cluster.behave("[ $start = 2 ] || [ $WORKER = 0 ] || kill -9 $$; [ $start = 2 ] || exit 76")
    status, said = cluster.play(submitted(run), tasks=2)
    assert status == 0
    assert "ended with 76; requeued" in said


@pytest.mark.system
@pytest.mark.parametrize("killed", [0, 1])
def test_a_failure_is_final_although_another_task_was_killed(cluster, run, killed):
    cluster.behave(f"[ $WORKER != {killed} ] || kill -9 $$; exit 1")
    status, said = cluster.play(submitted(run), tasks=2)
    assert status == 1
    assert "failed with 1; not started again." in said


@pytest.mark.system
def test_a_job_whose_srun_was_killed_is_requeued(cluster, run):
    cluster.program("srun", "#!/bin/bash\nkill -9 $$\n")
    status, said = cluster.play(submitted(run), tasks=2)
    assert status == 76
    assert "ended with 76; requeued, restart 1 of 3." in said


@pytest.mark.system
def test_nothing_is_requeued_when_no_task_ran(cluster, run):
    cluster.program("srun", "#!/bin/bash\necho 'srun: error: Unable to create step' >&2\nexit 1\n")
    status, said = cluster.play(submitted(run), tasks=2)
    assert status == 1
    assert "failed with 1; not started again." in said


@pytest.mark.system
def test_the_warning_before_the_time_limit_reaches_hades_train_and_requeues(cluster, run):
    cluster.behave(
        "[ $start = 2 ] || { trap 'sleep 0.1; exit 75' TERM; echo $$ >> $FAKES/ready$WORKER;"
        " while :; do sleep 0.01; done; }"
    )
    process = cluster.start(submitted(run), tasks=2)
    for task in (0, 1):
        cluster.wait_for(f"ready{task}")
    cluster.signal_tasks()
    said = process.communicate(timeout=120)[0]
    assert cluster.read("requeued") == "4711"
    assert "ended with 75; requeued, restart 1 of 3." in said


@pytest.mark.system
def test_what_scancel_ends_is_not_requeued(cluster, run):
    cluster.behave("trap 'exit 75' TERM; echo $$ > $FAKES/ready$WORKER; while :; do sleep 0.01; done")
    process = cluster.start(submitted(run), tasks=2)
    for task in (0, 1):
        cluster.wait_for(f"ready{task}")
    process.send_signal(signal.SIGTERM)  # the batch shell hears of it, as it does not of the warning
    cluster.signal_tasks()
    said = process.communicate(timeout=120)[0]
    assert process.returncode == 75
    assert cluster.read("requeued") == ""
    assert "by scancel, preemption or the time limit. Run hades-slurm again" in said


@pytest.mark.system
def test_a_cluster_that_does_not_requeue_says_so(cluster, run):
    cluster.spoil("scontrol", 1, "Requested operation not supported")
    cluster.behave("exit 75")
    status, said = cluster.play(submitted(run), tasks=2)
    assert status == 75
    assert "this cluster does not requeue jobs. Run hades-slurm again" in said


@pytest.mark.system
def test_a_node_without_hades_train_is_named(cluster, run):
    (cluster.folder / "hades-train").unlink()
    path = f"{cluster.folder}:/usr/bin:/bin"
    done = subprocess.run(["bash", str(submitted(run))], env={"PATH": path}, capture_output=True)
    assert done.returncode == 127
    assert b"hades-train is not on PATH on " in done.stderr


@pytest.mark.system
def test_setup_lines_run_before(cluster, run, tmp_path):
    (tmp_path / "env").write_text("export FROM_SETUP='a b'\n")
    cluster.behave('[ "$FROM_SETUP" = "a b" ] || exit 1')
    setup = (f"source {tmp_path}/env",)
    run = dataclasses.replace(run, allocation=dataclasses.replace(run.allocation, setup=setup))
    assert cluster.play(submitted(run), tasks=2)[0] == 0


@pytest.mark.system
def test_what_sbatch_refuses_is_said_with_the_remedy(cluster, run):
    cluster.spoil("sbatch", 1, "sbatch: error: invalid partition specified: gpux")
    with pytest.raises(LaunchError, match=r"gpux.*sinfo.*slurm\.sh"):
        run.submit()


@pytest.mark.system
def test_nothing_is_submitted_when_the_queue_is_unknown(cluster, run):
    cluster.spoil("squeue", 1, "slurm_load_jobs error: Unable to contact slurm controller")
    with pytest.raises(LaunchError, match="Unable to contact slurm controller"):
        run.submit()
    assert cluster.read("submitted") == ""


@pytest.mark.system
def test_a_hanging_sbatch_is_stopped(cluster, run):
    cluster.spoil("sbatch", None)
    with pytest.raises(LaunchError, match=r"sbatch.*0 s"):
        dataclasses.replace(run, timeout=0.3).submit()


@pytest.mark.system
def test_without_slurm(run, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LaunchError, match=r"squeue.*PATH"):
        run.submit()


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"nodes": 0}, r"--nodes=0 has to be 1 or more"),
        ({"gpus_per_node": -1}, r"--gpus_per_node=-1 has to be 0 or more"),
        ({"max_restarts": -1}, r"--max_restarts=-1"),
        ({"grace_seconds": 0}, r"--grace_seconds=0 has to be from 1 to 65535"),
        ({"partition": "a b"}, r"--partition='a b'"),
        ({"account": "x\n#SBATCH --uid=0"}, r"--account="),
        ({"time": "soon"}, r"--time='soon' is no time limit"),
        ({"sbatch_flags": ("constraint=a100",)}, r"--sbatch_flag='constraint=a100'"),
    ],
)
def test_what_slurm_would_misread_is_refused(values, reason):
    with pytest.raises(ConfigError, match=reason):
        Allocation(**values)


@pytest.mark.parametrize("workdir", ["runs/demo", '/work/a"b', "/work/50%", "/work/a\nb", "/work/$USER"])
def test_a_work_directory_that_slurm_would_misread_is_refused(workdir):
    with pytest.raises(ConfigError, match=r"--workdir=.* has to be an absolute path"):
        SlurmRun(Job("smoke", workdir), Allocation())


def launch(cluster: FakeSlurm, *flags: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, str(ROOT / "launch/slurm.py"), *flags]
    variables = {**os.environ, "JAX_PLATFORMS": "cpu"}
    return subprocess.run(command, capture_output=True, text=True, env=variables, cwd=cluster.folder, timeout=240)


FLAGS = ("--config=smoke", "--workdir=../runs/demo", "--gpus_per_node=2", "--time=01:00:00")


@pytest.mark.system
def test_the_program_only_shows_by_default(cluster):
    shown = launch(cluster, *FLAGS)
    assert shown.returncode == 0, shown.stderr
    assert "#SBATCH --time=01:00:00\n" in shown.stdout
    assert shown.stdout.endswith("Nothing was done. Add --execute to do it.\n")
    assert cluster.calls() == []


@pytest.mark.system
def test_the_program_submits_on_request(cluster):
    done = launch(cluster, *FLAGS, "--execute")
    assert "Submitted job 4711." in done.stdout, done.stderr
    assert Path(cluster.read("submitted")).read_text("utf-8").startswith("#!/bin/bash\n")


@pytest.mark.system
def test_the_program_refuses_a_config_that_does_not_resolve(cluster):
    done = launch(cluster, "--config=smoke", "--workdir=x", "--gin_bindings=SNES.sigmaa = 1", "--execute")
    assert done.returncode == 1
    assert 'SNES has no field "sigmaa"' in done.stderr
    assert cluster.calls() == []
