"""A slice of Cloud TPU VMs as a queued resource: its commands of `gcloud`, and waiting until it is active.

The commands are those of
https://cloud.google.com/sdk/gcloud/reference/compute/tpus/queued-resources/create (describe, delete) and
https://cloud.google.com/sdk/gcloud/reference/compute/tpus/tpu-vm/ssh (describe, scp); the states those of
https://cloud.google.com/tpu/docs/queued-resources.
"""

import dataclasses
import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hades.errors import require
from hades.machines.commands import MINUTE, Command, Done, LaunchError, attempt, check

HOUR = 60 * MINUTE
ABSENT = "ABSENT"
RUNTIMES = {
    "v5litepod": "v2-alpha-tpuv5-lite",
    "v5p": "v2-alpha-tpuv5",
    "v6e": "v2-alpha-tpuv6e",
    **dict.fromkeys(("v2", "v3", "v4"), "tpu-ubuntu2204-base"),
}
"""Software versions for JAX: https://cloud.google.com/tpu/docs/runtimes"""
MEANING = {
    "CREATING": "the request is being checked",
    "ACCEPTED": "the request is in the queue, until the zone has enough free TPUs",
    "WAITING_FOR_RESOURCES": "the request is in the queue, until the zone has enough free TPUs",
    "PROVISIONING": "the TPUs are there, and their machines are being set up",
    "ACTIVE": "the machines are there",
    "FAILED": "the request could not be served",
    "SUSPENDING": "preempted: the machines are being taken away",
    "SUSPENDED": "preempted: the machines are gone",
    "DELETING": "it is being deleted",
    ABSENT: "there is none yet",
}
NODE_GONE = ("PREEMPTED", "TERMINATED", "STOPPING", "STOPPED", "DELETING", "HIDING", "HIDDEN", ABSENT)
"""States of a TPU VM from which the training does not come back; others, such as REPAIRING, pass."""
_NAME = re.compile(r"[a-z]([-a-z0-9]{0,60}[a-z0-9])?")
_ZONE = re.compile(r"[a-z]+-[a-z]+[0-9]+-[a-z]")
_TYPE = re.compile(r"v[0-9]+[a-z]*-[1-9][0-9]*")


@dataclasses.dataclass(frozen=True)
class Patience:
    """Time limits in seconds.

    Attributes:
        poll: pause between two polls of a state that changes slowly.
        queue: until the machines exist.
        command: for one answer of gcloud.
        install: for installing a package on all workers.
        stream: for one connection that prints the log, before it is renewed.
        silence: for workers that do not answer although their machines exist.
        peers: for the other workers once the first has ended.
    """

    poll: float = 30.0
    queue: float = 24 * HOUR
    command: float = 10 * MINUTE
    install: float = 40 * MINUTE
    stream: float = 10 * MINUTE
    silence: float = 15 * MINUTE
    peers: float = 5 * MINUTE


@dataclasses.dataclass(frozen=True)
class Pod:
    """A queued resource with one TPU slice of the same name.

    Attributes:
        project: Google Cloud project; None: gcloud's default.
        create_flags: further flags of `queued-resources create`, such as "--network=mine".

    Raises:
        ConfigError: for values that gcloud would refuse after a while.
    """

    name: str
    zone: str
    accelerator_type: str
    project: str | None = None
    runtime_version: str = ""
    spot: bool = False
    reserved: bool = False
    create_flags: tuple[str, ...] = ()
    patience: Patience = Patience()

    def __post_init__(self) -> None:
        named, kind = _NAME.fullmatch(self.name), self.accelerator_type
        require(named, f'--name="{self.name}" has to be lower-case letters, digits and dashes, 62 at most.')
        located = _ZONE.fullmatch(self.zone)
        require(located, f'--zone="{self.zone}" is no zone; they look like us-west4-a. {_ZONES}')
        typed = _TYPE.fullmatch(kind)
        require(typed, f'--accelerator_type="{kind}" is no type of TPU; they look like v5litepod-16. {_TYPES}')
        family, _, size = kind.partition("-")
        require(family != "v5e", f"v5e is called v5litepod there: --accelerator_type=v5litepod-{size}.")
        require(
            self.runtime_version or family in RUNTIMES,
            f'No software version is known here for "{kind}" (known: {", ".join(RUNTIMES)}). Give '
            "--runtime_version; TPU7x and later are available through GKE only (hades-gke).",
        )
        exclusive = not (self.spot and self.reserved)
        require(exclusive, "--spot and --reserved exclude each other: spare capacity, or your reservation.")
        for flag in self.create_flags:
            plain = flag.startswith("--")
            require(plain, f'--create_flag="{flag}" has to be a flag of gcloud, such as --network=mine.')

    @property
    def runtime(self) -> str:
        """Software version of the machines."""
        return self.runtime_version or RUNTIMES[self.accelerator_type.split("-")[0]]

    def create(self) -> Command:
        kind = ("--spot",) * self.spot + ("--reserved",) * self.reserved
        node = (f"--node-id={self.name}", f"--accelerator-type={self.accelerator_type}")
        what = (*node, f"--runtime-version={self.runtime}", *kind, *self.create_flags)
        return self._gcloud("queued-resources", "create", self.name, *what)

    def describe(self) -> Command:
        return self._gcloud("queued-resources", "describe", self.name, "--format=json")

    def delete(self) -> Command:
        return self._gcloud("queued-resources", "delete", self.name, "--force")

    def describe_node(self) -> Command:
        return self._gcloud("tpu-vm", "describe", self.name, "--format=json")

    def ssh(self, text: str, worker: str = "all", timeout: float | None = None) -> Command:
        """Run bash on a worker, or on all; gcloud passes the text to ssh as it is."""
        alive = ("--ssh-flag=-oServerAliveInterval=20", "--ssh-flag=-oServerAliveCountMax=3")
        words = ("ssh", self.name, f"--worker={worker}", *alive, f"--command={text}")
        return self._gcloud("tpu-vm", *words, timeout=timeout)

    def copy(self, file: Path, name: str) -> Command:
        """Copy a file into the home folder of every worker."""
        return self._gcloud("tpu-vm", "scp", str(file), f"{self.name}:{name}", "--worker=all")

    def _gcloud(self, *words: str, timeout: float | None = None) -> Command:
        where = (f"--zone={self.zone}", *([f"--project={self.project}"] if self.project else []), "--quiet")
        return Command(("gcloud", "compute", "tpus", *words, *where), timeout or self.patience.command)


