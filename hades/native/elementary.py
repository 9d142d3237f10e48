"""sin, cos and atan2 of vectors: 1.51, 1.51 and 1.79 units in the last place were the largest errors in ten million
samples each.

LLVM knows these functions but calls C's for one number at a time. Here they are polynomials (coefficients of Moshier's
Cephes, sinf.c and atanf.c) behind a reduction in double precision. What physics rarely uses stays C's.
"""

import math
import struct

import numpy as np

VECTOR_FUNCTIONS = ("sin", "cos", "atan2")

_SIN = (-1.9515295891e-4, 8.3321608736e-3, -1.6666654611e-1)
_COS = (2.443315711809948e-5, -1.388731625493765e-3, 4.166664568298827e-2, -0.5, 1.0)
_ATAN = (8.05374449538e-2, -1.38776856032e-1, 1.99777106478e-1, -3.33329491539e-1)
_HALF_PI_REST = 6.123233995736766e-17
"""The excess of π/2 over its double."""
_LARGEST = 2.0**30
"""Multiples of π/2 up to here fit in an i32 and leave the reduced angle exact to single precision."""


def literal(value: float, *, double: bool = False) -> str:
    """A number in LLVM's hexadecimal form, which is that of a double for both precisions."""
    exact = float(value) if double else float(np.float32(value))
    return f"0x{struct.unpack('<Q', struct.pack('<d', exact))[0]:016X}"


def definitions(lanes: int) -> str:
    """LLVM functions `@hades.sin`, `@hades.cos` and `@hades.atan2` of vectors of f32."""
    sine = _sine_or_cosine("sin", quarter_turns=0, lanes=lanes)
    cosine = _sine_or_cosine("cos", quarter_turns=1, lanes=lanes)
    return "\n".join([sine, cosine, _atan2(lanes)])


def declarations(lanes: int) -> set[str]:
    """Of what the definitions call."""
    vf, vd = f"<{lanes} x float>", f"<{lanes} x double>"
    return {
        *(f"declare {vf} @llvm.{name}.v{lanes}f32({vf})" for name in ("fabs", "sin", "cos")),
        *(f"declare {v} @llvm.fma.v{lanes}{k}({v}, {v}, {v})" for v, k in ((vf, "f32"), (vd, "f64"))),
    }


class _Body:
    """Instructions of one function, each of whose results has a number."""

    def __init__(self, lanes: int):
        self.lanes = lanes
        self.vf, self.vd = f"<{lanes} x float>", f"<{lanes} x double>"
        self.vi, self.vl, self.vb = f"<{lanes} x i32>", f"<{lanes} x i64>", f"<{lanes} x i1>"
        self.lines: list[str] = []

    def __call__(self, instruction: str) -> str:
        result = f"%v{len(self.lines)}"
        self.lines.append(f"{result} = {instruction}")
        return result

    def splat(self, value: float, *, double: bool = False) -> str:
        return f"splat ({'double' if double else 'float'} {literal(value, double=double)})"

    def call(self, name: str, *arguments: str, double: bool = False) -> str:
        v, suffix = (self.vd, "f64") if double else (self.vf, "f32")
        return self(f"call {v} @llvm.{name}.v{self.lanes}{suffix}({', '.join(f'{v} {a}' for a in arguments)})")

    def polynomial(self, x: str, coefficients: tuple[float, ...]) -> str:
        value = self.splat(coefficients[0])
        for coefficient in coefficients[1:]:
            value = self.call("fma", value, x, self.splat(coefficient))
        return value

    def select(self, condition: str, a: str, b: str, *, double: bool = False) -> str:
        v = self.vd if double else self.vf
        return self(f"select {self.vb} {condition}, {v} {a}, {v} {b}")

    def bits(self, x: str) -> str:
        return self(f"bitcast {self.vf} {x} to {self.vi}")

    def number(self, bits: str) -> str:
        return self(f"bitcast {self.vi} {bits} to {self.vf}")

    def sign(self, bits: str) -> str:
        return self(f"and {self.vi} {bits}, splat (i32 {-(2**31)})")


