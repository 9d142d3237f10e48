"""Is this installation, and is this machine, fit to run `hades`? A row for each thing that decides it.

Checks are isolated: one that fails, raises or hangs becomes a row and the rest go on. What touches a device or a file
system that may hang happens in a child process with a time limit (`doctor_probe.py`).
"""

import dataclasses
import enum
import importlib.metadata
import json
import os
import platform
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

from hades.devices import REMEDY
from hades.machines.children import Child
from hades.text import markdown_table

DISTRIBUTION = "hades-rl"
PROGRAMS = ("gcloud", "sbatch", "kubectl")
DEVICE_SECONDS = 120.0
"""For a TPU or GPU to answer; a TPU that another process holds never does."""
RUN_SECONDS = 300.0
FOLDER_SECONDS = 60.0
LITTLE_SPACE = 1e9
LITTLE_MEMORY = 2e9
NEEDS = {"collective": "devices", "2-generation run": "devices"}
"""Checks that would only fail, or hang, as another one did."""
ENVIRONMENT_SHOWN = ("JAX_", "XLA_", "CUDA_VISIBLE_DEVICES", "LIBTPU_INIT_ARGS")
"""Variables that are shown with their values; of the others only the names."""
ENVIRONMENT_NAMED = ("SLURM_", "TPU_", "MEGASCALE_", "OMPI_")


class Status(enum.StrEnum):
    """Status of a row."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "FAILED"


@dataclasses.dataclass(frozen=True)
class Row:
    """Finding of one check, and its remedy."""

    check: str
    status: Status
    found: str
    remedy: str = ""


class Problem(Exception):
    """A check that failed, with its remedy."""

    def __init__(self, found: str, remedy: str):
        super().__init__(found)
        self.remedy = remedy


Check = Callable[[], Sequence[Row]]


def examine(checks: Mapping[str, Check], say: Callable[[str], None] = lambda line: None) -> list[Row]:
    """Run every check; whatever one raises becomes its row.

    Args:
        checks: by the name that a failing one is shown under.
        say: gets the name of each check before it runs.
    """
    rows: list[Row] = []
    for name, check in checks.items():
        say(name)
        needed = NEEDS.get(name)
        if any(row.check == needed and row.status is Status.FAILED for row in rows):
            rows.append(Row(name, Status.FAILED, f"not tried, because of {needed}", f"See {needed}."))
            continue
        try:
            rows += check()
        except Problem as problem:
            rows.append(Row(name, Status.FAILED, str(problem), problem.remedy))
        except Exception as error:  # a check that is wrong must not hide the others
            rows.append(Row(name, Status.FAILED, f"{type(error).__name__}: {error}", "Report this row."))
    return rows


def all_checks(workdir: Path) -> dict[str, Check]:
    """The checks of this machine, in the order of the table."""
    return {
        "machine": check_machine,
        "versions": check_versions,
        "devices": check_devices,
        "collective": check_collective,
        "work directory": lambda: check_folder(workdir),
        "2-generation run": lambda: check_run(workdir),
        "compilation cache": check_cache,
        "programs": check_programs,
        "environment": check_environment,
    }


def has_failed(rows: Sequence[Row]) -> bool:
    """True if any check failed."""
    return any(row.status is Status.FAILED for row in rows)


def markdown(rows: Sequence[Row]) -> str:
    """The table, to be pasted into an issue."""
    cells = [(row.check, row.status.value, row.found, row.remedy) for row in rows]
    return markdown_table(("check", "status", "found", "remedy"), cells)


def check_machine() -> list[Row]:
    """System, cores and memory."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 0
    rows = [
        Row("system", Status.OK, f"{platform.system()} {platform.release()}, {platform.machine()}"),
        Row("cores", Status.OK, f"{cores} usable of {os.cpu_count()}"),
    ]
    free, total = _memory()
    if free is None or total is None:
        return [
            *rows,
            Row("memory", Status.WARNING, "not known on this system", "hades-train --dry_run shows the need."),
        ]
    found = f"{free / 1e9:.1f} GB available of {total / 1e9:.1f} GB"
    return [*rows, _enough("memory", found, free >= LITTLE_MEMORY, "Close other programs, or lower rollout_batch.")]


