"""Writes small ring programs, line by line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from secfwt.codegen.native.simulator import Counters, Simulator
from secfwt.codegen.ring.traffic import comparison

LABELS = ("setup", "example", "candidate", "pair")


@dataclass(frozen=True)
class Series:
    """A `fit` line, and the function it stands for."""

    k: int
    fc: int
    fa: int
    ring: int
    const: float
    m: Sequence[int]
    re: Sequence[float]
    im: Sequence[float]

    def line(self) -> str:
        numbers = (f"{key}={_text(getattr(self, key))}" for key in ("k", "fc", "fa", "ring", "const", "m", "re", "im"))
        return " ".join(numbers)

    def __call__(self, turns: np.ndarray) -> np.ndarray:
        """`[n]` turns to `[n]` values."""
        angle = 2 * np.pi * ((turns[:, None] * np.asarray(self.m, float)) % 1.0)
        terms = np.cos(angle) * np.asarray(self.re) - np.sin(angle) * np.asarray(self.im)
        total: np.ndarray = self.const + terms.sum(1)
        return total


class RingProgram:
    """A program under construction; every method appends a line and returns the new value's (or fit's) number."""

    def __init__(self) -> None:
        self.lines = ["secfwt-program 4"]
        self.values = 0
        self.fits = 0

    def fit(self, series: Series) -> int:
        self.lines.append(f"fit {self.fits} {series.line()}")
        self.fits += 1
        return self.fits - 1

    def v(
        self,
        kind: str,
        inputs: tuple[int, ...],
        shape: tuple[int, ...],
        stage: str = "candidate",
        sharing: str = "rep",
        *,
        scale: int = 0,
        **keys: object,
    ) -> int:
        parts = [f"v {self.values} {stage} {sharing} {scale}", "x".join(map(str, shape)), kind]
        parts.append(",".join(map(str, inputs)) or "-")
        parts += [f"{k}={_text(v)}" for k, v in keys.items()]
        self.lines.append(" ".join(parts))
        self.values += 1
        return self.values - 1

    def text(self, *outputs: int) -> str:
        return "\n".join([*self.lines, *(f"out o{i} {v}" for i, v in enumerate(outputs)), "end", ""])


def _text(value: object) -> str:
    if isinstance(value, (list, tuple, range, np.ndarray)):
        return ",".join(_text(v) for v in value)
    return repr(float(value)) if isinstance(value, (float, np.floating)) else str(value)


def unary(kind: str, shape: tuple[int, ...], keys: str, *, scale_in: int = 0, scale: int = 0) -> Simulator:
    """Three parties with the program `kind(candidate)`."""
    width = 2 * shape[-1] if kind == "cos_sin" else shape[-1]
    program = RingProgram()
    x = program.v("candidate", (), shape, scale=scale_in, name="x")
    y = program.v(kind, (x,), (*shape[:-1], width), scale=scale, **dict(k.split("=") for k in keys.split()))
    return Simulator(program.text(y))


def trunc(n: int, shift: int) -> Simulator:
    return unary("trunc", (n,), f"shift={shift} group=0")


def opened_trunc(n: int, shift: int, source: int = 64, ring: int = 64) -> Simulator:
    """In two rounds, of an additive value of Z_2^source: the product of a candidate's n numbers and one more."""
    program = RingProgram()
    x = program.v("candidate", (), (n,), name="x", ring=source)
    by = program.v("candidate", (), (1,), name="by", ring=source)
    product = program.v("mul", (x, by), (n,), sharing="add")
    y = program.v("trunc", (product,), (n,), shift=shift, ring=ring, rounds=2, group=0)
    return Simulator(program.text(y).replace(f"out o0 {y}", f"out o0 {y} ring={ring}"))


def lift(n: int, source: int, ring: int) -> Simulator:
    program = RingProgram()
    x = program.v("candidate", (), (n,), name="x", ring=source)
    y = program.v("lift", (x,), (n,), ring=ring, group=0)
    return Simulator(program.text(y).replace(f"out o0 {y}", f"out o0 {y} ring={ring}"))


def cos_sin(shape: tuple[int, ...], k: int) -> Simulator:
    """At scale 28."""
    return unary("cos_sin", shape, f"k={k} fc=14 fa=14 group=0", scale_in=64, scale=28)


def fourier(n: int, series: Series) -> Simulator:
    program = RingProgram()
    fit = program.fit(series)
    x = program.v("candidate", (), (n,), scale=64, name="x")
    return Simulator(program.text(program.v("fourier", (x,), (n,), scale=series.fc + series.fa, fit=fit, group=0)))


def run(sim: Simulator, x: object, output: int = 0) -> tuple[np.ndarray, Counters]:
    """One step with one candidate: the result as signed integers, and the traffic of the program's operations."""
    before = sim.counters()
    result = sim.step(1, np.asarray(x), output).view(np.int64)
    total = sim.counters() - before
    third, compared = comparison().data // 8 // 3, comparison().rounds
    return result, total - Counters((third, third, third), compared)


def words(values: object) -> np.ndarray:
    """Python integers of any sign as ring elements."""
    return np.array([int(v) % 2**64 for v in np.asarray(values, dtype=object).reshape(-1)], dtype=np.uint64)
