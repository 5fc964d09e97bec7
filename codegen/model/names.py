"""Names of a checkpoint's tensors without what training code puts around a model."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ..commandline.problems import Report, note

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
