"""A run on Cloud TPU VMs: get the machines, run the same training on every worker, again after a preemption.

Every step may be asked for again: a resource that exists is used, a training that runs is attached to, a run that is
finished is left alone.
"""

import contextlib
import dataclasses
import functools
import hashlib
import re
import time
from collections.abc import Callable

from hades.machines.commands import MINUTE, Command, LaunchError, attempt, check, stream
from hades.machines.job import Job, own_config
from hades.machines.source import Source
from hades.machines.tpu import worker
from hades.machines.tpu.resource import Pod, count_workers, delete, is_gone, obtain
from hades.machines.tpu.worker import Answer
from hades.runs.signals import FINISHED, INTERRUPTED, PROCESS_LOST, RESTARTABLE

_BUCKET = re.compile(r"[a-z0-9][-_.a-z0-9]{1,220}[a-z0-9]")
_REACH = (
    "Check with gcloud compute tpus tpu-vm ssh that you can log in (role roles/tpu.admin, firewall rule for port 22, "
    "ssh-add ~/.ssh/google_compute_engine), then run the same command again."
)


@dataclasses.dataclass(frozen=True)
class Ending:
    """The end of one start of the training.

    Attributes:
        status: of `hades-train`, all workers considered.
        gone: whether the machines have to be asked for again.
    """

    status: int
    gone: bool = False


_GONE = Ending(PROCESS_LOST, gone=True)


