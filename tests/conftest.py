"""What all tests share: where programs are found, the order of the run, and a word on what could not be tested."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.places import ROOT
from secfwt.codegen.mpspdz.protocols import PROTOCOLS
from secfwt.codegen.native import binaries
from secfwt.runtime.mpspdz import installation as mpspdz

FOLDERS = ("source", "codegen", "runtime", "benchmarks", "vm", "mpspdz", "checkout")
"""In the order in which they run: by what they need. Python alone, the VM, an installation of MP-SPDZ, compilers."""


def pytest_configure() -> None:
    """This environment's programs (cmake, ninja …) come first; where secfwt's are not installed, the newest built."""
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in background jobs, and by heirs
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # numpy and torch: toys gain nothing from more
    try:
        binaries.find(binaries.VM)
    except binaries.BinaryMissing:
        built = max(ROOT.glob(f"build/*/{binaries.VM}"), key=lambda path: path.stat().st_mtime, default=None)
        if built is not None:
            os.environ["SECFWT_BIN"] = str(built.parent)


@pytest.fixture(autouse=True)
def _signals() -> Iterator[None]:
    """A command that is interrupted in this process ignores signals on its way out: the next test does not."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Quick tests first, so that a mistake shows at once, and what runs beside others last; stable otherwise."""
    items.sort(
        key=lambda item: (FOLDERS.index(item.path.relative_to(ROOT / "tests").parts[0]), item.path.stem == "test_fuzz")
    )


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Name what is optional and absent."""
    try:
        binaries.describe()
    except binaries.BinaryMissing as error:
        terminalreporter.write_line(f"absent: {error}", yellow=True)
    try:
        found = mpspdz.find()
    except mpspdz.MpSpdzError as error:
        terminalreporter.write_line(f"absent, its tests were skipped: {error}", yellow=True)
    else:
        missing = [name for name in PROTOCOLS if name not in found.protocols]
        if missing:
            terminalreporter.write_line(
                f"absent, their tests were skipped: MP-SPDZ's programs for {', '.join(missing)}", yellow=True
            )
