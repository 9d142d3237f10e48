"""Checkpoints with Orbax, plus a checksum of our own.

Orbax keeps earlier steps usable when a save is cut off, but a flipped byte restores silently wrong and a truncated file
stays listed as the latest step. So the SHA-256 of the arrays and of the record lies beside the record, and a step that
fails to restore or to match is passed over for the one before it.

Orbax writes in threads of its own. What fails there, such as a full disk, is raised by a later call, as whatever
TensorStore makes of it; here it becomes the paragraph that every failed write becomes.

UNFINISHED, OS_ERROR and STATUS are not promised by anybody: they were read in orbax-checkpoint 0.12.8 and tensorstore
0.1.86. `tests/test_private_names.py` fails where an installed version differs.
"""

import contextlib
import dataclasses
import errno
import functools
import hashlib
import json
import logging
import os
import re
import shutil
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import jax
import numpy as np

import hades
from hades.data.files import explained, free_name
from hades.errors import CheckpointError
from hades.libraries import unchanged
from hades.runs import processes
from hades.runs.jax_internals import COLLECTIVE_FAILED
from hades.types import PyTree

with unchanged():
    import orbax.checkpoint as ocp

UNFINISHED = ".orbax-checkpoint-tmp"
"""Suffix of a folder that Orbax has not finished; it removes those of earlier starts."""
NOT_DAMAGE = (errno.EACCES, errno.EPERM, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ESTALE)
"""Errors that keep an intact checkpoint from being read."""
READ_ATTEMPTS = 20
"""Times that a checkpoint may be deleted by its run while it is read."""
OF_A_PEER = "another process cannot read it"
T = TypeVar("T")
WEEK = 7 * 24 * 3600
OS_ERROR = re.compile(r"os_error_code='(\d+)'")
STATUS = re.compile(r"[A-Z_]{4,}: ")
"""Beginning of the messages of TensorStore and XLA: RESOURCE_EXHAUSTED: …"""


@dataclasses.dataclass(frozen=True)
class Restored:
    """A checkpoint that passed its checks."""

    step: int
    tree: PyTree
    record: dict[str, Any]


@contextlib.contextmanager
def opened(directory: Path, *, for_reading: bool = False) -> Iterator["Checkpoints"]:
    """The checkpoints in a directory, closed at the end.

    After an error they are left as they are: closing meets the other processes, which may have gone on.
    """
    with _failures_logged_once():
        checkpoints = Checkpoints(directory, for_reading=for_reading)
        yield checkpoints
        checkpoints.close()


def read_newest(
    directory: Path, like: PyTree, warn: Callable[[str], None], attempts: int = READ_ATTEMPTS
) -> Restored | None:
    """The newest usable checkpoint of a run that may go on meanwhile; see Checkpoints.restore.

    Nothing is made, moved or deleted. Where the run deletes a checkpoint while it is read, the newest one is read anew.
    """
    before = _names(directory)
    if not before:
        return None
    said: list[str] = []
    try:
        with opened(directory, for_reading=True) as checkpoints:
            restored = checkpoints.restore(like, said.append)
    except Exception:
        if attempts == 1 or _names(directory) == before:
            raise
        return read_newest(directory, like, warn, attempts - 1)
    for text in said:
        warn(text)
    return restored


