"""Train on Cloud TPU VMs: get a slice, install hades on every worker, run there, come back after preemptions.

hades tpu-pod --config=cartpole_hades_r --workdir=/mnt/hades/runs/demo --bucket=my-bucket \
    --zone=us-west4-a --accelerator_type=v5litepod-16 --spot
hades tpu-pod ... --execute      # the same command continues, attaches, or reports that the run is finished
hades tpu-pod --name=demo --zone=us-west4-a --accelerator_type=v5litepod-16 --delete --execute

Without --execute it prints the commands. docs/launch_tpu.md explains it step by step.
"""

from absl import app, flags

from hades.commands.command_line import give_result, start
from hades.commands.path_flags import define_path
from hades.commands.run_flags import RunFlags
from hades.machines.preparation import stay_off_accelerators
from hades.machines.source import checkout, package
from hades.machines.tpu.resource import HOUR, Patience, Pod, delete
from hades.machines.tpu.training import PodRun, plan_text
from hades.runs.job import Job
from hades.runs.signals import INTERRUPTED

RUN = RunFlags()
WORKDIR = define_path("workdir", None, "Absolute folder of the run, which all machines have to see.")
NAME = flags.DEFINE_string("name", None, "Name of the queued resource; else that of the work directory.")
PROJECT = flags.DEFINE_string("project", None, "Google Cloud project; else gcloud's.")
ZONE = flags.DEFINE_string("zone", None, "Zone, such as us-west4-a.")
TYPE = flags.DEFINE_string("accelerator_type", None, "Type and size of the slice, such as v5litepod-256.")
RUNTIME = flags.DEFINE_string("runtime_version", "", "Software of the machines; else the one for JAX on this type.")
SPOT = flags.DEFINE_bool("spot", False, "Spare capacity: cheaper, preempted at any time, restarted by this program.")
RESERVED = flags.DEFINE_bool("reserved", False, "From your reservation.")
CREATE_FLAGS = flags.DEFINE_multi_string("create_flag", [], "A further flag of gcloud's create, such as --network=n.")
REVISION = flags.DEFINE_string("revision", "HEAD", "Commit of this checkout that the machines install.")
PACKAGE = flags.DEFINE_string("package", None, "In its place: a pip requirement, 'hades-rl[tpu] @ git+https://…@REV'.")
BUCKET = flags.DEFINE_string("bucket", None, "Cloud Storage bucket that is mounted on every machine.")
MOUNT = flags.DEFINE_string("mount", "/mnt/hades", "Path of the bucket on the machines.")
RESTARTS = flags.DEFINE_integer("max_restarts", 20, "Restarts after preemptions, interruptions and lost processes.")
QUEUE = flags.DEFINE_float("queue_hours", 24.0, "Hours to wait for the machines.")
EXECUTE = flags.DEFINE_bool("execute", False, "Do it; without, print the commands.")
DELETE = flags.DEFINE_bool("delete", False, "Delete the queued resource and its machines, and stop.")
DELETE_AFTER = flags.DEFINE_bool("delete_after", False, "Delete them once the run has ended, however it did.")


def main() -> int:
    if ZONE.value is None or TYPE.value is None:
        raise app.UsageError("give --zone and --accelerator_type")
    if not DELETE.value and (RUN.config is None or WORKDIR.value is None):
        raise app.UsageError("give --config and --workdir")
    if DELETE.value and NAME.value is None and WORKDIR.value is None:
        raise app.UsageError("give --name or --workdir: what is to be deleted?")
    stay_off_accelerators()
    job = Job(RUN.config or "", str(WORKDIR.value or ""), tuple(RUN.bindings()))
    pod = Pod(
        name=NAME.value or job.name,
        zone=ZONE.value,
        accelerator_type=TYPE.value,
        project=PROJECT.value,
        runtime_version=RUNTIME.value,
        spot=SPOT.value,
        reserved=RESERVED.value,
        create_flags=tuple(CREATE_FLAGS.value),
        patience=Patience(queue=QUEUE.value * HOUR),
    )
    if DELETE.value:
        return _delete(pod)
    job.check()
    source = package(PACKAGE.value) if PACKAGE.value else checkout(REVISION.value)
    run = PodRun(pod, job, source, BUCKET.value, MOUNT.value, RESTARTS.value)
    plan = plan_text(run)
    give_result({"name": pod.name, "plan": plan.splitlines()})
    if not EXECUTE.value:
        print(f"{plan}\n\nNothing was done. Add --execute to do it.")
        return 0
    try:
        status = run.run()
    except KeyboardInterrupt:
        print(f"\nNothing was stopped on {pod.name}. The same command goes on from here; --delete ends it.")
        return INTERRUPTED
    return _delete(pod) or status if DELETE_AFTER.value else status


def _delete(pod: Pod) -> int:
    if not EXECUTE.value:
        print(f"{pod.delete()}\n\nNothing was done. Add --execute to do it.")
    else:
        print(f"Deleted {pod.name}." if delete(pod) else f"There is no queued resource {pod.name} in {pod.zone}.")
    return 0


def run() -> None:
    """Console script."""
    start(__name__, main)


if __name__ == "__main__":
    run()
