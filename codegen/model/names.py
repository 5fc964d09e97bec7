"""Names of a checkpoint's tensors: what training code puts around them, and where each canonical one lies."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from ..commandline.problems import Report, note
from .decoders.names import BASES, Stored, stored
from .decoders.names import BENIGN as DECODERS_BENIGN
from .encoders.names import BENIGN as ENCODERS_BENIGN
from .encoders.names import name_map
from .spec import ModelSpec
from .weights import Shape

_BASE = "(bert|roberta|distilbert|electra|ernie|data2vec_text)"
_WORDS = "embeddings.word_embeddings.weight"
# What torch puts between names where a part of a model is compiled, sharded or recomputed.
_WRAPPERS = re.compile(r"(^|\.)(?:(?:_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module|module)\.)+")


def plain_names(names: Sequence[str], report: Report, words: str = _WORDS, base_name: str = _BASE) -> dict[str, str]:
    """Every tensor's name without what wraps the model, and with today's names for layer norms.

    The word embeddings (`words`) show what stands before the base model's names, whoever put it there (`bert.`,
    `0.auto_model.`, `module.bert.`); what remains of that without the base model's own prefix (`base_name`) stands
    before the heads' names.
    """
    inner = {name: _WRAPPERS.sub(r"\1", name) for name in names}
    models = sorted({name.removesuffix(words) for name in inner.values() if name.endswith(words)})
    if len(models) > 1:
        report.error(
            f"the checkpoint holds {len(models)} models: {', '.join(repr(model) for model in models)}",
            "Accepted: tensors of one.",
        )
        return {}
    base = models[0] if models else ""
    wrapper = re.sub(rf"(^|\.){base_name}\.$", r"\1", base)
    if wrapper:
        note(f"names of tensors are read without {wrapper!r} at their beginning")
    elif any(inner[name] != name for name in names):
        example = next(name for name in names if inner[name] != name)
        note(f"names of tensors are read without the wrappers in them, as {inner[example]} for {example}")
    plain: dict[str, str] = {}
    for name, short in inner.items():
        short = short.removeprefix(base) if short.startswith(base) else short.removeprefix(wrapper)
        short = re.sub(rf"^{base_name}\.", "", short)
        short = re.sub(r"(LayerNorm|layer_norm)\.beta$", r"\1.bias", short)
        plain[name] = re.sub(r"(LayerNorm|layer_norm)\.gamma$", r"\1.weight", short)
    if len(set(plain.values())) < len(plain):
        twice = sorted(name for name, short in plain.items() if list(plain.values()).count(short) > 1)
        report.error(f"tensors are there twice, under several names: {', '.join(twice)}", "Accepted: each tensor once.")
    return plain


def inner_name(spec: ModelSpec, name: str) -> str:
    """A name of a model's tensor, or module, without wrappers and the base model's prefix."""
    _, base = BASES.get(spec.family, ("", _BASE))
    return re.sub(rf"^{base}\.", "", _WRAPPERS.sub(r"\1", name))


def sources_of(spec: ModelSpec, shapes: Mapping[str, Shape], available: Iterable[str]) -> dict[str, Stored]:
    """Canonical name to what the checkpoint holds, for every tensor of this model."""
    if spec.causal:
        return {canonical: stored(spec, canonical, shape) for canonical, shape in shapes.items()}
    names = name_map(spec, available)
    if spec.head.kind == "masked_lm" and "head.out.weight" not in names and "embeddings.word" in names:
        names["head.out.weight"] = names["embeddings.word"]  # the output layer is tied to the input
    return {canonical: Stored(name, shapes.get(canonical, ())) for canonical, name in names.items()}


def benign_names(spec: ModelSpec) -> re.Pattern[str]:
    """Names of what checkpoints may hold beside what is read."""
    return DECODERS_BENIGN if spec.causal else ENCODERS_BENIGN
