"""Checkpoints with Orbax, plus a checksum of our own.

Orbax keeps earlier steps usable when a save is cut off, but a flipped byte restores silently wrong and a truncated file
stays listed as the latest step. So the SHA-256 of the arrays and of the record lies in the record, and a step that
fails to restore or to match is passed over for the one before it.
"""

import dataclasses
import functools
import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from hades.data.files import explained
from hades.errors import CheckpointError
from hades.train import processes
from hades.types import PyTree


@dataclasses.dataclass(frozen=True)
class Restored:
    """A checkpoint that passed its checks."""

    step: int
    tree: PyTree
    record: dict[str, Any]


class Checkpoints:
    """The checkpoints of one work directory. All processes save and restore together; saving is asynchronous."""

    def __init__(self, directory: Path, keep: int = 2):
        self._directory = directory.absolute()
        options = ocp.CheckpointManagerOptions(max_to_keep=keep, cleanup_tmp_directories=True, create=True)
        with explained(directory, "Opening the checkpoints"):
            self._manager = ocp.CheckpointManager(self._directory, options=options)

    def save(self, step: int, tree: PyTree, record: dict[str, Any]) -> None:
        """Start to write a pytree of arrays and a JSON-ready record as `step`."""
        if step in self._manager.all_steps():
            return
        sealed = {"record": record, "checksum": _checksum(tree, record)}
        with explained(self._directory, f"Saving the checkpoint of generation {step}"):
            self._manager.save(
                step, args=ocp.args.Composite(tree=ocp.args.StandardSave(tree), meta=ocp.args.JsonSave(sealed))
            )

    def holds(self, step: int) -> bool:
        """Whether a step is complete on disk."""
        return (self._directory / str(step)).is_dir()

    def wait(self) -> None:
        """Until everything started is on disk."""
        with explained(self._directory, "Saving a checkpoint"):
            self._manager.wait_until_finished()

    def close(self) -> None:
        self.wait()
        self._manager.close()

    def restore(self, like: PyTree, warn: Callable[[str], None]) -> Restored | None:
        """The newest checkpoint that restores and matches its checksum; None where there is none at all.

        Args:
            like: a pytree of arrays or shapes with the structure of the saved one.
            warn: told of every step that is passed over.

        Raises:
            CheckpointError: when there are checkpoints but none is usable.
        """
        steps = sorted(self._manager.all_steps(), reverse=True)
        for step in steps:
            restored, reason = self._try(step, like)
            if processes.all_succeed(restored is not None):
                return restored
            warn(f"The checkpoint of generation {step} is damaged and is passed over ({reason or 'for a peer'}).")
            processes.first_does(functools.partial(self._set_aside, step))
            self._manager.reload()
        if steps:
            raise CheckpointError(
                f"None of the checkpoints in {self._directory} (generations {', '.join(map(str, steps))}) can be "
                f"restored. "
                "They were set aside as *.damaged; start anew in another work directory."
            )
        return None

    def _try(self, step: int, like: PyTree) -> tuple[Restored | None, str]:
        """The step, or why it cannot be used."""
        try:
            return self._restore_step(step, like), ""
        except Exception as error:  # Orbax, TensorStore and JSON raise many kinds for a damaged file
            said = str(error).strip()
            return None, said.splitlines()[0][:200] if said else type(error).__name__

    def _restore_step(self, step: int, like: PyTree) -> Restored:
        shapes = jax.tree.map(_as_shape, like)
        args = ocp.args.Composite(tree=ocp.args.StandardRestore(shapes), meta=ocp.args.JsonRestore())
        restored = self._manager.restore(step, args=args)
        record = restored["meta"]["record"]
        if _checksum(restored["tree"], record) != restored["meta"]["checksum"]:
            raise CheckpointError("its checksum does not match")
        return Restored(step=step, tree=restored["tree"], record=record)

    def _set_aside(self, step: int) -> None:
        """Rename a damaged step, so that its number is free and nothing is deleted."""
        source = self._directory / str(step)
        target = self._directory.parent / "damaged_checkpoints" / f"{step}.damaged"
        if source.is_dir():
            target.parent.mkdir(exist_ok=True)
            shutil.rmtree(target, ignore_errors=True)
            source.rename(target)


def _checksum(tree: PyTree, record: dict[str, Any]) -> str:
    digest = hashlib.sha256(json.dumps(record, sort_keys=True).encode())
    for leaf in jax.tree.leaves(tree):
        raw = jax.random.key_data(leaf) if jax.numpy.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf
        array = np.ascontiguousarray(raw)
        digest.update(f"{array.dtype}{array.shape}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def _as_shape(leaf: Any) -> Any:
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=getattr(leaf, "sharding", None))
