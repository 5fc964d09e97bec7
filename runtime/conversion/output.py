"""What a conversion leaves: an adapter beside the untouched model, or a whole model directory."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping
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


class OutputError(SecfwtError):
    """A place where nothing may be written."""


def check_output(out: Path) -> None:
    """Raise `OutputError` where anything is but an earlier conversion."""
    if not out.exists() or (out.is_dir() and (not any(out.iterdir()) or _earlier(out))):
        return
    advice = "give a new directory, or one that secfwt-convert wrote"
    raise OutputError(f"--out {out} exists and is no conversion: {advice}")


def _earlier(out: Path) -> bool:
    return (out / "adapter.json").is_file() or is_converted(out)


def write_output(out: Path, kind: Output, model: Path, tensors: Mapping[str, NDArray[Any]], description: Json) -> None:
    """The trained `tensors` as float16, and what they are for. Files that are not ours (a README) stay.

    `model`: a copy of the original's directory, with the tensors beside its own and the description in config.json.
    Everything is written elsewhere first: raises OSError with nothing changed.
    """
    out = out.resolve()
    halves = {name: np.ascontiguousarray(value, np.float16) for name, value in sorted(tensors.items())}
    out.parent.mkdir(parents=True, exist_ok=True)
    with system_errors(), tempfile.TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent) as workspace:
        new = Path(workspace) / "new"
        new.mkdir()
        if kind == "adapter":
            save_file(halves, new / "adapter.safetensors")
            (new / "adapter.json").write_text(json.dumps(description, indent=1) + "\n", encoding="utf-8")
        else:
            _copy_model(model, new)
            whole = {PREFIX + name: torch.from_numpy(value) for name, value in halves.items()}
            inner = transformer_folder(model)
            target = new / inner.relative_to(model)
            for file in checkpoint_files(inner):
                whole |= load_file(file)
            save_torch_file(whole, target / "model.safetensors")
            config = parse_json((inner / "config.json").read_text("utf-8")) | {"rfa": description}
            (target / "config.json").write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")
        out.mkdir(exist_ok=True)
        for path in sorted(new.rglob("*")):
            if path.is_file():
                target = out / path.relative_to(new)
                target.parent.mkdir(parents=True, exist_ok=True)
                path.replace(target)


def _copy_model(model: Path, new: Path) -> None:
    """Tokenizer and settings: everything but the weights."""

    def weights(_: str, names: list[str]) -> set[str]:
        return {n for n in names if n.endswith((".safetensors", ".bin", ".index.json", ".onnx", ".h5", ".msgpack"))}

    shutil.copytree(model, new, ignore=weights, dirs_exist_ok=True)
