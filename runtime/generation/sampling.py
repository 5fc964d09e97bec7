"""How a token is drawn from logits, and how drafted ones are checked without changing what is drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..engine import Floats


@dataclass(frozen=True)
class Sampling:
    """What makes a distribution of logits; as in `transformers`, in this order."""

    temperature: float = 0.0
    """0: the likeliest token alone."""
    top_k: int = 0
    """Likeliest tokens that remain; 0: all."""
    top_p: float = 1.0
    """The likeliest remain whose probabilities add up to this, and no fewer than one (Holtzman et al. 2020)."""

    def distribution(self, logits: Floats) -> Floats:
        """Probabilities `[V]` of logits `[V]`."""
        if self.temperature == 0:
            chosen = np.zeros(len(logits))
            chosen[int(np.argmax(logits))] = 1.0
            return chosen
        scaled = np.asarray(logits, np.float64) / self.temperature
        if 0 < self.top_k < len(scaled):
            scaled = np.where(scaled < np.partition(scaled, -self.top_k)[-self.top_k], -np.inf, scaled)
        chances: Floats = np.exp(scaled - scaled.max())
        chances /= chances.sum()
        if self.top_p < 1:
            order = np.argsort(-chances, kind="stable")
            before = np.cumsum(chances[order]) - chances[order]
            chances[order[before >= self.top_p]] = 0
            chances /= chances.sum()
        return chances


def drawn(chances: Floats, rng: np.random.Generator) -> int:
    """A token of a distribution `[V]`."""
    return int(rng.choice(len(chances), p=chances))


def checked(
    exact: Sequence[Floats], drafted: Sequence[int], draft: Sequence[Floats], rng: np.random.Generator
) -> list[int]:
    """The drafted tokens that stay, and one more: distributed exactly as if each were drawn from `exact`.

    `drafted`: k tokens x, each drawn from its distribution q in `draft` `[V]`. `exact`: k + 1 distributions p, each
    given that all tokens before are the drafted ones. A token stays with probability min(1, p(x)/q(x)). Of the first
    that does not, one is drawn in its place from max(0, p − q), scaled to add up to 1; behind k that stay from the last
    p (Leviathan et al. 2023, theorem 3.5; Chen et al. 2023).
    """
    for i, (token, p, q) in enumerate(zip(drafted, exact, draft, strict=False)):
        if rng.random() * q[token] < p[token]:
            continue
        rest = np.maximum(p - q, 0)
        # p = q but for rounding: then any token that p has will do, and rejection had no probability
        rest = rest / rest.sum() if rest.sum() > 0 else p
        return [*drafted[:i], drawn(rest, rng)]
    return [*drafted, drawn(exact[len(drafted)], rng)]
