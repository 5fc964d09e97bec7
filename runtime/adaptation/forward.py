"""Forward passes of whichever model is converted: an encoder's (`student.py`) or a decoder's (`decoder.py`)."""

from __future__ import annotations

from torch import Tensor

from . import decoder, student
from .student import EXACT, Architecture, Forms, Parameters, Rows, Trace


def encode(
    x: Tensor,
    rows: Rows,
    weights: Parameters,
    shape: Architecture,
    *,
    adapted: bool,
    prompt: Tensor | None = None,
    at: int = 0,
    forms: Forms = EXACT,
) -> tuple[list[Trace], Tensor, Rows]:
    """Every layer's trace, the pooled unit embedding `[B, h]`, and the rows; `prompt` enters before layer `at`."""
    run = decoder.decode if shape.decoder else student.encode
    return run(x, rows, weights, shape, adapted=adapted, prompt=prompt, at=at, forms=forms)


def attend(
    x: Tensor, rows: Rows, weights: Parameters, layer: int, shape: Architecture, forms: Forms = EXACT
) -> tuple[Tensor, dict[str, Tensor]]:
    """The student's attention on a layer's normalised input, before its output matrix, and what it went through."""
    run = decoder.attend if shape.decoder else student.attend
    return run(x, rows, weights, layer, shape, forms)
