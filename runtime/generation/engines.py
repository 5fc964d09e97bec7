"""Who continues a text: three parties, or (no privacy) this process."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ...codegen.plan.oracle import Session
from ..embedded.engine import EmbeddedEngine
from ..embedded.running import compiled_engine, remote_engine
from ..engine import Batch, Cost, Floats
from ..errors import BundleError
from ..progress import Display
from .model import TextModel

NAME = "text"


class TextEngine(Protocol):
    """Continues one text at a time."""

    name: str

    def begin(self, inputs: Mapping[str, NDArray[Any]]) -> Floats:
        """Take a text, `[1, …]` of every input; what its last row opens, `[h]` or `[V]`."""

    def step(self, rows: Floats, at: int) -> Floats:
        """What rows `[n, h]` open that stand from place `at` on behind the text, `[n, …]`."""

    def left(self) -> tuple[int | None, int | None]:
        """How many texts may be begun, and steps taken, under the program's limits; None: any number."""

    def cost(self) -> Cost:
        """Total so far."""


class PrivateText:
    """Three parties."""

    name = "embedded"

    def __init__(self, engine: EmbeddedEngine) -> None:
        self._engine = engine

    def begin(self, inputs: Mapping[str, NDArray[Any]]) -> Floats:
        """As `TextEngine`."""
        self._engine.load_examples(NAME, Batch({name: np.asarray(x, np.float64) for name, x in inputs.items()}))
        first: Floats = self._engine.first(NAME)[0]
        return first

    def step(self, rows: Floats, at: int) -> Floats:
        """As `TextEngine`."""
        opened: Floats = self._engine.next(NAME, rows, at)[0]
        return opened

    def left(self) -> tuple[int | None, int | None]:
        """As `TextEngine`."""
        return self._engine.left("first"), self._engine.left("next")

    def cost(self) -> Cost:
        """As `TextEngine`."""
        return self._engine.cost()


class ClearText:
    """The model plan in float32, whatever the number of a step's rows."""

    name = "clear (not private)"

    def __init__(self, model: TextModel) -> None:
        if model.weights is None:
            raise BundleError("--engine clear needs the model's weights: give --model, not --bundle")
        self._model, self._weights, self._cost = model, model.weights, Cost()
        self._session: Session | None = None

    def begin(self, inputs: Mapping[str, NDArray[Any]]) -> Floats:
        """As `TextEngine`."""
        began = time.monotonic()
        self._session = Session(self._model.plan, self._weights, inputs, np.float32)
        self._cost.seconds += time.monotonic() - began
        first: Floats = self._session.example("first")[0]
        return first

    def step(self, rows: Floats, at: int) -> Floats:
        """As `TextEngine`."""
        assert self._session is not None
        began = time.monotonic()
        opened: Floats = self._session.step("next", rows[None], at)[0]
        self._cost.seconds += time.monotonic() - began
        self._cost.steps += 1
        return opened

    def left(self) -> tuple[int | None, int | None]:
        """Nothing is limited."""
        return None, None

    def cost(self) -> Cost:
        """Seconds and steps so far; nothing is sent."""
        return self._cost


def open_engine(
    engine: str, model: TextModel, deployment: str, folder: Path, display: Display
) -> AbstractContextManager[EmbeddedEngine | None]:
    """The parties that were asked for; None where this process is to do it. Local ones keep their files in `folder`."""
    if engine == "clear":
        return nullcontext()
    if deployment:
        if model.program is None:
            raise BundleError("--deployment is given without --bundle, whose program the parties run")
        return remote_engine(Path(deployment), model.program, display)
    if model.compiled is None:
        raise BundleError("local parties need the model's weights: give --model, or --deployment with --bundle")
    return compiled_engine(model.compiled, folder, display)
