"""Rows of models with merged heads: the original's first, then how near the others are to it and what they send."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
from secfwt.codegen.model.checkpoint import load_checkpoint, stored_names
from secfwt.codegen.model.hf import read_model
from secfwt.codegen.model.options import GenOptions
from secfwt.runtime.conversion.output import write_merged

import run


def merged(model: Path, out: Path) -> Path:
    """The toy with its two heads merged, as the adaptation begins."""
    options = GenOptions(sequence_length=8, n_prompt_tokens=0, attention="softmax", label_texts=("a", "b"))
    spec = read_model(model, options)
    names, weights = stored_names(model, spec), load_checkpoint(model, spec)
    louder = {names[n]: w * np.float32(2**0.5) for n, w in weights.items() if ".q." in n}
    write_merged(out, model, louder, spec.num_attention_heads // 2, {"per_head": 2})
    return out


def test_a_row_per_model(directory: Path, tmp_path: Path) -> None:
    for task, labels in (("ag_news", ("World", "Sports")), ("sst2", ("positive", "negative"))):
        (tmp_path / task).mkdir()
        lines = [f"the film was {word}\t{label}" for word, label in zip(("great", "terrible"), labels, strict=True)]
        (tmp_path / task / "dev.tsv").write_text("text\tlabel\n" + "\n".join(lines) + "\n")
    out = tmp_path / "rows.csv"
    fewer = merged(directory, tmp_path / "fewer")
    options = ["--original", str(directory), "--model", str(fewer), "--tokens", "8", "--data", str(tmp_path)]
    given = run.parsed(["merged-heads", *options, "--out", str(out)])
    given.main(given)
    original, other = csv.DictReader(out.read_text().splitlines())
    assert float(original["cosine"]) == 1
    assert 0 < float(other["cosine_5th"]) <= float(other["cosine"]) < 1
    assert (int(other["heads"]), other["texts"]) == (int(original["heads"]) // 2, "4")
    assert float(other["megabytes"]) < float(original["megabytes"])
    assert {row[task] for row in (original, other) for task in ("ag_news", "sst2")} <= {"0", "50", "100"}
