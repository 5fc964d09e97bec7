"""What every kind of attention has: rows in parts, projections of them, heads side by side."""

from __future__ import annotations

from dataclasses import dataclass

from ..plan.graph import Value
from ..ring.builder import RingBuilder
from .layer_norm import Norm
from .scales import ROW, WEIGHT


@dataclass(frozen=True)
class Part:
    """Some of a layer's rows: normalised rows `[R, h]` and their mask `[R]` (scale 0), None where all rows count."""

    rows: int
    mask: int | None


def projected(r: RingBuilder, v: Value, norm: Norm, name: str, x: int, factor: float = 1.0) -> int:
    """One of q, k, v of some rows, times a factor, `[R, H·D]` at scale `ROW`."""
    a = v.attrs
    width = a["heads"] * a["head_dim"]
    weight, bias = (f"layers.{a['layer']}.{name}.{part}" for part in ("weight", "bias"))
    m = r.weight(weight, (r[x].shape[-1], width), WEIGHT, lambda w: factor * norm.matrix(w, weight))
    b = r.weight(bias, (width,), WEIGHT + ROW, lambda w: factor * norm.offset(w, weight, bias))
    return r.trunc(r.add(r.matmul(x, m), b), ROW)


def side_by_side(r: RingBuilder, out: int) -> int:
    """Heads' outputs `[H, R, D]` as `[R, H·D]`."""
    heads, rows, dim = r[out].shape
    return r.reshape(r.permute(out, (1, 0, 2)), (rows, heads * dim))
