"""What every kind of attention has: rows in parts, projections of them, heads side by side or in front."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from ..plan.graph import Value
from ..ring.builder import RingBuilder
from ..series.ranges import Ranges
from .health import Watch
from .layer_norm import Norm
from .scales import ROW, WEIGHT


@dataclass(frozen=True)
class Part:
    """Some of a layer's rows: normalised rows `[R, h]`, and their mask `[R]` (scale 0), None where all rows count.

    A row is 0 where the mask is: the data owner and the layer norm below see to that.
    """

    rows: int
    mask: int | None


@dataclass(frozen=True)
class Attention(ABC):
    """The attention `v` of one layer, over normalised rows whose affine part `norm` is still to come."""

    r: RingBuilder
    ranges: Ranges
    v: Value
    norm: Norm
    watch: Watch | None = None
    """Told of the rows that are read, where `--health` counts them."""

    @abstractmethod
    def attend(self, parts: tuple[Part, ...], reads: tuple[int, ...]) -> int:
        """All heads' outputs `[R, H·D]` at scale `ROW` for the rows that `reads` names, stacked; keys and values are
        those of all `parts`."""


def projected(
    r: RingBuilder, v: Value, norm: Norm, name: str, x: int, *, factor: float = 1.0, mask: int | None = None
) -> int:
    """One of q, k, v of some rows, times a factor, `[R, H·D]` at scale `ROW`; with a mask `[R, 1]`, of rows that are 0
    where that is, 0 there as well."""
    a = v.attrs
    width = a["heads"] * a["head_dim"]
    weight, bias = (f"layers.{a['layer']}.{name}.{part}" for part in ("weight", "bias"))
    m = r.weight(weight, (r[x].shape[-1], width), WEIGHT, lambda w: factor * norm.matrix(w, weight))
    b = r.weight(bias, (width,), WEIGHT + ROW, lambda w: factor * norm.offset(w, weight, bias))
    return r.trunc(r.add(r.matmul(x, m), b if mask is None else r.mul(mask, b)), ROW)


def values(r: RingBuilder, v: Value, norm: Norm, part: Part) -> tuple[int, int | None]:
    """m∘v `[H, R, D]` at scale `ROW`, and m `[R, 1]`, of some rows."""
    mask = None if part.mask is None else r.reshape(part.mask, (r[part.rows].shape[0], 1))
    return in_front(r, v, projected(r, v, norm, "v", part.rows, mask=mask), (1, 0, 2)), mask


def in_front(r: RingBuilder, v: Value, rows: int, axes: tuple[int, int, int]) -> int:
    """`[R, H·D]` with heads in front: as [R, H, D], permuted."""
    return r.permute(r.reshape(rows, (r[rows].shape[0], v.attrs["heads"], v.attrs["head_dim"])), axes)


def side_by_side(r: RingBuilder, out: int) -> int:
    """Heads' outputs `[H, R, D]` as `[R, H·D]`."""
    heads, rows, dim = r[out].shape
    return r.reshape(r.permute(out, (1, 0, 2)), (rows, heads * dim))
