"""What all tests share: where programs are found, the order of the run, and a word on what could not be tested."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest
from helpers.places import ROOT
from secfwt.runtime.mpspdz import installation as mpspdz
from secfwt.runtime.parties import binaries

LAST = ("test_vm", "test_service", "test_tune", "test_mpspdz", "test_build_script", "test_install", "test_sanitizers")
"""Modules that run last, in this order: those that start parties, then those that compile."""


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


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Quick tests first, so that a mistake shows at once; stable otherwise."""
    items.sort(key=_rank)


def _rank(item: pytest.Item) -> int:
    return next((i for i, name in enumerate(LAST, 1) if item.path.stem.startswith(name)), 0)


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
        missing = [name for name in mpspdz.PARTIES if name not in found.protocols]
        if missing:
            terminalreporter.write_line(
                f"absent, their tests were skipped: MP-SPDZ's programs for {', '.join(missing)}", yellow=True
            )
