"""A finished run, opened again: its options, labels and prompt, and its model if that is still the same."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ...codegen.commandline.texts import parse_json
from ..data.labels import as_labelled, class_names
from ..engine import Floats
from ..errors import RunFolderError
from ..tuning.model import Model, model_of
from ..tuning.options import TuneOptions, resumed_options
from ..tuning.run_folder import SHOTS_FILE, TuningRun


@dataclass(frozen=True)
class TunedRun:
    """What a run has settled."""

    path: Path
    options: TuneOptions
    labels: tuple[str, ...]
    """As the data has them, in the training set's order."""
    z: Floats
    """The chosen prompt's vector, `[d]`."""
    fingerprints: Mapping[str, str]
    shots: float = 0.0
    """Weight of the run's shots."""

    @classmethod
    def open(cls, path: Path, changed: Mapping[str, Any]) -> TunedRun:
        """Read a run's folder; `changed`: options that may differ from the run's. Raises RunFolderError."""
        stored, prints = TuningRun.read_options(path)
        try:
            labels = tuple(parse_json((path / "result.json").read_text("utf-8"))["labels"])
            with np.load(path / "prompt.npz") as arrays:
                z = np.asarray(arrays["z"], np.float64)
                shots = float(arrays["shots"]) if "shots" in arrays else 0.0
        except FileNotFoundError as error:
            missing = Path(str(error.filename)).name
            raise RunFolderError(
                f"{path} has no prompt yet: {missing} is missing; finish the run with tune.py --resume {path}"
            ) from None
        except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
            raise RunFolderError(f"the result in {path} cannot be read: {error}") from None
        options = resumed_options(stored, changed)
        if options.prototype_shots is None and not shots and not (path / SHOTS_FILE).exists():
            options = replace(options, prototype_shots=0.0)  # of when they took no part in the model's head
        return cls(path, options, labels, z, prints, shots)

    def model(self) -> Model:
        """The run's model. Raises RunFolderError where it is another than the run's, and as `model_of` does."""
        model = model_of(self.options, self.labels, dict.fromkeys(self.labels, str(self.path)))
        self.check(model, model.fingerprints)
        return model

    def check(self, model: Model, names: Iterable[str]) -> None:
        """Raise RunFolderError where one of these fingerprints, as far as the model has them, is not the run's."""
        prints = model.fingerprints
        changed = [name for name in names if name in prints and self.fingerprints.get(name) != prints[name]]
        if changed:
            raise RunFolderError(
                f"the prompt in {self.path} is for another model: changed since the run: {', '.join(changed)}"
            )

    def said(self, model: Model) -> list[str]:
        """The model's classes in their order, by the names that the run's data has for them."""
        classes = model.spec.head.labels
        names, _ = class_names(dict.fromkeys(self.labels, str(self.path)), classes)
        return as_labelled(names, classes)
