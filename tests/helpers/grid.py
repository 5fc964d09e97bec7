"""Cells of models × attention: compiled on public text as users compile, and a step of other text."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from helpers.places import ROOT
from helpers.toys import CONFIGS, save_toy
from safetensors.numpy import load_file, save_file
from secfwt.codegen.compile import Compiled, compile_model, encoded_weights
from secfwt.codegen.intervals import ACCEPTED
from secfwt.codegen.model.adapter import read_adapter
from secfwt.codegen.model.options import AttentionChoice, GenOptions
from secfwt.codegen.native.simulator import Simulator
from secfwt.codegen.owners.public_text import of_random_words, of_texts
from secfwt.codegen.plan.oracle import run_plan
from secfwt.codegen.ring.encoding import decode, encode
from secfwt.codegen.ring.oracle import run_program
from secfwt.codegen.ring.text import program_text
from secfwt.runtime.engine import Batch
from secfwt.runtime.tuning.model import default_model

MODELS = (*CONFIGS, "minilm")
OPTIONS = GenOptions(
    sequence_length=12,
    n_prompt_tokens=2,
    intrinsic_dim=4,
    popsize=2,
    label_texts=("world news", "sports news", "a film"),
)


def checkpoint(folder: Path, name: str) -> Path:
    """A toy of that family, or the lowest layer of MiniLM."""
    if name in CONFIGS:
        save_toy(folder, name, "prototypes")
        return folder
    whole = default_model()
    folder.mkdir(parents=True, exist_ok=True)
    for path in whole.glob("*.json"):
        (folder / path.name).write_bytes(path.read_bytes())
    for path in whole.glob("*_Pooling"):
        (folder / path.name).symlink_to(path)
    config = json.loads((whole / "config.json").read_text()) | {"num_hidden_layers": 1}
    (folder / "config.json").write_text(json.dumps(config))
    tensors = load_file(whole / "model.safetensors")
    kept = {n: v for n, v in tensors.items() if "encoder.layer." not in n or "encoder.layer.0." in n}
    save_file(kept, folder / "model.safetensors")
    return folder


def lowest_layer_of_adapter(folder: Path) -> Path:
    """What the shipped adapter says of MiniLM's lowest layer."""
    whole = ROOT / "examples" / "minilm-rfa"
    folder.mkdir(parents=True, exist_ok=True)
    adapter = read_adapter(whole)
    kept = {n: v for n, v in adapter.tensors.items() if not n.startswith("layers.") or n.startswith("layers.0.")}
    save_file(kept, folder / "adapter.safetensors")
    described = json.loads((whole / "adapter.json").read_text())
    described["features"] = adapter.features[0]
    described["calibration"] = {k: v for k, v in described["calibration"].items() if k.startswith("layers.0.")}
    (folder / "adapter.json").write_text(json.dumps(described))
    return folder


@dataclass(frozen=True)
class Cell:
    """A compiled model, two examples, one candidate, and the float oracle's results of them."""

    compiled: Compiled
    batch: Batch
    z: np.ndarray
    losses: np.ndarray
    logits: np.ndarray
    """Of the candidate, `[E, L]`."""

    @classmethod
    def of(
        cls,
        model: Path,
        attention: AttentionChoice,
        adapter: Path | None = None,
        *,
        calibration: list[str] | None = None,
        texts: list[str] | None = None,
        tokens: int = 12,
        **changed: Any,
    ) -> Cell:
        """`calibration`: public text, by default what secfwt-gen takes. `texts`: two that run, random words by default.
        `changed`: other options. Raises ProblemsFound where the model is refused."""
        options = replace(OPTIONS, attention=attention, sequence_length=tokens, **changed)
        compiled = compile_model(model, options, adapter, calibration)
        assert compiled.weights is not None
        assert compiled.embedder is not None
        given = compiled.plan, compiled.spec, replace(compiled.options, seed=9), compiled.embedder
        unseen = of_texts(*given, texts) if texts else of_random_words(*given)
        inputs = {name: values[:2] for name, values in unseen.items()} | {"example_weight": np.full((2, 1), 0.5)}
        z = unseen["z"][-1:]
        exact = run_plan(compiled.plan, compiled.weights, inputs | {"z": z})
        batch = Batch({str(v.attrs["name"]): inputs[v.attrs["name"]] for v in compiled.plan.inputs("example")})
        return cls(compiled, batch, z, exact["loss"], exact["logits"][0])

    @property
    def accepted(self) -> float:
        """Largest error of an engine: a fifth of what the compile step accepts on text that it knows."""
        return 0.2 * ACCEPTED * max(1.0, float(np.abs(self.logits).max()))

    def wrong(self, losses: np.ndarray, logits: np.ndarray) -> float:
        """Largest error of an engine's results."""
        differences = (losses.reshape(-1) - self.losses.reshape(-1), logits.reshape(-1) - self.logits.reshape(-1))
        return float(max(np.abs(each).max() for each in differences))

    def on_oracle(self) -> float:
        """Error of the fixed-point oracle."""
        ring = self.compiled.ring
        got = run_program(ring, encoded_weights(self.compiled) | self._words())
        return self.wrong(*(decode(got[o.name], ring[o.value].scale) for o in ring.outputs))

    def on_vm(self) -> float:
        """Error of three parties."""
        ring, words = self.compiled.ring, encoded_weights(self.compiled) | self._words()

        def flat(kind: str) -> np.ndarray:
            given = [words[v.attrs["name"]].reshape(-1) for v in ring.inputs(kind)]
            return np.concatenate(given).astype(np.uint64)

        parties = Simulator(program_text(ring))
        parties.weights(flat("weight"))
        parties.examples(len(self.batch), flat("example"))
        z = words["z"][0].astype(np.uint64)
        return self.wrong(*(
            decode(parties.step(1, z, i).view(np.int64), ring[o.value].scale) for i, o in enumerate(ring.outputs)
        ))  # fmt: skip

    def _words(self) -> dict[str, np.ndarray]:
        given = {**self.batch.inputs, "z": self.z}
        return {
            v.attrs["name"]: encode(given[v.attrs["name"]], v.scale)
            for kind in ("example", "candidate") for v in self.compiled.ring.inputs(kind)
        }  # fmt: skip
