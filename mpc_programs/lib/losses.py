"""One loss an example, and their weighted sum."""

from Compiler.types import sfix

from lib.activations import rectified, softplus
from lib.tensor import across_columns, raw_product, rescale, row_sums, store, transposed


def cross_entropy(logits, labels):
    """log Σ exp(logits) - Σ labels * logits.

    Shapes: `[B, L]`, one-hot `[B, L]` -> `[B]`. Scale: f.
    Interval: |logits| < 64.
    Error: ⌈log2 L⌉ * 5e-4.
    Rounds: 5⌈log2 L⌉ + 3; 28⌈log2 L⌉ + 2 without masked openings. Opens: as `softplus`.
    """
    batch, count = logits.shape
    return store(log_sum_exp(transposed(logits), count) - right_logit(logits, labels), batch)


def hinge(logits, labels, *, margin):
    """Σ over wrong labels j of max(0, margin + l_j - l_right) (Black-Box Tuning, Sun et al. 2022).

    Shapes: `[B, L]`, one-hot `[B, L]` -> `[B]`. Scale: f.
    Interval: |logits| < 2^(k-f-3).
    Error: 4 units.
    Rounds: 14. Opens: nothing.
    """
    batch, count = logits.shape
    gaps = logits.get_vector() - across_columns(right_logit(logits, labels), count) + margin
    wrong = 1 - labels.get_vector()
    return store(rescale(row_sums(raw_product(rectified(gaps), wrong), count), 2 * sfix.f), batch)


def mean_examples(loss, weights, *, tiles):
    """Σ weight * loss over the examples of every tile; the data owner's weights add up to 1 over the whole set.

    Shapes: `[B]`, `[B, 1]` -> vector of `tiles`. Scale: f.
    Interval: |result| < 2^(k-f-1).
    Error: 1 unit a tile, and the weights'.
    Rounds: 3 a tile. Opens: nothing.
    """
    weighted = raw_product(loss.get_vector(), weights.get_vector())
    return rescale(row_sums(weighted, weighted.size // tiles), 2 * sfix.f)


def right_logit(logits, labels):
    """Σ labels * logits.

    Shapes: `[B, L]`, `[B, L]` -> vector of B. Scale: f.
    Interval: all.
    Error: 1 unit.
    Rounds: 3. Opens: nothing.
    """
    return rescale(row_sums(raw_product(logits.get_vector(), labels.get_vector()), logits.shape[1]), 2 * sfix.f)


def log_sum_exp(columns, count):
    """log Σ_j exp(x_j) by a tree of a + softplus(b - a).

    Shapes: vector of `count * B`, column by column -> vector of B. Scale: f.
    Interval: |a - b| < 128.
    Error: 5e-4 a level.
    Rounds: 5⌈log2 count⌉; 28⌈log2 count⌉ without masked openings. Opens: as `softplus`.
    """
    batch = columns.size // count
    while count > 1:
        half = count // 2
        left, right = (columns.get_vector(i * half * batch, half * batch) for i in range(2))
        merged = [left + softplus(right - left)]
        if count % 2:
            merged.append(columns.get_vector(2 * half * batch, batch))
        columns, count = sfix.concat(merged), count - half
    return columns
