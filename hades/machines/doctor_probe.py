"""Checks of `hades-doctor` in child processes: python -m hades.machines.doctor_probe NAME [ARGUMENT].

Prints one JSON line; an error is one line on stderr and status 1. That it is a process of its own bounds what hangs: a
TPU that another process holds, a dead file server.
"""

import fcntl
import json
import os
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any


def devices() -> dict[str, Any]:
    """JAX's backend and its devices, counted by kind."""
    import jax

    kinds = Counter(device.device_kind for device in jax.devices())
    return {"backend": jax.default_backend(), "kinds": dict(kinds)}


def collective() -> dict[str, Any]:
    """Each device holds its number; their sum is needed everywhere."""
    import jax
    import jax.numpy as jnp
    from jax.sharding import NamedSharding, PartitionSpec

    from hades.runs.mesh import make_mesh

    mesh = make_mesh()
    began = time.monotonic()
    rows = jax.device_put(jnp.arange(1, mesh.size + 1), NamedSharding(mesh, PartitionSpec(*mesh.axis_names)))
    total = jax.jit(jnp.sum, out_shardings=NamedSharding(mesh, PartitionSpec()))(rows)
    return {
        "devices": mesh.size,
        "sum": int(total),
        "expected": mesh.size * (mesh.size + 1) // 2,
        "seconds": time.monotonic() - began,
    }


def folder(workdir: str) -> dict[str, Any]:
    """Write, replace and lock a file in a folder, which is made where it is missing and removed again."""
    path = Path(workdir)
    missing = [parent for parent in (path, *path.parents) if not parent.exists()]
    path.mkdir(parents=True, exist_ok=True)
    try:
        with tempfile.TemporaryDirectory(dir=path, prefix=".doctor-") as inside:
            _replace(Path(inside))
            locks = _locks(Path(inside) / "lock")
        return {"locks": locks, "free": shutil.disk_usage(path).free}
    finally:
        for parent in missing:
            parent.rmdir()


def run(workdir: str) -> dict[str, Any]:
    """One generation of the smoke config in a temporary folder, then a second start that does one more."""
    import dataclasses

    from hades.runs.compilation_cache import enable_compilation_cache
    from hades.runs.gin_config import load_experiment
    from hades.runs.loop import run as run_experiment

    enable_compilation_cache()
    began = time.monotonic()
    experiment = load_experiment("smoke", ["Experiment.eval_every = 1", "Experiment.checkpoint_every = 1"])
    parent = workdir if os.access(workdir, os.W_OK) else None  # else the machine's own: another row says why
    with tempfile.TemporaryDirectory(dir=parent, prefix=".doctor-") as inside:
        clock = Path(inside) / "timing.jsonl"
        run_experiment(dataclasses.replace(experiment, generations=1), inside, progress=False)
        first = clock.read_text()
        result = run_experiment(dataclasses.replace(experiment, generations=2), inside, progress=False)
        resumed = clock.read_text().startswith(first)  # a start from the beginning would write its own times
    assert result.returns is not None
    return {
        "generations": result.generation,
        "resumed": resumed,
        "mean": result.returns.mean,
        "seconds": time.monotonic() - began,
    }


def cache() -> dict[str, Any]:
    """The folder of compiled programs, as the programs choose it."""
    import jax

    from hades.runs.compilation_cache import enable_compilation_cache

    enable_compilation_cache()
    chosen = jax.config.values.get("jax_compilation_cache_dir") or ""
    path = Path(chosen)
    if chosen:
        path.mkdir(parents=True, exist_ok=True)
    writable = bool(chosen) and os.access(path, os.W_OK)
    return {"folder": chosen, "writable": writable, "files": sum(1 for _ in path.iterdir()) if writable else 0}


def _replace(inside: Path) -> None:
    """Raises: OSError when a file does not take the place of another one at once."""
    old, new = inside / "old", inside / "new"
    old.write_text("old")
    with new.open("w") as file:
        file.write("new")
        file.flush()
        os.fsync(file.fileno())
    os.replace(new, old)
    if old.read_text() != "new" or new.exists():
        raise OSError(f"a file in {inside.parent} was not replaced by another one")


def _locks(path: Path) -> bool:
    """Check that a second holder of a lock is refused."""
    with path.open("w") as first, path.open("w") as second:
        try:
            fcntl.flock(first, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False  # a file system without locks
        try:
            fcntl.flock(second, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return True
        return False


PROBES: dict[str, Callable[..., dict[str, Any]]] = {
    probe.__name__: probe for probe in (devices, collective, folder, run, cache)
}


def main(name: str, *arguments: str) -> int:
    """Run one probe; its status."""
    try:
        print(json.dumps(PROBES[name](*arguments)))
    except Exception as error:  # whatever goes wrong is the answer
        print(f"{type(error).__name__}: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