def check_versions() -> list[Row]:
    """Python and the libraries, against the ranges of pyproject.toml, which the installation's metadata holds."""
    try:
        metadata = importlib.metadata.metadata(DISTRIBUTION)
    except importlib.metadata.PackageNotFoundError:
        raise Problem("hades is not installed, only on the path", "pip install . in the checkout.") from None
    declared = [Requirement(text) for text in metadata.get_all("Requires-Dist", ())]
    needed = [r for r in declared if r.marker is None or r.marker.evaluate({"extra": ""})]
    python = Requirement(f"python{metadata['Requires-Python']}")
    rows = [version_row(python, platform.python_version()), *(version_row(r, _installed(r.name)) for r in needed)]
    return [Row("hades", Status.OK, metadata["Version"]), *rows]


def version_row(needed: Requirement, installed: str | None) -> Row:
    """One library: FAILED where it is missing or outside of the range."""
    if installed is not None and needed.specifier.contains(installed, prereleases=True):
        return Row(needed.name, Status.OK, installed)
    found = "not installed" if installed is None else f"{installed}; hades needs {needed.specifier}"
    mend = f"Use Python {needed.specifier}." if needed.name == "python" else f"pip install '{needed}'"
    return Row(needed.name, Status.FAILED, found, mend)


def check_devices() -> list[Row]:
    """JAX's backend, what it runs on, and whether it left an accelerator unused."""
    found = probe("devices", timeout=DEVICE_SECONDS, remedy=REMEDY)
    kinds = ", ".join(f"{number} × {kind}" for kind, number in found["kinds"].items())
    rows = [Row("devices", Status.OK, f"{found['backend']}: {kinds}")]
    if found["backend"] == "cpu" and (unused := _accelerators()):
        mend = "pip install '.[cuda]'" if "nvidia" in unused else "pip install '.[tpu]'"
        set_ = os.environ.get("JAX_PLATFORMS")
        mend = f"JAX_PLATFORMS={set_} is set: unset it to use it." if set_ else mend
        rows.append(Row("accelerator", Status.WARNING, f"{unused} is there, but JAX runs on the CPU", mend))
    return rows


def check_collective() -> list[Row]:
    """A sum over a mesh of all devices."""
    remedy = "All devices must be of one kind and reach each other; NCCL_DEBUG=INFO shows how GPUs fail to."
    found = probe("collective", timeout=DEVICE_SECONDS, remedy=remedy)
    if found["sum"] != found["expected"]:
        raise Problem(f"a sum over the mesh gave {found['sum']} in place of {found['expected']}", remedy)
    return [Row("mesh and collective", Status.OK, f"a sum over {found['devices']} devices, {found['seconds']:.2f} s")]


def check_folder(workdir: Path) -> list[Row]:
    """Check the operations of a run in its work directory: write, lock, rename, and free space."""
    remedy = f"Choose a folder that you may write, on a disk that answers: --workdir (now {workdir})."
    found = probe("folder", str(workdir), timeout=FOLDER_SECONDS, remedy=remedy)
    mend = "Never start two runs in one folder here, or mount it with locks (NFS: without nolock)."
    locks = "a second process is kept out" if found["locks"] else "flock does not keep a second process out"
    space = f"{found['free'] / 1e9:.1f} GB free in {workdir}"
    more = "Checkpoints of large genomes need more: free some space."
    return [
        Row("work directory", Status.OK, f"{workdir} is writable; a file is replaced at once"),
        _enough("file locks", locks, found["locks"], mend),
        _enough("space", space, found["free"] >= LITTLE_SPACE, more),
    ]


