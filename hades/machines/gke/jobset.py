"""A run as a JobSet of Kubernetes, for TPU slices and GPU nodes of Google Kubernetes Engine.

The manifest is plain dictionaries (jobset.x-k8s.io/v1alpha2); `kubectl.py` acts on a cluster. Status 1 of `hades-train`
would come again, so it fails the JobSet. Every other end (75, 76, a preempted node, a kill) starts all pods anew, and
they continue from the last checkpoint.
"""

import dataclasses
import hashlib
import json
import re
from pathlib import Path
from typing import Any

import yaml

from hades.machines.gke.settings import WORKERS, GkeSettings, Gpu
from hades.machines.preparation import own_config
from hades.runs import signals
from hades.runs.job import Job

CONTAINER = "hades"
CONFIG_FOLDER = "/etc/hades"
MANIFEST_ANNOTATION = "hades/manifest"
"""Annotation with the digest of the manifest, by which a later start recognizes its own JobSet."""

Document = dict[str, Any]


def jobset_name(job: Job, settings: GkeSettings) -> str:
    """Return the name of the JobSet."""
    return settings.name or job.name


def config_map_name(name: str) -> str:
    """Return the name of the ConfigMap beside a JobSet."""
    return f"{name}-config"


def manifest(job: Job, settings: GkeSettings) -> list[Document]:
    """Build the documents of a job: a ConfigMap where the config is a file on this machine, and the JobSet.

    Raises:
        ConfigError: for a work directory that the pods would not share, or a config that includes local files.
    """
    name = jobset_name(job, settings)
    config = own_config(job)
    files = {} if config is None else {re.sub(r"[^\w.-]", "-", config.name): config.read_text("utf-8")}
    documents = [_jobset(job, settings, files)]
    if files:
        metadata = _metadata(config_map_name(name), settings)
        documents.insert(0, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": files})
    digest = hashlib.sha256(json.dumps(documents, sort_keys=True).encode()).hexdigest()[:16]
    documents[-1]["metadata"].setdefault("annotations", {})[MANIFEST_ANNOTATION] = digest
    return documents


def as_yaml(documents: list[Document]) -> str:
    """Format the documents as YAML, for `kubectl apply`."""
    return yaml.dump_all(documents, Dumper=_Dumper, sort_keys=False, width=2**20, allow_unicode=True)


class _Dumper(yaml.SafeDumper):
    """YAML with texts of several lines as blocks."""


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _represent_text)


def _metadata(name: str, settings: GkeSettings) -> Document:
    namespace = {"namespace": settings.namespace} if settings.namespace else {}
    return {"name": name, **namespace, "labels": {"app.kubernetes.io/managed-by": "hades"}}


def _jobset(job: Job, settings: GkeSettings, files: dict[str, str]) -> Document:
    name, machines = jobset_name(job, settings), settings.machines
    metadata = _metadata(name, settings)
    if machines.slices > 1:  # each slice on a node pool of its own: a slice cannot be spread over two
        metadata["annotations"] = {"alpha.jobset.sigs.k8s.io/exclusive-topology": "cloud.google.com/gke-nodepool"}
    job_of_slice = {
        "completionMode": "Indexed",
        "completions": machines.hosts,
        "parallelism": machines.hosts,
        "backoffLimit": 0,  # a pod that ends early ends the Job, and the JobSet starts all anew
        "podFailurePolicy": {
            "rules": [  # the first that fits decides: a preempted pod is never a failure, whatever its status
                {"action": "Count", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
                {
                    "action": "FailJob",
                    "onExitCodes": {"containerName": CONTAINER, "operator": "In", "values": [signals.FAILED]},
                    "onPodConditions": [],  # without effect, but schemas before Kubernetes 1.29 require the field
                },
            ]
        },
        "template": _pod(job, settings, files),
    }
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
            "replicatedJobs": [{"name": WORKERS, "replicas": machines.slices, "template": {"spec": job_of_slice}}],
        },
    }


def _pod(job: Job, settings: GkeSettings, files: dict[str, str]) -> Document:
    storage, machines = settings.storage, settings.machines
    spot = {"key": "cloud.google.com/gke-spot", "operator": "Equal", "value": "true", "effect": "NoSchedule"}
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
        "nodeSelector": machines.selector() | ({spot["key"]: spot["value"]} if settings.spot else {}),
        **({"tolerations": [spot]} if settings.spot else {}),
        "containers": [
            {
                "name": CONTAINER,
                "image": settings.image,
                "command": _command(job, settings, files),
                "env": [
                    {"name": "PYTHONUNBUFFERED", "value": "1"},
                    # On the shared storage, so that a restarted pod does not compile again.
                    {"name": "JAX_COMPILATION_CACHE_DIR", "value": f"{storage.mount}/.cache/hades/xla"},
                ],
                "resources": {"requests": machines.limits(), "limits": machines.limits()},
                "volumeMounts": mounts,
            }
        ],
        "volumes": volumes,
    }
    metadata = {"metadata": {"annotations": {"gke-gcsfuse/volumes": "true"}}} if storage.bucket else {}
    return {**metadata, "spec": spec}


def _command(job: Job, settings: GkeSettings, files: dict[str, str]) -> list[str]:
    """Return the words of `hades-train`; $ is escaped, because Kubernetes expands $(NAME), except in our own flags."""
    placed = dataclasses.replace(job, workdir=settings.storage.path(job.workdir))
    config = f"{CONFIG_FOLDER}/{next(iter(files))}" if files else None
    words = [word.replace("$", "$$") for word in placed.words("--noprogress", config=config)]
    return [*words, *settings.machines.flags(jobset_name(job, settings))]


def summary(job: Job, settings: GkeSettings) -> str:
    """Describe the run and its machines in one line."""
    machines = settings.machines
    pods = machines.hosts * machines.slices
    what = ", ".join(f"{number} {resource}" for resource, number in machines.limits().items())
    where = settings.storage.path(job.workdir)
    config = Path(job.config).name
    return f"JobSet {jobset_name(job, settings)}: {config} on {pods} pods with {what} each, in {where}"
