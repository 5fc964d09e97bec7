"""Who continues a text: three parties, or (no privacy) this process."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ...codegen.owners.prepare import made_by_layers
from ...codegen.plan.execution import Added
from ...codegen.plan.oracle import Session
from ..embedded.engine import EmbeddedEngine
from ..embedded.running import compiled_engine, remote_engine
from ..engine import Batch, Cost, Floats
from ..errors import BundleError
from ..progress import Display
from ..split.asking import Asking
from ..split.client import AdapterClient
from ..split.running import Place, adapter_client
from .model import TextModel
from .options import GenerateOptions

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

    def __init__(self, model: TextModel, added: Added | None = None) -> None:
        """`added`: what somebody else's part adds (`run_plan`)."""
        if model.weights is None:
            raise BundleError("--engine clear needs the model's weights: give --model, not --bundle")
        self._model, self._weights, self._cost, self._added = model, model.weights, Cost(), added
        if added is not None:
            self._weights = model.weights | made_by_layers(
                model.spec, model.options, model.weights, model.embedder, added
            )
        self._session: Session | None = None

    def begin(self, inputs: Mapping[str, NDArray[Any]]) -> Floats:
        """As `TextEngine`."""
        began = time.monotonic()
        self._session = Session(self._model.plan, self._weights, inputs, np.float32, added=self._added)
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


class SplitText(ClearText):
    """The public base here, and what a private adapter adds asked of its server."""

    name = "split: base here, adapter at its server"

    def __init__(self, model: TextModel, client: AdapterClient) -> None:
        super().__init__(model, Asking(client).added)
        self._client = client

    def cost(self) -> Cost:
        """Bytes in both directions, and a round for every question."""
        return replace(self._client.cost(), steps=self._cost.steps)


@contextmanager
def open_engine(options: GenerateOptions, model: TextModel, folder: Path, display: Display) -> Iterator[TextEngine]:
    """Who was asked for; local parties keep their files in `folder`."""
    if options.engine == "clear":
        display.note("warning  NOT PRIVATE: the clear engine sees weights and text as they are")
        yield ClearText(model)
    elif options.engine == "split":
        assert model.weights is not None
        place = Place(Path(options.model), options.lora, options.deployment, options.he)
        with adapter_client(place, model.weights, folder, display) as client:
            yield SplitText(model, client)
    else:
        with _parties(options.deployment, model, folder, display) as engine:
            yield PrivateText(engine)


def _parties(
    deployment: str, model: TextModel, folder: Path, display: Display
) -> AbstractContextManager[EmbeddedEngine]:
    if deployment:
        if model.program is None:
            raise BundleError("--deployment is given without --bundle, whose program the parties run")
        return remote_engine(Path(deployment), model.program, display.part)
    if model.compiled is None:
        raise BundleError("local parties need the model's weights: give --model, or --deployment with --bundle")
    return compiled_engine(model.compiled, folder, display)
