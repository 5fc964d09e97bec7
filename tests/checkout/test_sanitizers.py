"""The self-test of the C++, plain and under the sanitizers."""

from __future__ import annotations

import pytest
from helpers.native import built, command


@pytest.mark.slow
@pytest.mark.parametrize("sanitizers", ["", "address,undefined", "thread"])
def test_self_test(sanitizers: str, capsys: pytest.CaptureFixture[str]) -> None:
    with capsys.disabled():
        program = built("secfwt-vm-test", sanitizers)
        print("running … ", end="", flush=True)
        result = command(program, seconds=300)
        print(result.strip(), end=" ")
    assert ", 0 failed" in result
