"""Engines on the same layer."""

from __future__ import annotations

from dataclasses import replace

import pytest
from helpers.benchmark_rows import ROW

import run
from peers import engines
from performance import layer


def test_absent_peers_are_named_and_the_rest_is_measured(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(layer, "measure", lambda *given: replace(ROW, attention=given[3]))
    options = run.parsed(["peers", "--engines", "spu", "crypten", "embedded"])
    measured = [(row.benchmark, row.engine, row.attention) for row in engines.peer_rows(options)]
    assert measured == [("peers", "embedded", attention) for attention in ("rfa", "softmax")]
    output = capsys.readouterr().out
    assert "skipped spu: SPU: no --spu-python" in output
    assert "skipped crypten: CrypTen: no --crypten-python" in output
