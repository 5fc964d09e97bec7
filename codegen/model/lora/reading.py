"""A LoRA adapter's folder, read for one model: what PEFT calls its modules becomes canonical names."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from ...commandline.problems import ProblemsFound, Report, note
from ..decoders.names import Stored
from ..names import benign_names, inner_name, sources_of
from ..spec import ModelSpec
from ..tensors import TensorFile
from ..weights import whole_shapes
from .changes import Change, Floats, Lora
from .config import CONFIG, LoraConfig, read_config

TENSORS = "adapter_model.safetensors"
PREFIX = "base_model.model."
"""What PEFT puts before the names of the model that it wraps."""
_FACTOR = re.compile(r"(.+)\.lora_(A|B)\.weight")
_CLASSIFIER = re.compile(rf"{re.escape(PREFIX)}classifier(\.out_proj)?\.weight")
_OTHER = {
    "lora_embedding_": "embeddings are adapted, which the data owner holds in the clear",
    "lora_magnitude_vector": "the adapter is a DoRA",
    "lora_B.bias": "the change itself has a bias (lora_bias)",
}
"""Parts of names that no plain LoRA has, and what they mean."""


def read_lora(folder: Path, spec: ModelSpec) -> Lora:
    """The adapter that PEFT saved in a folder. Raises `ProblemsFound` with everything in it that is no plain LoRA, does
    not fit the model, or would change what the data owner holds in the clear."""
    report = Report()
    config = read_config(folder, report)
    tensors = _tensors(folder, report)
    if config is None or report.failed:
        raise ProblemsFound(report.problems)
    found = _Reading(spec, config, report)
    for name, value in tensors.items():
        found.add(name, value)
    lora = found.lora(folder)
    report.check()
    return lora


def brought_labels(folder: Path) -> int:
    """Labels of the classifier among the modules that were trained whole; 0 where there is none, or nothing to read,
    which `read_lora` reports."""
    try:
        file = TensorFile(folder / TENSORS)
        return next((file.shape(name)[0] for name in file.names() if _CLASSIFIER.fullmatch(name)), 0)
    except (OSError, ValueError):
        return 0


def _tensors(folder: Path, report: Report) -> dict[str, Floats]:
    try:
        file = TensorFile(folder / TENSORS)
        return {name: file.read(name) for name in file.names()}
    except FileNotFoundError:
        pickle = (folder / "adapter_model.bin").is_file()
        hint = "A pickle (.bin) is not read: save the adapter again with save_pretrained(safe_serialization=True)."
        report.error(f"--lora is {folder}: there is no {TENSORS}", hint if pickle else "")
    except (OSError, ValueError) as error:
        report.error(f"--lora is {folder}: {TENSORS} cannot be read: {error}")
    return {}


class _Reading:
    """An adapter in the making."""

    def __init__(self, spec: ModelSpec, config: LoraConfig, report: Report) -> None:
        self._spec, self._config, self._report = spec, config, report
        self._shapes = whole_shapes(spec)
        self._factors: dict[str, dict[str, Floats]] = {}
        self._changes: dict[str, Change] = {}
        self._tensors: dict[str, Floats] = {}
        self._unused: list[str] = []

    def add(self, name: str, value: Floats) -> None:
        """A tensor of the file."""
        reason = next((reason for part, reason in _OTHER.items() if part in name), None)
        if reason or not name.startswith(PREFIX):
            self._report.error(f"adapter tensor {name}: {reason or 'no name of PEFT'}", "Accepted: plain LoRA.")
        elif not np.isfinite(value).all():
            self._report.error(f"adapter tensor {name} holds NaN or infinity")
        elif match := _FACTOR.fullmatch(name):
            self._factors.setdefault(match[1].removeprefix(PREFIX), {})[match[2]] = value
        else:
            for canonical, source in self._places(name.removeprefix(PREFIX).replace(".base_layer.", "."), name):
                if value.shape != source.shape:
                    self._wrong(name, value, source.shape)
                else:
                    self._tensors[canonical] = source.take(value)

    def lora(self, folder: Path) -> Lora:
        """What has been added; every pair of factors is one change."""
        for module, pair in self._factors.items():
            if missing := {"A", "B"} - pair.keys():
                self._report.error(f"the adapter lacks lora_{missing.pop()} of {module}", "A change has two factors.")
                continue
            for canonical, source in self._places(f"{module}.weight", module):
                self._change(module, canonical, source, pair["A"], pair["B"])
        if not (self._changes or self._tensors or self._report.failed):
            self._report.error(f"--lora is {folder}: it changes nothing that the program computes")
        if self._unused:
            note(f"the adapter's {', '.join(self._unused)}: this program has no use for them")
        return Lora(folder, self._changes, self._tensors)

    def _change(self, module: str, canonical: str, source: Stored, down: Floats, up: Floats) -> None:
        rows, columns = source.shape[::-1] if source.transposed else source.shape
        rank = self._config.rank(module)
        for letter, value, shape in (("A", down, (rank, columns)), ("B", up, (rows, rank))):
            if value.shape != shape:
                self._wrong(f"lora_{letter} of {module}", value, shape)
                return
        self._changes[canonical] = Change(down, up[slice(*source.rows)], self._config.scale(module))

    def _places(self, name: str, given: str) -> list[tuple[str, Stored]]:
        """The canonical tensors that the checkpoint's tensor `name` holds; of those that it may not change, none."""
        plain = inner_name(self._spec, name)
        places = [(c, s) for c, s in sources_of(self._spec, self._shapes, [plain]).items() if s.name == plain]
        if places:
            if any(c in ("embeddings.word", "embeddings.position", "embeddings.token_type") for c, _ in places):
                self._report.error(f"the adapter changes {given}", "The data owner holds embeddings in the clear.")
                return []
            return places
        if benign_names(self._spec).match(plain) and not self._tied_output(plain):
            self._unused.append(given)
        elif self._tied_output(plain):
            self._report.error(
                f"the adapter changes {given}", "The output layer is tied to the embeddings: it must stay as it is."
            )
        else:
            self._report.error(f"the adapter changes {given}: the model has no such part")
        return []

    def _tied_output(self, name: str) -> bool:
        return self._spec.tied and self._spec.head.kind in ("causal_lm", "tokens") and name.startswith("lm_head.")

    def _wrong(self, what: str, value: Floats, shape: tuple[int, ...]) -> None:
        rank = f"{CONFIG} says r = {self._config.r}" + (" and a rank_pattern" if self._config.rank_pattern else "")
        self._report.error(f"adapter tensor {what} has shape {list(value.shape)}", f"Expected {list(shape)}; {rank}.")
