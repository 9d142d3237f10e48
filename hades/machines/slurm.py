"""A run on a Slurm cluster: one rendered batch script, submitted once, that continues itself until the run is finished.

One task a GPU, which is what JAX expects under Slurm (it gives task i of a node device i). Where the signals go, by
https://slurm.schedmd.com/sbatch.html and https://slurm.schedmd.com/cgroup.conf.html:

- `--signal=TERM@120` without `B:` reaches the tasks, not the batch shell: `hades-train` saves and exits with 75. With
  `B:` only the shell would hear it, and handing it on to `srun` makes that kill the tasks.
- scancel, the time limit itself and a preemption reach the shell as well: then it leaves the requeueing to Slurm.
- Slurm signals the process that it started, not that one's children (SignalChildrenProcesses=no): so the shell around
  `hades-train` hands the signal on.
"""

import dataclasses
import hashlib
import re
import shlex
from pathlib import Path

from hades.data.files import write_bytes
from hades.machines.commands import MINUTE, Command, LaunchError, check
from hades.machines.job import Job
from hades.runs.signals import FINISHED, INTERRUPTED, PROCESS_LOST
from hades.runs.workdir import WorkDir

_WORD = re.compile(r"[\w.,:@%+/=()\[\]*-]+")
_TIME = re.compile(r"\d+(:\d+){0,2}|\d+-\d+(:\d+){0,2}")
_FOLDER = re.compile(r"/[\w./+=@,~ -]*")

TASK = """
trap "kill -TERM \\$child" TERM
"$@" &
child=$!
while :; do
  wait "$child"
  status=$?
  [ "$status" -gt 128 ] && kill -0 "$child" 2>/dev/null || break
done
echo "$status" > "$HADES_NOTES/$SLURM_PROCID"
exit "$status"
"""
"""Script that srun starts. It records each status of `hades-train`: srun returns the highest, so 75 would hide 1."""


@dataclasses.dataclass(frozen=True)
class Allocation:
    """Resources to request from Slurm, and limits on retries.

    Attributes:
        time: limit of one start, such as "24:00:00"; the partition's own where empty.
        setup: shell lines that make `hades-train` available on a node, such as "module load cuda".
        sbatch_flags: further `#SBATCH` lines, such as "--constraint=a100".
        grace_seconds: between the warning to save and the time limit.
        max_restarts: of the job, whoever asked for them; a failure is final.
        note_seconds: for the statuses of tasks to appear in the shared folder.

    Raises:
        LaunchError: for values that Slurm would refuse or misread.
    """

    nodes: int = 1
    gpus_per_node: int = 1
    cpus_per_task: int = 0
    partition: str = ""
    account: str = ""
    time: str = ""
    setup: tuple[str, ...] = ()
    sbatch_flags: tuple[str, ...] = ()
    grace_seconds: int = 120
    max_restarts: int = 20
    note_seconds: int = 30

    def __post_init__(self) -> None:
        least = {"nodes": 1, "gpus_per_node": 0, "cpus_per_task": 0, "max_restarts": 0}
        for name, smallest in least.items():
            if getattr(self, name) < smallest:
                raise LaunchError(f"--{name}={getattr(self, name)} has to be {smallest} or more.")
        if not 0 < self.grace_seconds <= 65535:
            raise LaunchError(f"--grace_seconds={self.grace_seconds} has to be from 1 to 65535, as Slurm counts.")
        for name in ("partition", "account"):
            if (value := getattr(self, name)) and not _WORD.fullmatch(value):
                raise LaunchError(f"--{name}={value!r} is no name that Slurm knows. sinfo lists the partitions.")
        if self.time and not _TIME.fullmatch(self.time):
            raise LaunchError(f'--time={self.time!r} is no time limit; they look like "24:00:00" or "2-12:00:00".')
        for flag in self.sbatch_flags:
            if not flag.startswith("--") or not _WORD.fullmatch(flag):
                raise LaunchError(
                    f"--sbatch_flag={flag!r} has to be a flag of sbatch without spaces: --constraint=a100."
                )

    @property
    def tasks_per_node(self) -> int:
        return max(self.gpus_per_node, 1)

    def directives(self) -> list[str]:
        """Flags of sbatch."""
        flags = {
            "nodes": self.nodes,
            "ntasks-per-node": self.tasks_per_node,
            "ntasks": self.nodes * self.tasks_per_node,
            "gpus-per-node": self.gpus_per_node,
            "cpus-per-task": self.cpus_per_task,
            "partition": self.partition,
            "account": self.account,
            "time": self.time,
            "signal": f"TERM@{self.grace_seconds}",
        }
        return [f"--{name}={value}" for name, value in flags.items() if value] + list(self.sbatch_flags)


