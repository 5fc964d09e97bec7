"""How far neurons go: the largest input of each, over all batches."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.ring_toys import INNER, toy
from secfwt.codegen.owners import reach
from secfwt.codegen.owners.reach import Reaches
from secfwt.codegen.plan.oracle import run_plan


def test_the_largest_input_of_each_neuron_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    t = toy()
    seen: list[np.ndarray] = []
    reaches = Reaches(t.plan)

    def see(site: str, values: np.ndarray) -> None:
        reaches.see(site, values)
        if site == "layers.1.activation":
            seen.append(np.abs(values.reshape(-1, INNER)).max(axis=0))

    for factor in (1.0, 0.5):
        run_plan(t.plan, t.weights, t.inputs | {"x": factor * t.inputs["x"]}, observe=see)
    assert reaches.weights() == {}, "so few rows show too little"
    monkeypatch.setattr(reach, "LEAST_ROWS", 1)
    got = reaches.weights()
    assert set(got) == {"layers.0.reach", "layers.1.reach"}
    np.testing.assert_allclose(got["layers.1.reach"], np.max(seen, axis=0), rtol=1e-6)
