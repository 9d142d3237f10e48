"""`gcloud`, `sbatch`, `squeue`, `srun` and `scontrol` for tests: executables in a folder that the test puts on PATH.

The fake `gcloud` keeps one queued resource whose machines are folders here, and really runs what it is given for ssh,
with bash and with the machine's folder as its home. The fake Slurm really runs a submitted script. On both, a bash
text that the test chooses stands for `hades-train`.
"""

import json
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

_START = f"#!{sys.executable} -SE\n"

_COMMON = """
import json, os, pathlib, shutil, signal, subprocess, sys, time
here = pathlib.Path({folder!r})
words = sys.argv[1:]
program = pathlib.Path(sys.argv[0]).name
with (here / "calls.jsonl").open("a") as file:
    file.write(json.dumps([program, *words]) + "\\n")
def spoilt(name):
    told = here / ("spoilt." + name)
    if not told.exists():
        return
    status, text = json.loads(told.read_text())
    if status is None:
        time.sleep(60)
    print(text, file=sys.stderr)
    sys.exit(status)
def flag(name, default=None):
    found = [word.split("=", 1)[1] for word in words if word.startswith("--" + name + "=")]
    return found[0] if found else default
"""

_GCLOUD = """
resource, machines = here / "states.json", here / "machines"
def state():
    states = json.loads(resource.read_text())
    if len(states) > 1:
        resource.write_text(json.dumps(states[1:]))
    return states[0]
def missing():
    print("ERROR: (gcloud) NOT_FOUND: Resource was not found", file=sys.stderr)
    sys.exit(1)
def on(worker, text):
    home = machines / worker
    variables = {{"HOME": str(home), "WORKER": worker, "FAKES": str(here), "PATH": str(here) + ":/usr/bin:/bin"}}
    return subprocess.Popen(["bash", "-c", text], env=variables, stdin=subprocess.DEVNULL, process_group=0)
verb = " ".join(words[:2]) if words[0] == "storage" else " ".join(words[2:4])
spoilt(verb.replace(" ", "-"))
if verb == "storage ls":
    sys.exit(0 if (here / "bucket" / words[2].split("/", 3)[3]).exists() else 1)
if verb == "queued-resources create":
    if resource.exists():
        sys.exit("ERROR: ALREADY_EXISTS")
    creations = json.loads((here / "creations.json").read_text())
    resource.write_text(json.dumps(creations[0]))
    (here / "creations.json").write_text(json.dumps(creations[1:]))
    for worker in range(int((here / "workers").read_text())):
        (machines / str(worker)).mkdir(parents=True)
elif not resource.exists():
    missing()
elif verb == "queued-resources describe":
    name = state()
    error = {{"failedData": {{"error": {{"message": "no capacity in this zone"}}}}}} if name == "FAILED" else {{}}
    print(json.dumps({{"state": {{"state": name, **error}}}}))
elif verb == "queued-resources delete":
    resource.unlink()
    shutil.rmtree(machines)
elif verb == "tpu-vm describe":
    gone = json.loads(resource.read_text())[0] != "ACTIVE"
    endpoints = [{{"ipAddress": "10.0.0.%s" % worker.name}} for worker in machines.iterdir()]
    print(json.dumps({{"state": "PREEMPTED" if gone else "READY", "networkEndpoints": endpoints}}))
elif json.loads(resource.read_text())[0] != "ACTIVE":
    print("ssh: connect to host 10.0.0.0 port 22: Connection timed out", file=sys.stderr)
    sys.exit(255)
elif verb == "tpu-vm scp":
    for worker in machines.iterdir():
        shutil.copy(words[4], worker / words[5].split(":")[1])
elif verb == "tpu-vm ssh":
    print("SSH: Attempting to connect to worker ...", file=sys.stderr)
    drop = here / "drop"
    wanted = flag("worker")
    workers = sorted(m.name for m in machines.iterdir()) if wanted == "all" else [wanted]
    processes = [on(worker, flag("command")) for worker in workers]
    if drop.exists() and "tail" in flag("command"):
        time.sleep(0.3)
        drop.unlink()
        os.killpg(processes[0].pid, signal.SIGKILL)
        sys.exit(255)
    sys.exit(max(process.wait() for process in processes))
else:
    sys.exit("a fake that does not know " + verb)
"""

_TRAIN = """#!/bin/bash
trap '' TERM
printf '%s\\0' "$@" > "$FAKES/argv.$WORKER"
start=$(($(cat "$FAKES/starts.$WORKER" 2>/dev/null || echo 0) + 1))
echo "$start" > "$FAKES/starts.$WORKER"
echo "start $start on $WORKER"
. "$FAKES/behaviour"
exit 0
"""

_UV = """#!/bin/bash
if [ "$1" = venv ]; then mkdir -p "${@: -1}/bin"; exit 0; fi
echo "${@: -1}" >> "$FAKES/installed.$WORKER"
[ ! -f "$FAKES/spoilt.uv" ] || { cat "$FAKES/spoilt.uv" >&2; exit 2; }
python=${@: -2:1}
cp "$FAKES/train.sh" "$(dirname "$python")/hades-train"
"""

_GCSFUSE = """#!/bin/bash
echo "$@" > "$FAKES/gcsfuse.$WORKER"
touch "$FAKES/mounted.$WORKER"
"""