@dataclasses.dataclass(frozen=True)
class SlurmRun:
    """A run in a work directory that the nodes share with this machine.

    Attributes:
        timeout: seconds for one answer of Slurm.

    Raises:
        LaunchError: for a work directory that cannot stand in a `#SBATCH` line.
    """

    job: Job
    allocation: Allocation
    timeout: float = MINUTE

    def __post_init__(self) -> None:
        if not _FOLDER.fullmatch(self.job.workdir):
            raise LaunchError(
                f"--workdir={self.job.workdir!r} has to be an absolute path of letters, digits, spaces and ./+=@,~_- "
                "for Slurm to write its log there."
            )

    @property
    def name(self) -> str:
        """Name of the job in the queue, unique to its work directory."""
        return f"{self.job.name}-{hashlib.sha256(self.job.workdir.encode()).hexdigest()[:8]}"

    @property
    def script(self) -> Path:
        """Path of the batch script."""
        return Path(self.job.workdir) / "slurm.sh"

    @property
    def log(self) -> str:
        """Path of Slurm's log of the run; Slurm replaces %j by the job's number."""
        return f"{self.job.workdir.rstrip('/')}/slurm-%j.log"

    def sbatch(self) -> Command:
        return Command(("sbatch", "--parsable", str(self.script)), self.timeout)

    def squeue(self) -> Command:
        """The jobs of this name, as lines `number|state|reason`."""
        words = ("squeue", "--me", "--noheader", f"--name={self.name}", "--format=%i|%T|%r")
        return Command(words, self.timeout)

    def render(self) -> str:
        """The batch script."""
        config = str(Path(self.job.config).resolve()) if self.job.is_file else None
        setup = "".join(f"{line}\n" for line in self.allocation.setup)
        cpus = f"--cpus-per-task={self.allocation.cpus_per_task} " if self.allocation.cpus_per_task else ""
        return _SCRIPT.format(
            script=shlex.quote(str(self.script)),
            directives="\n".join(f"#SBATCH {flag}" for flag in self._directives()),
            setup=setup,
            notes=shlex.quote(f"{self.job.workdir.rstrip('/')}/slurm"),
            tasks=self.allocation.nodes * self.allocation.tasks_per_node,
            patience=self.allocation.note_seconds,
            max_restarts=self.allocation.max_restarts,
            task=shlex.quote(TASK),
            cpus=cpus,
            words=shlex.join(self.job.words("--distributed", config=config)),
            finished=FINISHED,
            interrupted=INTERRUPTED,
            lost=PROCESS_LOST,
        )

    def _directives(self) -> list[str]:
        ours = [f"--job-name={self.name}", f'--output="{self.log}"', "--open-mode=append", "--requeue"]
        return ours + self.allocation.directives()

    def submit(self) -> str:
        """Submit the job unless the run is finished, queued or running; what was done.

        Raises:
            LaunchError: when Slurm cannot tell, or refuses the job.
        """
        if WorkDir(self.job.workdir).result.exists():
            return f"The run is finished: {WorkDir(self.job.workdir).result} exists. Nothing was submitted."
        if known := self._queued():
            number, state, reason = known
            return f"Job {number} runs it already ({state}, {reason}). Nothing was submitted. {self._watch(number)}"
        write_bytes(self.script, self.render().encode())
        done = check(self.sbatch(), f"Submitting {self.script}", _REFUSED)
        number = done.stdout.strip().split(";")[0]
        if not number.isdigit():
            raise LaunchError(f"sbatch did not answer with the number of a job: {done.reason}. See squeue --me.")
        return f"Submitted job {number}. {self._watch(number)}"

    def _queued(self) -> tuple[str, str, str] | None:
        """(number, state, reason) of the run's job, if Slurm has one."""
        done = check(self.squeue(), "Asking Slurm for the run's job", "Is this a login node of the cluster?")
        for line in done.stdout.splitlines():
            number, state, reason = [*line.strip().split("|"), "", ""][:3]
            if number and state not in _ENDING:
                return number, state, reason
        return None

    def _watch(self, number: str) -> str:
        log = shlex.quote(self.log.replace("%j", number))
        return f"Watch it with: tail -F {log}. Stop it with: scancel {number}."


