"""The notebooks in examples/ run from top to bottom, on a toy in the place of their model.

Cells run one after the other in one namespace. No notebook here needs more of a kernel; Jupyter's is forty packages.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.places import ROOT
from helpers.toy_decoders import save_decoder
from helpers.toys import save_sentence_transformer

TOY = {
    "engine": "clear", "attention": "softmax", "prompt_layer": 1, "popsize": 4, "intrinsic_dim": 6, "budget": 8,
    "sequence_length": 21,
    "label_texts": {"astronomy": "world", "cooking": "good", "gardening": "bad", "sailing": "sport"},
}  # fmt: skip


def cells(notebook: Path) -> list[tuple[str, list[str]]]:
    """Sources of the code cells, and the tags of each."""
    content = json.loads(notebook.read_text("utf-8"))
    return [
        ("".join(cell["source"]), cell["metadata"].get("tags", []))
        for cell in content["cells"]
        if cell["cell_type"] == "code"
    ]


@pytest.mark.parametrize("notebook", sorted((ROOT / "examples").glob("*.ipynb")), ids=lambda path: path.stem)
def test_it_is_kept_without_results(notebook: Path) -> None:
    content = json.loads(notebook.read_text("utf-8"))
    assert all(not c["outputs"] and c["execution_count"] is None for c in content["cells"] if c["cell_type"] == "code")


def executed(notebook: str, given: dict[str, Any]) -> dict[str, Any]:
    """Names of a notebook whose cells have run in order, with `given` in the place of its parameters."""
    names: dict[str, Any] = {}
    replaced = 0
    for source, tags in cells(ROOT / "examples" / notebook):
        exec(compile(source, notebook, "exec"), names)
        if "parameters" in tags:
            assert given.keys() <= names.keys()
            names |= given
            replaced += 1
    assert replaced == 1
    return names


def test_classification(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    save_sentence_transformer(tmp_path / "model", "bert")
    monkeypatch.chdir(ROOT / "examples")
    monkeypatch.setenv("MPLBACKEND", "agg")
    given = {"MODEL": {**TOY, "model": tmp_path / "model"}, "FOLDER": tmp_path / "kept"}
    names = executed("classification.ipynb", given)
    said = capsys.readouterr().out
    assert "64 texts; astronomy, cooking, gardening, sailing" in said
    assert "8 evaluations" in said
    assert np.array_equal(names["again"].classes_, names["classifier"].classes_)
    assert (tmp_path / "kept" / "report.html").exists()


def test_generation(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_decoder(tmp_path, "llama", "causal_lm")
    model = {"model": str(tmp_path), "max_new_tokens": 6, "sequence_length": 16, "engine": "clear"}
    names = executed("generation.ipynb", {"MODEL": model, "DRAFT": str(tmp_path), "QUESTION": "an old film"})
    said, errors = capsys.readouterr()
    first = said.partition("1: ")[0].strip()
    assert names["drafted"].strip() == first  # a draft changes nothing but the steps
    assert names["drawn"][1] != names["drawn"][2]
    assert "tokens   6" in errors
    assert "1 steps, 4 of 4 drafted tokens kept" in errors
