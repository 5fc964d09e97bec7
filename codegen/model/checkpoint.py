"""Hugging Face checkpoints to canonical tensors: a plain dict of names a family, one report of what does not fit."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from ..commandline.problems import Report, note
from ..commandline.texts import parse_json
from ..hub.files import pointer_problem
from ..hub.gguf import GgufFile, gguf_file, open_gguf
from ..hub.layout import transformer_folder
from .decoders.names import BASES, BENIGN, Stored, stored
from .names import plain_names
from .spec import Family, HeadKind, ModelSpec
from .tensors import TensorFile
from .weights import Shape, Weights, absent_shapes, checkpoint_shapes

# Names after all that stands before the base model's own (`bert.`, `module.roberta.`) is taken away; `.weight`/`.bias`
# are appended to both sides, `.gamma`/`.beta` on the right for layer norms.
_EMBEDDINGS = {
    "embeddings.word_embeddings": "embeddings.word",
    "embeddings.position_embeddings": "embeddings.position",
    "embeddings.token_type_embeddings": "embeddings.token_type",
}
_BERT_LAYER = {
    "encoder.layer.{i}.attention.self.query": "layers.{i}.q",
    "encoder.layer.{i}.attention.self.key": "layers.{i}.k",
    "encoder.layer.{i}.attention.self.value": "layers.{i}.v",
    "encoder.layer.{i}.attention.output.dense": "layers.{i}.o",
    "encoder.layer.{i}.attention.output.LayerNorm": "layers.{i}.attention_norm",
    "encoder.layer.{i}.intermediate.dense": "layers.{i}.ffn_in",
    "encoder.layer.{i}.output.dense": "layers.{i}.ffn_out",
    "encoder.layer.{i}.output.LayerNorm": "layers.{i}.output_norm",
}
_LAYERS: dict[Family, dict[str, str]] = {
    "bert": _BERT_LAYER,
    "roberta": _BERT_LAYER,
    "distilbert": {
        "transformer.layer.{i}.attention.q_lin": "layers.{i}.q",
        "transformer.layer.{i}.attention.k_lin": "layers.{i}.k",
        "transformer.layer.{i}.attention.v_lin": "layers.{i}.v",
        "transformer.layer.{i}.attention.out_lin": "layers.{i}.o",
        "transformer.layer.{i}.sa_layer_norm": "layers.{i}.attention_norm",
        "transformer.layer.{i}.ffn.lin1": "layers.{i}.ffn_in",
        "transformer.layer.{i}.ffn.lin2": "layers.{i}.ffn_out",
        "transformer.layer.{i}.output_layer_norm": "layers.{i}.output_norm",
    },
}
_HEADS: dict[tuple[Family, HeadKind], dict[str, str]] = {
    ("bert", "classification"): {"pooler.dense": "head.dense", "classifier": "head.out"},
    ("roberta", "classification"): {"classifier.dense": "head.dense", "classifier.out_proj": "head.out"},
    ("distilbert", "classification"): {"pre_classifier": "head.dense", "classifier": "head.out"},
    ("bert", "masked_lm"): {
        "cls.predictions.transform.dense": "head.dense",
        "cls.predictions.transform.LayerNorm": "head.norm",
        "cls.predictions.decoder": "head.out",
        "cls.predictions": "head.out",  # cls.predictions.bias
    },
    ("roberta", "masked_lm"): {
        "lm_head.dense": "head.dense",
        "lm_head.layer_norm": "head.norm",
        "lm_head.decoder": "head.out",
        "lm_head": "head.out",  # lm_head.bias
    },
    ("distilbert", "masked_lm"): {
        "vocab_transform": "head.dense",
        "vocab_layer_norm": "head.norm",
        "vocab_projector": "head.out",
    },
}
# What checkpoints may hold beside the tensors that are read here: buffers, heads that are not used, and a converted
# model's features (`adapter.py`).
_BENIGN = re.compile(
    r"(rfa\.|embeddings\.position_ids|pooler\.|cls\.|lm_head\.|vocab_\w+\.|(pre_)?classifier\.|qa_outputs\.)"
)


def load_checkpoint(path: Path, spec: ModelSpec, label_ids: Sequence[int] = ()) -> Weights:
    """Canonical tensors, float32, of the checkpoint in `path` (a directory, or any file in it).

    A GGUF file is one as well. `label_ids`: heads of language models keep only these tokens' output rows. Biases and
    betas that the model does not have are zeros. Raises `ProblemsFound` with every missing,
    unexpected, mis-shaped or non-finite tensor.
    """
    report = Report()
    there = {name: file for file in _opened(path, report) for name in file.names()}
    report.check()
    tensors = {
        plain: (there[name], name)
        for name, plain in plain_names(list(there), report, *BASES.get(spec.family, ())).items()
    }
    report.check()
    language = spec.head.kind in ("masked_lm", "causal_lm")
    shapes = checkpoint_shapes(spec, spec.vocab_size if language else None)
    sources = _sources(spec, shapes, tensors)
    benign = BENIGN if spec.causal else _BENIGN
    for name in sorted(tensors.keys() - {source.name for source in sources.values()}):
        if not benign.match(name):
            report.error(f"unexpected tensor {name}", "The configuration describes no such part.")
    weights: Weights = {name: np.zeros(shape, np.float32) for name, shape in absent_shapes(spec).items()}
    for canonical, shape in shapes.items():
        if (source := sources.get(canonical)) is None or source.name not in tensors:
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
        if language and canonical.startswith("head.out."):
            value = value[list(label_ids)]
        if not np.isfinite(value).all():
            report.error(f"tensor {name} holds NaN or infinity")
        weights[canonical] = value
    report.check()
    return weights


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


def _sources(spec: ModelSpec, shapes: Mapping[str, Shape], available: Iterable[str]) -> dict[str, Stored]:
    """Canonical name to what the checkpoint holds, for every tensor of this model."""
    if spec.causal:
        return {canonical: stored(spec, canonical, shape) for canonical, shape in shapes.items()}
    names = _name_map(spec, available)
    if spec.head.kind == "masked_lm" and "head.out.weight" not in names and "embeddings.word" in names:
        names["head.out.weight"] = names["embeddings.word"]  # the output layer is tied to the input
    return {canonical: Stored(name, shapes.get(canonical, ())) for canonical, name in names.items()}


def _name_map(spec: ModelSpec, available: Iterable[str]) -> dict[str, str]:
    """Canonical name to the checkpoint's, for every tensor of this model that is there."""
    modules = _EMBEDDINGS | {"embeddings.LayerNorm": "embeddings"}
    for i in range(spec.num_hidden_layers):
        modules |= {k.format(i=i): v.format(i=i) for k, v in _LAYERS[spec.family].items()}
    modules |= _HEADS.get((spec.family, spec.head.kind), {})
    return {canonical: name for name in available if (canonical := _canonical(name, modules)) is not None}


def _canonical(name: str, modules: Mapping[str, str]) -> str | None:
    module, _, part = name.rpartition(".")
    target = modules.get(module)
    if target is None or part not in ("weight", "bias"):
        return None
    if module in _EMBEDDINGS:
        return target
    if module.lower().endswith(("layernorm", "layer_norm")):
        return f"{target}.{'gamma' if part == 'weight' else 'beta'}"
    return f"{target}.{part}"
