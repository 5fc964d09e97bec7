"""Where an encoder's checkpoint keeps each canonical tensor: a plain dict of names a family."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from ..spec import Family, HeadKind, ModelSpec

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
BENIGN = re.compile(
    r"(rfa\.|embeddings\.position_ids|pooler\.|cls\.|lm_head\.|vocab_\w+\.|(pre_)?classifier\.|qa_outputs\.)"
)
"""What checkpoints may hold beside what is read: buffers, heads that are not used, and a converted model's features
(`adapter.py`)."""


def name_map(spec: ModelSpec, available: Iterable[str]) -> dict[str, str]:
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
