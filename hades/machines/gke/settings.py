"""Settings of a run on Google Kubernetes Engine: TPU slices or GPU nodes, shared storage and restarts."""

import dataclasses
import math
import re
from pathlib import PurePosixPath
from typing import Any

from hades.errors import ConfigError, offer

WORKERS = "workers"
"""The replicated job; its pods are called <jobset>-workers-<slice>-<host>."""
COORDINATOR_PORT = 8476
JOIN = "--join_seconds=1800"
"""Nodes of one run may be made, and images pulled, many minutes apart."""

FLAT = {"tpu-v5-lite-device", "tpu-v5-lite-podslice", "tpu-v6e-slice"}
"""TPUs whose topologies have two axes; 8 of their chips fit one host."""
DEEP = {"tpu-v4-podslice", "tpu-v5p-slice", "tpu7x"}
"""TPUs whose topologies have three axes."""
_LABEL = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?")
_BUCKET = re.compile(r"[a-z0-9][-a-z0-9._]{1,220}[a-z0-9]")


@dataclasses.dataclass(frozen=True)
class Tpu:
    """TPU slices. `hades-train --distributed` finds its peers by what GKE announces to the pods.

    Attributes:
        accelerator: of the node pool, such as "tpu-v5-lite-podslice".
        topology: chips along each axis of a slice, "4x4" or "2x2x4".
        slices: equal slices that work on one run, over the data-centre network.
        chips_per_host: of the machine type; 0: the largest machine that the topology allows (docs/launch_gke.md).
    """

    accelerator: str
    topology: str
    slices: int = 1
    chips_per_host: int = 0

    def __post_init__(self) -> None:
        if self.accelerator not in FLAT | DEEP and not self.chips_per_host:
            known = offer(self.accelerator, sorted(FLAT | DEEP))
            raise ConfigError(
                f'--tpu: "{self.accelerator}" is not known here. {known} Another one needs --chips_per_host.'
            )
        if not re.fullmatch(r"[1-9]\d*(x[1-9]\d*){1,2}", self.topology):
            raise ConfigError(f'--topology: "{self.topology}" is not chips along each axis, such as 4x4 or 2x2x4.')
        axes = 2 if self.accelerator in FLAT else 3 if self.accelerator in DEEP else self.topology.count("x") + 1
        if self.topology.count("x") + 1 != axes:
            raise ConfigError(
                f"--topology: {self.accelerator} has {axes} axes, but {self.topology} has another number."
            )
        if self.slices < 1:
            raise ConfigError(f"--slices is {self.slices}; it must be at least 1.")
        if self.chips % self._chips_per_host:
            raise ConfigError(
                f"--chips_per_host: the {self.chips} chips of {self.topology} cannot be shared out to hosts of "
                f"{self._chips_per_host}."
            )

    @property
    def chips(self) -> int:
        """Number of chips of one slice."""
        return math.prod(int(axis) for axis in self.topology.split("x"))

    @property
    def _chips_per_host(self) -> int:
        on_one = self.chips <= 4 or (self.chips == 8 and self.accelerator in FLAT)
        return self.chips_per_host or (self.chips if on_one else 4)

    @property
    def hosts(self) -> int:
        """Number of hosts of one slice."""
        return self.chips // self._chips_per_host

    def selector(self) -> dict[str, str]:
        return {
            "cloud.google.com/gke-tpu-accelerator": self.accelerator,
            "cloud.google.com/gke-tpu-topology": self.topology,
        }

    def limits(self) -> dict[str, str]:
        return {"google.com/tpu": str(self._chips_per_host)}

    def flags(self, name: str) -> tuple[str, ...]:
        """By which the processes find each other."""
        del name
        return ("--distributed", JOIN) if self.hosts * self.slices > 1 else ()


@dataclasses.dataclass(frozen=True)
class Gpu:
    """Nodes with NVIDIA GPUs, one process a node; the first one coordinates.

    Attributes:
        accelerator: of the node pool, such as "nvidia-h100-80gb".
        per_node: GPUs of a node, all of which one pod takes.
        nodes: how many work on one run.
    """

    accelerator: str
    per_node: int = 8
    nodes: int = 1

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.accelerator):
            raise ConfigError(f'--gpu: "{self.accelerator}" is no accelerator of GKE, such as nvidia-h100-80gb.')
        for flag, value in (("gpus_per_node", self.per_node), ("nodes", self.nodes)):
            if value < 1:
                raise ConfigError(f"--{flag} is {value}; it must be at least 1.")

    @property
    def hosts(self) -> int:
        return self.nodes

    @property
    def slices(self) -> int:
        return 1

    def selector(self) -> dict[str, str]:
        return {"cloud.google.com/gke-accelerator": self.accelerator}

    def limits(self) -> dict[str, str]:
        return {"nvidia.com/gpu": str(self.per_node)}

    def flags(self, name: str) -> tuple[str, ...]:
        """By which the processes find each other; Kubernetes puts the pod's index in the place of $(…)."""
        if self.nodes == 1:
            return ()
        return (
            f"--coordinator={name}-{WORKERS}-0-0.{name}:{COORDINATOR_PORT}",
            f"--num_processes={self.nodes}",
            "--process_id=$(JOB_COMPLETION_INDEX)",
            JOIN,
        )


