"""The released pickles, read without running them.

A pickle is a program for a small stack machine, which may import and call anything. Of its instructions this runs those
that the released files consist of, and of its functions those that make arrays, each by code of ours. Nothing is
imported. Classes become dicts of their fields.
"""

import math
import pickletools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from hades.data.arrays import read_content
from hades.errors import DatasetError, HadesError, printable

_DTYPES = {"f4", "f8", "i4", "i8", "u4", "u8", "b1"}
MOST_INSTRUCTIONS = 1_000_000
"""The released files have about 125,000."""
_RECORDS = {
    ("evosax.strategies.snes", "EvoState"),
    ("evosax.strategies.open_es", "EvoState"),
    ("evosax.utils.optimizer", "OptState"),
}
"""Classes of the released files, whose fields are kept."""


def read_pickle(path: str | Path) -> Any:
    """The value in a released pickle: dicts, lists, numbers, texts and arrays.

    Raises:
        DatasetError: where the file is damaged or too large, or asks for anything but arrays, which it names.
    """
    content = read_content(path)
    try:
        return _run(content)
    except HadesError as error:
        raise DatasetError(f"{path}: {error}") from error
    except Exception as error:  # the bytes decide what fails, and how
        what = printable(f"{type(error).__name__}: {error}")
        raise DatasetError(f"{path} is not a complete pickle of a released dataset ({what}). Copy it again.") from error


class _Array:
    """An array under construction; BUILD gives it its content."""

    value: np.ndarray

    def build(self, state: Any) -> None:
        _, shape, dtype, is_fortran, data = state
        if not isinstance(dtype, _Dtype) or not isinstance(data, bytes):
            raise ValueError("an array's content is no bytes of numbers")
        numpy_dtype = np.dtype(dtype.order + dtype.name)
        if not all(type(n) is int and n >= 0 for n in shape) or math.prod(shape) * numpy_dtype.itemsize != len(data):
            raise ValueError(f"{len(data)} bytes are not an array {numpy_dtype} of shape {shape}")
        self.value = np.frombuffer(data, numpy_dtype).reshape(shape, order="F" if is_fortran else "C")


class _Dtype:
    """A type of numbers; BUILD gives it its byte order."""

    order = "<"

    def __init__(self, name: Any, *_: Any):
        if not isinstance(name, str) or name not in _DTYPES:
            raise DatasetError(f"It asks for numpy.dtype({printable(repr(name), 50)}); only plain numbers are read.")
        self.name: str = name

    def build(self, state: Any) -> None:
        if state[1] not in ("<", ">", "|", "="):
            raise ValueError("a byte order that does not exist")
        self.order = state[1]


class _Record(dict[str, Any]):
    """The fields of an object of a released class."""

    def build(self, state: Any) -> None:
        self.update((str(name), value) for name, value in state.items())


def _jax_array(make: Any, arguments: Any, state: Any, _: Any) -> _Array:
    if make is not _empty_array:
        raise ValueError("an array that is not made by numpy")
    array = _empty_array(*arguments)
    array.build(state)
    return array


def _empty_array(*_: Any) -> _Array:
    return _Array()


def _record(*_: Any) -> _Record:
    return _Record()


_FUNCTIONS: dict[tuple[str, str], Callable[..., Any] | None] = {
    ("jax._src.array", "_reconstruct_array"): _jax_array,
    ("numpy.core.multiarray", "_reconstruct"): _empty_array,
    ("numpy._core.multiarray", "_reconstruct"): _empty_array,
    ("numpy", "dtype"): _Dtype,
    ("numpy", "ndarray"): None,  # an argument of the others; it cannot be called
    **dict.fromkeys(_RECORDS, _record),
}


def _run(content: bytes) -> Any:
    """Run the program of a pickle and return its result, arrays as numpy's."""
    stack: list[Any] = []
    marks: list[int] = []
    memo: dict[int, Any] = {}

    def since_mark() -> list[Any]:
        start = marks.pop()
        found = stack[start:]
        del stack[start:]
        return found

    argument: Any
    for count, (opcode, argument, _) in enumerate(pickletools.genops(content)):
        name = opcode.name
        if count > MOST_INSTRUCTIONS:
            raise DatasetError(f"It has more than {MOST_INSTRUCTIONS:,} instructions, eight times what was released.")
        if name in ("PROTO", "FRAME"):
            pass
        elif name == "STOP":
            return _finished(stack.pop())
        elif name == "MARK":
            marks.append(len(stack))
        elif name in _CONSTANTS:
            stack.append(_CONSTANTS[name])
        elif name in _LITERALS:
            stack.append(argument)
        elif name in ("EMPTY_DICT", "EMPTY_LIST"):
            stack.append({} if name == "EMPTY_DICT" else [])
        elif name == "TUPLE":
            stack.append(tuple(since_mark()))
        elif name in ("TUPLE1", "TUPLE2", "TUPLE3"):
            size = int(name[-1])
            stack[-size:] = [tuple(stack[-size:])]
        elif name in ("MEMOIZE", "BINPUT", "LONG_BINPUT"):
            memo[len(memo) if argument is None else argument] = stack[-1]
        elif name in ("BINGET", "LONG_BINGET"):
            stack.append(memo[argument])
        elif name in ("APPEND", "APPENDS"):
            items = since_mark() if name == "APPENDS" else [stack.pop()]
            _of(stack[-1], list).extend(items)
        elif name in ("SETITEM", "SETITEMS"):
            items = since_mark() if name == "SETITEMS" else [stack.pop(-2), stack.pop()]
            names = [_of(key, str) for key in items[::2]]
            _of(stack[-1], dict).update(zip(names, items[1::2], strict=True))
        elif name in ("GLOBAL", "STACK_GLOBAL"):
            place = tuple(argument.split(" ")) if name == "GLOBAL" else (stack.pop(-2), stack.pop())
            stack.append(_function(place))
        elif name in ("REDUCE", "NEWOBJ"):
            arguments, function = stack.pop(), stack.pop()
            if function not in _FUNCTIONS.values() or function is None:
                raise DatasetError("It calls what is no function. Only the arrays of released datasets are read.")
            stack.append(function(*_of(arguments, tuple)))
        elif name == "BUILD":
            state = stack.pop()
            stack[-1].build(state)
        else:
            raise DatasetError(f"It holds the instruction {name}, which no released dataset needs, and was not run.")
    raise ValueError("it has no end")


_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
_LITERALS = {
    *("BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT"),
    *("SHORT_BINUNICODE", "BINUNICODE", "SHORT_BINBYTES", "BINBYTES"),
}


def _function(place: Any) -> Any:
    if not all(isinstance(part, str) for part in place) or place not in _FUNCTIONS:
        name = printable(".".join(map(str, place)), 100)
        raise DatasetError(
            f"It asks for {name}, which could run code and was refused. Only the arrays of released datasets are read."
        )
    return _FUNCTIONS[place]


def _of(value: Any, kind: type) -> Any:
    if type(value) is not kind and not (kind is dict and type(value) is _Record):
        raise TypeError(f"{printable(repr(type(value)))} in the place of {kind.__name__}")
    return value


def _finished(value: Any) -> Any:
    """A result with its arrays in the place of what made them; containers may hold one another several times."""
    done: set[int] = set()
    todo = [value]
    while todo:
        holder = todo.pop()
        if id(holder) in done or not isinstance(holder, dict | list):
            continue
        done.add(id(holder))
        for key, part in list(holder.items() if isinstance(holder, dict) else enumerate(holder)):
            if isinstance(part, _Array):
                holder[key] = part.value
            else:
                todo.append(part)
    return value
