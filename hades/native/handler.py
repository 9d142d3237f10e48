"""The function that XLA calls, in LLVM's intermediate language: XLA's foreign function interface without a C compiler.

XLA hands over a call frame of C structs (xla/ffi/api/c_api.h of jaxlib 0.10.2, interface 0.3; a test compares the
offsets with the installed header). The handler finds the size of the batch in the first buffer, cuts the batch into
blocks of LANES evaluations, and lets threads of XLA's own pool take blocks until none is left. The caller works too,
so that it waits for no thread that never starts.
"""

import dataclasses
from collections.abc import Sequence

from hades.native.emit import ALIGN, LANES, VF, VI
from hades.native.schedule import Plan

API_VERSION = (0, 3)
"""Major and minor version of the interface whose structs the offsets belong to."""

OFFSETS = {
    ("XLA_FFI_CallFrame", "extension_start"): 8,
    ("XLA_FFI_CallFrame", "api"): 16,
    ("XLA_FFI_CallFrame", "ctx"): 24,
    ("XLA_FFI_CallFrame", "stage"): 32,
    ("XLA_FFI_CallFrame", "args"): 40,
    ("XLA_FFI_CallFrame", "rets"): 80,
    ("XLA_FFI_Args", "args"): 32,
    ("XLA_FFI_Rets", "rets"): 32,
    ("XLA_FFI_Buffer", "data"): 24,
    ("XLA_FFI_Buffer", "rank"): 32,
    ("XLA_FFI_Buffer", "dims"): 40,
    ("XLA_FFI_Extension_Base", "type"): 8,
    ("XLA_FFI_Metadata_Extension", "metadata"): 24,
    ("XLA_FFI_Metadata", "api_version"): 8,
    ("XLA_FFI_Api_Version", "major_version"): 16,
    ("XLA_FFI_Api_Version", "minor_version"): 20,
    ("XLA_FFI_Api", "XLA_FFI_ThreadPool_Schedule"): 136,
    ("XLA_FFI_Api", "XLA_FFI_ThreadPool_NumThreads"): 144,
}
"""Bytes from the beginning of a struct to a field, on machines of 64 bits."""

EXECUTE = 3
METADATA = 1
SCHEDULE_SIZE = 40  # of XLA_FFI_ThreadPool_Schedule_Args: size, extension, ctx, task, data
NUM_THREADS_SIZE = 32  # of XLA_FFI_ThreadPool_NumThreads_Args: size, extension, ctx, num_threads


@dataclasses.dataclass(frozen=True)
class Buffer:
    """One array of a call, for each evaluation.

    Attributes:
        size: elements.
        rank: dimensions.
        is_bool: elements are bytes, which are masks inside; otherwise they have four bytes.
    """

    size: int
    rank: int
    is_bool: bool


