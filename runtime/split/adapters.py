"""From a model's folder and a LoRA's: what the server answers about, and how long rows may be."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from math import ceil, log2
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...codegen.commandline.problems import Problem, ProblemsFound
from ...codegen.model.hf import read_model
from ...codegen.model.lora.changes import Change, Lora
from ...codegen.model.lora.reading import read_lora
from ...codegen.model.options import GenOptions
from ...codegen.owners.check import fitting_tokenizer
from ...codegen.owners.prepare import PROBES, prepare_weights
from ...codegen.plan.build import build_encoder
from ...codegen.plan.oracle import run_plan
from .encryption.fixed import Adapter, Floats
from .server import Served

SHARED = (("q", "k", "v"), ("o",), ("ffn_gate", "ffn_in"), ("ffn_out",))
"""Modules of a layer that read the same rows."""
MARGIN = 4.0
"""Rows may be so many times as long as the longest of public texts, and on to the next power of two, so that a client
learns no more of that length."""
BASE = ("embeddings.", "layers.", "final_norm.")


def base_hash(weights: Mapping[str, NDArray[Any]]) -> str:
    """SHA-256 of a base's own tensors in float32, in hexadecimal digits."""
    digest = hashlib.sha256()
    for name in sorted(name for name in weights if name.startswith(BASE) and not _derived(name)):
        digest.update(name.encode() + np.ascontiguousarray(weights[name], np.float32).tobytes())
    return digest.hexdigest()


def served(path: Path, folder: Path, most_rows: int, modulus: int) -> Served:
    """Read a base and a LoRA of it. Raises ProblemsFound, InputError."""
    options = GenOptions(
        n_prompt_tokens=0, sequence_length=2, attention="softmax", head="auto", labels=("a", "b"),
        label_texts=("a", "b"),
    )  # fmt: skip
    spec = read_model(path, options)
    tokenizer = fitting_tokenizer(path, spec)
    longest = max(len(tokenizer.encode(text).ids) for text in PROBES)
    options = replace(options, sequence_length=min(longest, spec.max_positions - spec.position_offset - 1))
    lora = read_lora(folder, spec)
    _check(lora)
    weights, embedder = prepare_weights(path, spec, options)
    inputs, _ = embedder.encode(list(PROBES))
    reads = _Reads(lora)
    run_plan(build_encoder(spec, options), weights, inputs, added=reads.added, dtype=np.float32)
    adapters = [
        Adapter.of(modules, [reads.factors(m) for m in modules], _reach(reads.longest[modules[0]]), modulus)
        for modules in _calls(lora, spec.num_hidden_layers)
    ]
    return Served(base_hash(weights), adapters, most_rows)


def _reach(longest: float) -> float:
    return 2.0 ** max(0, ceil(log2(MARGIN * longest))) if longest else 1.0


def _derived(name: str) -> bool:
    """Of tensors that follow from a base: what a decoder's first token is replaced by, estimates of sums."""
    return ".sink." in name or ".log_sum." in name


def _check(lora: Lora) -> None:
    whole = sorted(lora.tensors)
    other = sorted(name for name in lora.changes if not name.startswith("layers."))
    for names, why in ((whole, "were trained whole"), (other, "are not in a layer")):
        if names:
            header = f"--lora is {lora.folder}: tensors of it {why}: {', '.join(names)}"
            raise ProblemsFound(
                [Problem("error", header, "Accepted in split mode: changes B·A of matrices in layers.")]
            )


def _calls(lora: Lora, layers: int) -> Iterator[tuple[str, ...]]:
    for layer in range(layers):
        for shared in SHARED:
            modules = tuple(m for name in shared if f"{(m := f'layers.{layer}.{name}')}.weight" in lora.changes)
            if modules:
                yield modules


class _Reads:
    """Adds what the LoRA adds, in the clear, and sees how long the rows are that its modules read."""

    def __init__(self, lora: Lora) -> None:
        self._changes: Mapping[str, Change] = lora.changes
        self.longest: dict[str, float] = {}

    def factors(self, module: str) -> tuple[Floats, Floats]:
        """A and s·B."""
        change = self._changes[f"{module}.weight"]
        return np.asarray(change.down, np.float64), np.asarray(change.up, np.float64) * change.scale

    def added(self, name: str, rows: NDArray[Any]) -> NDArray[Any] | None:
        """As the plan's oracle wants it."""
        change = self._changes.get(name)
        if change is None:
            return None
        module = name.removesuffix(".weight")
        longest = float(np.sqrt(np.square(rows).sum(axis=-1).max()))
        self.longest[module] = max(longest, self.longest.get(module, 0.0))
        return np.asarray((rows @ change.down.T) @ change.up.T * change.scale, rows.dtype)
