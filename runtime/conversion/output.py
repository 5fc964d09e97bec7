"""What a conversion leaves: an adapter beside the untouched model, or a whole model directory.

Everything is written elsewhere first: an OSError leaves nothing changed. Files that are not ours (a README) stay.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import save_file
from safetensors.torch import load_file
from safetensors.torch import save_file as save_torch_file

from ...codegen.commandline.texts import parse_json
from ...codegen.hub.layout import transformer_folder
from ...codegen.model.adapter import PREFIX, is_converted
from ...codegen.model.checkpoint import checkpoint_files
from ...codegen.model.foreign import system_errors
from ..errors import SecfwtError

Json = dict[str, Any]
Output = Literal["adapter", "model"]
MERGED = "merged_heads"
"""Field of config.json that says how heads were merged."""


class OutputError(SecfwtError):
    """A place where nothing may be written."""


def check_output(out: Path, copied: Path | None) -> None:
    """Raise `OutputError` where anything is but an earlier conversion, and within the folder that is copied."""
    if copied and copied.resolve() in (out.resolve(), *out.resolve().parents):
        raise OutputError(f"--out {out} lies in the model's directory: give one beside it")
    if not out.exists() or (out.is_dir() and (not any(out.iterdir()) or _earlier(out))):
        return
    advice = "give a new directory, or one that secfwt-convert wrote"
    raise OutputError(f"--out {out} exists and is no conversion: {advice}")


def _earlier(out: Path) -> bool:
    return (out / "adapter.json").is_file() or is_converted(out) or MERGED in _config(out)


def write_output(out: Path, kind: Output, model: Path, tensors: Mapping[str, NDArray[Any]], description: Json) -> None:
    """The trained `tensors` as float16, and what they are for.

    `model`: a copy of the original's directory, with the tensors beside its own and the description in config.json.
    """
    halves = {name: np.ascontiguousarray(value, np.float16) for name, value in sorted(tensors.items())}
    with _replaced(out) as new:
        if kind == "adapter":
            save_file(halves, new / "adapter.safetensors")
            (new / "adapter.json").write_text(json.dumps(description, indent=1) + "\n", encoding="utf-8")
        else:
            beside = {PREFIX + name: value for name, value in halves.items()}
            _write_model(new, model, beside, {"rfa": description})


def write_merged(out: Path, model: Path, tensors: Mapping[str, NDArray[Any]], heads: int, description: Json) -> None:
    """A copy of the original's directory with `heads` heads; `tensors`, by their names in the checkpoint, stand in for
    its own, in its precision."""
    field = next(name for name in ("num_attention_heads", "n_heads") if name in _config(model))
    with _replaced(out) as new:
        _write_model(new, model, tensors, {field: heads, MERGED: description})


@contextlib.contextmanager
def _replaced(out: Path) -> Iterator[Path]:
    """An empty folder, whose files then go to `out`."""
    out = out.resolve()
    out.parent.mkdir(parents=True, exist_ok=True)
    with system_errors(), tempfile.TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent) as workspace:
        new = Path(workspace) / "new"
        new.mkdir()
        yield new
        out.mkdir(exist_ok=True)
        for path in sorted(new.rglob("*")):
            if path.is_file():
                target = out / path.relative_to(new)
                target.parent.mkdir(parents=True, exist_ok=True)
                path.replace(target)


def _write_model(new: Path, model: Path, tensors: Mapping[str, NDArray[Any]], fields: Json) -> None:
    """The original with `tensors` beside its own, or in their place in its precision, and `fields` in config.json."""
    _copy_model(model, new)
    inner = transformer_folder(model)
    target = new / inner.relative_to(model)
    whole = {name: tensor for file in checkpoint_files(inner) for name, tensor in load_file(file).items()}
    for name, value in tensors.items():
        tensor = torch.from_numpy(value)
        whole[name] = tensor.to(whole[name].dtype) if name in whole else tensor
    save_torch_file(whole, target / "model.safetensors", {"format": "pt"})
    config = _config(model) | fields
    (target / "config.json").write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")


def _config(model: Path) -> Json:
    """Of a model directory; empty where there is none."""
    file = transformer_folder(model) / "config.json" if model.is_dir() else model
    try:
        config = parse_json(file.read_text("utf-8-sig"))
    except (OSError, ValueError):
        return {}
    return config if isinstance(config, dict) else {}


def _copy_model(model: Path, new: Path) -> None:
    """Tokenizer and settings: everything but the weights."""

    def weights(_: str, names: list[str]) -> set[str]:
        return {n for n in names if n.endswith((".safetensors", ".bin", ".index.json", ".onnx", ".h5", ".msgpack"))}

    shutil.copytree(model, new, ignore=weights, dirs_exist_ok=True)
