"""A function of flat arrays, compiled for this CPU, that JAX can call.

    compiled = compile_function(f, jax.ShapeDtypeStruct((3,), jnp.float32))
    jax.jit(jax.vmap(lambda x: compiled(x)[0]))(batch)

It works under jit, vmap, scan and shard_map. It has no derivative, and it runs on CPUs only.
"""

import dataclasses
import functools
import hashlib
import importlib.metadata
import json
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax import Array

from hades.native import cache, machine
from hades.native.emit import emit
from hades.native.graph import Graph, UnsupportedError
from hades.native.handler import Buffer, emit_handler
from hades.native.primitives import kind, trace
from hades.native.schedule import reached

Shape = jax.ShapeDtypeStruct


@dataclasses.dataclass(frozen=True)
class NativeFunction:
    """A compiled function.

    Attributes:
        target: its name for XLA.
        read: places of the arguments that the code reads.
        results: shapes of what the code writes.
        outputs: where each output is: ("result", place), ("argument", place) or ("constant", values).
        compile_seconds: CPU time of tracing and compiling; 0 where it was read from disk.
    """

    target: str
    read: tuple[int, ...]
    results: tuple[Shape, ...]
    outputs: tuple[tuple[str, Any], ...]
    compile_seconds: float = 0.0

    def __call__(self, *arguments: Array) -> list[Array]:
        """The outputs for arguments of the shapes that were compiled."""
        results: Sequence[Array] = ()
        if self.results:
            call = jax.ffi.ffi_call(self.target, list(self.results), vmap_method="broadcast_all")
            results = call(*(arguments[i] for i in self.read))
        found: dict[str, Callable[[Any], Array]] = {
            "result": lambda place: results[place],
            "argument": lambda place: arguments[place],
            "constant": jax.numpy.asarray,
        }
        return [found[source](what) for source, what in self.outputs]


def compile_function(function: Callable[..., Sequence[Array]], *arguments: Shape, key: str = "") -> NativeFunction:
    """Compile a function of arrays to a sequence of arrays.

    Args:
        function: made of the primitives that `hades.native.primitives` knows.
        arguments: shapes and types: f32, i32, u32 or bool.
        key: names the function among those of equal arguments, so that a later process need not trace it; whoever
            gives one answers for its change with the function.

    Raises:
        UnavailableError: where nothing can be compiled.
        UnsupportedError: where the function contains what cannot be compiled.
    """
    machine.check_machine()
    cpu = machine.describe_cpu()
    shapes = [(str(a.dtype), list(a.shape)) for a in arguments]
    name = _digest(json.dumps([key, shapes, cpu, importlib.metadata.version("jax"), _sources()])) + ".json"
    if key and (loaded := _load(name)) is not None:
        return loaded
    begin = time.process_time()
    closed = jax.make_jaxpr(function)(*arguments)
    graph = Graph()
    inputs = [graph.inputs(int(np.prod(a.shape)), kind(a.dtype)).reshape(a.shape) for a in arguments]
    layout, assembly = _assemble(graph, closed, inputs)
    target = f"hades_{_digest(assembly + cpu)}"
    layout["target"] = target
    code = cache.read(f"{target}.o")
    if code is None:
        code = machine.compile_object(assembly.replace("@hades_handler", f"@{target}"))
        cache.write(f"{target}.o", code)
    if key:
        cache.write(name, json.dumps(layout).encode())
    return dataclasses.replace(_registered(layout, code), compile_seconds=time.process_time() - begin)


def _assemble(graph: Graph, closed: Any, inputs: Sequence[Any]) -> tuple[dict[str, Any], str]:
    """The layout of a function's arrays, and its assembly."""
    traced = trace(graph, closed, inputs)
    outputs: list[list[Any]] = []
    results: list[Any] = []
    for nodes, variable in zip(traced, closed.jaxpr.outvars, strict=True):
        letter = kind(variable.aval.dtype)
        values = graph.values(nodes, letter)
        same = [i for i, given in enumerate(inputs) if np.array_equal(nodes, given)]
        if values is not None:
            outputs.append(["constant", {"dtype": str(variable.aval.dtype), "values": _encoded(values)}])
        elif same:
            outputs.append(["argument", same[0]])
        else:
            outputs.append(["result", len(results)])
            results.append((nodes, variable.aval))
    wanted = [int(node) for nodes, _ in results for node in nodes.reshape(-1)]
    used = reached(graph, wanted)
    read = [i for i, given in enumerate(inputs) if used.intersection(given.reshape(-1).tolist())] or [0]
    if results and not inputs:
        raise UnsupportedError("a function without arguments")
    layout = {
        "read": read,
        "outputs": outputs,
        "results": [{"dtype": str(aval.dtype), "shape": list(aval.shape)} for _, aval in results],
    }
    if not results:
        return layout, ""
    planes = [int(node) for i in read for node in inputs[i].reshape(-1)]
    arguments = [_buffer(inputs[i].shape, closed.jaxpr.invars[i].aval.dtype) for i in read]
    buffers = [_buffer(aval.shape, aval.dtype) for _, aval in results]
    block, plan = emit(graph, planes, wanted)
    handler = emit_handler("hades_handler", arguments, buffers, plan, machine.is_x86())
    return layout, f"{block}\n{handler}"


def _buffer(shape: tuple[int, ...], dtype: Any) -> Buffer:
    return Buffer(size=int(np.prod(shape)), rank=len(shape), is_bool=dtype == np.bool_)


def _encoded(values: np.ndarray) -> list[Any]:
    """Bits, because JSON has no NaN."""
    return [list(values.shape), values.tobytes().hex()]


def _decoded(constant: dict[str, Any]) -> np.ndarray:
    shape, bits = constant["values"]
    return np.frombuffer(bytes.fromhex(bits), constant["dtype"]).reshape(shape)


def _load(name: str) -> NativeFunction | None:
    """A function from disk, without tracing it."""
    found = cache.read(name)
    if found is None:
        return None
    layout = json.loads(found)
    code = cache.read(f"{layout['target']}.o")
    return None if code is None else _registered(layout, code)


def _registered(layout: dict[str, Any], code: bytes) -> NativeFunction:
    target = layout["target"]
    with _lock:
        if target not in _targets and layout["results"]:
            address = machine.load_object(code, target)
            jax.ffi.register_ffi_target(target, jax.ffi.pycapsule(address), platform="cpu")
            _targets.add(target)
    return NativeFunction(
        target=target,
        read=tuple(layout["read"]),
        results=tuple(Shape(tuple(r["shape"]), r["dtype"]) for r in layout["results"]),
        outputs=tuple((s, _decoded(w) if s == "constant" else w) for s, w in layout["outputs"]),
    )


_lock = threading.Lock()
_targets = set[str]()


@functools.cache
def _sources() -> str:
    """This compiler, whose change makes what it compiled before worthless."""
    return "".join(path.read_text() for path in sorted(Path(__file__).parent.glob("*.py")))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]
