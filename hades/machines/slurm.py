"""A run on a Slurm cluster: one rendered batch script, submitted once, that continues itself until the run is finished.

The script is `slurm.sh`. It starts one task per GPU, as JAX expects under Slurm (task i of a node gets device i). Each
task records its status of `hades-train`: srun returns the highest one, so 75 would hide 1.

Signals go these ways, by https://slurm.schedmd.com/sbatch.html and https://slurm.schedmd.com/cgroup.conf.html:

- `--signal=TERM@120` without `B:` reaches the tasks, not the batch shell: `hades-train` saves and exits with 75. With
  `B:` it reaches only the shell, and an `srun` that gets it from there kills the tasks.
- scancel, the time limit itself and a preemption reach the shell as well: then it leaves the requeueing to Slurm.
- Slurm signals the process that it started, not that one's children (SignalChildrenProcesses=no): so the shell around
  `hades-train` passes the signal on.
"""

import dataclasses
import re
import shlex
from pathlib import Path

from hades.data.files import write_bytes
from hades.errors import require
from hades.machines.commands import MINUTE, Command, LaunchError, check
from hades.machines.scripts import fill
from hades.runs.job import Job
from hades.runs.signals import FINISHED, INTERRUPTED, PROCESS_LOST
from hades.runs.workdir import WorkDir

_WORD = re.compile(r"[\w.,:@%+/=()\[\]*-]+")
_TIME = re.compile(r"\d+(:\d+){0,2}|\d+-\d+(:\d+){0,2}")
_FOLDER = re.compile(r"/[\w./+=@,~ -]*")
_ENDING = ("CANCELLED", "FAILED", "TIMEOUT", "COMPLETED", "NODE_FAIL", "OUT_OF_MEMORY", "BOOT_FAIL", "DEADLINE")
"""States in which squeue still lists a job for some minutes after its end."""
_REFUSED = (
    "sinfo lists partitions and their limits, sacctmgr show associations user=$USER the accounts; correct --partition, "
    "--account, --time, --nodes or --gpus_per_node."
)


@dataclasses.dataclass(frozen=True)
class Allocation:
    """Resources to request from Slurm, and limits on retries.

    Attributes:
        time: limit of one start, such as "24:00:00"; empty: the partition's limit.
        setup: shell lines that make `hades-train` available on a node, such as "module load cuda".
        sbatch_flags: further `#SBATCH` lines, such as "--constraint=a100".
        grace_seconds: seconds between the warning to save and the time limit.
        max_restarts: limit on restarts of the job for any reason but a failure, which is final.
        note_seconds: seconds until the statuses of all tasks must have appeared in the shared folder.

    Raises:
        ConfigError: for values that Slurm would refuse or misread.
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
            value = getattr(self, name)
            require(value >= smallest, f"--{name}={value} has to be {smallest} or more.")
        grace, time = self.grace_seconds, self.time
        require(0 < grace <= 65535, f"--grace_seconds={grace} has to be from 1 to 65535, as Slurm counts.")
        for name in ("partition", "account"):
            text = getattr(self, name)
            named = not text or _WORD.fullmatch(text)
            require(named, f"--{name}={text!r} is no name that Slurm accepts. sinfo lists the partitions.")
        limited = not time or _TIME.fullmatch(time)
        require(limited, f'--time={time!r} is no time limit; they look like "24:00:00" or "2-12:00:00".')
        for flag in self.sbatch_flags:
            allowed = flag.startswith("--") and _WORD.fullmatch(flag)
            require(allowed, f"--sbatch_flag={flag!r} has to be a flag of sbatch without spaces: --constraint=a100.")

    @property
    def tasks(self) -> int:
        """Number of processes of the run."""
        return self.nodes * max(self.gpus_per_node, 1)

    def directives(self) -> list[str]:
        """Return the flags of sbatch."""
        flags = {
            "nodes": self.nodes,
            "ntasks-per-node": self.tasks // self.nodes,
            "ntasks": self.tasks,
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
        ConfigError: for a work directory that cannot stand in a `#SBATCH` line.
    """

    job: Job
    allocation: Allocation
    timeout: float = MINUTE

    def __post_init__(self) -> None:
        require(
            _FOLDER.fullmatch(self.job.workdir),
            f"--workdir={self.job.workdir!r} has to be an absolute path of letters, digits, spaces and ./+=@,~_- "
            "for Slurm to write its log there.",
        )

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
        """List the jobs of this run, as lines `number|state|reason`."""
        words = ("squeue", "--me", "--noheader", f"--name={self.job.unique_name}", "--format=%i|%T|%r")
        return Command(words, self.timeout)

    def render(self) -> str:
        """Return the batch script."""
        config = str(Path(self.job.config).resolve()) if self.job.is_file else None
        ours = [f"--job-name={self.job.unique_name}", f'--output="{self.log}"', "--open-mode=append", "--requeue"]
        wanted = self.allocation
        return fill(
            "slurm.sh",
            script=shlex.quote(str(self.script)),
            directives="\n".join(f"#SBATCH {flag}" for flag in ours + wanted.directives()),
            setup="".join(f"{line}\n" for line in wanted.setup),
            notes=shlex.quote(f"{self.job.workdir.rstrip('/')}/slurm"),
            tasks=wanted.tasks,
            patience=wanted.note_seconds,
            max_restarts=wanted.max_restarts,
            cpus=f"--cpus-per-task={wanted.cpus_per_task} " if wanted.cpus_per_task else "",
            words=shlex.join(self.job.words("--distributed", config=config)),
            finished=FINISHED,
            interrupted=INTERRUPTED,
            lost=PROCESS_LOST,
        )

    def submit(self) -> str:
        """Submit the job unless the run is finished, queued or running; return a line that reports it.

        Raises:
            LaunchError: when Slurm gives no answer, or refuses the job.
        """
        if (result := WorkDir(self.job.workdir).result).exists():
            return f"The run is finished: {result} exists. Nothing was submitted."
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
        """Return (number, state, reason) of the run's job, if Slurm has one."""
        done = check(self.squeue(), "Asking Slurm for the run's job", "Is this a login node of the cluster?")
        for line in done.stdout.splitlines():
            number, state, reason = [*line.strip().split("|"), "", ""][:3]
            if number and state not in _ENDING:
                return number, state, reason
        return None

    def _watch(self, number: str) -> str:
        log = shlex.quote(self.log.replace("%j", number))
        return f"Watch it with: tail -F {log}. Stop it with: scancel {number}."
