"""Sweeps of the embedded VM: every combination, measured on toys; nothing is timed here."""

from __future__ import annotations

from dataclasses import replace

import pytest
from helpers.benchmark_rows import ROW, TOY

import rows
import run
from performance import generation, layer, sweeps
from performance.generation import Generation
from performance.models import SHAPES


def test_a_layer_and_a_staged_generation_are_measured() -> None:
    one = layer.measure(TOY, tokens=4, layers=2, attention="rfa", features=4, runs=1, threads=1)
    assert (one.benchmark, one.layers, one.tokens, one.features, one.runs) == ("forward", 2, 4, 4, 1)
    assert one.max_error < 0.02
    size = Generation(replace(TOY, layers=2), 1, candidates=2, examples=3, tokens=4, features=4)
    staged, unstaged = (generation.measure(size, each, 0, 1) for each in (True, False))
    assert (staged.benchmark, unstaged.benchmark) == ("generation", "generation, unstaged")
    assert staged.max_error < 0.02 > unstaged.max_error
    assert staged.megabytes < unstaged.megabytes


def test_softmax_attention_is_measured_with_estimates_that_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layer, "FITTED_ROWS", 256)
    monkeypatch.setattr(generation, "FITTED_ROWS", 256)
    one = layer.measure(TOY, tokens=4, layers=2, attention="softmax", features=0, runs=0, threads=1)
    assert (one.benchmark, one.attention, one.features) == ("forward", "softmax", 0)
    assert 0 < one.max_error < 0.05
    size = Generation(replace(TOY, layers=2), 1, candidates=2, examples=2, tokens=4, features=0, attention="softmax")
    row = generation.measure(size, True, 0, 1)
    assert (row.benchmark, row.attention) == ("generation", "softmax")
    assert 0 < row.max_error < 0.05


def test_unstaged_rows_with_fewer_candidates_are_compared_by_the_pair() -> None:
    staged = replace(ROW, candidates=20, examples=4, seconds=2.0, megabytes=10.0)
    unstaged = replace(ROW, candidates=2, examples=4, seconds=0.6, megabytes=4.0)
    assert generation.times_cheaper(staged, unstaged) == pytest.approx((3.0, 4.0))


def test_every_combination_of_options_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def measure(*given: object) -> rows.Row:
        seen.append(given)
        return ROW

    monkeypatch.setattr(layer, "measure", measure)
    options = run.parsed(["forward", "--shape", "minilm", "bert-base", "--layers", "1", "0", "--tokens", "8", "16"])
    assert len(list(sweeps.forward_rows(options))) == 8
    assert (SHAPES["bert-base"], 16, 12, "rfa", 32, 5, 1) in seen
    seen.clear()
    options = run.parsed(["layer", "--attention", "rfa", "softmax", "--features", "16", "32", "--tokens", "8"])
    assert len(list(sweeps.layer_rows(options))) == 3  # softmax has no features to vary
    assert [given[3:5] for given in seen] == [("rfa", 16), ("rfa", 32), ("softmax", 0)]