@dataclasses.dataclass(frozen=True)
class Storage:
    """The folder that all pods see: a volume claim that several nodes may write, or a bucket through gcsfuse.

    Attributes:
        claim: name of a PersistentVolumeClaim with access mode ReadWriteMany.
        bucket: name of a bucket of Cloud Storage.
        mount: where the pods see it.
    """

    claim: str = ""
    bucket: str = ""
    mount: str = "/work"

    def __post_init__(self) -> None:
        if bool(self.claim) == bool(self.bucket):
            raise ConfigError("Give --volume_claim or --bucket, one of both: all pods must see one work directory.")
        if self.claim and not _NAME.fullmatch(self.claim):
            raise ConfigError(f'--volume_claim: "{self.claim}" is no name of Kubernetes.')
        if self.bucket and not _BUCKET.fullmatch(self.bucket):
            raise ConfigError(f'--bucket: "{self.bucket}" is no bucket\'s name; give it without gs:// and folders.')
        if not re.fullmatch(r"(/[\w.-]+)+", self.mount):
            raise ConfigError(f'--mount: "{self.mount}" is no absolute path of plain words, such as /work.')

    def volume(self) -> dict[str, Any]:
        if self.claim:
            return {"name": "work", "persistentVolumeClaim": {"claimName": self.claim}}
        # A host that caches what it has seen of the bucket would miss what its peers write.
        attributes = {"bucketName": self.bucket, "mountOptions": "implicit-dirs,metadata-cache:ttl-secs:0"}
        return {"name": "work", "csi": {"driver": "gcsfuse.csi.storage.gke.io", "volumeAttributes": attributes}}

    def path(self, workdir: str) -> str:
        """A work directory as the pods see it; a relative one lies below the mount.

        Raises:
            ConfigError: for one outside of the mount, which would be lost with its pod.
        """
        path = PurePosixPath(self.mount) / workdir
        if ".." in path.parts or not path.is_relative_to(self.mount) or path == PurePosixPath(self.mount):
            raise ConfigError(
                f"--workdir: {workdir} does not lie below {self.mount}, where the pods see the shared storage. Give a "
                f"folder below it, such as {self.mount}/runs/demo or runs/demo."
            )
        return str(path)


@dataclasses.dataclass(frozen=True)
class Settings:
    """Settings of a job on a cluster.

    Attributes:
        image: container image that has `hades-train` on its path.
        machines, storage: where it runs and what its pods share.
        name: of the JobSet; empty: after the work directory.
        namespace, service_account: of the pods; empty: the cluster's defaults.
        spot: ask for Spot nodes, which may be preempted at any time.
        max_restarts: starts after the first one, before the JobSet counts as failed.
        grace_seconds: between SIGTERM and SIGKILL of a pod; a generation and a checkpoint must fit in.
    """

    image: str
    machines: Tpu | Gpu
    storage: Storage
    name: str = ""
    namespace: str = ""
    service_account: str = ""
    spot: bool = False
    max_restarts: int = 100
    grace_seconds: int = 120

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[\w.:/@-]+", self.image):
            raise ConfigError(
                f'--image: "{self.image}" is no container image, such as REGION-docker.pkg.dev/P/R/hades:1.'
            )
        if self.name and (not _LABEL.fullmatch(self.name) or len(self.name) > 40):
            raise ConfigError(f'--name: "{self.name}" must be at most 40 small letters, digits and inner hyphens.')
        for flag, value in (("namespace", self.namespace), ("service_account", self.service_account)):
            if value and not _NAME.fullmatch(value):
                raise ConfigError(f'--{flag}: "{value}" is no name of Kubernetes.')
        if self.max_restarts < 0 or self.grace_seconds < 1:
            raise ConfigError(
                f"--max_restarts is {self.max_restarts} and --grace_seconds {self.grace_seconds}; at least 0 and 1."
            )
