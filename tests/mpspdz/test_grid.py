"""A few cells of models × attention (`tests/vm/test_grid.py`) under protocols of MP-SPDZ."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from helpers.grid import Cell, checkpoint
from helpers.mpspdz_local import installation
from rich.console import Console
from secfwt.runtime.mpspdz.local import mpspdz_engine, options_for
from secfwt.runtime.progress import PlainDisplay


@pytest.mark.slow
@pytest.mark.parametrize(
    ("protocol", "model", "attention", "options"),
    [
        ("ring", "bert", "softmax", {"prompt_at": "start"}),
        ("ring", "roberta", "rfa", {}),
        ("rep4-ring", "distilbert", "softmax", {}),
        ("dealer-ring", "xlm-roberta", "rfa", {}),
    ],
)
def test_a_model_as_it_is(protocol: Any, model: str, attention: Any, options: dict[str, Any], tmp_path: Path) -> None:
    installation(protocol)
    cell = Cell.of(checkpoint(tmp_path / "model", model), attention, **options)
    assert cell.compiled.weights is not None
    program, display = options_for(protocol, [len(cell.batch)]), PlainDisplay(Console(quiet=True))
    with mpspdz_engine(cell.compiled.plan, cell.compiled.weights, program, tmp_path, display) as engine:
        engine.load_examples("set", cell.batch)
        losses, logits = engine.losses("set", cell.z), engine.logits("set", cell.z[0])
    assert cell.wrong(losses, logits) < cell.accepted
