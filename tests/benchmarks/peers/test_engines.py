"""Engines on the same layer."""

from __future__ import annotations

import pytest
from helpers.benchmark_rows import ROW

import run
from peers import engines
from performance import layer


def test_absent_peers_are_named_and_the_rest_is_measured(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(layer, "measure", lambda *_: ROW)
    options = run.parsed(["peers", "--engines", "spu", "crypten", "embedded"])
    assert [(row.benchmark, row.engine) for row in engines.peer_rows(options)] == [("peers", "embedded")]
    output = capsys.readouterr().out
    assert "skipped spu: SPU: no --spu-python" in output
    assert "skipped crypten: CrypTen: no --crypten-python" in output