def emit_handler(name: str, arguments: Sequence[Buffer], results: Sequence[Buffer], plan: Plan, flush: bool) -> str:
    """Definition of the handler `name`, which calls `@block`.

    Args:
        name: an identifier.
        arguments, results: the buffers; there is at least one argument.
        plan: of `@block`: where it has few operations, threads are given several blocks at a time.
        flush: treat denormal numbers as 0 (x86 only), as XLA's threads do, in whichever thread this runs.
    """
    grain = max(1, 20_000 // max(plan.operations, 1))
    planes = [sum(buffer.size for buffer in buffers) for buffers in (arguments, results)]
    return "\n".join(
        [
            "declare ptr @malloc(i64)",
            "declare ptr @aligned_alloc(i64, i64)",
            "declare void @free(ptr)",
            "declare i32 @sched_yield()",
            *(["declare void @llvm.x86.sse.ldmxcsr(ptr)", "declare void @llvm.x86.sse.stmxcsr(ptr)"] if flush else []),
            _spread(),
            _spread_bool(),
            _collect(),
            _collect_bool(),
            _run_block(arguments, results, plan.num_slots),
            _work(grain, (sum(planes) + plan.num_slots) * ALIGN, flush),
            _task(),
            _handler(name, arguments[0], grain),
        ]
    )


def _offset(struct: str, field: str) -> int:
    return OFFSETS[struct, field]


def _run_block(arguments: Sequence[Buffer], results: Sequence[Buffer], num_slots: int) -> str:
    """Evaluate block `b` of a batch: rows into planes, the function, planes into rows."""
    lines = [
        "define internal void @run_block(ptr %frame, i64 %batch, i64 %b, ptr %slots) noinline {",
        f"%in = getelementptr {VI}, ptr %slots, i64 {num_slots}",
        f"%out = getelementptr {VI}, ptr %in, i64 {sum(buffer.size for buffer in arguments)}",
        f"%first = mul i64 %b, {LANES}",
        "%left = sub i64 %batch, %first",
        f"%part = icmp ult i64 %left, {LANES}",
        f"%lanes = select i1 %part, i64 %left, i64 {LANES}",
    ]
    for prefix, name, buffers, plane in (("a", "spread", arguments, "%in"), ("r", "collect", results, "%out")):
        if prefix == "r":
            lines.append("call void @block(ptr %in, ptr %slots, ptr %out)")
        struct, field = ("XLA_FFI_CallFrame", "args" if prefix == "a" else "rets")
        inner = _offset("XLA_FFI_Args", "args") if prefix == "a" else _offset("XLA_FFI_Rets", "rets")
        lines += [
            f"%{prefix}p = getelementptr i8, ptr %frame, i64 {_offset(struct, field) + inner}",
            f"%{prefix} = load ptr, ptr %{prefix}p",
        ]
        at = 0
        for i, buffer in enumerate(buffers):
            if not buffer.size:
                continue
            v, kind = f"%{prefix}{i}", "_bool" if buffer.is_bool else ""
            size = buffer.size * (1 if buffer.is_bool else 4)
            lines += [
                f"{v}s = getelementptr ptr, ptr %{prefix}, i64 {i}",
                f"{v}b = load ptr, ptr {v}s",
                f"{v}d = getelementptr i8, ptr {v}b, i64 {_offset('XLA_FFI_Buffer', 'data')}",
                f"{v}x = load ptr, ptr {v}d",
                f"{v}o = mul i64 %first, {size}",
                f"{v}r = getelementptr i8, ptr {v}x, i64 {v}o",
                f"{v}q = getelementptr {VI}, ptr {plane}, i64 {at}",
                f"call void @{name}{kind}(ptr {v}r, ptr {v}q, i64 {buffer.size}, i64 %lanes)",
            ]
            at += buffer.size
    return "\n".join([*lines, "ret void", "}"])


def _each(name: str, body: Sequence[str]) -> str:
    """A function over (rows, planes, n, lanes): `body` for each lane `%l` and element `%k`."""
    return "\n".join(
        [
            f"define internal void @{name}(ptr %rows, ptr %planes, i64 %n, i64 %lanes) noinline {{",
            "start:\nbr label %lane\nlane:",
            "%l = phi i64 [0, %start], [%l1, %lane_end]",
            "%row = mul i64 %l, %n",
            "br label %element\nelement:",
            "%k = phi i64 [0, %lane], [%k1, %element]",
            "%from = add i64 %row, %k",
            f"%to0 = mul i64 %k, {LANES}",
            "%to = add i64 %to0, %l",
            "%plane = getelementptr i32, ptr %planes, i64 %to",
            *body,
            "%k1 = add i64 %k, 1",
            "%k_more = icmp ult i64 %k1, %n",
            "br i1 %k_more, label %element, label %lane_end\nlane_end:",
            "%l1 = add i64 %l, 1",
            "%l_more = icmp ult i64 %l1, %lanes",
            "br i1 %l_more, label %lane, label %done\ndone:\nret void\n}",
        ]
    )


def _spread_bool() -> str:
    read = ["%at = getelementptr i8, ptr %rows, i64 %from", "%byte = load i8, ptr %at", "%set = icmp ne i8 %byte, 0"]
    return _each("spread_bool", [*read, "%mask = sext i1 %set to i32", "store i32 %mask, ptr %plane"])


def _collect_bool() -> str:
    read = ["%mask = load i32, ptr %plane", "%set = lshr i32 %mask, 31", "%byte = trunc i32 %set to i8"]
    return _each("collect_bool", [*read, "%at = getelementptr i8, ptr %rows, i64 %from", "store i8 %byte, ptr %at"])


def _spread() -> str:
    """Rows into planes: 8 elements of all lanes at a time where the rows are long enough and no lane is missing."""
    read = ["%at = getelementptr i32, ptr %rows, i64 %from", "%x = load i32, ptr %at", "store i32 %x, ptr %plane"]
    rows = [f"%r{i} = load <8 x float>, ptr %p{i}, align 4" for i in range(LANES)]
    lines, names = _transposed([f"%r{i}" for i in range(LANES)], "%t")
    planes = [f"store {VF} {name}, ptr %q{k}, align {ALIGN}" for k, name in enumerate(names)]
    return "\n".join([_each("spread_some", read), _fast("spread", [*rows, *lines, *planes])])


def _collect() -> str:
    """Planes into rows, likewise."""
    write = ["%at = getelementptr i32, ptr %rows, i64 %from", "%x = load i32, ptr %plane", "store i32 %x, ptr %at"]
    lines = [f"%w{k} = load {VF}, ptr %q{k}, align {ALIGN}" for k in range(8)]
    for half in range(0, LANES, 8):
        indices = ", ".join(f"i32 {half + i}" for i in range(8))
        lines += [f"%h{half}_{k} = shufflevector {VF} %w{k}, {VF} poison, <8 x i32> <{indices}>" for k in range(8)]
        shuffles, names = _square([f"%h{half}_{k}" for k in range(8)], f"%s{half}_")
        lines += [*shuffles, *(f"store <8 x float> {name}, ptr %p{half + i}, align 4" for i, name in enumerate(names))]
    return "\n".join([_each("collect_some", write), _fast("collect", lines)])


def _fast(name: str, body: Sequence[str]) -> str:
    """A function over (rows, planes, n, lanes): `body` for 8 elements of all lanes, or `name`_some."""
    pointers = [
        *(f"%p{i} = getelementptr float, ptr %rows, i64 %a{i}" for i in range(LANES)),
        *(f"%q{k} = getelementptr {VF}, ptr %planes, i64 %k{k}" for k in range(8)),
    ]
    places = [f"%m{i} = mul i64 %n, {i}\n%a{i} = add i64 %m{i}, %k" for i in range(LANES)]
    return "\n".join(
        [
            f"define internal void @{name}(ptr %rows, ptr %planes, i64 %n, i64 %lanes) noinline {{",
            f"start:\n%whole = icmp eq i64 %lanes, {LANES}\n%long = icmp uge i64 %n, 8\n%fast = and i1 %whole, %long",
            "%last = sub i64 %n, 8",
            "br i1 %fast, label %eight, label %some\nsome:",
            f"call void @{name}_some(ptr %rows, ptr %planes, i64 %n, i64 %lanes)\nret void\neight:",
            "%j = phi i64 [0, %start], [%j1, %eight]",
            # The last eight may overlap the ones before: they are written again, with the same numbers.
            "%over = icmp ugt i64 %j, %last\n%k = select i1 %over, i64 %last, i64 %j",
            *places,
            *(f"%k{k} = add i64 %k, {k}" for k in range(8)),
            *pointers,
            *body,
            "%j1 = add i64 %j, 8",
            "%more = icmp ult i64 %j1, %n",
            "br i1 %more, label %eight, label %done\ndone:\nret void\n}",
        ]
    )


def _transposed(rows: Sequence[str], prefix: str) -> tuple[list[str], list[str]]:
    """Rows of 8 elements, one for each lane, as 8 planes of all lanes."""
    lines, squares = [], []
    for half in range(0, LANES, 8):
        shuffles, names = _square(rows[half : half + 8], f"{prefix}{half}_")
        lines += shuffles
        squares.append(names)
    planes = []
    indices = ", ".join(f"i32 {i}" for i in range(LANES))
    for k in range(8):
        planes.append(f"{prefix}p{k}")
        pair = f"<8 x float> {squares[0][k]}, <8 x float> {squares[1][k]}"
        lines.append(f"{prefix}p{k} = shufflevector {pair}, <{LANES} x i32> <{indices}>")
    return lines, planes


def _square(rows: Sequence[str], prefix: str) -> tuple[list[str], list[str]]:
    """Transpose eight vectors of eight numbers by three rounds of shuffles."""
    lines: list[str] = []

    def shuffle(a: str, b: str, indices: Sequence[int]) -> str:
        name = f"{prefix}{len(lines)}"
        mask = ", ".join(f"i32 {i}" for i in indices)
        lines.append(f"{name} = shufflevector <8 x float> {a}, <8 x float> {b}, <8 x i32> <{mask}>")
        return name

    low, high = (0, 8, 1, 9, 4, 12, 5, 13), (2, 10, 3, 11, 6, 14, 7, 15)
    pairs = [shuffle(rows[i], rows[i + 1], mask) for i in range(0, 8, 2) for mask in (low, high)]
    fours = []
    for i in range(0, 8, 4):
        for j in range(2):
            a, b = pairs[i + j], pairs[i + 2 + j]
            fours += [shuffle(a, b, (0, 1, 8, 9, 4, 5, 12, 13)), shuffle(a, b, (2, 3, 10, 11, 6, 7, 14, 15))]
    first = [shuffle(fours[i], fours[i + 4], (0, 1, 2, 3, 8, 9, 10, 11)) for i in range(4)]
    second = [shuffle(fours[i], fours[i + 4], (4, 5, 6, 7, 12, 13, 14, 15)) for i in range(4)]
    return lines, [*first, *second]


# A job of the pool: 0 frame, 8 batch, 16 blocks, 24 next block, 32 blocks done, 40 threads that still hold it.
_JOB_SIZE = 48


def _field(name: str, offset: int) -> str:
    return f"%{name} = getelementptr i8, ptr %job, i64 {offset}"


def _work(grain: int, memory: int, flush: bool) -> str:
    """Take blocks of a job until none is left. Planes and slots are no part of a thread's stack, which may be small."""
    before = after = ""
    if flush:
        denormals_are_zero, flush_to_zero = 0x40, 0x8000
        before = (
            "%mode = alloca i32\n%own = alloca i32\n"
            "call void @llvm.x86.sse.stmxcsr(ptr %mode)\n%m = load i32, ptr %mode\n"
            f"%fm = or i32 %m, {denormals_are_zero | flush_to_zero}\nstore i32 %fm, ptr %own\n"
            "call void @llvm.x86.sse.ldmxcsr(ptr %own)"
        )
        after = "call void @llvm.x86.sse.ldmxcsr(ptr %mode)"
    return "\n".join(
        [
            "define internal void @work(ptr %job) noinline {",
            f"start:\n{before}",
            "%frame = load ptr, ptr %job",
            *(_field(name, at) for name, at in (("bp", 8), ("np", 16), ("nextp", 24), ("donep", 32))),
            "%batch = load i64, ptr %bp\n%n = load i64, ptr %np",
            f"%slots = call ptr @aligned_alloc(i64 {ALIGN}, i64 {memory})",
            "br label %take\ntake:",
            f"%first = atomicrmw add ptr %nextp, i64 {grain} monotonic",
            "%some = icmp ult i64 %first, %n\nbr i1 %some, label %run, label %end\nrun:",
            f"%to = add i64 %first, {grain}\n%over = icmp ugt i64 %to, %n\n%last = select i1 %over, i64 %n, i64 %to",
            "br label %one\none:",
            "%b = phi i64 [%first, %run], [%b1, %one]",
            "call void @run_block(ptr %frame, i64 %batch, i64 %b, ptr %slots)",
            "%b1 = add i64 %b, 1\n%more = icmp ult i64 %b1, %last\nbr i1 %more, label %one, label %count\ncount:",
            "%made = sub i64 %last, %first",
            "%d = atomicrmw add ptr %donep, i64 %made release",
            f"br label %take\nend:\n{after}\ncall void @free(ptr %slots)\nret void\n}}",
        ]
    )


def _task() -> str:
    """Emit the task of a thread of the pool: work, and free the job where it was the last to hold it."""
    return "\n".join(
        [
            "define internal void @leave(ptr %job) noinline {",
            _field("holders", 40),
            "%before = atomicrmw sub ptr %holders, i64 1 acq_rel",
            "%last = icmp eq i64 %before, 1\nbr i1 %last, label %drop, label %end\ndrop:",
            "call void @free(ptr %job)\nbr label %end\nend:\nret void\n}",
            "define internal void @task(ptr %job) {",
            "call void @work(ptr %job)\ncall void @leave(ptr %job)\nret void\n}",
        ]
    )


def _handler(name: str, first: Buffer, grain: int) -> str:
    major, minor = API_VERSION
    version = _offset("XLA_FFI_Metadata", "api_version")
    args = _offset("XLA_FFI_CallFrame", "args") + _offset("XLA_FFI_Args", "args")
    api = "XLA_FFI_Api"
    return f"""
define ptr @{name}(ptr %frame) {{
entry:
%extp = getelementptr i8, ptr %frame, i64 {_offset("XLA_FFI_CallFrame", "extension_start")}
%ext = load ptr, ptr %extp
%has = icmp ne ptr %ext, null
br i1 %has, label %extension, label %stages
extension:
%typep = getelementptr i8, ptr %ext, i64 {_offset("XLA_FFI_Extension_Base", "type")}
%type = load i32, ptr %typep
%is_meta = icmp eq i32 %type, {METADATA}
br i1 %is_meta, label %metadata, label %stages
metadata:
%metap = getelementptr i8, ptr %ext, i64 {_offset("XLA_FFI_Metadata_Extension", "metadata")}
%meta = load ptr, ptr %metap
%majorp = getelementptr i8, ptr %meta, i64 {version + _offset("XLA_FFI_Api_Version", "major_version")}
store i32 {major}, ptr %majorp
%minorp = getelementptr i8, ptr %meta, i64 {version + _offset("XLA_FFI_Api_Version", "minor_version")}
store i32 {minor}, ptr %minorp
ret ptr null
stages:
%stagep = getelementptr i8, ptr %frame, i64 {_offset("XLA_FFI_CallFrame", "stage")}
%stage = load i32, ptr %stagep
%is_run = icmp eq i32 %stage, {EXECUTE}
br i1 %is_run, label %size, label %nothing
nothing:
ret ptr null
size:
%argsp = getelementptr i8, ptr %frame, i64 {args}
%args = load ptr, ptr %argsp
%buffer = load ptr, ptr %args
%rankp = getelementptr i8, ptr %buffer, i64 {_offset("XLA_FFI_Buffer", "rank")}
%rank = load i64, ptr %rankp
%dimsp = getelementptr i8, ptr %buffer, i64 {_offset("XLA_FFI_Buffer", "dims")}
%dims = load ptr, ptr %dimsp
%leading = sub i64 %rank, {first.rank}
br label %product
product:
%i = phi i64 [0, %size], [%i1, %times]
%batch = phi i64 [1, %size], [%batch1, %times]
%again = icmp slt i64 %i, %leading
br i1 %again, label %times, label %sized
times:
%dimp = getelementptr i64, ptr %dims, i64 %i
%dim = load i64, ptr %dimp
%batch1 = mul i64 %batch, %dim
%i1 = add i64 %i, 1
br label %product
sized:
%up = add i64 %batch, {LANES - 1}
%blocks = udiv i64 %up, {LANES}
%job = call ptr @malloc(i64 {_JOB_SIZE})
store ptr %frame, ptr %job
{_field("jb", 8)}
store i64 %batch, ptr %jb
{_field("jn", 16)}
store i64 %blocks, ptr %jn
{_field("jnext", 24)}
store i64 0, ptr %jnext
{_field("jdone", 32)}
store i64 0, ptr %jdone
{_field("jheld", 40)}
store i64 1, ptr %jheld
%apip = getelementptr i8, ptr %frame, i64 {_offset("XLA_FFI_CallFrame", "api")}
%api = load ptr, ptr %apip
%ctxp = getelementptr i8, ptr %frame, i64 {_offset("XLA_FFI_CallFrame", "ctx")}
%ctx = load ptr, ptr %ctxp
%shares0 = udiv i64 %blocks, {grain}
%alone = icmp ult i64 %shares0, 2
br i1 %alone, label %run, label %threads
threads:
%count = alloca i64
store i64 1, ptr %count
%query = alloca [{NUM_THREADS_SIZE // 8} x i64]
store i64 {NUM_THREADS_SIZE}, ptr %query
%query1 = getelementptr i64, ptr %query, i64 1
store ptr null, ptr %query1
%query2 = getelementptr i64, ptr %query, i64 2
store ptr %ctx, ptr %query2
%query3 = getelementptr i64, ptr %query, i64 3
store ptr %count, ptr %query3
%askp = getelementptr i8, ptr %api, i64 {_offset(api, "XLA_FFI_ThreadPool_NumThreads")}
%ask = load ptr, ptr %askp
%asked = call ptr %ask(ptr %query)
%refused = icmp ne ptr %asked, null
%threads_n = load i64, ptr %count
%fewer = icmp ult i64 %threads_n, %shares0
%workers0 = select i1 %fewer, i64 %threads_n, i64 %shares0
%workers = select i1 %refused, i64 1, i64 %workers0
%order = alloca [{SCHEDULE_SIZE // 8} x i64]
store i64 {SCHEDULE_SIZE}, ptr %order
%order1 = getelementptr i64, ptr %order, i64 1
store ptr null, ptr %order1
%order2 = getelementptr i64, ptr %order, i64 2
store ptr %ctx, ptr %order2
%order3 = getelementptr i64, ptr %order, i64 3
store ptr @task, ptr %order3
%order4 = getelementptr i64, ptr %order, i64 4
store ptr %job, ptr %order4
%startp = getelementptr i8, ptr %api, i64 {_offset(api, "XLA_FFI_ThreadPool_Schedule")}
%startf = load ptr, ptr %startp
br label %more_threads
more_threads:
%w = phi i64 [1, %threads], [%w1, %started]
%enough = icmp uge i64 %w, %workers
br i1 %enough, label %run, label %start
start:
%h = atomicrmw add ptr %jheld, i64 1 monotonic
%failed = call ptr %startf(ptr %order)
%no = icmp ne ptr %failed, null
br i1 %no, label %unstarted, label %started
started:
%w1 = add i64 %w, 1
br label %more_threads
unstarted:
%u = atomicrmw sub ptr %jheld, i64 1 monotonic
br label %run
run:
call void @work(ptr %job)
br label %wait
wait:
%done = load atomic i64, ptr %jdone acquire, align 8
%all = icmp uge i64 %done, %blocks
br i1 %all, label %finished, label %idle
idle:
%y = call i32 @sched_yield()
br label %wait
finished:
call void @leave(ptr %job)
ret ptr null
}}
"""
