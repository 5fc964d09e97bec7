"""What noise on losses keeps private: ε of so many of them, by an accountant of dp-accounting (docs/security.md)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from .errors import InputError

WEIGHT_ROUNDING = 2.0**-25
"""Of an example's weight, as it is shared: half a unit at 24 fraction bits (`lowering/program.py`)."""


@dataclass(frozen=True)
class Mechanism:
    """Losses with noise: of a set, Σ over its examples of weight·loss, plus a discrete Gaussian of each party.

    A discrete Gaussian's Rényi divergences are at most those of a Gaussian of the same deviation (Canonne, Kamath,
    Steinke 2020, proposition 5), and more noise on top takes nothing away. So one party's noise alone is counted, and
    what is said of Gaussians holds.
    """

    deviation: float
    """Of one party's noise, in losses' units."""
    span: float
    """The most that an example's loss changes when the example is another."""
    delta: float
    weights: Mapping[str, float]
    """By set, the largest weight of an example: 1 in so many as a rule."""
    REST: ClassVar[str] = "logits of the test set have none"
    """What else there is to say."""

    def __post_init__(self) -> None:
        _library()

    def epsilon(self, asked: Mapping[str, int]) -> float:
        """ε at `delta`, of each example against another in its place, for so many losses of each set, whatever was
        known when each candidate was chosen. Sets share no example: the largest of theirs."""
        each = (self.epsilon_of({name: 1}, {name: count}) for name, count in asked.items())
        return max(each, default=0.0)

    def epsilon_of(self, examples: Mapping[str, int], asked: Mapping[str, int]) -> float:
        """The same of so many examples of each set against as many others in their places, all at once."""
        library = _library()
        accountant = library.rdp.RdpAccountant(neighboring_relation=library.NeighboringRelation.REPLACE_ONE)
        for name, count in asked.items():
            changes = self.span * examples.get(name, 0) * (self.weights[name] + WEIGHT_ROUNDING)
            if count and changes:
                accountant.compose(library.GaussianDpEvent(self.deviation / changes), count)
        return float(accountant.get_epsilon(self.delta))

    def statement(self, asked: Mapping[str, int]) -> str:
        """What follows for the examples, in a line."""
        counted = " and ".join(f"{count} losses of {name}" for name, count in asked.items() if count)
        return f"{counted}: {self.guarantee(asked)}; {self.REST}"

    def guarantee(self, *asked: Mapping[str, int]) -> str:
        """What follows for one example, whichever of these it was that was asked for."""
        bound = f"(ε = {max(map(self.epsilon, asked)):.3g}, δ = {self.delta:.3g})"
        return f"{bound}-differential privacy of each example, by one party's noise alone"


def _library() -> Any:
    """Raises InputError where it is not installed. It takes a second to import."""
    try:
        import dp_accounting
    except ImportError as error:
        raise InputError("--noise needs dp-accounting: pip install 'secfwt[privacy]'") from error
    return dp_accounting
