"""Programs are tried before anybody gets them; and what becomes of text that is far from the calibration's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.grid import Cell, checkpoint
from helpers.ring_toys import toy
from safetensors.numpy import load_file, save_file
from secfwt.codegen import intervals
from secfwt.codegen.commandline.problems import ProblemsFound
from secfwt.codegen.model.options import GenOptions
from secfwt.codegen.owners.calibration import with_outliers

NARROW = 0.5
"""What calibration is made to say of an activation whose values reach 14."""


def served(monkeypatch: pytest.MonkeyPatch, *narrow: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Sites as calibration found them, with activations `narrow`ed where these keys are, and those that serve."""
    t, said = toy("prototypes", loud=5.0), {}

    def calibrate(*given: Any) -> dict[str, dict[str, float]]:
        said.update(found(*given))
        for name, site in said.items():
            if name.endswith(".activation"):
                said[name] = site | {key: float(np.clip(site[key], -NARROW, NARROW)) for key in narrow}
        return said

    found = intervals.calibrate
    monkeypatch.setattr(intervals, "calibrate", calibrate)
    intervals.serve(t.plan, t.weights, GenOptions(), [t.inputs], adapted=False)
    return said, t.plan.meta["calibration"]


def test_intervals_that_serve_stay_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    said, chosen = served(monkeypatch)
    assert chosen == said


def test_outliers_widen_intervals_that_do_not_serve(monkeypatch: pytest.MonkeyPatch) -> None:
    said, chosen = served(monkeypatch, "q0.0001", "q0.9999")
    assert chosen == with_outliers(said)
    assert chosen["layers.0.activation"]["q0.9999"] == said["layers.0.activation"]["max"] > NARROW


def test_what_no_interval_serves_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ProblemsFound) as refused:
        served(monkeypatch, "q0.0001", "q0.9999", "min", "max")
    (problem,) = refused.value.problems
    assert "tried on calibration text, the program's results are wrong by" in problem.header
    assert "--attention softmax" in problem.detail


@pytest.mark.parametrize("factor", [1, 2, 4])
def test_larger_logits_are_right_or_refused(factor: float, tmp_path: Path) -> None:
    model = louder(checkpoint(tmp_path, "bert"), factor)
    try:
        cell = Cell.of(model, "softmax")
    except ProblemsFound:
        if factor == 1:
            raise
        return
    assert cell.on_oracle() < 5 * cell.accepted


def test_logits_too_large_for_a_series_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ProblemsFound) as refused:
        Cell.of(louder(checkpoint(tmp_path, "bert"), 400), "softmax")
    assert "--attention rfa" in refused.value.problems[0].detail


def louder(model: Path, factor: float) -> Path:
    """The checkpoint with W_q and its bias times a factor."""
    file = model / "model.safetensors"
    tensors = {n: v * np.float32(factor) if "query" in n else v for n, v in load_file(file).items()}
    save_file(tensors, file, {"format": "pt"})
    return model


@pytest.mark.parametrize("attention", ["softmax", "rfa"])
def test_texts_twice_as_long_as_those_calibrated_on(attention: Any, tmp_path: Path) -> None:
    short = ["good film", "the news was very bad .", "it was a good world", "sport , news"] * 6
    cell = Cell.of(checkpoint(tmp_path, "bert"), attention, calibration=short, tokens=24)
    assert cell.batch.inputs["mask"].sum(axis=1).max() > 2 * 8
    assert cell.on_oracle() < 5 * cell.accepted


@pytest.mark.parametrize("attention", ["softmax", "rfa"])
def test_another_language_than_that_calibrated_on(attention: Any, tmp_path: Path) -> None:
    greek = ["Η θάλασσα ήταν ήρεμη.", "Όλοι οι άνθρωποι γεννιούνται ελεύθεροι."]
    cell = Cell.of(checkpoint(tmp_path, "xlm-roberta"), attention, texts=greek)
    assert cell.on_oracle() < 5 * cell.accepted
