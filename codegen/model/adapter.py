"""Adapters: what replaces a model's softmax attention by random features, and what it was trained for.

A directory with `adapter.json`,
`{"features": 32, "variant": "folded", "floor": 0.02, "calibration": {site: {"min": …, "max": …, …}}}`
(`features`: one count, or a list with one for each layer), and `adapter.safetensors`: tensors by canonical name that
stand in for the model's, and low-rank changes `{matrix}.up` `[out, r]`, `{matrix}.down` `[r, in]` whose product is
added to `{matrix}.weight`.

A converted model, a Hugging Face directory, holds both in its own files: `config.json` has the description as its
field `rfa`, `model.safetensors` the tensors under `rfa.` beside the untouched original's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
from pydantic import BaseModel, ConfigDict, NonNegativeInt, PositiveFloat, PositiveInt, ValidationError, field_validator

from ..commandline.problems import Problem, ProblemsFound, Report
from ..commandline.texts import parse_json
from ..hub.layout import transformer_folder
from .options import AdaptedActivation, FeatureVariant, GenOptions
from .spec import ModelSpec
from .tensors import TensorFile
from .weights import Shape, Weights, checkpoint_shapes, derived_shapes

PREFIX = "rfa."
"""Of the names that an adapter's tensors have in a converted model's checkpoint."""
T = TypeVar("T")


def stored_sites(sites: Mapping[str, T]) -> dict[str, T]:
    """What stands at sites, by the names that files have for them: an activation's input, GELU's or not, is `gelu`."""
    return {site.replace(".activation", ".gelu"): value for site, value in sites.items()}


def sites_read(stored: Mapping[str, T]) -> dict[str, T]:
    """The inverse of `stored_sites`."""
    return {site.replace(".gelu", ".activation"): value for site, value in stored.items()}


class Description(BaseModel):
    """What adapter.json, or the `rfa` field of a converted model's config.json, says."""

    model_config = ConfigDict(extra="ignore", allow_inf_nan=False)

    features: PositiveInt | list[PositiveInt]
    variant: FeatureVariant = "folded"
    floor: PositiveFloat
    activation: AdaptedActivation = ""
    harmonics: NonNegativeInt = 0
    rows: NonNegativeInt = 0
    """Longest sequence that it was trained for, which counts for features of rotated rows; 0: any."""
    calibration: dict[str, dict[str, float]] = {}

    @field_validator("calibration")
    @classmethod
    def _by_site(cls, stored: dict[str, dict[str, float]]) -> dict[str, dict[str, float]]:
        return sites_read(stored)


class _ConvertedConfig(BaseModel):
    rfa: Description


@dataclass(frozen=True)
class Adapter:
    """An adapter as read; nothing is checked against a model yet."""

    tensors: Weights
    description: Description

    @property
    def features(self) -> tuple[int, ...]:
        """Random features a head: one count for all layers, or one for each."""
        given = self.description.features
        return tuple(given) if isinstance(given, list) else (given,)

    def options(self, options: GenOptions) -> GenOptions:
        """`options` with the attention and the activation that the adapter was trained for."""
        return replace(
            options,
            attention="rfa",
            rfa_features=max(self.features),
            rfa_layer_features=self.features if len(self.features) > 1 else (),
            rfa_variant=self.description.variant,
            rfa_floor=self.description.floor,
            activation=self.description.activation,
            activation_harmonics=self.description.harmonics,
        )


def choose_attention(model: Path, adapter: Path | None, options: GenOptions) -> tuple[GenOptions, Adapter | None]:
    """The options with their attention decided, and the adapter that random features take.

    `auto`: random features where there is an adapter, softmax otherwise. Raises `ProblemsFound`.
    """
    if options.attention == "softmax":
        if adapter is not None:
            advice = "An adapter is for random features: leave one of them out."
            raise ProblemsFound([Problem("error", "--adapter is given, --attention is softmax", advice)])
        return options, None
    if (found := find_adapter(model, adapter)) is not None:
        return found.options(options), found
    return (replace(options, attention="softmax") if options.attention == "auto" else options), None


def find_adapter(model: Path, adapter: Path | None) -> Adapter | None:
    """The adapter that is given, or what a converted model brings itself. Raises `ProblemsFound`."""
    if not is_converted(model):
        return read_adapter(adapter) if adapter is not None else None
    if adapter is not None:
        advice = "Give the original model, or leave --adapter out."
        raise ProblemsFound([Problem("error", f"--adapter is given, but {model} is converted already", advice)])
    folder = transformer_folder(model)
    return _read(folder / "config.json", _ConvertedConfig, folder / "model.safetensors", PREFIX)