_QUOTA = (
    "Quota: https://console.cloud.google.com/iam-admin/quotas (service tpu.googleapis.com). Permission: role "
    "roles/tpu.admin in the project, and gcloud auth login."
)
_ZONES = "https://cloud.google.com/tpu/docs/regions-zones lists those with TPUs."
_TYPES = "gcloud compute tpus accelerator-types list --zone=ZONE lists them."


def obtain(pod: Pod, say: Callable[[str], None]) -> None:
    """Wait until the queued resource is ACTIVE, creating it where there is none.

    Raises:
        LaunchError: when it is refused, has failed, or takes longer than `Patience.queue`.
    """
    began, shown, created = time.monotonic(), "", False
    while True:
        state, detail = look(pod)
        if state != shown:
            say(f"{pod.name}: {state}: {MEANING.get(state, 'not a state that is known here')}. {detail}".rstrip())
            shown = state
        if state == "ACTIVE":
            return
        if state == "FAILED" and created:
            raise LaunchError(
                f"The request for {pod.accelerator_type} in {pod.zone} failed: {detail or 'no reason given'}. Try "
                f"another zone, a smaller type or --spot; {_QUOTA} Remove this one with: {pod.delete()}"
            )
        if state == ABSENT and not created:
            check(pod.create(), f"Asking for {pod.accelerator_type} in {pod.zone}", _QUOTA)
            created = True
            continue
        if state in ("SUSPENDED", "FAILED"):
            delete(pod)
            created = False
            continue
        if time.monotonic() - began > pod.patience.queue:
            raise LaunchError(
                f"{pod.name} is still {state} after {pod.patience.queue / HOUR:.3g} hours. It keeps its place in the "
                f"queue: run the same command to go on waiting, or give it up with: {pod.delete()}"
            )
        time.sleep(pod.patience.poll)


def look(pod: Pod) -> tuple[str, str]:
    """Return (state, reason of a failure or "") of the queued resource.

    Raises:
        LaunchError: when gcloud fails.
    """
    described = _described(pod.describe(), f"Looking for the queued resource {pod.name}", {"state": {"state": ABSENT}})
    state = described.get("state", {})
    error = state.get("failedData", {}).get("error", {}).get("message", "")
    return state.get("state", "UNKNOWN"), error


def count_workers(pod: Pod, say: Callable[[str], None]) -> int | None:
    """Wait until the slice is READY and return its number of workers; None when it is gone.

    Raises:
        LaunchError: when gcloud fails, or the slice does not become READY.
    """
    began = time.monotonic()
    while True:
        state, count = _node(pod)
        if state == "READY" and count:
            return count
        if state in NODE_GONE:
            return None
        if time.monotonic() - began > pod.patience.queue:
            raise LaunchError(f"The TPU VMs of {pod.name} are still {state}. Delete them: {pod.delete()}")
        say(f"{pod.name}: its machines are {state}.")
        time.sleep(pod.patience.poll)


def is_gone(pod: Pod) -> bool:
    """Return True if the machines were taken away; False also when gcloud gives no answer."""
    try:
        return look(pod)[0] != "ACTIVE" or _node(pod)[0] in NODE_GONE
    except LaunchError:
        return False


def delete(pod: Pod) -> bool:
    """Delete the queued resource with its machines; return True if there was one.

    Raises:
        LaunchError: when it cannot be deleted.
    """
    done = attempt(pod.delete())
    if done.status != 0 and not _is_missing(done):
        raise LaunchError(
            f"Deleting {pod.name} failed with status {done.status}: {done.reason}. It goes on costing money: run the "
            f"same again, or delete it in the console. The command: {pod.delete()}"
        )
    return done.status == 0


def _node(pod: Pod) -> tuple[str, int]:
    """Return (state, number of workers) of the slice."""
    described = _described(pod.describe_node(), f"Looking at the machines of {pod.name}", {"state": ABSENT})
    return described.get("state", "UNKNOWN"), len(described.get("networkEndpoints", []))


def _described(command: Command, doing: str, absent: dict[str, Any]) -> dict[str, Any]:
    """Return the output of `describe`, or `absent` where nothing of that name exists."""
    done = attempt(command)
    if _is_missing(done):
        return absent
    if done.status != 0:
        raise LaunchError(f"{doing} failed with status {done.status}: {done.reason}. {_QUOTA} The command: {command}")
    try:
        described: dict[str, Any] = json.loads(done.stdout)
    except json.JSONDecodeError as error:
        raise LaunchError(f"{doing}: gcloud did not answer in JSON: {done.stdout[:200]!r}. Update gcloud.") from error
    return described


def _is_missing(done: Done) -> bool:
    return done.status != 0 and "NOT_FOUND" in done.stderr
