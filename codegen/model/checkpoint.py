"""Hugging Face checkpoints to canonical tensors, with one report of what does not fit."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..commandline.problems import Report, note
from ..commandline.texts import parse_json
from ..hub.files import pointer_problem
from ..hub.gguf import GgufFile, gguf_file, open_gguf
from ..hub.layout import transformer_folder
from .decoders.names import BASES
from .lora.changes import Lora
from .names import benign_names, plain_names, sources_of
from .spec import ModelSpec
from .tensors import TensorFile
from .weights import Weights, absent_shapes, base_name, whole_shapes


def load_checkpoint(
    path: Path, spec: ModelSpec, label_ids: Sequence[int] = (), lora: Lora | None = None, bases: bool = False
) -> Weights:
    """Canonical tensors, float32, of the checkpoint in `path` (a directory, or any file in it).

    A GGUF file is one as well. `label_ids`: heads of language models keep only these tokens' output rows. Biases and
    betas that the model does not have are zeros. `lora`: what is merged into them; with `bases` what it adds to
    is there by itself as well. Raises `ProblemsFound` with every
    missing, unexpected, mis-shaped or non-finite tensor.
    """
    report = Report()
    tensors = _tensors(path, spec, report)
    language = spec.head.kind in ("masked_lm", "causal_lm")
    shapes = whole_shapes(spec)
    sources = sources_of(spec, shapes, tensors)
    benign = benign_names(spec)
    for name in sorted(tensors.keys() - {source.name for source in sources.values()}):
        if not benign.match(name):
            report.error(f"unexpected tensor {name}", "The configuration describes no such part.")
    weights: Weights = {name: np.zeros(shape, np.float32) for name, shape in absent_shapes(spec).items()}
    for canonical, shape in shapes.items():
        if (source := sources.get(canonical)) is None or source.name not in tensors:
            if lora is not None and canonical in lora.tensors:  # a head that was trained with the adapter
                weights[canonical] = lora.tensors[canonical]
                continue
            report.error(f"missing tensor {canonical}", f"Expected shape {list(shape)}.")
            continue
        file, name = tensors[source.name]
        if file.shape(name) != source.shape:
            report.error(f"tensor {name} has shape {list(file.shape(name))}", f"Expected {list(source.shape)}.")
            continue
        try:
            value = source.take(file.read(name))
        except ValueError as e:
            report.error(str(e))
            continue
        base = value
        if lora is not None:
            value = lora.merged(canonical, value)
        if language and canonical.startswith("head.out."):
            base, value = (each[list(label_ids)] for each in (base, value))
        if not np.isfinite(value).all():
            report.error(f"tensor {name} holds NaN or infinity")
        weights[canonical] = value
        if bases and lora is not None and canonical in lora.changes:
            weights[base_name(canonical)] = base
    report.check()
    return weights


def stored_names(path: Path, spec: ModelSpec) -> dict[str, str]:
    """Canonical name to the name in the checkpoint's files, of every tensor of an encoder that lies there by itself.

    Raises `ProblemsFound`.
    """
    tensors = _tensors(path, spec, Report())
    sources = sources_of(spec, whole_shapes(spec), tensors)
    return {canonical: tensors[source.name][1] for canonical, source in sources.items() if source.name in tensors}


def checkpoint_files(directory: Path) -> list[Path]:
    """The one file of a checkpoint, or else the shards of its index; as in `transformers`, not both.

    They need not exist. Raises ValueError, OSError, or what an index of another form leads to.
    """
    whole, index = directory / "model.safetensors", directory / "model.safetensors.index.json"
    if whole.is_file() or not index.is_file():
        return [whole]
    shards = sorted(set(parse_json(index.read_text(encoding="utf-8-sig"))["weight_map"].values()))
    if outside := [shard for shard in shards if Path(shard).name != shard]:
        raise ValueError(f"{index.name} names files elsewhere: {', '.join(outside)}")
    return [directory / shard for shard in shards]


def _tensors(path: Path, spec: ModelSpec, report: Report) -> dict[str, tuple[TensorFile | GgufFile, str]]:
    """By plain name: the file that holds a tensor, and its name there. Raises `ProblemsFound`."""
    there = {name: file for file in _opened(path, report) for name in file.names()}
    report.check()
    plain = plain_names(list(there), report, *BASES.get(spec.family, ()))
    report.check()
    return {short: (there[name], name) for name, short in plain.items()}


def _opened(path: Path, report: Report) -> Sequence[TensorFile | GgufFile]:
    if (gguf := gguf_file(path)) is None:
        return _files(transformer_folder(path), report)
    try:
        return [open_gguf(gguf)]
    except (OSError, ValueError) as error:
        report.error(f"cannot read {gguf}: {error}")
    return []


def _files(directory: Path, report: Report) -> list[TensorFile]:
    index = directory / "model.safetensors.index.json"
    try:
        files = checkpoint_files(directory)
        if index.is_file() and files[0].name == "model.safetensors":
            note(f"{files[0].name} is read, {index.name} and its shards are not, as in transformers")
        return [TensorFile(file) for file in files]
    except FileNotFoundError as e:
        hint = "A pickle checkpoint (.bin) is not read: save it again with save_pretrained(safe_serialization=True)."
        report.error(f"there is no {Path(e.filename).name} in {directory}", hint if _pickles(directory) else "")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as e:
        report.error(f"cannot read the checkpoint in {directory}: {pointer_problem(index) or e}")
    return []


def _pickles(directory: Path) -> bool:
    return any(directory.glob("*.bin"))