def check_run(workdir: Path) -> list[Row]:
    """One generation of a tiny experiment, a checkpoint, and a second generation that continues from it."""
    remedy = "Report this row with the output of the same experiment: hades-train --config=smoke --workdir=runs/smoke"
    found = probe("run", str(workdir), timeout=RUN_SECONDS, remedy=remedy)
    text = f"1 generation, resumed to {found['generations']}; return {found['mean']:.3g}, {found['seconds']:.1f} s"
    if found["generations"] != 2 or not found["resumed"]:
        raise Problem(f"{text}; the second start did not continue the first", remedy)
    return [Row("2-generation run", Status.OK, text)]


def check_cache() -> list[Row]:
    """Check the folder of compiled programs."""
    remedy = "Set JAX_COMPILATION_CACHE_DIR to a folder that you may write; without one every start compiles again."
    found = probe("cache", timeout=FOLDER_SECONDS, remedy=remedy)
    where = (
        f"{found['folder']}, {found['files']} files"
        if found["writable"]
        else f"{found['folder'] or 'none'}, not writable"
    )
    return [_enough("compilation cache", where, found["writable"], remedy)]


def check_programs() -> list[Row]:
    """Programs that only launchers need."""
    return [Row(name, Status.OK, shutil.which(name) or "not there (only its launcher needs it)") for name in PROGRAMS]


def check_environment() -> list[Row]:
    """Variables that change what JAX does, or announce a cluster."""
    shown = [f"{name}={value}" for name, value in sorted(os.environ.items()) if name.startswith(ENVIRONMENT_SHOWN)]
    named = [name for name in sorted(os.environ) if name.startswith(ENVIRONMENT_NAMED)]
    rows = [Row("JAX_*, XLA_*", Status.OK, ", ".join(shown) or "none")]
    return [*rows, Row("SLURM_*, TPU_* and the like", Status.OK, ", ".join(named) or "none")]


def probe(name: str, *arguments: str, timeout: float, remedy: str, program: Sequence[str] = ()) -> Mapping[str, Any]:
    """Return the findings of a probe in a child process.

    Args:
        name, arguments: of a function in `doctor_probe.py`.
        timeout: seconds after which it counts as hanging.
        remedy: what to do when it fails.
        program: what to start in its place; for tests.

    Raises:
        Problem: when it fails, prints nothing that can be read, or hangs.
    """
    words = [*(program or (sys.executable, "-m", "hades.machines.doctor_probe")), name, *arguments]
    out: list[str] = []
    err: list[str] = []
    try:
        status = Child(words, out.append, err.append).wait(timeout)
    except TimeoutError:
        raise Problem(f"no answer within {timeout:g} s", remedy) from None
    if status != 0:
        lines = [line.strip() for line in err if line.strip()]
        raise Problem(lines[-1][:400] if lines else f"ended with status {status} without a word", remedy)
    try:
        return json.loads(out[-1])
    except (json.JSONDecodeError, IndexError):
        said = "\n".join(out)
        raise Problem(f"said nothing that can be read: {said[-200:]!r}", remedy) from None


def _enough(check: str, found: str, enough: bool, remedy: str) -> Row:
    """OK, or a warning with its remedy."""
    return Row(check, Status.OK, found) if enough else Row(check, Status.WARNING, found, remedy)


def _installed(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _accelerators() -> str:
    """A device file of an accelerator, if there is one."""
    return next((path for path in ("/dev/nvidia0", "/dev/accel0", "/dev/vfio/0") if Path(path).exists()), "")


def _memory() -> tuple[float | None, float | None]:
    """Bytes that are available and that there are; a container's limit counts where it is lower."""
    try:
        pairs = (line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
        amounts = {name: 1024.0 * int(value.split()[0]) for name, value in pairs}
    except (OSError, ValueError):
        return None, None
    free, total = amounts.get("MemAvailable"), amounts.get("MemTotal")
    limit, used = (_number(f"/sys/fs/cgroup/memory.{name}") for name in ("max", "current"))
    if limit is not None and used is not None and total is not None and free is not None and limit < total:
        return min(free, limit - used), limit
    return free, total


def _number(path: str) -> float | None:
    try:
        return float(Path(path).read_text())
    except (OSError, ValueError):  # "max" where there is no limit
        return None
