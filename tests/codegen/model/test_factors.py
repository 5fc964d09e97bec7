"""Factors of what an adapter changes a folded matrix by."""

from __future__ import annotations

import numpy as np
import pytest
from secfwt.codegen.model.lora.factors import Change, Floats, Tensors
from secfwt.codegen.model.weights import base_name

RNG = np.random.default_rng(0)


def tensors(*sizes: tuple[str, int, int, int], strength: float = 0.1) -> dict[str, Floats]:
    """Matrices `[out, in]` that a change of a rank has been merged into in float32, and their bases."""
    found = {"gamma": RNG.normal(size=24)}
    for name, rows, columns, rank in sizes:
        base = RNG.normal(size=(rows, columns)).astype(np.float32)
        change = strength * RNG.normal(size=(rows, rank)) @ RNG.normal(size=(rank, columns))
        found[base_name(name)] = base.astype(np.float64)
        found[name] = (base + change.astype(np.float32)).astype(np.float64)
    return found


def folded(w: Tensors) -> Floats:
    """Scaled, transposed, in another order, centred."""
    m = (w["w"] * w["gamma"]).T[:, ::-1] / 3
    return np.asarray(m - m.mean(axis=-1, keepdims=True))


@pytest.mark.parametrize("strength", [1.0, 1e-3, 0.0])
def test_base_and_factors_add_up(strength: float) -> None:
    w, change = tensors(("w", 32, 24, 3), strength=strength), Change(folded, {"w": 3})
    down = change.down(w)
    assert down.shape == (24, 3)
    np.testing.assert_allclose(down.T @ down, np.eye(3), atol=1e-12)
    np.testing.assert_allclose(change.base(w) + down @ change.up(w, down), folded(w), atol=1e-5)
    assert np.array_equal(change.down(w), down)  # whoever makes it


def test_two_matrices_in_one_change_by_the_sum_of_their_ranks() -> None:
    w = tensors(("up", 40, 24, 2), ("down", 24, 40, 3))
    change = Change(lambda w: (w["down"] @ w["up"]).T / 2, {"up": 2, "down": 3})
    down = change.down(w)
    assert (change.rank, down.shape) == (5, (24, 5))
    np.testing.assert_allclose(change.base(w) + down @ change.up(w, down), change.make(w), atol=1e-4)


def test_a_change_of_higher_rank_is_refused() -> None:
    w = tensors(("w", 32, 24, 3))
    change = Change(folded, {"w": 2})
    with pytest.raises(ValueError, match="the change of w has another rank than the adapter's"):
        change.up(w, change.down(w))
