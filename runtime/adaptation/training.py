"""The training loop of a conversion: stages of steps, each resumable at any checkpoint with the same result."""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...codegen.model.adapter import sites_read, stored_sites
from ...codegen.series.ranges import Ranges
from .corpus import Corpus
from .features import (
    FEATURE_RATE,
    MATRICES,
    ROTATED_RATE,
    Lesson,
    Recipe,
    initial_features,
    low_rank_start,
    trained_vectors,
)
from .fitted import fitted_forms
from .student import EXACT, Architecture, Forms, Parameters

STAGES = ("layers", "whole", "fitted")
WARM_UP = 50
HOLD = 0.15
CHECKPOINT_SECONDS = 60.0
Sites = dict[str, dict[str, float]]


@dataclass
class TrainingState:
    """Where a training stands; everything that a resumed one needs."""

    stage: int = 0
    step: int = 0
    parameters: dict[str, Tensor] = field(default_factory=dict)
    moments: dict[str, Any] | None = None
    """The optimiser's."""
    calibration: Sites = field(default_factory=dict)
    """Ranges that stage 3 trains within."""
    seconds: float = 0.0


@dataclass(frozen=True)
class Progress:
    """One step, as it is logged."""

    stage: str
    step: int
    steps: int
    loss: float
    parts: dict[str, float]
    seconds: float


class Training:
    """A conversion's training on one corpus."""

    def __init__(
        self,
        corpus: Corpus,
        shape: Architecture,
        recipe: Recipe,
        calibrate: Callable[[Parameters], Sites],
        report: Callable[[Progress], None],
        checkpoint: Callable[[bytes], None] | None = None,
    ) -> None:
        self.corpus, self.shape, self.recipe = corpus, shape, recipe
        self.calibrate, self.report, self.checkpoint = calibrate, report, checkpoint
        # in the precision of the products, once
        kind = torch.bfloat16 if has_bfloat16(corpus.device) else torch.float32
        matrices = [f"layers.{i}.{name}.weight" for i in range(shape.layers) for name in MATRICES["paper"]]
        self.teacher = {**corpus.teacher, **{name: corpus.teacher[name].to(kind) for name in matrices}}

    def run(self, state: TrainingState | None = None, stages: int = len(STAGES)) -> TrainingState:
        """Train from the beginning, or on from `state`; the trained tensors are in the result's `parameters`."""
        state = state or TrainingState(parameters=initial_features(self.corpus, self.shape, self.recipe))
        while state.stage < stages:
            self._stage(state)
            state.stage, state.step = state.stage + 1, 0
            self._save(state)
        return state

    def _stage(self, state: TrainingState) -> None:
        name, recipe = STAGES[state.stage], self.recipe
        steps = {"layers": recipe.layer_steps, "whole": recipe.whole_steps, "fitted": recipe.fitted_steps}[name]
        forms: Forms = EXACT
        if name == "whole" and state.step == 0:
            teacher, state.moments = self.corpus.teacher, None  # more is trained from here on
            state.parameters |= trained_vectors(teacher, self.shape) | low_rank_start(teacher, self.shape, recipe)
        if name == "fitted":
            if state.step == 0:
                state.calibration = self.calibrate(state.parameters)
            forms = fitted_forms(self.shape, Ranges(state.calibration), self.corpus.device)
        trained = {n: t for n, t in state.parameters.items() if recipe.learned or not _is_feature(n)}
        if not trained:
            return
        for tensor in trained.values():
            tensor.requires_grad_(True)
        optimiser = torch.optim.Adam(trained.values(), lr=recipe.lr, betas=(0.9, 0.98))
        if state.moments is not None:
            optimiser.load_state_dict(state.moments)
        student = {**self.teacher, **state.parameters}
        lesson = Lesson(self.corpus, self.teacher, student, self.shape, recipe, forms)
        losses_of = lesson.layers if name == "layers" else lesson.whole
        saved, alone = time.monotonic(), ROTATED_RATE if self.shape.decoder else FEATURE_RATE[self.shape.kind]
        while state.step < steps:
            started = time.monotonic()
            for group in optimiser.param_groups:
                group["lr"] = recipe.lr * self._schedule(state) * (alone if name == "layers" else 1.0)
            rng = np.random.default_rng([recipe.seed, state.stage, state.step])
            with mixed_precision(self.corpus.device):
                parts = losses_of(self.corpus.draw(rng), rng)
            optimiser.zero_grad()
            total = torch.stack(list(parts.values())).sum()
            total.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(list(trained.values()), 1.0)
            optimiser.step()
            state.step += 1
            state.seconds += time.monotonic() - started
            values = {part: float(value.detach()) for part, value in parts.items()}
            self.report(Progress(name, state.step, steps, sum(values.values()), values, state.seconds))
            if time.monotonic() - saved > CHECKPOINT_SECONDS:
                state.moments = optimiser.state_dict()
                self._save(state)
                saved = time.monotonic()
        for tensor in trained.values():
            tensor.requires_grad_(False)
        state.moments = optimiser.state_dict()

    def _schedule(self, state: TrainingState) -> float:
        """Factor on the learning rate: stage 1 keeps it; 2 and 3 are one course, falling from `HOLD` of it on."""
        if state.stage == 0:
            return min(1.0, (state.step + 1) / WARM_UP)
        done = state.step + (self.recipe.whole_steps if state.stage == 2 else 0)
        part = done / (self.recipe.whole_steps + self.recipe.fitted_steps)
        return min(1.0, (done + 1) / WARM_UP, (1 - part) / (1 - HOLD))

    def _save(self, state: TrainingState) -> None:
        if self.checkpoint is not None:
            self.checkpoint(dumps(state))


def dumps(state: TrainingState) -> bytes:
    """A state as a torch file, which holds tensors and numbers only."""
    content = vars(state) | {
        "parameters": {n: t.detach() for n, t in state.parameters.items()},
        "calibration": stored_sites(state.calibration),
    }
    buffer = io.BytesIO()  # torch's own writer turns a full disk into a RuntimeError
    torch.save(content, buffer)
    return buffer.getvalue()


def loads(content: bytes, device: torch.device) -> TrainingState:
    """Inverse of `dumps`; runs no code. Moments go where the optimiser wants them when it takes them."""
    state = TrainingState(**torch.load(io.BytesIO(content), map_location="cpu", weights_only=True))
    state.calibration = sites_read(state.calibration)
    state.parameters = {name: tensor.to(device) for name, tensor in state.parameters.items()}
    return state


def _is_feature(name: str) -> bool:
    return ".phase_" in name or ".feature_" in name or name.endswith(".features")


def has_bfloat16(device: torch.device) -> bool:
    """Whether products in bfloat16 are fast there."""
    return device.type == "cuda" or bool(torch.cpu.get_capabilities().get("avx512_bf16"))


def mixed_precision(device: torch.device) -> AbstractContextManager[object]:
    """Products in bfloat16, sums and norms in float32, where the processor has them."""
    return torch.autocast(device.type, torch.bfloat16, enabled=has_bfloat16(device))
