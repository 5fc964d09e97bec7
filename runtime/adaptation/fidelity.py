"""How close a student is to its original, and which values its non-linearities see, on given texts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...codegen.owners.calibration import summary
from ...codegen.series.ranges import Ranges
from .corpus import Corpus
from .decoder import first_rows, weigh
from .forward import attend, encode
from .student import (
    EXACT,
    Architecture,
    Forms,
    Parameters,
    Rows,
    Trace,
    Which,
    feature_map,
    linear,
    softmax_weights,
    split,
    variance,
)

_BOTH: tuple[Which, ...] = ("query", "key")
Floats = NDArray[np.float32]
Json = dict[str, Any]
FITTED = ("activation", "attention_var", "output_var", "den", "row_sum", "feature_query", "feature_key")
"""Sites whose intervals a program is built on; each variant of features has its own of the last four."""


def observed(trace: Trace) -> dict[str, Floats]:
    """A layer's values by calibration site."""
    sites = trace.sites | {name: variance(rows) for name, rows in trace.sums.items()}
    return {site: value.float().cpu().numpy().ravel() for site, value in sites.items()}


@torch.no_grad()
def calibrated(corpus: Corpus, weights: Parameters, shape: Architecture) -> dict[str, dict[str, float]]:
    """What every site of the student sees: `min`, `max` and the quantiles of `codegen/calibration.py`."""
    seen: dict[str, list[Floats]] = {}
    for x, rows in corpus.all():
        traces, _, _ = encode(x, rows, weights, shape, adapted=True)
        for layer, trace in enumerate(traces):
            for site, values in observed(trace).items():
                seen.setdefault(f"layers.{layer}.{site}", []).append(values)
    return {site: summary(np.concatenate(values)) for site, values in seen.items()}


@torch.no_grad()
def outside(corpus: Corpus, weights: Parameters, shape: Architecture, ranges: Ranges, forms: Forms) -> dict[str, float]:
    """Share of a fitted site's values that leave its interval: there the program computes something else."""
    left: dict[str, list[float]] = {}
    for x, rows in corpus.all():
        traces, _, _ = encode(x, rows, weights, shape, adapted=True, forms=forms)
        for layer, trace in enumerate(traces):
            values = observed(trace)
            for site in (site for site in FITTED if site in values):
                name = f"layers.{layer}.{site}"
                low, high = _interval(ranges, name, site)
                count = int(np.count_nonzero((values[site] < low) | (values[site] > high)))
                left.setdefault(name, []).extend((count, values[site].size))
    return {site: sum(counts[::2]) / sum(counts[1::2]) for site, counts in left.items()}


def _interval(ranges: Ranges, name: str, site: str) -> tuple[float, float]:
    if site == "activation":
        return -ranges.half_width(name), ranges.half_width(name)
    if site.startswith("feature"):
        width = 2.0 ** (ranges.square_bits(name) / 2)
        return -width, width
    return {"den": ranges.denominator, "row_sum": ranges.row_sum}.get(site, ranges.variance)(name)