class Checkpoints:
    """The checkpoints of one work directory. All processes save and restore together; saving is asynchronous."""

    def __init__(self, directory: Path, keep: int = 2, *, for_reading: bool = False):
        """Open them; `for_reading`: another process may own them, so nothing is made, moved or deleted."""
        self._directory, self._for_reading = directory.absolute(), for_reading
        self._saved: int | None = None
        options = ocp.CheckpointManagerOptions(
            max_to_keep=None if for_reading else keep,
            cleanup_tmp_directories=not for_reading,
            create=not for_reading,
            async_options=ocp.options.AsyncOptions(
                # Where a folder cannot be made, threads that wait for it would keep the process alive for five minutes.
                create_directories_asynchronously=False,
                # By the wall clock: a jump forward during a save must not use it up.
                timeout_secs=WEEK,
            ),
        )
        with _explained(directory, "Opening the checkpoints"):
            names = [] if for_reading else _names(self._directory)
            self._unfinished = [name.partition(UNFINISHED)[0] for name in names if UNFINISHED in name]
            self._manager = ocp.CheckpointManager(self._directory, options=options)

    def save(self, step: int, tree: PyTree, record: dict[str, Any]) -> None:
        """Start to write a pytree of arrays and a JSON-ready record as `step`."""
        if processes.of_first([step in self._manager.all_steps()]) == [1]:
            return
        self._saved = step
        sealed = {
            "record": record,
            "checksum": _checksum(tree, record),
            "layout": _layout(tree),
            "hades": hades.__version__,
        }
        with _explained(self._directory, f"Saving the checkpoint of generation {step}"):
            self._manager.save(
                step,
                args=ocp.args.Composite(tree=ocp.args.StandardSave(tree), meta=ocp.args.JsonSave(sealed)),
                force=True,  # whatever other steps this process sees on a network disk
            )

    def holds(self, step: int) -> bool:
        """Return True if a step is complete on disk."""
        return (self._directory / str(step)).is_dir()

    def wait(self) -> None:
        """Until everything started is on disk."""
        with _explained(self._directory, "Saving a checkpoint"):
            self._manager.wait_until_finished()

    def settle(self, is_removed: bool) -> None:
        """After an error: let a save end that is going on; its threads would fail while the interpreter ends.

        TensorStore makes the folders that its files need. Where the work directory `is_removed`, what this process
        saved last is removed too, if nothing else lies there. Several processes do none of this: waiting would meet
        the others.
        """
        if jax.process_count() > 1:
            return
        with contextlib.suppress(Exception):  # the error that led here is the one to raise
            self._manager.wait_until_finished()
        folder, steps = self._directory.parent, {name.partition(UNFINISHED)[0] for name in _names(self._directory)}
        if is_removed and _names(folder) == [self._directory.name] and steps <= {str(self._saved)}:
            shutil.rmtree(folder, ignore_errors=True)

    def close(self) -> None:
        self.wait()
        self._manager.close()

    def restore(self, like: PyTree, warn: Callable[[str], None]) -> Restored | None:
        """The newest checkpoint that restores and matches its checksum; None where there is none at all.

        Damaged ones that are newer are set aside as soon as it is found; before, nothing is moved.

        Args:
            like: a pytree of arrays or shapes with the structure of the saved one.
            warn: told of every step that is passed over.

        Raises:
            CheckpointError: when there are checkpoints but none is usable.
            HadesError: when they may not be read.
        """
        for name in self._unfinished:
            warn(f"The checkpoint of generation {name} was cut off while it was written, and is not used.")
        if not self._for_reading:
            processes.first_does(functools.partial(self._clear_names, warn))
        # Of process 0: network disks show them to others late.
        steps: list[int] = processes.of_first(sorted(map(int, self._manager.all_steps()), reverse=True))
        reasons: dict[int, str] = {}
        for step in steps:
            restored, reason = self._try(step, like)
            if restored is not None:
                if not self._for_reading:
                    self._set_all_aside([step for step, why in reasons.items() if why != OF_A_PEER])
                return restored
            reasons[step] = reason
            warn(f"The checkpoint of generation {step} is damaged and is passed over ({reason}).")
        if steps:
            raise CheckpointError(
                f"None of the checkpoints in {self._directory} (generations {', '.join(map(str, steps))}) can be "
                f"restored: {reasons[steps[0]]}. They were left as they are. Continue with the version of hades that "
                "wrote them, put a copy in their place, or start anew in another work directory."
            )
        return None

    def _try(self, step: int, like: PyTree) -> tuple[Restored | None, str]:
        """The step, or why it cannot be used; all processes come to the same end."""
        sealed, reason = self._attempt(step, lambda: self._sealed(step, like))
        if sealed is None:
            return None, reason
        return self._attempt(step, lambda: self._restored(step, like, sealed))

    def _attempt(self, step: int, read: Callable[[], T]) -> tuple[T | None, str]:
        """Read on every process: the value where all of them could, else the reason why not."""
        value, reason = None, ""
        try:
            value = read()
        except Exception as error:  # Orbax, TensorStore and JSON raise many kinds for a damaged file
            if _errno(error) in NOT_DAMAGE:
                with _explained(self._directory / str(step), "Reading the checkpoint"):
                    raise
            said = str(error).strip()
            reason = said.splitlines()[0][:200] if said else type(error).__name__
        if processes.all_succeed(value is not None):
            return value, ""
        return None, reason or OF_A_PEER

    def _sealed(self, step: int, like: PyTree) -> dict[str, Any]:
        meta = self._manager.restore(step, args=ocp.args.Composite(meta=ocp.args.JsonRestore()))["meta"]
        _check_layout(meta, like)
        return dict(meta)

    def _restored(self, step: int, like: PyTree, sealed: dict[str, Any]) -> Restored:
        shapes = jax.tree.map(_as_shape, like)
        tree = self._manager.restore(step, args=ocp.args.Composite(tree=ocp.args.StandardRestore(shapes)))["tree"]
        if _checksum(tree, sealed["record"]) != sealed["checksum"]:
            raise ValueError("its checksum does not match")
        return Restored(step=step, tree=tree, record=sealed["record"])

    def _set_all_aside(self, steps: list[int]) -> None:
        for step in processes.of_first(steps):
            processes.first_does(functools.partial(self._set_aside, str(step)))
        self._manager.reload()

    def _clear_names(self, warn: Callable[[str], None]) -> None:
        """Move away what is no checkpoint but has the name of one: Orbax would overwrite it."""
        for path in self._directory.iterdir():
            if re.fullmatch("[0-9]+", path.name) and not path.is_dir():
                warn(f"{path} is no checkpoint; it is moved to {self._set_aside(path.name)}.")

    def _set_aside(self, name: str) -> Path:
        """Rename what is damaged, so that its name is free and nothing is deleted. Returns where it lies then."""
        folder = self._directory.parent / "damaged_checkpoints"
        target = free_name(folder / name)
        with explained(folder, "Setting a damaged checkpoint aside"):
            folder.mkdir(exist_ok=True)
            (self._directory / name).rename(target)
        return target


