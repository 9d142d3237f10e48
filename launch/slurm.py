"""Train on a Slurm cluster: write the batch script of a run and submit it; it continues itself until it is finished.

hades slurm --config=cartpole_hades_r --workdir=runs/demo --nodes=2 --gpus_per_node=4 --time=24:00:00
hades slurm ... --setup='module load cuda' --setup='source ~/hades/.venv/bin/activate' --execute

Without --execute it prints the script and the command. The same command again submits nothing while the job is queued
or running, and continues the run after it has ended. docs/launch_slurm.md explains it step by step.
"""

from absl import app, flags

from hades.commands.command_line import give_result, start
from hades.commands.path_flags import define_path
from hades.commands.run_flags import RunFlags
from hades.machines.preparation import stay_off_accelerators
from hades.machines.slurm import Allocation, SlurmRun
from hades.runs.job import Job

RUN = RunFlags()
WORKDIR = define_path("workdir", None, "Folder of the run, on a file system that the nodes share.")
NODES = flags.DEFINE_integer("nodes", 1, "Nodes.")
GPUS = flags.DEFINE_integer("gpus_per_node", 1, "GPUs of each, with a process each; 0 for a run on CPUs.")
CPUS = flags.DEFINE_integer("cpus_per_task", 0, "CPU cores of each process; 0: the cluster's default.")
PARTITION = flags.DEFINE_string("partition", "", "Partition.")
ACCOUNT = flags.DEFINE_string("account", "", "Account.")
TIME = flags.DEFINE_string("time", "", "Limit of one start, such as 24:00:00; the job requeues itself before it.")
SETUP = flags.DEFINE_multi_string("setup", [], "A shell line before the run, such as 'module load cuda'; repeatable.")
SBATCH_FLAGS = flags.DEFINE_multi_string("sbatch_flag", [], "A further flag of sbatch, such as --constraint=a100.")
GRACE = flags.DEFINE_integer("grace_seconds", 120, "Seconds between the signal to save and the time limit.")
RESTARTS = flags.DEFINE_integer("max_restarts", 20, "Restarts after time limits, preemptions and lost processes.")
EXECUTE = flags.DEFINE_bool("execute", False, "Write the script and submit it; without, print them.")


def main() -> int:
    if RUN.config is None or WORKDIR.value is None:
        raise app.UsageError("give --config and --workdir")
    allocation = Allocation(
        nodes=NODES.value,
        gpus_per_node=GPUS.value,
        cpus_per_task=CPUS.value,
        partition=PARTITION.value,
        account=ACCOUNT.value,
        time=TIME.value,
        setup=tuple(SETUP.value),
        sbatch_flags=tuple(SBATCH_FLAGS.value),
        grace_seconds=GRACE.value,
        max_restarts=RESTARTS.value,
    )
    stay_off_accelerators()
    run = SlurmRun(Job(RUN.config, str(WORKDIR.value.absolute()), tuple(RUN.bindings())), allocation)
    run.job.check()
    give_result({"script": str(run.script), "command": str(run.sbatch())})
    if EXECUTE.value:
        print(run.submit())
    else:
        print(f"# {run.script}\n{run.render()}\n# {run.sbatch()}\n\nNothing was done. Add --execute to do it.")
    return 0


def run() -> None:
    """Console script."""
    start(__name__, main)


if __name__ == "__main__":
    run()
