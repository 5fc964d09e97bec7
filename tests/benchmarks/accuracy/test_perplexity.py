"""A private decoder as a language model against the original, of a toy."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from helpers.toy_decoders import save_decoder

import run


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_a_row_says_how_near_the_private_distributions_are(family: str, tmp_path: Path) -> None:
    save_decoder(tmp_path / "toy", family, "causal_lm")
    (tmp_path / "films.txt").write_text("the film was great\n\nfilm\na terrible film it was\n")
    out = tmp_path / "rows.csv"
    options = ["--kinds", str(tmp_path / "films.txt"), "--tokens", "24", "--out", str(out)]
    given = run.parsed(["perplexity", "--model", str(tmp_path / "toy"), *options])
    given.main(given)
    (row,) = csv.DictReader(out.read_text().splitlines())
    assert (row["kind"], row["texts"]) == ("films", "3")
    assert abs(float(row["private"]) / float(row["clear"]) - 1) < 0.02
    assert 0 < float(row["kl"]) < 0.01
    assert float(row["same_top"]) > 0.9
