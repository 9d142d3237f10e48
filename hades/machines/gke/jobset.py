"""A run as a JobSet of Kubernetes, for TPU slices and GPU nodes of Google Kubernetes Engine.

The manifest is plain dictionaries (jobset.x-k8s.io/v1alpha2); `kubectl.py` is what acts on a cluster. The rules of
restarting: status 1 of `hades-train` would fail again and fails the JobSet; every other end (75, 76, a preempted node,
a kill) starts all pods anew, which continue from the last checkpoint.
"""

import dataclasses
import hashlib
import json
import re
from pathlib import Path
from typing import Any

import yaml

from hades.machines.gke.settings import WORKERS, Gpu, Settings, Storage
from hades.machines.job import Job, own_config
from hades.runs import signals

CONTAINER = "hades"
CONFIG_FOLDER = "/etc/hades"
MANIFEST_ANNOTATION = "hades/manifest"
"""Digest of what was asked for, by which a later start knows its own JobSet."""

Document = dict[str, Any]


def jobset_name(job: Job, settings: Settings) -> str:
    """Name of the JobSet."""
    return settings.name or job.name


def manifest(job: Job, settings: Settings) -> list[Document]:
    """The documents of a job: a ConfigMap where the config is a file here, and the JobSet.

    Raises:
        ConfigError: for a work directory that the pods would not share, or a config that includes files from here.
    """
    name = jobset_name(job, settings)
    files = _config_files(job)
    documents = [_config_map(name, settings, files)] if files else []
    documents.append(_jobset(job, settings, files))
    digest = hashlib.sha256(json.dumps(documents, sort_keys=True).encode()).hexdigest()[:16]
    documents[-1]["metadata"].setdefault("annotations", {})[MANIFEST_ANNOTATION] = digest
    return documents


def as_yaml(documents: list[Document]) -> str:
    """The manifests as YAML, for `kubectl apply`."""
    return yaml.dump_all(documents, Dumper=_Dumper, sort_keys=False, width=2**20, allow_unicode=True)


class _Dumper(yaml.SafeDumper):
    """YAML that shows texts of several lines as they are."""


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _represent_text)


def _config_files(job: Job) -> dict[str, str]:
    """Text of the config by the name that it has on the pods; none for a shipped config."""
    path = own_config(job)
    return {} if path is None else {re.sub(r"[^\w.-]", "-", path.name): path.read_text("utf-8")}


def _metadata(name: str, settings: Settings) -> Document:
    namespace = {"namespace": settings.namespace} if settings.namespace else {}
    return {"name": name, **namespace, "labels": {"app.kubernetes.io/managed-by": "hades"}}


def config_map_name(name: str) -> str:
    """Name of the ConfigMap beside a JobSet."""
    return f"{name}-config"


def _config_map(name: str, settings: Settings, files: dict[str, str]) -> Document:
    metadata = _metadata(config_map_name(name), settings)
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": dict(files)}


def _jobset(job: Job, settings: Settings, files: dict[str, str]) -> Document:
    name, machines = jobset_name(job, settings), settings.machines
    metadata = _metadata(name, settings)
    if machines.slices > 1:  # each slice on a node pool of its own: a slice cannot be spread over two
        metadata["annotations"] = {"alpha.jobset.sigs.k8s.io/exclusive-topology": "cloud.google.com/gke-nodepool"}
    failed = {"name": "fails_again", "action": "FailJobSet", "onJobFailureReasons": ["PodFailurePolicy"]}
    return {
        "apiVersion": "jobset.x-k8s.io/v1alpha2",
        "kind": "JobSet",
        "metadata": metadata,
        "spec": {
            "network": {"enableDNSHostnames": True, "subdomain": name},
            "failurePolicy": {
                "maxRestarts": settings.max_restarts,
                "rules": [failed, {"name": "continues", "action": "RestartJobSet"}],
            },
            "replicatedJobs": [
                {
                    "name": WORKERS,
                    "replicas": machines.slices,
                    "template": {"spec": _pods(job, settings, files)},
                }
            ],
        },
    }


