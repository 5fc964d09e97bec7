"""The engine of a run: embedded, MP-SPDZ, split or clear; local or elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np

from ...codegen.owners.prepare import made_by_layers
from ..embedded.running import compiled_engine, remote_engine
from ..engine import Cost, Engine
from ..errors import BundleError
from ..groups.opening import opened_groups
from ..mpspdz.local import mpspdz_engine, options_for
from ..mpspdz.remote import remote_mpspdz_engine
from ..progress import Display
from ..split.asking import Asking
from ..split.client import AdapterClient
from ..split.running import Place, adapter_client
from .clear import ClearEngine
from .model import Model, default_model
from .options import TuneOptions


@contextmanager
def clear_engine(model: Model, display: Display) -> Iterator[Engine]:
    """The clear engine, with its warning."""
    if model.weights is None:
        raise BundleError("--engine clear needs the model's weights: give --model, not --bundle")
    display.note("warning  NOT PRIVATE: the clear engine sees weights and examples as they are")
    yield ClearEngine(model.plan, {name: np.asarray(w, np.float64) for name, w in model.weights.items()})


def local_engine(model: Model, folder: Path, display: Display) -> AbstractContextManager[Engine]:
    """`compiled_engine` of a run's model."""
    if model.compiled is None:
        raise BundleError("local parties need the model's weights: give --model, or --deployment with --bundle")
    return compiled_engine(model.compiled, folder, display)


class SplitEngine(ClearEngine):
    """No computing parties: the public base here, and what a private adapter adds is asked of its server."""

    name = "split: base here, adapter at its server"
    private = True

    def __init__(self, client: AdapterClient, model: Model) -> None:
        assert model.weights is not None
        added = Asking(client).added
        made = made_by_layers(model.spec, model.options, model.weights, model.embedder, added)
        weights = {name: np.asarray(w, np.float64) for name, w in (model.weights | made).items()}
        super().__init__(model.plan, weights, added)
        self._client = client

    def cost(self) -> Cost:
        """Bytes in both directions, and a round for every question."""
        return replace(self._client.cost(), steps=self._cost.steps)


@contextmanager
def split_engine(options: TuneOptions, model: Model, folder: Path, display: Display) -> Iterator[Engine]:
    """The public base here, the private adapter at its server."""
    assert model.weights is not None
    path = Path(options.model) if options.model else default_model()
    place = Place(path, options.lora, "".join(options.deployment), options.he)
    with adapter_client(place, model.weights, folder, display) as client:
        yield SplitEngine(client, model)


def open_engine(
    options: TuneOptions, model: Model, folder: Path, display: Display, sizes: Sequence[int]
) -> AbstractContextManager[Engine]:
    """The engine that was asked for, ready to take sets of these sizes; local parties keep their files in `folder`."""
    if options.engine == "clear":
        return clear_engine(model, display)
    if options.engine == "split":
        return split_engine(options, model, folder, display)
    if options.engine == "mp-spdz" and options.deployment:
        bundle = Path(options.bundle)
        return opened_groups(
            options.deployment,
            lambda path, progress: remote_mpspdz_engine(path, bundle, display.note, progress),
            display,
        )
    if options.engine == "mp-spdz":
        assert model.weights is not None
        program = options_for(options.protocol, sizes, options.round_nearest)
        return mpspdz_engine(model.plan, model.weights, program, folder, display, options.mp_spdz)
    if options.deployment and (text := model.program):
        return opened_groups(
            options.deployment, lambda path, progress: remote_engine(path, text, progress, options.owner), display
        )
    return local_engine(model, folder, display)
