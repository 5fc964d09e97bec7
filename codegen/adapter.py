"""Adapters: tensors trained to replace a model's softmax attention by random features, and what they were trained for.

A directory with `adapter.safetensors`, canonical names, and `adapter.json`:
`{"features": 32, "variant": "folded", "floor": 0.02, "calibration": {site: {"min": …, "max": …, …}}}`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, PositiveFloat, PositiveInt, ValidationError

from .options import GenOptions
from .problems import Report
from .spec import ModelSpec
from .tensors import TensorFile
from .weights import Weights, checkpoint_shapes, derived_shapes


class _Description(BaseModel):
    model_config = ConfigDict(extra="ignore", allow_inf_nan=False)

    features: PositiveInt
    variant: Literal["folded", "paper"] = "folded"
    floor: PositiveFloat
    calibration: dict[str, dict[str, float]] = {}


@dataclass(frozen=True)
class Adapter:
    """An adapter as read; nothing is checked against a model yet."""

    tensors: Weights
    features: int
    variant: Literal["folded", "paper"]
    floor: float
    calibration: dict[str, dict[str, float]]

    def options(self, options: GenOptions) -> GenOptions:
        """`options` with the attention that the adapter was trained for."""
        return replace(
            options, attention="rfa", rfa_features=self.features, rfa_variant=self.variant, rfa_floor=self.floor
        )


def read_adapter(path: Path) -> Adapter:
    """Read an adapter from its directory, or from either of its files. Raises `ProblemsFound`."""
    directory = path if path.is_dir() else path.parent
    report = Report()
    tensors: Weights = {}
    try:
        description = _Description.model_validate_json((directory / "adapter.json").read_bytes())
        file = TensorFile(directory / "adapter.safetensors")
        tensors = {name: file.read(name) for name in file.names()}
    except ValidationError as e:
        for error in e.errors():
            report.error(f"adapter.json: {'.'.join(map(str, error['loc'])) or 'content'}", error["msg"])
    except (OSError, ValueError) as e:
        report.error(f"cannot read the adapter in {directory}: {e}")
    report.check()
    return Adapter(tensors, description.features, description.variant, description.floor, description.calibration)


def apply_adapter(weights: Weights, spec: ModelSpec, options: GenOptions, adapter: Adapter) -> Weights:
    """`weights` with the adapter's tensors added or put in place of the model's.

    Raises `ProblemsFound` naming every tensor that the model does not have, has in another shape, or still misses.
    """
    report = Report()
    attention = {k: v for k, v in derived_shapes(spec, adapter.options(options)).items() if k.startswith("layers.")}
    shapes = checkpoint_shapes(spec) | attention
    for name, value in adapter.tensors.items():
        if name not in shapes:
            report.error(f"adapter tensor {name}: the model has no such tensor")
        elif value.shape != shapes[name]:
            report.error(f"adapter tensor {name} has shape {list(value.shape)}", f"Expected {list(shapes[name])}.")
        elif not np.isfinite(value).all():
            report.error(f"adapter tensor {name} holds NaN or infinity")
    for name in attention.keys() - adapter.tensors.keys():
        report.error(f"the adapter lacks {name}", f"Expected shape {list(attention[name])}.")
    report.check()
    return weights | adapter.tensors