@contextlib.contextmanager
def _explained(path: Path, doing: str) -> Iterator[None]:
    """Do what `explained` does, for errors of TensorStore too."""
    with explained(path, doing):
        try:
            yield
        except OSError:
            raise
        except Exception as error:
            number = _errno(error)
            if number is not None:
                raise OSError(number, os.strerror(number)) from error
            if STATUS.match(str(error)) and not COLLECTIVE_FAILED.search(str(error)):
                raise OSError(str(error).splitlines()[0][:200]) from error
            raise


def _names(directory: Path) -> list[str]:
    """Sorted names of what lies in a directory; none where there is no such directory."""
    return sorted(os.listdir(directory)) if directory.exists() else []


def _errno(error: BaseException | None) -> int | None:
    """The operating system's error number, from TensorStore's message or from what led to the error."""
    while error is not None:
        if isinstance(error, OSError) and error.errno:
            return error.errno
        if found := OS_ERROR.search(str(error)):
            return int(found[1])
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return None


@contextlib.contextmanager
def _failures_logged_once() -> Iterator[None]:
    """Inside, the tracebacks that Orbax's threads and coroutines log are dropped: `_explained` raises what failed.

    Those of the caller's own coroutines are logged.
    """

    def is_kept(record: logging.LogRecord) -> bool:
        if record.levelno < logging.ERROR:
            return True
        frames = traceback.walk_tb(record.exc_info[2]) if record.exc_info else ()
        places = (record.pathname, record.getMessage(), *(frame.f_code.co_filename for frame, _ in frames))
        return not any(os.path.join("orbax", "checkpoint") in place for place in places)

    with contextlib.ExitStack() as stack:
        for logger in (logging.getLogger(name) for name in ("absl", "asyncio")):
            logger.addFilter(is_kept)
            stack.callback(logger.removeFilter, is_kept)
        if not logging.root.handlers and logging.lastResort is not None:
            # What Python uses by itself where there is none. absl would set up logging for the whole process.
            logging.root.addHandler(logging.lastResort)
            stack.callback(logging.root.removeHandler, logging.lastResort)
        yield


def _check_layout(meta: dict[str, Any], like: PyTree) -> None:
    """Refuse what another version of hades wrote; checkpoints from before layouts were written are let through."""
    there, here = meta.get("layout"), _layout(like)
    if there is None or there == here:
        return
    name = next(name for name in sorted({*there, *here}) if there.get(name) != here.get(name))
    raise ValueError(
        f"hades {meta.get('hades')} wrote it, this is {hades.__version__}: {name} is "
        f"{there.get(name, 'missing')} there and {here.get(name, 'missing')} here"
    )


def _layout(tree: PyTree) -> dict[str, str]:
    """Name, type and shape of every leaf, such as {"['best'].genome.targets": "float32(4, 2)"}."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(path): f"{leaf.dtype}{tuple(leaf.shape)}" for path, leaf in leaves}


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
