"""LLVM on this machine, through llvmlite: what the CPU can do, objects from assembly, addresses from objects."""

import functools
import importlib.util
import platform
import threading
from typing import Any

REMEDY = "pip install llvmlite"


class UnavailableError(Exception):
    """Nothing can be compiled here; the message says why in a part of a sentence."""


@functools.cache
def check_machine() -> None:
    """Find out whether anything can be compiled.

    Raises:
        UnavailableError: without llvmlite, and on a CPU whose vectors are not supported.
    """
    if importlib.util.find_spec("llvmlite") is None:
        raise UnavailableError(f"llvmlite is not installed ({REMEDY})")
    machine = platform.machine().lower()
    if platform.system() not in ("Linux", "Darwin") or machine not in ("x86_64", "amd64", "aarch64", "arm64"):
        raise UnavailableError(f"{platform.system()} on {machine} is not supported")
    try:
        features = _llvm().get_host_cpu_features()
    except Exception as error:  # a damaged installation fails in many ways
        raise UnavailableError(f"llvmlite does not work: {error}") from error
    if is_x86() and not (features.get("avx2") and features.get("fma")):
        raise UnavailableError("this CPU has neither AVX2 nor AVX-512")


def is_x86() -> bool:
    """Tell whether the CPU has the control register of SSE."""
    return platform.machine().lower() in ("x86_64", "amd64")


def describe_cpu() -> str:
    """The properties that objects depend on: the CPU, its features and LLVM."""
    llvm = _llvm()
    version = ".".join(map(str, llvm.llvm_version_info))
    features = llvm.get_host_cpu_features().flatten()
    return f"{llvm.get_process_triple()} {llvm.get_host_cpu_name()} {features} LLVM {version}"


def compile_object(assembly: str) -> bytes:
    """Machine code for LLVM's intermediate language.

    Raises:
        UnavailableError: where this LLVM does not understand it.
    """
    with _lock:
        try:
            return bytes(_target_machine().emit_object(_llvm().parse_assembly(assembly)))
        except RuntimeError as error:
            raise UnavailableError(f"LLVM refuses the code: {error}") from error


def load_object(code: bytes, name: str) -> int:
    """Address of a function of an object, which stays loaded until the process ends.

    Raises:
        UnavailableError: where the object has no such function.
    """
    llvm = _llvm()
    with _lock:
        engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), _target_machine())
        engine.add_object_file(llvm.ObjectFileRef.from_data(code))
        engine.finalize_object()
        _loaded.append(engine)
        address: int = engine.get_function_address(name)
    if not address:
        raise UnavailableError(f"the compiled object has no function {name}")
    return address


_lock = threading.Lock()
_loaded: list[Any] = []


@functools.cache
def _llvm() -> Any:
    import llvmlite.binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    return llvm


def _target_machine() -> Any:
    llvm = _llvm()
    return llvm.Target.from_triple(llvm.get_process_triple()).create_target_machine(
        cpu=llvm.get_host_cpu_name(),
        features=llvm.get_host_cpu_features().flatten(),
        opt=1,  # a third of the time of 2, for code of the same speed (hopper, ant)
        codemodel="jitdefault",
        jit=True,
    )
