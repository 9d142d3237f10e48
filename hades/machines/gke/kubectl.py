"""A JobSet on a cluster through `kubectl`: start or continue it, follow its first pod, delete it."""

import dataclasses
import functools
import json
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from hades.machines.commands import MINUTE, Command, LaunchError, attempt, check, stream
from hades.machines.gke.jobset import CONTAINER, MANIFEST_ANNOTATION, Document, as_yaml, config_map_name

RESOURCE = "jobsets.jobset.x-k8s.io"
DAY = 24 * 60 * MINUTE
INSTALL = "Is kubectl connected to the cluster (kubectl config current-context)?"
JOBSET_MISSING = "JobSet is not installed on this cluster: docs/launch_gke.md has the steps."
POLL_SECONDS = 10.0
UNREACHABLE = 6
"""Failed queries in a row after which following gives up."""

Say = Callable[[str], None]
_print: Say = functools.partial(print, flush=True)


@dataclasses.dataclass(frozen=True)
class Cluster:
    """The cluster and namespace for kubectl; empty fields leave kubectl's own defaults."""

    context: str = ""
    namespace: str = ""

    def command(self, *words: str, timeout: float = 2 * MINUTE, stdin: str | None = None) -> Command:
        """Return one call of kubectl."""
        given = [f"--{flag}={value}" for flag, value in dataclasses.asdict(self).items() if value]
        return Command(("kubectl", *given, *words), timeout, stdin)


@dataclasses.dataclass(frozen=True)
class Found:
    """A JobSet that exists.

    Attributes:
        digest: digest of its manifest; empty for a JobSet that hades did not start.
        end: "Completed", "Failed", or empty while it runs.
        message: reason of the end.
        restarts: number of restarts of all its pods so far.
    """

    digest: str
    end: str
    message: str
    restarts: int


def get_command(cluster: Cluster, name: str) -> Command:
    """Get a JobSet as JSON."""
    return cluster.command("get", RESOURCE, name, "--ignore-not-found", "--output=json")


def delete_commands(cluster: Cluster, name: str) -> list[Command]:
    """Delete a JobSet with its pods, and its ConfigMap. The files of the run stay in its work directory."""
    gone = ("--ignore-not-found", "--wait=true")
    return [
        cluster.command("delete", RESOURCE, name, *gone, timeout=10 * MINUTE),
        cluster.command("delete", "configmap", config_map_name(name), *gone),
    ]


def log_command(cluster: Cluster, name: str, since: str = "") -> Command:
    """Follow the log of the first pod of the first slice, from its beginning or from a time."""
    begin = f"--since-time={since}" if since else "--tail=-1"
    return cluster.command("logs", "--follow", *_first_pod(name), begin, timeout=30 * DAY)


def _first_pod(name: str) -> tuple[str, str]:
    labels = {
        "jobset.sigs.k8s.io/jobset-name": name,
        "jobset.sigs.k8s.io/job-index": "0",
        "batch.kubernetes.io/job-completion-index": "0",
    }
    selector = ",".join(f"{label}={value}" for label, value in labels.items())
    return f"--selector={selector}", f"--container={CONTAINER}"


def find(cluster: Cluster, name: str) -> Found | None:
    """Find the JobSet of that name; None where there is none.

    Raises:
        LaunchError: when the cluster does not answer, or has no JobSets installed.
    """
    command = get_command(cluster, name)
    done = attempt(command)
    if done.status != 0:
        remedy = JOBSET_MISSING if "resource type" in done.stderr else INSTALL
        raise LaunchError(f"Asking for JobSet {name} failed: {done.reason}. {remedy} The command: {command}")
    if not done.stdout.strip():
        return None
    try:
        return _found(json.loads(done.stdout))
    except (ValueError, LookupError, AttributeError, TypeError) as error:
        raise LaunchError(
            f"kubectl's answer on JobSet {name} cannot be read: {error}. The command: {command}"
        ) from error


def start(cluster: Cluster, documents: list[Document], say: Say = _print) -> None:
    """Start a run, or continue it. A JobSet that runs is left alone; one that failed is replaced.

    Raises:
        LaunchError: when another run has this name, or kubectl fails.
    """
    jobset = documents[-1]["metadata"]
    name, digest = jobset["name"], jobset["annotations"][MANIFEST_ANNOTATION]
    found = find(cluster, name)
    if found is not None:
        same = found.digest == digest
        if not found.end and not same:
            raise LaunchError(
                f"JobSet {name} runs with another manifest (another config, work directory, image or machine). Wait "
                "for it, delete it with --delete --execute (what it has saved stays), or give this one another --name."
            )
        if not found.end or (found.end == "Completed" and same):
            say(f"JobSet {name} {'has finished already' if found.end else 'is running already'}: nothing to do.")
            return
        say(f"JobSet {name} is there and has ended ({found.end}: {found.message}): replacing it; the run continues.")
        delete(cluster, name)
    remedy = f"Nothing was started; mend it and run the same command again. {INSTALL}"
    check(cluster.command("apply", "--filename=-", stdin=as_yaml(documents)), f"Starting JobSet {name}", remedy)
    say(f"JobSet {name} is started.")


def delete(cluster: Cluster, name: str) -> None:
    """Delete a JobSet and its ConfigMap, and wait until they are gone.

    Raises:
        LaunchError: when kubectl fails.
    """
    for command in delete_commands(cluster, name):
        check(command, f"Deleting {name}", f"Run the same command again. {INSTALL}")


def follow(cluster: Cluster, name: str, say: Say = _print, sleep: Callable[[float], None] = time.sleep) -> Found:
    """Show the log of the first pod, through restarts, until the JobSet ends; return the JobSet in the end.

    Raises:
        LaunchError: when the JobSet is deleted meanwhile, or the cluster stays out of reach.
    """
    since, restarts, silent, shown = "", 0, 0, 0

    def on_line(text: str) -> None:
        nonlocal shown
        # kubectl prints these lines for pods that have not started; following tries again anyway.
        if "waiting to start" not in text and not text.startswith("No resources found"):
            shown += 1
            say(text)

    while True:
        try:
            found = find(cluster, name)
            silent = 0
        except LaunchError as error:
            silent += 1
            if silent >= UNREACHABLE:
                raise
            say(f"(no answer from the cluster, trying again: {error})")
            sleep(POLL_SECONDS)
            continue
        if found is None:
            raise LaunchError(f"JobSet {name} is no longer there: it was deleted. Run the same command to continue.")
        if found.restarts > restarts:
            restarts = found.restarts
            say(f"(restart {restarts} of JobSet {name})")
        if found.end:
            if not shown:
                say(attempt(cluster.command("logs", *_first_pod(name), "--tail=50")).stdout.rstrip())
            return found
        before = shown
        stream(log_command(cluster, name, since), on_line)
        if shown == before:
            sleep(POLL_SECONDS)
        else:
            # The next pod, or the same one after a cut connection, goes on from here.
            since = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _found(answer: dict[str, Any]) -> Found:
    status = answer.get("status") or {}
    true = (c for c in status.get("conditions") or () if c.get("status") == "True")
    end: dict[str, Any] = next((c for c in true if c.get("type") in ("Completed", "Failed")), {})
    return Found(
        digest=(answer["metadata"].get("annotations") or {}).get(MANIFEST_ANNOTATION, ""),
        end=end.get("type", ""),
        message=end.get("message", ""),
        restarts=int(status.get("restarts") or 0),
    )
