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


def test_classification(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    save_sentence_transformer(tmp_path / "model", "bert")
    monkeypatch.chdir(ROOT / "examples")
    monkeypatch.setenv("MPLBACKEND", "agg")
    names: dict[str, Any] = {}
    replaced = 0
    for source, tags in cells(ROOT / "examples" / "classification.ipynb"):
        exec(compile(source, "classification.ipynb", "exec"), names)
        if "parameters" in tags:
            names |= {"MODEL": {**TOY, "model": tmp_path / "model"}, "FOLDER": tmp_path / "kept"}
            replaced += 1
    assert replaced == 1
    said = capsys.readouterr().out
    assert "64 texts; astronomy, cooking, gardening, sailing" in said
    assert "8 evaluations" in said
    assert np.array_equal(names["again"].classes_, names["classifier"].classes_)
    assert (tmp_path / "kept" / "report.html").exists()
