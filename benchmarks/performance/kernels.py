"""How fast the kernels of matrix products are on this processor, next to what their multiplications allow.

    python benchmarks/run.py kernels

One core. A kernel multiplies blocks that are packed and in its cache; its peak is the same multiplications on
registers, without sums and loads. The parties measure in the same way which kernel they run.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from secfwt.codegen.native.simulator import chosen_kernel, kernel_rates

import rows


@dataclass(frozen=True, kw_only=True)
class KernelRow:
    """One kernel. Rates are 10^9 multiply-accumulates per second of one core."""

    processor: str
    kernel: str
    rate: float
    peak: float
    """Of the kernel's multiplications alone, on registers."""
    runs: bool
    """Whether this processor's parties run it for large products."""
    commit: str
    command: str

    def __str__(self) -> str:
        return f"{self.kernel:14}{self.rate:6.1f} of {self.peak:5.1f}{'  runs' if self.runs else ''}"


def add_options(parser: argparse.ArgumentParser, _: str) -> None:
    """What the command takes."""
    parser.add_argument("--dry", action="store_true", help="print only, add no row")


def main(options: argparse.Namespace) -> None:
    """Measure and record."""
    print("10^9 multiply-accumulates per second of one core, and of its multiplications alone")
    measured = list(kernel_rows())
    if not options.dry:
        rows.write("kernels", measured)


def kernel_rows() -> Iterator[KernelRow]:
    """A row for each kernel that this processor has, printed as it comes."""
    chosen = chosen_kernel()
    for name, (rate, peak) in kernel_rates():
        row = KernelRow(
            processor=processor(), kernel=name, rate=rate, peak=peak, runs=name == chosen,
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
