"""Public bottom layers that the data owner runs in the clear before it shares anything (MARILL's layer freezing)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..commandline.options import read_back
from ..model.options import GenOptions
from ..model.spec import ModelSpec
from ..model.weights import Weights
from ..plan.build import build_encoder
from ..plan.generation import add_rows_behind
from ..plan.graph import Plan
from ..plan.oracle import Session, run_plan

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class FrozenLayers:
    """The lowest layers of a model, with the weights and the softmax attention they were trained with."""

    spec: ModelSpec
    options: GenOptions
    weights: Weights

    @classmethod
    def of(cls, spec: ModelSpec, options: GenOptions, weights: Weights) -> FrozenLayers | None:
        """The frozen layers of a program, or None when it has none; `weights`: those of the checkpoint."""
        if not options.clear_layers:
            return None
        below = tuple(f"layers.{i}." for i in range(options.clear_layers))
        kept = {
            name: value
            for name, value in weights.items()
            if name in ("embeddings.gamma", "embeddings.beta") or name.startswith(below)
        }
        # they are the base's: of an adapter they say nothing
        return cls(spec, replace(options, lora_products="merged", private_ranks=()), kept)

    @classmethod
    def from_json(cls, stored: Mapping[str, Any], weights: Weights) -> FrozenLayers:
        """From what `to_json` gave, read back."""
        return cls(ModelSpec.from_json(stored["model"]), read_back(GenOptions, stored["options"]), weights)

    def to_json(self) -> dict[str, Any]:
        """All but the weights; public."""
        return {"model": asdict(self.spec), "options": asdict(self.options)}

    def __call__(self, x: Floats, mask: Floats) -> Floats:
        """Normalised rows `[E, T, h]` entering layer 0 → those entering the first layer that is not frozen."""
        plan = build_encoder(self.spec, self._clear(x.shape[1]), layers=self.options.clear_layers)
        rows = run_plan(plan, self.weights, {"x": x, "mask": mask}, dtype=np.float32)["rows"]
        return self._centred(rows[0])

    def behind(self, x: Floats, mask: Floats) -> Callable[[Floats, int], Floats]:
        """The same for rows `[n, h]` that stand from a place on behind a decoder's text, `x` `[1, T, h]`: they are
        remembered, so that those behind them may follow later."""
        plan = Plan()
        add_rows_behind(plan, self.spec, self._clear(x.shape[1]), self.options.clear_layers)
        session = Session(plan, self.weights, {"x": x, "mask": mask}, np.float32)
        return lambda rows, at: self._centred(session.step("rows", rows[None], at)[0])

    def _clear(self, rows: int) -> GenOptions:
        length = rows - 1 if self.spec.causal else rows
        return self.options.in_the_clear(deep=False, activation="", prompt_at="end", sequence_length=length)

    def _centred(self, rows: NDArray[Any]) -> Floats:
        if self.spec.causal and self.spec.norm == "layer":
            rows = rows - rows.mean(axis=-1, keepdims=True)  # the program's norms take rows to be centred
        return np.asarray(rows, np.float32)
