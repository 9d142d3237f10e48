"""A run on Cloud TPU VMs: get the machines, run the same training on every worker, again after a preemption.

Every step can be repeated: a resource that exists is used, a training that runs is attached to, a run that is finished
is left alone.
"""

import contextlib
import dataclasses
import functools
import re
import time
from collections.abc import Callable

from hades.errors import require
from hades.machines.commands import MINUTE, Command, LaunchError, attempt, check, stream
from hades.machines.preparation import own_config
from hades.machines.source import Source
from hades.machines.tpu import worker
from hades.machines.tpu.resource import Pod, count_workers, delete, is_gone, obtain
from hades.machines.tpu.worker import Answer
from hades.runs.job import Job
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
        status: of `hades-train` on all workers, as `worker.outcome` combines it.
        gone: True if the machines have to be requested again.
    """

    status: int
    gone: bool = False


_GONE = Ending(PROCESS_LOST, gone=True)


@dataclasses.dataclass(frozen=True)
class PodRun:
    """A run on a pod, from the queue to its exit status.

    Attributes:
        bucket: bucket that is mounted at `mount` on every worker.
        max_restarts: limit on restarts after interruptions, preemptions and lost processes; a failure is final.
        say: prints a line of progress or of worker 0's log.

    Raises:
        ConfigError: for a work directory, bucket or limit that cannot work.
    """

    pod: Pod
    job: Job
    source: Source
    bucket: str | None = None
    mount: str = "/mnt/hades"
    max_restarts: int = 20
    say: Callable[[str], None] = functools.partial(print, flush=True)

    def __post_init__(self) -> None:
        workdir, mount = self.job.workdir, self.mount
        require(workdir.startswith("/"), f'--workdir="{workdir}" has to be an absolute path on the TPU machines.')
        require(self.max_restarts >= 0, f"--max_restarts={self.max_restarts} has to be 0 or more.")
        if self.bucket is None:
            return
        named = _BUCKET.fullmatch(self.bucket)
        require(named, f'--bucket="{self.bucket}" is no name of a bucket; give it without gs://.')
        require(
            mount.startswith("/") and workdir.startswith(mount.rstrip("/") + "/"),
            f'--workdir="{workdir}" lies outside the bucket, which is mounted at {mount}: what is '
            f"written there is lost with the machines. Give a folder below {mount}.",
        )

    @property
    def words(self) -> tuple[str, ...]:
        """Command of every worker."""
        config = "config.gin" if self.job.is_file else None
        return self.job.words("--distributed", program=(worker.program(self.source.label),), config=config)

    def run(self) -> int:
        """Do all steps and return the exit status of the run.

        Raises:
            LaunchError: when the machines cannot be obtained, prepared or reached.
        """
        if self.bucket and attempt(self._look_in_bucket()).status == 0:
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
        """Return (purpose, commands) in the order of a first start."""
        pod, name, on_all = self.pod, self.job.unique_name, self.pod.ssh
        archive = [self.source.archive] if self.source.archive else []
        mount = [on_all(worker.mount(self.bucket, self.mount))] if self.bucket else []
        limit = pod.patience.stream
        return [
            ("Is the run finished?", [self._look_in_bucket()] if self.bucket else []),
            ("Is there a queued resource? Created where not, waited for until ACTIVE", [pod.describe(), pod.create()]),
            ("How many workers, and what are they doing?", [pod.describe_node(), on_all(worker.state(name))]),
            ("The package, where it is not installed", [*archive, *self._copies(), self._install()]),
            ("The bucket, where it is not mounted", mount),
            ("The training, where it is not running", [on_all(worker.start(name, self.words))]),
            ("Its log, again and again until it ends", [pod.ssh(worker.log(name, 1, limit), worker="0")]),
            ("After a preemption, before all of this again", [pod.delete()]),
        ]

    def _copies(self) -> list[Command]:
        """Commands that copy the files that the workers need."""
        archive = [self.pod.copy(self.source.file, self.source.file.name)] if self.source.archive else []
        config = own_config(self.job)
        return archive + ([self.pod.copy(config, f"{self.job.unique_name}.gin")] if config else [])

    def _install(self) -> Command:
        text = worker.install(self.source.label, self.source.requirement)
        return self.pod.ssh(text, timeout=self.pod.patience.install)

    def _result(self) -> str:
        inside = self.job.workdir.removeprefix(self.mount.rstrip("/")).strip("/")
        return f"gs://{self.bucket}/{inside}/result.json"

    def _look_in_bucket(self) -> Command:
        return Command(("gcloud", "storage", "ls", self._result(), "--quiet"), self.pod.patience.command)

    def _once(self) -> Ending:
        """Get the machines, start the training or attach to it, and wait for its end."""
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
        """Install hades, mount the bucket and start the training."""
        if self.source.note:
            self.say(self.source.note)
        if self.source.archive:
            check(self.source.archive, "Packing the checkout", "Is the disk full?")
        for copy in self._copies():
            check(copy, "Copying to the workers", _REACH)
        self.say(f"Installing {self.source.label} on {count} workers.")
        self._on_all(self._install(), count, "installed")
        if self.bucket:
            self._on_all(self.pod.ssh(worker.mount(self.bucket, self.mount)), count, "mounted")
        self._on_all(self.pod.ssh(worker.start(self.job.unique_name, self.words)), count, "started")
        self.say(f"Started on {count} workers. The log of worker 0 (Ctrl-C leaves the training running):")

    def _on_all(self, command: Command, count: int, expected: str = "") -> list[Answer]:
        """Run a command on all workers and check that each of them answers, with `expected` where it is given."""
        done = attempt(command)
        came = [answer for answer in worker.answers(done.stdout) if expected in ("", answer.what)]
        if len(came) < count:
            what = f"are {expected}" if expected else "answer"
            raise LaunchError(f"Only {len(came)} of {count} workers of {self.pod.name} {what}: {done.reason}. {_REACH}")
        return came

    def _states(self, count: int) -> list[Answer]:
        return self._on_all(self.pod.ssh(worker.state(self.job.unique_name)), count)

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
                statuses = (PROCESS_LOST if state.status is None else state.status for state in states)
                return Ending(worker.outcome(list(statuses)))
            if len(running) < count:
                ended = ended or time.monotonic()
                if time.monotonic() - ended > patience.peers:
                    self.say(f"Still running after the other workers ended: {', '.join(running)}.")
                    return _GONE
            time.sleep(patience.poll)

    def _show_log(self, first_line: int) -> int:
        """Print the log from a line on while the connection lasts, and return the number of lines printed."""
        seconds = self.pod.patience.stream
        text = worker.log(self.job.unique_name, first_line, seconds)
        count = 0

        def show(line: str) -> None:
            nonlocal count
            if line.startswith(worker.MARK):
                count += 1
                self.say(line.removeprefix(worker.MARK))

        with contextlib.suppress(LaunchError):  # a connection that hangs is renewed like one that was dropped
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
    saved = ending.status == INTERRUPTED
    return "The training was interrupted and saved." if saved else "A process of the run was lost."


def plan_text(run: PodRun) -> str:
    """Format the commands of a first start as lines to paste into a shell."""
    parts = [
        f"# {index}. {title}\n" + "\n".join(map(str, commands))
        for index, (title, commands) in enumerate(((t, c) for t, c in run.steps() if c), start=1)
    ]
    return "\n\n".join([*parts, f"# {run.source.note}"] if run.source.note else parts)
