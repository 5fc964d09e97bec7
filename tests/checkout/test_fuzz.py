"""What a party reads from others, under ASan and UBSan: the inputs that ever failed, then a minute of new ones."""

from __future__ import annotations

import pytest
from helpers.fuzzing import Fuzzing
from helpers.places import ROOT


@pytest.mark.slow
@pytest.mark.parametrize("target", ["program", "client", "owners", "peer"])
def test_nobody_s_bytes_do_harm(target: str, fuzzing: dict[str, Fuzzing], capsys: pytest.CaptureFixture[str]) -> None:
    """A failure names the input's file: it belongs into tests/vm/corpus, once it is mended."""
    fuzzer = fuzzing[target]
    code = fuzzer.code()
    what = f"{target}, --seed {fuzzer.seed}"
    assert code == 0, f"{what}, input in {fuzzer.last.relative_to(ROOT)}:\n{fuzzer.said[-20_000:]}"
    with capsys.disabled():
        print(f"\n{what}: {fuzzer.said.splitlines()[-1]}", end=" ")
    assert "new inputs read" in fuzzer.said
