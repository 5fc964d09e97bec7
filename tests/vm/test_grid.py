"""Models × attention × engine: what can be compiled is right on text that was not calibrated on, or it is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers.grid import MODELS, Cell, checkpoint, lowest_layer_of_adapter
from secfwt.codegen.compile import public_sentences
from secfwt.codegen.model.options import AttentionChoice
from secfwt.runtime.comparison.task import Size, make_task
from secfwt.runtime.tuning.model import default_model

ATTENTION: tuple[AttentionChoice, ...] = ("softmax", "rfa")


@pytest.mark.parametrize("attention", ATTENTION)
@pytest.mark.parametrize("model", MODELS)
def test_a_model_as_it_is(model: str, attention: AttentionChoice, tmp_path: Path) -> None:
    few = public_sentences()[:60] if model == "minilm" else None  # in seconds
    cell = Cell.of(checkpoint(tmp_path, model), attention, calibration=few)
    assert max(cell.on_oracle(), cell.on_vm()) < cell.accepted


def test_a_model_with_its_adapter(tmp_path: Path) -> None:
    adapter = lowest_layer_of_adapter(tmp_path / "adapter")
    cell = Cell.of(checkpoint(tmp_path / "model", "minilm"), "auto", adapter)
    assert cell.compiled.options.attention == "rfa"
    assert max(cell.on_oracle(), cell.on_vm()) < cell.accepted


def test_outliers_of_untrained_features() -> None:
    """`compare.py MINILM --attention rfa --layers 1 --tokens 16`: GELU inputs reach -31, most lie within 17."""
    task = make_task(default_model(), Size(tokens=16, layers=1, attention="rfa"))
    site = task.plan.meta["calibration"]["layers.0.activation"]
    assert site["q0.0001"] == site["min"] < -30
    cell = Cell(task.compiled, task.batch, task.z[:1], task.losses[:1], task.logits)
    assert cell.on_oracle() < cell.accepted
