"""What a party reads from others, under ASan and UBSan: the inputs that ever failed, then a few seconds of new ones."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from helpers.native import built, command
from helpers.parties import write_program
from helpers.places import ROOT
from secfwt.runtime.parties.certificates import make_certificates

SECONDS = {"program": 5, "client": 8, "peer": 4}
"""Of new inputs, each target; SECFWT_FUZZ_SECONDS gives all of them as many as it says."""


@pytest.mark.slow
@pytest.mark.parametrize("target", SECONDS)
def test_nobody_s_bytes_do_harm(target: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A failure names the input's file: it belongs into tests/vm/corpus, once it is mended."""
    seed = os.environ.get("SECFWT_FUZZ_SEED") or str(time.time_ns() % 2**32)
    seconds = os.environ.get("SECFWT_FUZZ_SECONDS") or SECONDS[target]
    make_certificates(tmp_path / "certificates")
    last = ROOT / "build" / f"last-{target}-input"
    with capsys.disabled():
        fuzzer = built("secfwt-fuzz", "address,undefined")
        print(f"\n{target}: --seed {seed}, each input first in {last.relative_to(ROOT)} … ", end="", flush=True)
        said = command(
            fuzzer, target, "--seconds", seconds, "--seed", seed, "--corpus", ROOT / "tests" / "vm" / "corpus" / target,
            "--last", last, "--certificates", tmp_path / "certificates", "--program", write_program(tmp_path),
            seconds=300,
        )  # fmt: skip
        print(said.splitlines()[-1], end=" ")
    assert "new inputs read" in said
