"""The self-test of the C++, plain and under the sanitizers."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers.native import built, command
from secfwt.runtime.parties.certificates import make_certificates


@pytest.mark.slow
@pytest.mark.parametrize("sanitizers", ["", "address,undefined", "thread"])
def test_self_test(sanitizers: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_certificates(tmp_path)
    with capsys.disabled():
        program = built("secfwt-vm-test", sanitizers)
        print("running … ", end="", flush=True)
        result = command(program, tmp_path, seconds=300)
        print(result.strip(), end=" ")
    assert ", 0 failed" in result
