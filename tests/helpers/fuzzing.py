"""A fuzzer of `vm/fuzz` as a process of its own, and what it has said when it is done."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

from helpers.native import OPTIONS
from helpers.parties import PROGRAM, write_program
from helpers.places import ROOT

SECONDS = 60
"""Of new inputs; `SECFWT_FUZZ_SECONDS` says otherwise."""

SEVERAL = ("anna", "ben", "board")
"""Two data owners and their coordinator: clients of the target `owners`."""
SUMS = PROGRAM.replace("out loss 11 ring=28", "out loss 11 ring=28 min_owners=2")


class Fuzzing:
    """Reads the inputs that ever failed, then new ones, from another seed each time (or `SECFWT_FUZZ_SEED`)."""

    def __init__(self, fuzzer: Path, target: str, folder: Path) -> None:
        self.seed = os.environ.get("SECFWT_FUZZ_SEED") or str(time.time_ns() % 2**32)
        self.seconds = float(os.environ.get("SECFWT_FUZZ_SECONDS") or SECONDS)
        self.last = ROOT / "build" / f"last-{target}-input"
        """The input that was read last: where the fuzzer fails, the one to keep."""
        self._log = folder / f"{target}.log"
        program = folder / target
        program.mkdir()
        words = {
            "seconds": self.seconds, "seed": self.seed, "corpus": ROOT / "tests" / "vm" / "corpus" / target,
            "last": self.last, "certificates": folder / "certificates",
            "program": write_program(program, SUMS if target == "owners" else PROGRAM),
        }  # fmt: skip
        command = [str(fuzzer), target, *(str(each) for name, word in words.items() for each in (f"--{name}", word))]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                command, stdout=log, stderr=subprocess.STDOUT, env={**os.environ, **OPTIONS}
            )

    def code(self) -> int:
        """Its exit code, once it is done."""
        return self._process.wait(self.seconds + 240)

    @property
    def said(self) -> str:
        """All that it has printed."""
        return self._log.read_text(errors="replace")

    def stop(self) -> None:
        """End it where it still runs."""
        self._process.kill()
        self._process.wait()