def is_converted(model: Path) -> bool:
    """Whether a model directory has learned random features of its own."""
    try:
        config = parse_json((transformer_folder(model) / "config.json").read_bytes()) if model.is_dir() else {}
    except (OSError, ValueError):
        return False  # whoever reads the model reports that
    return isinstance(config, dict) and "rfa" in config


def read_adapter(path: Path) -> Adapter:
    """Read an adapter from its directory, or from either of its files. Raises `ProblemsFound`."""
    directory = path if path.is_dir() else path.parent
    return _read(directory / "adapter.json", Description, directory / "adapter.safetensors")


def _read(settings: Path, kind: type[Description | _ConvertedConfig], tensors: Path, prefix: str = "") -> Adapter:
    """An adapter from its two files, or from a model's: then its tensors are those with the prefix."""
    try:
        content = kind.model_validate_json(settings.read_bytes())
        file = TensorFile(tensors)
        values = {n.removeprefix(prefix): file.read(n) for n in file.names() if n.startswith(prefix)}
    except ValidationError as e:
        raise ProblemsFound([
            Problem("error", f"{settings.name}: {'.'.join(map(str, error['loc'])) or 'content'}", error["msg"])
            for error in e.errors()
        ]) from None  # fmt: skip
    except (OSError, ValueError) as e:
        raise ProblemsFound([Problem("error", f"cannot read the adapter in {settings.parent}: {e}")]) from None
    return Adapter(values, content if isinstance(content, Description) else content.rfa)


def apply_adapter(weights: Weights, spec: ModelSpec, options: GenOptions, adapter: Adapter) -> Weights:
    """`weights` with the adapter's tensors put in place of the model's, or beside them, and its changes added.

    Raises `ProblemsFound` naming every tensor that the model does not have, has in another shape, or still misses.
    """
    report = Report()
    attention = {
        name: shape for name, shape in derived_shapes(spec, adapter.options(options)).items()
        if name.startswith("layers.") and ".sink." not in name
    }  # fmt: skip
    shapes = checkpoint_shapes(spec) | attention
    shapes |= _change_shapes(adapter.tensors, shapes)
    for name, value in adapter.tensors.items():
        if name not in shapes:
            report.error(f"adapter tensor {name}: the model has no such tensor")
        elif value.shape != shapes[name]:
            report.error(f"adapter tensor {name} has shape {list(value.shape)}", f"Expected {list(shapes[name])}.")
        elif not np.isfinite(value).all():
            report.error(f"adapter tensor {name} holds NaN or infinity")
    longest = 1 + options.sequence_length + options.own_rows
    longest += options.remembered_rows if spec.head.kind == "tokens" else 0
    if spec.causal and 0 < adapter.description.rows < longest:
        report.error(
            f"a sequence has {longest} rows, the adapter was trained for {adapter.description.rows}",
            "Its features depend on rows' places: give a smaller --sequence-length.",
        )
    for name in attention.keys() - adapter.tensors.keys():
        report.error(f"the adapter lacks {name}", f"Expected shape {list(attention[name])}.")
    for name in adapter.tensors:
        partner = _partner(name)
        if partner and partner not in adapter.tensors:
            report.error(f"the adapter lacks {partner}", f"It has {name}: a low-rank change is the product of both.")
    report.check()
    return merge_changes(weights | adapter.tensors)


def merge_changes(weights: Weights) -> Weights:
    """`{matrix}.up`·`{matrix}.down` added to `{matrix}.weight`, float32, and gone."""
    merged = {name: value for name, value in weights.items() if not _partner(name)}
    for name, up in weights.items():
        if name.endswith(".up"):
            matrix = name.removesuffix(".up")
            change = up.astype(np.float32) @ weights[f"{matrix}.down"].astype(np.float32)
            merged[f"{matrix}.weight"] = merged[f"{matrix}.weight"] + change
    return merged


def _partner(name: str) -> str | None:
    """The other factor of a low-rank change."""
    matrix, _, part = name.rpartition(".")
    other = {"up": "down", "down": "up"}.get(part)
    return f"{matrix}.{other}" if other else None


def _change_shapes(tensors: Weights, shapes: dict[str, Shape]) -> dict[str, Shape]:
    """What the low-rank factors among `tensors` must look like; `down` settles the rank."""
    changes: dict[str, Shape] = {}
    for name, value in tensors.items():
        matrix, _, part = name.rpartition(".")
        if part == "down" and len(shapes.get(f"{matrix}.weight", ())) == 2 and value.ndim == 2:
            rows, columns = shapes[f"{matrix}.weight"]
            changes |= {name: (value.shape[0], columns), f"{matrix}.up": (rows, value.shape[0])}
    return changes