@dataclasses.dataclass(frozen=True)
class PodRun:
    """A run on a pod, from the queue to its exit status.

    Attributes:
        bucket: mounted at `mount` on every worker, where one is given.
        max_restarts: after interruptions, preemptions and lost processes; a failure is final.
        say: takes what there is to tell, and the lines of worker 0's log.
    """

    pod: Pod
    job: Job
    source: Source
    bucket: str | None = None
    mount: str = "/mnt/hades"
    max_restarts: int = 20
    say: Callable[[str], None] = functools.partial(print, flush=True)

    def __post_init__(self) -> None:
        if not self.job.workdir.startswith("/"):
            raise LaunchError(f'--workdir="{self.job.workdir}" has to be an absolute path on the TPU machines.')
        if self.max_restarts < 0:
            raise LaunchError(f"--max_restarts={self.max_restarts} has to be 0 or more.")
        if self.bucket is None:
            return
        if not _BUCKET.fullmatch(self.bucket):
            raise LaunchError(f'--bucket="{self.bucket}" is no name of a bucket; give it without gs://.')
        if not self.mount.startswith("/") or not self.job.workdir.startswith(self.mount.rstrip("/") + "/"):
            raise LaunchError(
                f'--workdir="{self.job.workdir}" lies outside the bucket, which is mounted at {self.mount}: what is '
                f"written there is lost with the machines. Give a folder below {self.mount}."
            )

    @property
    def name(self) -> str:
        """Name of the run on the workers, unique to its work directory."""
        return f"{self.job.name}-{hashlib.sha256(self.job.workdir.encode()).hexdigest()[:8]}"

    @property
    def words(self) -> tuple[str, ...]:
        """The command of every worker."""
        config = "config.gin" if self.job.is_file else None
        return self.job.words("--distributed", program=(worker.program(self.source.label),), config=config)

    def run(self) -> int:
        """Do all of it; the exit status of the run.

        Raises:
            LaunchError: when the machines cannot be had, prepared or reached.
        """
        if self._finished_before():
            self.say(f"The run is finished: {self._result()} exists. Nothing was started.")
            return FINISHED
        ending = self._once()
        for restart in range(1, self.max_restarts + 1):
            if ending.status not in RESTARTABLE:
                break
            self.say(f"{_why(ending)} Restart {restart} of at most {self.max_restarts}.")
            if ending.gone:
                delete(self.pod)
            ending = self._once()
        self._conclude(ending)
        return ending.status

    def steps(self) -> list[tuple[str, list[Command]]]:
        """(what for, commands) in the order of a first start."""
        pod, on_all = self.pod, self.pod.ssh
        mount = [on_all(worker.mount(self.bucket, self.mount))] if self.bucket else []
        archive = [self.source.archive] if self.source.archive else []
        limit = pod.patience.stream
        return [
            ("Is the run finished?", [self._look_in_bucket()] if self.bucket else []),
            ("Is there a queued resource? Created where not, waited for until ACTIVE", [pod.describe(), pod.create()]),
            ("How many workers, and what are they doing?", [pod.describe_node(), on_all(worker.state(self.name))]),
            ("The package, where it is not installed", [*archive, *self._copies(), self._install()]),
            ("The bucket, where it is not mounted", mount),
            ("The training, where it is not running", [on_all(worker.start(self.name, self.words))]),
            ("Its log, again and again until it ends", [pod.ssh(worker.log(self.name, 1, limit), worker="0")]),
            ("After a preemption, before all of this again", [pod.delete()]),
        ]

    def _copies(self) -> list[Command]:
        """Commands that copy the files that the workers need."""
        archive = [self.pod.copy(self.source.file, self.source.file.name)] if self.source.archive else []
        config = own_config(self.job)
        return archive + ([self.pod.copy(config, f"{self.name}.gin")] if config else [])

    def _install(self) -> Command:
        text = worker.install(self.source.label, self.source.requirement)
        return self.pod.ssh(text, timeout=self.pod.patience.install)

    def _result(self) -> str:
        inside = self.job.workdir.removeprefix(self.mount.rstrip("/")).strip("/")
        return f"gs://{self.bucket}/{inside}/result.json"

    def _look_in_bucket(self) -> Command:
        return Command(("gcloud", "storage", "ls", self._result(), "--quiet"), self.pod.patience.command)

    def _finished_before(self) -> bool:
        return self.bucket is not None and attempt(self._look_in_bucket()).status == 0

    def _once(self) -> Ending:
        """Get machines, start or attach, and wait for the end."""
        obtain(self.pod, self.say)
        count = count_workers(self.pod, self.say)
        if count is None:
            return _GONE
        try:
            states = self._states(count)
            if all(state.what == "ended" and state.status == FINISHED for state in states):
                return Ending(FINISHED)
            if any(state.what == "running" for state in states):
                self.say(f"The training is running on {self.pod.name}: attaching to its log.")
            else:
                self._prepare(count)
            return self._follow(count)
        except LaunchError:
            if is_gone(self.pod):
                return _GONE
            raise

    def _prepare(self, count: int) -> None:
        """Everything between machines and a started training."""
        if self.source.note:
            self.say(self.source.note)
        if self.source.archive:
            check(self.source.archive, "Packing the checkout", "Is the disk full?")
        for copy in self._copies():
            check(copy, "Copying to the workers", _REACH)
        self.say(f"Installing {self.source.label} on {count} workers.")
        self._everywhere(self._install(), "installed", count)
        if self.bucket:
            self._everywhere(self.pod.ssh(worker.mount(self.bucket, self.mount)), "mounted", count)
        self._everywhere(self.pod.ssh(worker.start(self.name, self.words)), "started", count)
        self.say(f"Started on {count} workers. The log of worker 0 (Ctrl-C leaves the training running):")

    def _everywhere(self, command: Command, expected: str, count: int) -> None:
        """Run something on all workers and see that every one of them did it."""
        done = attempt(command)
        came = [answer for answer in worker.answers(done.stdout) if answer.what == expected]
        if len(came) < count:
            raise LaunchError(
                f"Only {len(came)} of {count} workers of {self.pod.name} are {expected}: {done.reason}. {_REACH}"
            )

    def _states(self, count: int) -> list[Answer]:
        """State of every worker."""
        done = attempt(self.pod.ssh(worker.state(self.name)))
        found = worker.answers(done.stdout)
        if len(found) < count:
            raise LaunchError(
                f"Only {len(found)} of {count} workers of {self.pod.name} answer: {done.reason}. {_REACH}"
            )
        return found

    def _follow(self, count: int) -> Ending:
        """Show the log of worker 0 until no worker is running any more."""
        patience, line = self.pod.patience, 1
        silent: float | None = None
        ended: float | None = None
        while True:
            line += self._show_log(line)
            try:
                states = self._states(count)
                silent = None
            except LaunchError:
                silent = silent or time.monotonic()
                if is_gone(self.pod):
                    return _GONE
                if time.monotonic() - silent > patience.silence:
                    raise
                time.sleep(patience.poll)
                continue
            running = [state.host for state in states if state.what == "running"]
            if not running:
                return Ending(worker.outcome([_status(state) for state in states]))
            if len(running) < count:
                ended = ended or time.monotonic()
                if time.monotonic() - ended > patience.peers:
                    self.say(f"Still running after the other workers ended: {', '.join(running)}.")
                    return _GONE
            time.sleep(patience.poll)

    def _show_log(self, first_line: int) -> int:
        """Print the log from a line on while the connection lasts; how many lines came."""
        seconds = self.pod.patience.stream
        text = worker.log(self.name, first_line, seconds)
        count = 0

        def show(line: str) -> None:
            nonlocal count
            if line.startswith(worker.MARK):
                count += 1
                self.say(line.removeprefix(worker.MARK))

        with contextlib.suppress(LaunchError):  # a connection that hangs is made anew like one that was dropped
            stream(self.pod.ssh(text, worker="0", timeout=seconds + MINUTE), show)
        return count

    def _conclude(self, ending: Ending) -> None:
        where = f"{self.job.workdir} on {self.pod.name}"
        if ending.status == FINISHED:
            self.say(f"The run is finished: {where}.")
        elif ending.status in RESTARTABLE:
            self.say(f"{_why(ending)} No restart is left: the same command continues the run.")
        else:
            self.say(
                f"The training failed with status {ending.status}, so it was not started again; its log ends above. "
                "Mend the reason and run the same command."
            )
        self.say(f"{self.pod.name} still costs money. Delete it with: {self.pod.delete()}")


def _why(ending: Ending) -> str:
    if ending.gone:
        return "The machines are gone (preempted, or not to be reached)."
    return (
        "The training was interrupted and saved." if ending.status == INTERRUPTED else "A process of the run was lost."
    )


def _status(state: Answer) -> int:
    return PROCESS_LOST if state.status is None else state.status


def plan_text(run: PodRun) -> str:
    """All commands of a first start, as a person could paste them."""
    parts = [
        f"# {index}. {title}\n" + "\n".join(map(str, commands))
        for index, (title, commands) in enumerate(((t, c) for t, c in run.steps() if c), start=1)
    ]
    return "\n\n".join([*parts, f"# {run.source.note}"] if run.source.note else parts)
