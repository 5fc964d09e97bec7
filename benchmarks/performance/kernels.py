"""How fast the kernels of matrix products are on this processor, next to what their multiplications allow; and how fast
messages are packed, next to a copy.

    python benchmarks/run.py kernels

One core. A kernel multiplies blocks that are packed and in its cache; its peak is the same multiplications on
registers, without sums and loads. The parties measure in the same way which kernel they run in which ring.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from secfwt.codegen.native.simulator import chosen_kernel, kernel_rates, packing_rate

import rows

PACKED = (8, 16, 24, 32, 38, 42, 52, 60)
"""Rings in bits whose packing is measured."""


@dataclass(frozen=True, kw_only=True)
class KernelRow:
    """One kernel. Rates are 10^9 multiply-accumulates per second of one core."""

    processor: str
    kernel: str
    bits: int
    """Of the widest ring that the kernel is exact in."""
    rate: float
    peak: float
    """Of the kernel's multiplications alone, on registers."""
    runs: bool
    """Whether this processor's parties run it for large products in that ring."""
    commit: str
    command: str

    def __str__(self) -> str:
        runs = "  runs" if self.runs else ""
        return f"{self.kernel:14}{self.bits:3} bits {self.rate:6.1f} of {self.peak:5.1f}{runs}"


@dataclass(frozen=True, kw_only=True)
class PackingRow:
    """Packing of one ring. Rates are 10^9 bytes of 64-bit words per second of one core."""

    processor: str
    bits: int
    pack: float
    unpack: float
    copy: float
    """memcpy of the words."""
    commit: str
    command: str

    def __str__(self) -> str:
        return f"{self.bits:3} bits: packs {self.pack:5.1f}, unpacks {self.unpack:5.1f}, copies {self.copy:5.1f}"


def add_options(parser: argparse.ArgumentParser, _: str) -> None:
    """What the command takes."""
    parser.add_argument("--dry", action="store_true", help="print only, add no row")


def main(options: argparse.Namespace) -> None:
    """Measure and record."""
    print("10^9 multiply-accumulates per second of one core, and of its multiplications alone")
    kernels = list(kernel_rows())
    print("10^9 bytes of words per second of one core")
    packing = list(packing_rows())
    if not options.dry:
        rows.write("kernels", kernels)
        rows.write("packing", packing)


def kernel_rows() -> Iterator[KernelRow]:
    """A row for each kernel that this processor has, printed as it comes."""
    for each in kernel_rates():
        row = KernelRow(
            processor=processor(), kernel=each.name, bits=each.bits, rate=each.rate, peak=each.peak,
            runs=each.name == chosen_kernel(each.bits), commit=rows.commit(), command=rows.command(),
        )  # fmt: skip
        print(row, flush=True)
        yield row


def packing_rows() -> Iterator[PackingRow]:
    """A row for each of `PACKED`, printed as it comes."""
    for bits in PACKED:
        rate = packing_rate(bits)
        row = PackingRow(
            processor=processor(), bits=bits, pack=rate.pack, unpack=rate.unpack, copy=rate.copy,
            commit=rows.commit(), command=rows.command(),
        )  # fmt: skip
        print(row, flush=True)
        yield row


def processor() -> str:
    """The processor's name, family and model: names alone do not tell generations apart."""
    known: dict[str, str] = {}
    with Path("/proc/cpuinfo").open() as file:
        for line in file:
            name, _, value = line.partition(":")
            known.setdefault(name.strip(), value.strip())
    return f"{known.get('model name', 'unknown')}, family {known.get('cpu family')}, model {known.get('model')}"