@torch.no_grad()
def fidelity(corpus: Corpus, weights: Parameters, shape: Architecture, forms: Forms = EXACT) -> Json:
    """Embeddings' cosine to the original's, with and without random prompt rows, and every layer's errors.

    `hidden_error`: squared error of the layer's rows over their squares, all layers below being the student's.
    `attention_error`: the same of the attention's output; `attention_distance`: half the sum of |difference| of a row's
    attention weights (total variation), both on the original's own input to the layer.
    """
    rng = np.random.default_rng(0)
    cosines, prompted = [], []
    layers = [_Mean() for _ in range(shape.layers)]
    at = shape.layers * 2 // 3
    for x, rows in corpus.all():
        originals, pooled, _ = encode(x, rows, corpus.teacher, shape, adapted=False)
        traces, mine, _ = encode(x, rows, weights, shape, adapted=True, forms=forms)
        cosines.append((mine * pooled).sum(-1))
        prompt = corpus.prompt(originals[at - 1].hidden if at else x, rows, at, rng)
        pooled = encode(x, rows, corpus.teacher, shape, adapted=False, prompt=prompt, at=at)[1]
        mine = encode(x, rows, weights, shape, adapted=True, prompt=prompt, at=at, forms=forms)[1]
        prompted.append((mine * pooled).sum(-1))
        for layer, (original, trace) in enumerate(zip(originals, traces, strict=True)):
            hidden = original.sites["hidden"]
            context, _ = attend(hidden, rows, weights, layer, shape, forms)
            attention = linear(context, weights, f"layers.{layer}.o")
            layers[layer].add(
                len(rows.mask),
                hidden_error=relative_error(trace.hidden, original.hidden),
                attention_error=relative_error(attention, original.attention),
                attention_distance=_attention_distance(hidden, rows, corpus.teacher, weights, layer, shape),
            )
    return {
        "texts": len(corpus.texts), **_cosine_summary("cosine", cosines), **_cosine_summary("prompted", prompted),
        "layers": [layer.values() for layer in layers],
    }  # fmt: skip


def relative_error(mine: Tensor, original: Tensor) -> float:
    """Squared error over squares."""
    return float((mine - original).square().sum() / original.square().sum())


def _attention_distance(
    x: Tensor, rows: Rows, teacher: Parameters, weights: Parameters, layer: int, shape: Architecture
) -> float:
    """Mean total variation distance between a head's softmax weights and the student's."""
    if shape.decoder:
        theirs, ours = (
            weigh(x, rows, each, layer, shape, adapted=adapted).weights
            for each, adapted in ((teacher, False), (weights, True))
        )
        apart = rows.unpad((theirs - ours).abs().sum(-1).mean(1) / 2)
        return float(apart[~first_rows(rows)].mean())
    exact = softmax_weights(x, rows, teacher, layer, shape.heads)
    mine = _student_weights(x, rows, weights, layer, shape)
    distance = (mine - exact).abs().sum(-1).mean(1) / 2
    return float(distance[rows.mask].mean())


def _student_weights(x: Tensor, rows: Rows, weights: Parameters, layer: int, shape: Architecture) -> Tensor:
    """An encoder's, for each of the original's heads `[B, H, T, T]`."""
    if shape.merged > 1:
        return softmax_weights(x, rows, weights, layer, shape.heads // shape.merged).repeat_interleave(shape.merged, 1)
    query, key = (feature_map(x, weights, layer, which, shape)[0] for which in _BOTH)
    kernel: Tensor = torch.zeros(())
    for halves in zip(query, key, strict=True):
        a, b = (split(half, rows, shape.heads) for half in halves)
        kernel = kernel + a @ b.transpose(2, 3)
    kernel = kernel * rows.mask[:, None, None, :] / (shape.features[layer] * rows.nominal)[:, None, None, None]
    floor = 0.0 if shape.variant == "relu2" else shape.floor
    return kernel / kernel.sum(-1, keepdim=True).clamp(min=floor)


class _Mean:
    """Means of named numbers, weighted."""

    def __init__(self) -> None:
        self._sums: dict[str, float] = {}
        self._weight = 0.0

    def add(self, weight: float, **numbers: float) -> None:
        self._weight += weight
        for name, number in numbers.items():
            self._sums[name] = self._sums.get(name, 0.0) + weight * number

    def values(self) -> dict[str, float]:
        return {name: round(total / self._weight, 4) for name, total in self._sums.items()}


def _cosine_summary(name: str, parts: Iterable[Tensor]) -> dict[str, float]:
    values = torch.cat(list(parts)).cpu().numpy()
    return {f"{name}_mean": round(float(values.mean()), 4), f"{name}_q0.05": round(float(np.quantile(values, 0.05)), 4)}