def _pods(job: Job, settings: Settings, files: dict[str, str]) -> Document:
    """The Job of one slice. `backoffLimit` 0: a pod that ends early ends the Job, and the JobSet starts all anew."""
    disrupted = [{"type": "DisruptionTarget", "status": "True"}]
    fails_again = {"containerName": CONTAINER, "operator": "In", "values": [signals.FAILED]}
    return {
        "completionMode": "Indexed",
        "completions": settings.machines.hosts,
        "parallelism": settings.machines.hosts,
        "backoffLimit": 0,
        "podFailurePolicy": {
            "rules": [  # the first that fits decides: a preempted pod is never a failure, whatever its status
                {"action": "Count", "onPodConditions": disrupted},
                # The empty list says nothing, but schemas before Kubernetes 1.29 require the field.
                {"action": "FailJob", "onExitCodes": fails_again, "onPodConditions": []},
            ]
        },
        "template": _pod(job, settings, files),
    }


def _pod(job: Job, settings: Settings, files: dict[str, str]) -> Document:
    storage, machines = settings.storage, settings.machines
    metadata = {"annotations": {"gke-gcsfuse/volumes": "true"}} if storage.bucket else {}
    spot = {"cloud.google.com/gke-spot": "true"} if settings.spot else {}
    tolerations = [
        {"key": key, "operator": "Equal", "value": value, "effect": "NoSchedule"} for key, value in spot.items()
    ]
    volumes = [storage.volume()]
    mounts = [{"name": "work", "mountPath": storage.mount}]
    if files:
        volumes.append({"name": "config", "configMap": {"name": config_map_name(jobset_name(job, settings))}})
        mounts.append({"name": "config", "mountPath": CONFIG_FOLDER})
    if isinstance(machines, Gpu):  # NCCL exchanges more than the 64 MiB that containers get
        volumes.append({"name": "shm", "emptyDir": {"medium": "Memory"}})
        mounts.append({"name": "shm", "mountPath": "/dev/shm"})
    spec = {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": settings.grace_seconds,
        **({"serviceAccountName": settings.service_account} if settings.service_account else {}),
        "nodeSelector": {**machines.selector(), **spot},
        **({"tolerations": tolerations} if tolerations else {}),
        "containers": [
            {
                "name": CONTAINER,
                "image": settings.image,
                "command": _command(job, settings, files),
                "env": _environment(storage),
                "resources": {"requests": machines.limits(), "limits": machines.limits()},
                "volumeMounts": mounts,
            }
        ],
        "volumes": volumes,
    }
    return {**({"metadata": metadata} if metadata else {}), "spec": spec}


def _command(job: Job, settings: Settings, files: dict[str, str]) -> list[str]:
    """The words of `hades-train`. Kubernetes expands $(NAME) in them and reads $$ as $; only ours is to be expanded."""
    placed = dataclasses.replace(job, workdir=settings.storage.path(job.workdir))
    config = f"{CONFIG_FOLDER}/{next(iter(files))}" if files else None
    words = [word.replace("$", "$$") for word in placed.words("--noprogress", config=config)]
    return [*words, *settings.machines.flags(jobset_name(job, settings))]


def _environment(storage: Storage) -> list[dict[str, str]]:
    return [
        {"name": "PYTHONUNBUFFERED", "value": "1"},
        # On the shared storage, so that a restarted pod does not compile again.
        {"name": "JAX_COMPILATION_CACHE_DIR", "value": f"{storage.mount}/.cache/hades/xla"},
    ]


def summary(job: Job, settings: Settings) -> str:
    """The run and its machines in one line."""
    machines = settings.machines
    pods = machines.hosts * machines.slices
    what = ", ".join(f"{number} {resource}" for resource, number in machines.limits().items())
    where = settings.storage.path(job.workdir)
    config = Path(job.config).name
    return f"JobSet {jobset_name(job, settings)}: {config} on {pods} pods with {what} each, in {where}"
