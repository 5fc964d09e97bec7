"""Model types that are read, each the family that it is, and why their neighbours are not; pydantic checks fields."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field, PositiveFloat, PositiveInt

from ..commandline.problems import Report
from .config import ModelConfig
from .spec import Family


class Config(ModelConfig):
    """What encoders have besides."""

    intermediate_size: PositiveInt
    hidden_act: str = "gelu"
    layer_norm_eps: PositiveFloat = 1e-12
    max_position_embeddings: PositiveInt
    type_vocab_size: int = Field(2, ge=0)
    pad_token_id: int | None = Field(0, ge=0)
    position_embedding_type: str | None = "absolute"
    is_decoder: bool = False
    add_cross_attention: bool = False


class RobertaConfig(Config):
    """Positions are numbered from behind the padding id."""

    pad_token_id: int | None = Field(1, ge=0)


class ErnieConfig(Config):
    """BERT, unless a third kind of embedding is on."""

    use_task_id: Literal[False] = False


class ElectraConfig(Config):
    """BERT, unless its embeddings are narrower than its rows; the heads differ."""

    embedding_size: PositiveInt = 128


class DistilBertConfig(Config):
    """Its fields have other names; it has neither token types nor a pooler, and its epsilon is not configurable."""

    hidden_size: PositiveInt = Field(alias="dim")
    num_hidden_layers: PositiveInt = Field(alias="n_layers")
    num_attention_heads: PositiveInt = Field(alias="n_heads")
    intermediate_size: PositiveInt = Field(alias="hidden_dim")
    hidden_act: str = Field("gelu", alias="activation")
    layer_norm_eps: PositiveFloat = Field(1e-12, le=1e-12, ge=1e-12)
    type_vocab_size: Literal[0] = 0


@dataclass(frozen=True)
class Kind:
    """What a model type is."""

    config: type[Config]
    family: Family
    dense_act: Literal["tanh", "relu"]
    """Activation before a classification head's output."""
    heads: bool = True
    """Whether its heads are the family's too."""


KINDS = {
    "bert": Kind(Config, "bert", "tanh"),
    "ernie": Kind(ErnieConfig, "bert", "tanh"),
    "electra": Kind(ElectraConfig, "bert", "tanh", heads=False),
    "roberta": Kind(RobertaConfig, "roberta", "tanh"),
    "xlm-roberta": Kind(RobertaConfig, "roberta", "tanh"),
    "camembert": Kind(RobertaConfig, "roberta", "tanh"),
    "data2vec-text": Kind(RobertaConfig, "roberta", "tanh"),
    "distilbert": Kind(DistilBertConfig, "distilbert", "relu"),
}
"""Model types that are read, each with the family that it is, mostly under a new name."""
_REASONS = {
    "xlm-roberta-xl": "Its layers are normalised before attention, not behind it.",
    "roberta-prelayernorm": "Its layers are normalised before attention, not behind it.",
    "megatron-bert": "Its layers are normalised before attention, not behind it.",
    "mpnet": "Its attention adds a bias for relative positions.",
    "deberta": "Its attention sees relative positions.",
    "deberta-v2": "Its attention sees relative positions.",
    "albert": "Its layers share one set of weights, and its embeddings are narrower than its rows.",
    "modernbert": "Its positions are rotary, its feed-forward networks gated.",
    "nomic_bert": "Its positions are rotary, its feed-forward networks gated.",
}
"""Why model types near these are not read."""


def kind_of(raw: dict[str, Any], report: Report, others: Collection[str] = ()) -> Kind | None:
    """What the configuration describes; None where it is one of `others`, or, with the reason reported, nothing that is
    read."""
    name = str(raw.get("model_type"))
    remote = raw.get("auto_map") or {}
    if isinstance(remote, dict) and (code := sorted(k for k in remote if k.startswith(("AutoConfig", "AutoModel")))):
        report.error(
            f"config.json: auto_map takes {', '.join(code)} from code of the model's own ({remote[code[0]]})",
            f"Such code is never run, and what it computes is not a plain {name}: no program would be right.",
        )
        return None
    if alibi := [key for key, value in raw.items() if key.startswith("alibi") and value]:
        report.error(f"config.json: {alibi[0]} is {raw[alibi[0]]!r}", "Accepted: models with a table of positions.")
        return None
    if name not in KINDS and name not in others:
        accepted = ", ".join((*KINDS, *others))
        reason = _REASONS.get(name, "")
        report.error(f"model_type is {raw.get('model_type')!r}", f"{reason} Accepted: {accepted}.".strip())
    return KINDS.get(name)