_ENDING = ("CANCELLED", "FAILED", "TIMEOUT", "COMPLETED", "NODE_FAIL", "OUT_OF_MEMORY", "BOOT_FAIL", "DEADLINE")
"""States in which squeue still shows a job for some minutes after its end."""
_REFUSED = (
    "sinfo lists partitions and their limits, sacctmgr show associations user=$USER the accounts; correct --partition, "
    "--account, --time, --nodes or --gpus_per_node."
)

_SCRIPT = """\
#!/bin/bash
# Written by hades-slurm. Submit it with: sbatch {script}
{directives}

export PYTHONUNBUFFERED=1
{setup}
if ! command -v hades-train > /dev/null; then
  echo "hades-slurm: hades-train is not on PATH on $(hostname): give --setup='source .../bin/activate'." >&2
  exit 127
fi

export HADES_NOTES={notes}/"$SLURM_JOB_ID-${{SLURM_RESTART_COUNT:-0}}"
mkdir -p "$HADES_NOTES"
told_to_end=
trap 'told_to_end=yes' TERM

task={task}
srun --kill-on-bad-exit=1 {cpus}bash -c "$task" hades-task \\
  {words}
of_srun=$?

# What became of the run: a failure of one task outweighs the others, which it leaves interrupted or lost.
outcome={finished} noted=0 waited=0
for ((task_id = 0; task_id < {tasks}; task_id++)); do
  until [ -s "$HADES_NOTES/$task_id" ] || [ "$waited" -ge {patience} ]; do
    sleep 1
    waited=$((waited + 1))
  done
  status={lost}
  if [ -s "$HADES_NOTES/$task_id" ]; then
    status=$(cat "$HADES_NOTES/$task_id")
    noted=$((noted + 1))
  fi
  if [ "$status" -gt 128 ]; then status={lost}; fi # killed
  case "$status" in
    {finished}) ;;
    {interrupted}) if [ "$outcome" = {finished} ]; then outcome={interrupted}; fi ;;
    {lost}) if [ "$outcome" = {finished} ] || [ "$outcome" = {interrupted} ]; then outcome={lost}; fi ;;
    *) outcome=$status ;;
  esac
done
if [ "$noted" = 0 ]; then outcome=$of_srun; fi # nothing ran
if [ "$outcome" -gt 128 ]; then outcome={lost}; fi

again="Run hades-slurm again to continue."
if [ "$outcome" = {interrupted} ] || [ "$outcome" = {lost} ]; then
  if [ -n "$told_to_end" ]; then
    echo "hades-slurm: ended with $outcome by scancel, preemption or the time limit. $again"
  elif [ "${{SLURM_RESTART_COUNT:-0}}" -ge {max_restarts} ]; then
    echo "hades-slurm: ended with $outcome after {max_restarts} restarts (--max_restarts). $again"
  elif scontrol requeue "$SLURM_JOB_ID"; then
    echo "hades-slurm: ended with $outcome; requeued, restart $((${{SLURM_RESTART_COUNT:-0}} + 1)) of {max_restarts}."
    exit 0
  else
    echo "hades-slurm: ended with $outcome, and this cluster does not requeue jobs. $again" >&2
  fi
elif [ "$outcome" != {finished} ]; then
  echo "hades-slurm: failed with $outcome; not started again. Mend the reason and run hades-slurm again." >&2
fi
exit "$outcome"
"""
