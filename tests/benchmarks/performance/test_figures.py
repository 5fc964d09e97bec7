"""Figures of rows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from helpers.benchmark_rows import ROW

from performance import figures


def test_a_figure_shows_what_differs_along_its_axis_alone(tmp_path: Path) -> None:
    measured = [replace(ROW, tokens=tokens, seconds=tokens / 1000) for tokens in (256, 64, 128)]
    measured += [replace(ROW, tokens=128, seconds=0.5), replace(ROW, tokens=128, features=64)]
    lines = figures.along(measured, "tokens")
    assert {name: [row.tokens for row in line] for name, line in lines.items()} == {
        "minilm, embedded, 32 features": [64, 128, 256]
    }
    (line,) = lines.values()
    assert line[1].seconds == 0.5  # the later row
    softmax = [replace(row, attention="softmax", features=0) for row in measured[:3]]
    assert list(figures.along(softmax, "tokens")) == ["minilm, embedded, softmax"]
    assert list(figures.along(measured, "features")) == ["minilm, embedded, 128 tokens"]
    path = tmp_path / "layer-tokens.svg"
    assert figures.growth(measured, "tokens", path)
    assert "minilm, embedded, 32 features" in path.read_text()
    before = path.read_bytes()
    assert figures.growth(measured, "tokens", path)
    assert path.read_bytes() == before
    assert not figures.growth(measured, "layers", tmp_path / "none.svg")
    assert not (tmp_path / "none.svg").exists()


def test_attentions_are_compared_within_one_run(tmp_path: Path) -> None:
    rfa = [replace(ROW, tokens=tokens) for tokens in (32, 64)]
    softmax = [replace(row, attention="softmax", features=0) for row in rfa]
    later = [replace(row, command="another") for row in (*rfa, *softmax)]
    alone = [replace(row, command="a third") for row in rfa]
    assert figures.one_run([*rfa, *softmax, *later, *alone]) == later
    assert figures.one_run([*rfa, *alone]) == []
    figures.attentions(later, tmp_path / "attentions.svg")
    drawn = (tmp_path / "attentions.svg").read_text()
    assert "minilm, embedded, softmax" in drawn
    assert "minilm, embedded, 32 features" in drawn


def test_engines_stand_side_by_side(tmp_path: Path) -> None:
    measured = [ROW, replace(ROW, engine="SPU 1", attention="softmax"), replace(ROW, shape="768/12/3072")]
    figures.side_by_side(measured, tmp_path / "peers.svg")
    drawn = (tmp_path / "peers.svg").read_text()
    assert "SPU 1, softmax" in drawn
    assert "bert-base: MB, all parties" in drawn