def _sine_or_cosine(name: str, quarter_turns: int, lanes: int) -> str:
    f = _Body(lanes)
    size = f(f"call {f.vf} @llvm.fabs.v{lanes}f32({f.vf} %x)")
    large = f(f"fcmp ogt {f.vf} {size}, {f.splat(_LARGEST)}")
    any_large = f(f"icmp ne i{lanes} {f(f'bitcast {f.vb} {large} to i{lanes}')}, 0")
    wide = f(f"fpext {f.vf} %x to {f.vd}")
    # Added to this number, another is rounded to a whole one, which the last bits of the sum are. No turns are 0 and
    # not -0, so that the angle of -0 is -0.
    shift = f.splat(1.5 * 2.0**52, double=True)
    shifted = f.call("fma", wide, f.splat(2 / math.pi, double=True), shift, double=True)
    back = f(f"fneg {f.vd} {f(f'fsub {f.vd} {shifted}, {shift}')}")
    near = f.call("fma", back, f.splat(math.pi / 2, double=True), wide, double=True)
    exact = f.call("fma", back, f.splat(_HALF_PI_REST, double=True), near, double=True)
    angle = f(f"fptrunc {f.vd} {exact} to {f.vf}")
    whole = f(f"trunc {f.vl} {f(f'bitcast {f.vd} {shifted} to {f.vl}')} to {f.vi}")
    quadrant = f(f"add {f.vi} {whole}, splat (i32 {quarter_turns})")
    square = f(f"fmul {f.vf} {angle}, {angle}")
    sine = f.call("fma", f.polynomial(square, _SIN), f(f"fmul {f.vf} {angle}, {square}"), angle)
    sine = f.select(f(f"fcmp oeq {f.vf} {angle}, zeroinitializer"), angle, sine)
    cosine = f.polynomial(square, _COS)
    is_odd = f(f"icmp slt {f.vi} {f(f'shl {f.vi} {quadrant}, splat (i32 31)')}, zeroinitializer")
    value = f.bits(f.select(is_odd, cosine, sine))
    turned = f.sign(f(f"shl {f.vi} {quadrant}, splat (i32 30)"))
    near_zero = f.number(f(f"xor {f.vi} {value}, {turned}"))
    # A lane's result does not depend on its neighbours: C's function counts in the lanes that are large alone.
    f.lines.append(f"br i1 {any_large}, label %slow, label %fast\nfast:\nret {f.vf} {near_zero}\nslow:")
    far = f(f"call {f.vf} @llvm.{name}.v{lanes}f32({f.vf} %x)")
    return _function(f, name, ("x",), f.select(large, far, near_zero))


def _atan2(lanes: int) -> str:
    f = _Body(lanes)
    y, x = f.call("fabs", "%y"), f.call("fabs", "%x")
    steep, equal = f(f"fcmp ogt {f.vf} {y}, {x}"), f(f"fcmp oeq {f.vf} {y}, {x}")
    low, high = f.select(steep, x, y), f.select(steep, y, x)
    # Above tan(π/8) the angle to π/4 is what the polynomial approximates.
    wide = f(f"fcmp ogt {f.vf} {low}, {f(f'fmul {f.vf} {high}, {f.splat(math.tan(math.pi / 8))}')}")
    # In double precision the sum of two numbers neither overflows nor is rounded.
    a, b = (f(f"fpext {f.vf} {number} to {f.vd}") for number in (low, high))
    numerator = f.select(wide, f(f"fsub {f.vd} {a}, {b}"), a, double=True)
    denominator = f.select(wide, f(f"fadd {f.vd} {a}, {b}"), b, double=True)
    ratio = f(f"fptrunc {f.vd} {f(f'fdiv {f.vd} {numerator}, {denominator}')} to {f.vf}")
    ratio = f.select(equal, f.splat(0.0), ratio)  # also of 0/0 and ∞/∞
    is_zero = f(f"fcmp oeq {f.vf} {high}, zeroinitializer")
    wide = f(f"or {f.vb} {wide}, {equal}")
    square = f(f"fmul {f.vf} {ratio}, {ratio}")
    bend = f(f"fmul {f.vf} {f.polynomial(square, _ATAN)}, {f(f'fmul {f.vf} {square}, {ratio}')}")
    rest = f.select(wide, f(f"fadd {f.vf} {bend}, {f.splat(math.pi / 4 - float(np.float32(math.pi / 4)))}"), bend)
    angle = f(f"fadd {f.vf} {ratio}, {rest}")
    angle = f.select(wide, f(f"fadd {f.vf} {angle}, {f.splat(math.pi / 4)}"), angle)
    angle = f.select(is_zero, f.splat(0.0), angle)
    angle = f.select(steep, f(f"fsub {f.vf} {f.splat(math.pi / 2)}, {angle}"), angle)
    is_behind = f(f"icmp slt {f.vi} {f.bits('%x')}, zeroinitializer")
    angle = f.select(is_behind, f(f"fsub {f.vf} {f.splat(math.pi)}, {angle}"), angle)
    signed = f.number(f(f"or {f.vi} {f.bits(angle)}, {f.sign(f.bits('%y'))}"))
    is_nan = f(f"fcmp uno {f.vf} %y, %x")
    return _function(f, "atan2", ("y", "x"), f.select(is_nan, f(f"fadd {f.vf} %y, %x"), signed))


def _function(f: _Body, name: str, arguments: tuple[str, ...], result: str) -> str:
    head = f"define internal {f.vf} @hades.{name}({', '.join(f'{f.vf} %{a}' for a in arguments)}) noinline {{"
    return "\n".join([head, *f.lines, f"ret {f.vf} {result}", "}"])
