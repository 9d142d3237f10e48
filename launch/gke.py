r"""A run on Google Kubernetes Engine: a JobSet of TPU slices or GPU nodes that restarts and continues by itself.

hades gke --config=cartpole_hades_r --workdir=runs/demo --image=IMAGE --volume_claim=hades-work \
    --tpu=tpu-v5-lite-podslice --topology=4x4      # prints the manifest
... --execute --follow                             # applies it and shows the first pod's log
... --delete --execute                             # deletes it; the files of the run stay

Running the same command again continues the run. docs/launch_gke.md starts at an empty project.
"""

from absl import app, flags

from hades.commands.command_line import give_result, start
from hades.commands.path_flags import define_path
from hades.commands.run_flags import RunFlags
from hades.machines.gke import jobset, kubectl
from hades.machines.gke.settings import GkeSettings, Gpu, Storage, Tpu
from hades.machines.preparation import stay_off_accelerators
from hades.runs.job import Job

RUN = RunFlags()
WORKDIR = define_path("workdir", None, "Folder of the run below --mount; a relative one is taken from there.")
IMAGE = flags.DEFINE_string("image", None, "Container image with hades-train on its path.")
TPU = flags.DEFINE_string("tpu", "", "TPU of the node pool, such as tpu-v5-lite-podslice.")
TOPOLOGY = flags.DEFINE_string("topology", "", "Chips of a TPU slice along each axis, such as 4x4.")
SLICES = flags.DEFINE_integer("slices", 1, "Equal TPU slices that work on this run.")
CHIPS = flags.DEFINE_integer("chips_per_host", 0, "Chips of the machine type, where the topology leaves a choice.")
GPU = flags.DEFINE_string("gpu", "", "GPU of the node pool, such as nvidia-h100-80gb.")
GPUS = flags.DEFINE_integer("gpus_per_node", 8, "GPUs of a node.")
NODES = flags.DEFINE_integer("nodes", 1, "GPU nodes that work on this run.")
CLAIM = flags.DEFINE_string("volume_claim", "", "A ReadWriteMany claim that holds the work directory.")
BUCKET = flags.DEFINE_string("bucket", "", "A bucket that holds the work directory, mounted with gcsfuse.")
MOUNT = flags.DEFINE_string("mount", "/work", "Path of the claim or bucket in the pods.")
NAME = flags.DEFINE_string("name", "", "Name of the JobSet; else that of the work directory.")
NAMESPACE = flags.DEFINE_string("namespace", "", "Namespace of Kubernetes; else that of the context.")
CONTEXT = flags.DEFINE_string("context", "", "Context of kubectl; else the current one.")
ACCOUNT = flags.DEFINE_string("service_account", "", "Service account of the pods; a bucket needs one that may use it.")
SPOT = flags.DEFINE_bool("spot", False, "Use Spot nodes: cheaper, preempted at any time.")
RESTARTS = flags.DEFINE_integer("max_restarts", 100, "Starts after the first one.")
GRACE = flags.DEFINE_integer("grace_seconds", 120, "Seconds between SIGTERM and SIGKILL of a pod.")
EXECUTE = flags.DEFINE_bool("execute", False, "Act; else print what would be done.")
FOLLOW = flags.DEFINE_bool("follow", False, "With --execute: show the first pod's log until the run ends.")
DELETE = flags.DEFINE_bool("delete", False, "Delete the JobSet in place of starting it.")


def main() -> int:
    if RUN.config is None or WORKDIR.value is None or IMAGE.value is None:
        raise app.UsageError("give --config, --workdir and --image")
    if bool(TPU.value) == bool(GPU.value):
        raise app.UsageError("give --tpu (with --topology) or --gpu, one of both")
    tpu = Tpu(TPU.value, TOPOLOGY.value, SLICES.value, CHIPS.value) if TPU.value else None
    stay_off_accelerators()
    job = Job(RUN.config, str(WORKDIR.value), tuple(RUN.bindings()))
    settings = GkeSettings(
        image=IMAGE.value,
        machines=tpu or Gpu(GPU.value, GPUS.value, NODES.value),
        storage=Storage(CLAIM.value, BUCKET.value, MOUNT.value),
        name=NAME.value,
        namespace=NAMESPACE.value,
        service_account=ACCOUNT.value,
        spot=SPOT.value,
        max_restarts=RESTARTS.value,
        grace_seconds=GRACE.value,
    )
    cluster, name = kubectl.Cluster(CONTEXT.value, NAMESPACE.value), jobset.jobset_name(job, settings)
    if DELETE.value and EXECUTE.value:
        kubectl.delete(cluster, name)
        print(f"JobSet {name} is deleted; what the run wrote stays.")
        return 0
    if DELETE.value:
        print(*kubectl.delete_commands(cluster, name), sep="\n")
        return 0
    job.check()
    documents = jobset.manifest(job, settings)
    give_result({"jobset": name, "manifest": documents})
    if not EXECUTE.value:
        print(jobset.as_yaml(documents), end="")
        return 0
    print(jobset.summary(job, settings))
    kubectl.start(cluster, documents)
    if not FOLLOW.value:
        print(f"Its log:  {kubectl.log_command(cluster, name)}")
        return 0
    end = kubectl.follow(cluster, name)
    print(f"JobSet {name}: {end.end}. {end.message}")
    return 0 if end.end == "Completed" else 1


def run() -> None:
    """Console script."""
    start(__name__, main)


if __name__ == "__main__":
    run()
