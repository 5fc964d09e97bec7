"""Prompts as PEFT's prompt tuning keeps them: rows `[n, h]` that stand before the word embeddings of a text.

`adapter_config.json` says what they are for, `adapter_model.safetensors` holds them as `prompt_embeddings`. A model
does with them what it does with words: of a row e at place j the first layer sees norm(e + position j + token type 0).
A prompt's row p in a program with `--prompt-at start` is that sum before the norm, so that e = p − position j − token
type 0.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save

from ..commandline.problems import Problem, ProblemsFound
from ..commandline.texts import parse_json
from ..model.options import GenOptions
from ..model.spec import ModelSpec
from ..model.tensors import TensorFile
from .embed import Floats

CONFIG, TENSORS, NAME = "adapter_config.json", "adapter_model.safetensors", "prompt_embeddings"


def check_place(spec: ModelSpec, options: GenOptions) -> None:
    """Raise `ProblemsFound` where the program's prompt stands elsewhere than PEFT's."""
    if spec.causal:
        raise ProblemsFound(
            [Problem("error", "the model is a decoder: its prompt's rows are offsets, PEFT's are embeddings")]
        )  # fmt: skip
    if options.prompt_at == "start" and options.n_prompt_tokens:
        return
    where = f"at layer {options.prompt_layer}" if options.prompt_layer else "behind the text's first row, or its end"
    raise ProblemsFound(
        [
            Problem(
                "error", f"PEFT's prompts stand before the text, at the input; this program's stands {where}",
                "Tune with --prompt-at start --prompt-layer 0, which encoders take that do not read row 0.",
            )
        ]
    )  # fmt: skip


def read_prompt(folder: Path, count: int, hidden: int) -> Floats:
    """Rows e `[n, h]` of a folder that PEFT has saved. Raises `ProblemsFound` unless they are `count` of `hidden`."""
    try:
        kind = parse_json((folder / CONFIG).read_text("utf-8")).get("peft_type")
        if kind != "PROMPT_TUNING":
            raise _wrong(folder, f"holds an adapter of type {kind}", "Accepted: PROMPT_TUNING.")
        file = TensorFile(folder / TENSORS)
        if NAME not in file.names():
            raise _wrong(folder, f"{TENSORS} has no {NAME}", "Give a folder that PEFT's save_pretrained wrote.")
        rows = np.asarray(file.read(NAME), np.float32)
    except (OSError, ValueError, AttributeError) as error:
        raise _wrong(folder, f"cannot be read: {error}") from None
    if rows.shape != (count, hidden):
        found = " x ".join(map(str, rows.shape))
        accepted = f"Accepted: {count} x {hidden}, as --n-prompt-tokens and the model say."
        raise _wrong(folder, f"has rows of {found}", accepted)
    if not np.isfinite(rows).all():
        raise _wrong(folder, "has numbers that are not finite")
    return rows


def as_words(rows: NDArray[np.floating], tables: Mapping[str, Floats], spec: ModelSpec) -> Floats:
    """Rows e of rows p `[n, h]`."""
    return np.asarray(rows - _places(len(rows), tables, spec), np.float32)


def from_words(rows: Floats, tables: Mapping[str, Floats], spec: ModelSpec) -> Floats:
    """Normalised rows `[n, h]`, as the first layer sees them, of rows e."""
    p = (rows + _places(len(rows), tables, spec)).astype(np.float64)
    p -= p.mean(axis=-1, keepdims=True)
    return np.asarray(p / np.sqrt(np.square(p).mean(axis=-1, keepdims=True) + spec.layer_norm_eps), np.float32)


def written(rows: Floats, spec: ModelSpec, base: str) -> dict[str, bytes]:
    """The two files, by name, for rows e `[n, h]`; `base`: name or folder of the model that they are for."""
    config = {
        "peft_type": "PROMPT_TUNING", "task_type": "FEATURE_EXTRACTION", "base_model_name_or_path": base,
        "inference_mode": True, "num_virtual_tokens": len(rows), "token_dim": spec.hidden_size,
        "num_transformer_submodules": 1, "num_attention_heads": spec.num_attention_heads,
        "num_layers": spec.num_hidden_layers, "prompt_tuning_init": "RANDOM", "prompt_tuning_init_text": None,
        "tokenizer_name_or_path": None, "revision": None,
    }  # fmt: skip
    return {CONFIG: (json.dumps(config, indent=2) + "\n").encode(), TENSORS: save({NAME: np.ascontiguousarray(rows)})}


def _places(count: int, tables: Mapping[str, Floats], spec: ModelSpec) -> Floats:
    """What is added to the first rows of a sequence: positions, and token type 0."""
    added = tables["position"][spec.position_offset : spec.position_offset + count].copy()
    if "token_type" in tables:
        added += tables["token_type"][0]
    return added


def _wrong(folder: Path, what: str, accepted: str = "") -> ProblemsFound:
    return ProblemsFound([Problem("error", f"--initial-prompt is {folder}: it {what}", accepted)])
