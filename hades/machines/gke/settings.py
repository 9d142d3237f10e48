"""GkeSettings of a run on Google Kubernetes Engine: TPU slices or GPU nodes, shared storage and restarts."""

import dataclasses
import math
import re
from pathlib import PurePosixPath
from typing import Any, ClassVar

from hades.errors import offer, require

WORKERS = "workers"
"""Name of the replicated job; its pods have the names <jobset>-workers-<slice>-<host>."""
COORDINATOR_PORT = 8476
JOIN = "--join_seconds=1800"  # nodes of one run may be created, and images pulled, many minutes apart

FLAT = {"tpu-v5-lite-device", "tpu-v5-lite-podslice", "tpu-v6e-slice"}
"""TPUs whose topologies have two axes; 8 of their chips fit one host."""
DEEP = {"tpu-v4-podslice", "tpu-v5p-slice", "tpu7x"}
"""TPUs whose topologies have three axes."""
_LABEL = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?")
_BUCKET = re.compile(r"[a-z0-9][-a-z0-9._]{1,220}[a-z0-9]")


@dataclasses.dataclass(frozen=True)
class Tpu:
    """TPU slices. `hades-train --distributed` finds the other processes in the environment that GKE sets.

    Attributes:
        accelerator: accelerator of the node pool, such as "tpu-v5-lite-podslice".
        topology: chips along each axis of a slice, "4x4" or "2x2x4".
        slices: number of equal slices that work on one run, over the data-centre network.
        chips_per_host: chips of the machine type; 0: the largest machine for the topology (docs/launch_gke.md).
    """

    accelerator: str
    topology: str
    slices: int = 1
    chips_per_host: int = 0

    def __post_init__(self) -> None:
        name, topology, given = self.accelerator, self.topology, self.topology.count("x") + 1
        known = offer(name, sorted(FLAT | DEEP))
        require(
            name in FLAT | DEEP or self.chips_per_host,
            f'--tpu: "{name}" is not known here. {known} Another one needs --chips_per_host.',
        )
        numbers = re.fullmatch(r"[1-9]\d*(x[1-9]\d*){1,2}", topology)
        require(numbers, f'--topology: "{topology}" is not chips along each axis, such as 4x4 or 2x2x4.')
        axes = 2 if name in FLAT else 3 if name in DEEP else given
        require(given == axes, f"--topology: {name} has {axes} axes, but {topology} has another number.")
        require(self.slices >= 1, f"--slices is {self.slices}; it must be at least 1.")
        chips, host = self.chips, self._chips_per_host
        require(
            chips % host == 0,
            f"--chips_per_host: the {chips} chips of {topology} cannot be divided among hosts of {host}.",
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
        """Return the flags with which the processes find each other."""
        del name
        return ("--distributed", JOIN) if self.hosts * self.slices > 1 else ()


@dataclasses.dataclass(frozen=True)
class Gpu:
    """Nodes with NVIDIA GPUs and one process each; the first one coordinates.

    Attributes:
        accelerator: accelerator of the node pool, such as "nvidia-h100-80gb".
        per_node: number of GPUs of a node, all of which one pod takes.
        nodes: number of nodes that work on one run.
    """

    accelerator: str
    per_node: int = 8
    nodes: int = 1
    slices: ClassVar[int] = 1  # the nodes of a run form one Job

    def __post_init__(self) -> None:
        named = _NAME.fullmatch(self.accelerator)
        require(named, f'--gpu: "{self.accelerator}" is no accelerator of GKE, such as nvidia-h100-80gb.')
        for flag, value in (("gpus_per_node", self.per_node), ("nodes", self.nodes)):
            require(value >= 1, f"--{flag} is {value}; it must be at least 1.")

    @property
    def hosts(self) -> int:
        return self.nodes

    def selector(self) -> dict[str, str]:
        return {"cloud.google.com/gke-accelerator": self.accelerator}

    def limits(self) -> dict[str, str]:
        return {"nvidia.com/gpu": str(self.per_node)}

    def flags(self, name: str) -> tuple[str, ...]:
        """Return the flags with which the processes find each other; Kubernetes replaces $(…) by the pod's index."""
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
    """The folder that all pods share: a volume claim that several nodes may write, or a bucket through gcsfuse.

    Attributes:
        claim: name of a PersistentVolumeClaim with access mode ReadWriteMany.
        bucket: name of a bucket of Cloud Storage.
        mount: absolute path of the folder in the pods.
    """

    claim: str = ""
    bucket: str = ""
    mount: str = "/work"

    def __post_init__(self) -> None:
        claim, bucket, mount = self.claim, self.bucket, self.mount
        one = bool(claim) != bool(bucket)
        require(one, "Give --volume_claim or --bucket, one of both: all pods must see one work directory.")
        require(not claim or _NAME.fullmatch(claim), f'--volume_claim: "{claim}" is no name of Kubernetes.')
        named = not bucket or _BUCKET.fullmatch(bucket)
        require(named, f'--bucket: "{bucket}" is no bucket\'s name; give it without gs:// and folders.')
        plain = re.fullmatch(r"(/[\w.-]+)+", mount)
        require(plain, f'--mount: "{mount}" is no absolute path of plain words, such as /work.')

    def volume(self) -> dict[str, Any]:
        if self.claim:
            return {"name": "work", "persistentVolumeClaim": {"claimName": self.claim}}
        # With cached metadata, a host would miss files that other hosts write into the bucket.
        attributes = {"bucketName": self.bucket, "mountOptions": "implicit-dirs,metadata-cache:ttl-secs:0"}
        return {"name": "work", "csi": {"driver": "gcsfuse.csi.storage.gke.io", "volumeAttributes": attributes}}

    def path(self, workdir: str) -> str:
        """Return the path of a work directory in the pods; a relative one lies below the mount.

        Raises:
            ConfigError: for one outside of the mount, which would be lost with its pod.
        """
        mount = PurePosixPath(self.mount)
        path = mount / workdir
        require(
            ".." not in path.parts and mount in path.parents,
            f"--workdir: {workdir} does not lie below {mount}, where the pods see the shared storage. Give a "
            f"folder below it, such as {mount}/runs/demo or runs/demo.",
        )
        return str(path)


@dataclasses.dataclass(frozen=True)
class GkeSettings:
    """GkeSettings of a job on a cluster.

    Attributes:
        image: container image that has `hades-train` on its path.
        machines: accelerators of the run.
        storage: folder that its pods share.
        name: name of the JobSet; empty: that of the work directory.
        namespace, service_account: those of the pods; empty: the cluster's defaults.
        spot: use Spot nodes, which may be preempted at any time.
        max_restarts: starts after the first one, before the JobSet counts as failed.
        grace_seconds: seconds between SIGTERM and SIGKILL of a pod; a generation and a checkpoint must fit in.
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
        image, name = self.image, self.name
        named = re.fullmatch(r"[\w.:/@-]+", image)
        require(named, f'--image: "{image}" is no container image, such as REGION-docker.pkg.dev/P/R/hades:1.')
        short = not name or (_LABEL.fullmatch(name) and len(name) <= 40)
        require(short, f'--name: "{name}" must be at most 40 small letters, digits and inner hyphens.')
        for flag, value in (("namespace", self.namespace), ("service_account", self.service_account)):
            require(not value or _NAME.fullmatch(value), f'--{flag}: "{value}" is no name of Kubernetes.')
        restarts, grace = self.max_restarts, self.grace_seconds
        limits = f"--max_restarts is {restarts} and --grace_seconds {grace}; at least 0 and 1."
        require(restarts >= 0 and grace >= 1, limits)
