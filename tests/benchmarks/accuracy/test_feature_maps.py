"""Attention transfer with both feature maps, of a toy."""

from __future__ import annotations

import csv
from pathlib import Path

from helpers.toy_encoder import WORDS, write_model

import run
from accuracy.feature_maps import joined


def test_texts_are_joined_without_a_second_beginning() -> None:
    assert list(joined([[1, 5, 6, 9], [1, 7, 9], [1, 8, 8, 8, 9]], 6)) == [[1, 5, 6, 9, 7, 9]]
    assert list(joined([[1, 5, 6, 9], [1, 7, 7, 9]], 5)) == [[1, 5, 6, 9, 9]]


def test_a_row_per_layer_and_map(tmp_path: Path) -> None:
    for name in ("train", "dev"):
        (tmp_path / "ag_news").mkdir(exist_ok=True)
        lines = [f"{' '.join(WORDS[i:] + WORDS[:i])}\t{'ab'[i % 2]}" for i in range(len(WORDS))]
        (tmp_path / "ag_news" / f"{name}.tsv").write_text("\n".join(["text\tlabel", *lines]))
    (tmp_path / "model").mkdir()
    out = tmp_path / "rows.csv"
    options = ["--model", str(write_model(tmp_path / "model")), "--data", str(tmp_path), "--out", str(out)]
    options += ["--features", "4", "--tokens", "12", "--texts", "8", "--steps", "3", "--layers", "0", "1"]
    given = run.parsed(["feature-maps", *options])
    given.main(given)
    rows = list(csv.DictReader(out.read_text().splitlines()))
    assert [(row["variant"], row["layer"]) for row in rows] == [
        ("folded", "0"), ("folded", "1"), ("relu2", "0"), ("relu2", "1"),
    ]  # fmt: skip
    assert all(0 < float(row["error"]) < 10 and float(row["megabytes"]) > 0 for row in rows)
