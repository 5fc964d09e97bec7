"""Sums over keys of attention by a feature map, in the cheaper of two orders.

Per head, with F features, D columns, R' rows that are read and R keys:

    φ(q)ᵀ(Σ_t φ(k_t) v_tᵀ)   truncates S and n, 2F·(D+1) values;
    Σ_t (φ(q)ᵀφ(k_t)) v_tᵀ   truncates the kernel, R'·R values.

Short texts take the second, and so does a last layer of which one row is read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from operator import or_
from typing import NamedTuple

from ..plan.graph import Stage
from ..ring.builder import RingBuilder
from ..ring.program import WORD
from ..ring.traffic import truncation
from .scales import ROW

SUM = 13
"""Scale of S/2^row_bits and n/2^row_bits."""
KERNEL = 17
"""Scale of φ(q)ᵀφ(k)/2^row_bits, which up to R values are still to be multiplied with and added."""


class Keyed(NamedTuple):
    """What attention takes of a part of the rows."""

    key: int
    """φ(k) `[H, 2F, R]`."""
    value: int
    """m∘v `[H, R, D]`, scale `ROW`."""
    mask: int | None
    """m `[R, 1]`, None where all rows count."""


@dataclass(frozen=True)
class Association:
    """Sums of one layer, over 2^row_bits so that they stay as small as their means."""

    r: RingBuilder
    largest: float
    """|φ(q)ᵀφ(k)| is at most that: F of cosines and sines."""
    row_bits: int
    each: float = 1.0
    """Largest |φ(k)| of one feature."""
    sum_scale: int = SUM
    kernel_scale: int = KERNEL

    def weigh(self, queries: Sequence[int], keyed: Sequence[Keyed]) -> tuple[int, int]:
        """φ(q)ᵀS/2^row_bits `[H, R', D]` and φ(q)ᵀn/2^row_bits `[H, R', 1]`, additive, of queries `[H, R', 2F]`,
        stacked."""
        order = self._kernel_first if self._kernel_is_smaller(queries, keyed) else self._sums_first
        pairs = order(queries, keyed)
        weighed, counted = (self.r.concat(tuple(each), -2) for each in zip(*pairs, strict=True))
        return weighed, counted

    def _kernel_is_smaller(self, queries: Sequence[int], keyed: Sequence[Keyed]) -> bool:
        """Whether the kernel takes fewer bytes than the sums.

        What counts is the latest stage, which has most instances: in a prompt's own layer the tokens' S is an
        example's and the prompt's a candidate's, while a kernel of both would be a pair's.
        """
        r, scale = self.r, self.r[queries[0]].scale

        def stage(*values: int) -> Stage:
            return reduce(or_, (r[i].stage for i in values))

        latest = stage(*queries, *(each.key for each in keyed))
        (heads, _, columns), width = r[keyed[0].value].shape, r[keyed[0].key].shape[-2]
        late = sum(stage(each.key, each.value) == latest for each in keyed)
        products, counts = self._bits(scale + ROW, self.sum_scale), self._bits(scale, self.sum_scale)
        sums = late * heads * width * (columns * products + counts)
        values = [r[q].shape[-2] * r[k].shape[-1] for q in queries for k, *_ in keyed if stage(q, k) == latest]
        return heads * sum(values) * self._bits(2 * scale, self.kernel_scale) < sums

    def _bits(self, before: int, after: int) -> int:
        """Sent for one truncation that divides by 2^row_bits besides."""
        return truncation(WORD, before - after + self.row_bits, WORD).bits

    def _sums_first(self, queries: Sequence[int], keyed: Sequence[Keyed]) -> list[tuple[int, int]]:
        r = self.r
        sums, counts = [], []
        for key, value, mask in keyed:
            rows = r[key].shape[-1]
            count = r.sum(key, -1) if mask is None else r.matmul(key, mask, bound=rows * self.each)
            weighed = r.matmul(key, value, bound=rows * self.each * r[value].bound)
            sums.append(r.trunc(weighed, self.sum_scale, -self.row_bits))
            counts.append(r.trunc(count, min(self.sum_scale, r[count].scale + self.row_bits - 1), -self.row_bits))
        summed, counted = reduce(r.add, sums), reduce(r.add, counts)
        most = self.largest * r[summed].bound / self.each
        return [(r.matmul(q, summed, bound=most), r.matmul(q, counted, bound=self.largest)) for q in queries]

    def _kernel_first(self, queries: Sequence[int], keyed: Sequence[Keyed]) -> list[tuple[int, int]]:
        return [self._by_kernel(query, keyed) for query in queries]

    def _by_kernel(self, query: int, keyed: Sequence[Keyed]) -> tuple[int, int]:
        r = self.r
        weighed, counted = [], []
        for key, value, mask in keyed:
            kernel = r.trunc(r.matmul(query, key, bound=self.largest), self.kernel_scale, -self.row_bits)
            weighed.append(r.matmul(kernel, value))
            counted.append(r.sum(kernel, -1) if mask is None else r.matmul(kernel, mask))
        return reduce(r.add, weighed), reduce(r.add, counted)