_SRUN = """
task = words[words.index("bash"):]
count = int(os.environ["FAKE_TASKS"])
tasks = []
for number in range(count):
    tasks.append(subprocess.Popen(task, env={{**os.environ, "SLURM_PROCID": str(number), "WORKER": str(number)}}))
(here / "tasks").write_text(" ".join(str(one.pid) for one in tasks))
signal.signal(signal.SIGTERM, signal.SIG_IGN)
told = False
while any(one.poll() is None for one in tasks):
    if "--kill-on-bad-exit=1" in words and not told and any(one.poll() for one in tasks):
        told = True
        time.sleep(0.1)  # those that end by themselves at the same time
        for one in tasks:
            if one.poll() is None:
                one.terminate()
    time.sleep(0.02)
sys.exit(max(one.returncode % 256 for one in tasks))
"""

_SBATCH = """
spoilt("sbatch")
(here / "submitted").write_text(words[-1])
print("4711;cluster")
"""

_SQUEUE = """
spoilt("squeue")
queue = here / "queue"
print(queue.read_text() if queue.exists() else "", end="")
"""

_SCONTROL = """
spoilt("scontrol")
(here / "requeued").write_text(words[1])
"""


class Fakes:
    """A folder of executables, what they were called with, and what the fake `hades-train` does."""

    def __init__(self, folder: Path):
        self.folder = folder
        folder.mkdir()
        self.behave("")

    def program(self, name: str, text: str) -> None:
        """Write an executable; Python where it has no first line of its own."""
        if not text.startswith("#!"):
            text = _START + (_COMMON + text).format(folder=str(self.folder))
        path = self.folder / name
        path.write_text(text)
        path.chmod(path.stat().st_mode | stat.S_IXUSR)

    def behave(self, text: str) -> None:
        """What `hades-train` does: bash that sees $start (1, 2, …), $WORKER and $FAKES; it exits with 0 at its end."""
        (self.folder / "behaviour").write_text(text)

    def spoil(self, name: str, status: int | None, text: str = "") -> None:
        """Let a command fail with an error on stderr; with status None it hangs."""
        (self.folder / f"spoilt.{name}").write_text(json.dumps([status, text]))

    def calls(self) -> list[list[str]]:
        """Every call so far, as words."""
        calls = self.folder / "calls.jsonl"
        return [json.loads(line) for line in calls.read_text().splitlines()] if calls.exists() else []

    def argv(self, worker: int = 0) -> list[str]:
        """What the last `hades-train` of a worker received."""
        return self.read(f"argv.{worker}").split("\0")[:-1]

    def starts(self, worker: int = 0) -> int:
        """How often `hades-train` was started on a worker."""
        return int(self.read(f"starts.{worker}") or 0)

    def read(self, name: str) -> str:
        """A note of the fakes; empty where there is none."""
        path = self.folder / name
        return path.read_text() if path.exists() else ""


class FakeCloud(Fakes):
    """Google Cloud with room for one queued resource at a time."""

    def __init__(self, folder: Path, workers: int = 2):
        super().__init__(folder)
        self.program("gcloud", _GCLOUD)
        for name, text in {"train.sh": _TRAIN, "uv": _UV, "gcsfuse": _GCSFUSE}.items():
            self.program(name, text)
        self.program("sudo", '#!/bin/bash\nexec "$@"\n')
        self.program("hostname", '#!/bin/bash\necho "t1v-n-1a2b3c-w-$WORKER"\n')
        self.program("mountpoint", '#!/bin/bash\n[ -f "$FAKES/mounted.$WORKER" ]\n')
        (folder / "workers").write_text(str(workers))
        self.creations(["WAITING_FOR_RESOURCES", "PROVISIONING", "ACTIVE"])

    def creations(self, *states: list[str]) -> None:
        """The states that each queued resource goes through, in the order in which they are created."""
        (self.folder / "creations.json").write_text(json.dumps(states))

    def count(self, verb: str) -> int:
        """How often one verb was asked for."""
        return sum(" ".join(call[3:5]) == verb for call in self.calls())


class FakeSlurm(Fakes):
    """A cluster that starts a submitted script when the test says so."""

    def __init__(self, folder: Path):
        super().__init__(folder)
        for name, text in {"srun": _SRUN, "sbatch": _SBATCH, "squeue": _SQUEUE, "scontrol": _SCONTROL}.items():
            self.program(name, text)
        self.program("hades-train", _TRAIN)

    def play(self, script: Path, tasks: int, restarts: int = 0) -> tuple[int, str]:
        """Run a script as Slurm does, again after each `scontrol requeue`; (status, all that it said)."""
        said = ""
        while True:
            (self.folder / "requeued").unlink(missing_ok=True)
            process = self.start(script, tasks, restarts)
            output, _ = process.communicate(timeout=120)
            said += output
            if not (self.folder / "requeued").exists():
                return process.returncode, said
            restarts += 1

    def start(self, script: Path, tasks: int, restarts: int = 0) -> "subprocess.Popen[str]":
        """Start the batch shell."""
        variables: dict[str, Any] = {"SLURM_JOB_ID": "4711", "FAKES": str(self.folder), "FAKE_TASKS": str(tasks)}
        if restarts:
            variables["SLURM_RESTART_COUNT"] = str(restarts)
        path = f"{self.folder}:{os.environ['PATH']}"
        return subprocess.Popen(
            ["bash", str(script)],
            env={"PATH": path, "HOME": str(self.folder), **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def signal_tasks(self) -> None:
        """SIGTERM to what srun started and nothing else, as Slurm sends it."""
        self.wait_for("tasks")
        for pid in self.read("tasks").split():
            os.kill(int(pid), signal.SIGTERM)

    def wait_for(self, name: str) -> None:
        """Until a note appears and is written."""
        end = time.monotonic() + 120
        while not self.read(name):
            assert time.monotonic() < end, f"no {name}"
            time.sleep(0.01)
