"""What the user of `secfwt-convert` chooses; kept in the conversion's run folder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ..errors import SecfwtError


class ConversionError(SecfwtError):
    """An input that cannot be used; the message names it and what would be accepted."""


@dataclass(frozen=True)
class ConvertOptions:
    """Options of a conversion; with other `features`, the defaults made the shipped MiniLM adapter."""

    model: str
    out: str
    text: tuple[str, ...]
    held_out: tuple[str, ...] = ()
    output: Literal["adapter", "model"] = "adapter"
    base: str = ""
    """The original's name in adapter.json; empty: that of its directory."""
    features: str = "32"
    """Random features a head: one count, one for each layer with commas between, or `auto`."""
    feature_error: float = 0.45
    """With `auto`: largest error of a layer's attention output that fewer features may cause."""
    feature_kind: Literal["learned", "random"] = "learned"
    rfa: Literal["folded", "paper"] = "folded"
    floor: float = 0.02
    """The attention denominator, divided by features and rows, is never taken below this."""
    rank: int = 16
    """Of the low-rank changes of the other matrices; 0: none."""
    layer_steps: int = 600
    steps: int = 3400
    fitted_steps: int = 250
    splice: float = 0.2
    """Part of the texts that get another's tail while training."""
    exchange: float = 0.2
    """Part of the tokens, in every other text, that give way to near ones of the embedding table while training."""
    gelu_limit: float = 10.0
    """GELU inputs beyond this are penalised; a narrower interval takes fewer harmonics, which is less traffic."""
    activation: Literal["", "gelu", "relu"] = ""
    """The student's activation; empty: the original's."""
    harmonics: int = 0
    """Of its fit; 0: as many as an error of 2e-3 takes. Fewer are coarser and cost less traffic."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("rank", "harmonics", "layer_steps", "steps", "fitted_steps", "seed"):
            if getattr(self, name) < 0:
                raise ConversionError(f"--{name.replace('_', '-')} is {getattr(self, name)}: it must be at least 0")
        for name in ("splice", "exchange"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConversionError(f"--{name} is {getattr(self, name)}: it must be from 0 to 1")
        for name in ("floor", "feature_error", "gelu_limit"):
            if not getattr(self, name) > 0:
                raise ConversionError(f"--{name.replace('_', '-')} is {getattr(self, name)}: it must be positive")

    def feature_counts(self, layers: int) -> tuple[int, ...] | None:
        """Features of every layer; None: to be chosen. Raises `ConversionError`."""
        if self.features == "auto":
            return None
        try:
            counts = tuple(int(count) for count in self.features.split(","))
        except ValueError:
            counts = ()
        if len(counts) not in (1, layers) or min(counts, default=0) < 1:
            raise ConversionError(
                f"--features is {self.features}: accepted: one count, {layers} of them with commas between "
                "(a layer each), or auto"
            )
        return counts * layers if len(counts) == 1 else counts
