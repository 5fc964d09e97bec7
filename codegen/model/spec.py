"""What a model is, apart from whose config file said so: Hugging Face names end here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ..commandline.options import read_back
from ..series.names import ActivationName

Family = Literal["bert", "roberta", "distilbert"]
HeadKind = Literal["classification", "masked_lm", "prototypes"]
Rows = Literal["first", "select", "mean"]


@dataclass(frozen=True)
class HeadSpec:
    """How one row of the encoder's output becomes logits."""

    kind: HeadKind
    rows: Rows
    """The row that is read: row 0, the mask token's, or the mean over the tokens."""
    labels: tuple[str, ...]
    """Label names in logit order."""
    dense_act: Literal["tanh", ActivationName] | None = None
    """Activation of the dense layer before the output; None: no such layer."""
    norm: bool = False
    """Whether a layer norm follows that dense layer (masked-LM heads)."""

    @property
    def num_labels(self) -> int:
        """Length of the logits."""
        return len(self.labels)


@dataclass(frozen=True)
class ModelSpec:
    """A BERT-like post-norm encoder with absolute positions, and its head."""

    family: Family
    """Which tensor names the checkpoint uses; nothing but the checkpoint reader asks."""
    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    intermediate_size: int
    hidden_act: ActivationName
    layer_norm_eps: float
    vocab_size: int
    max_positions: int
    """Rows of the position table."""
    position_offset: int
    """Position id of the first token (RoBERTa: padding id + 1)."""
    token_types: int
    """Rows of the token type table; 0: the model has none."""
    pad_token_id: int
    head: HeadSpec
    prompt: str = ""
    """What stands before every text where no template says how texts become input: a sentence encoder's own prompt."""

    @property
    def head_dim(self) -> int:
        """Columns of one attention head."""
        return self.hidden_size // self.num_attention_heads

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> ModelSpec:
        """The spec that `dataclasses.asdict` made JSON of. Raises KeyError or TypeError where it is none."""
        return cls(**{**stored, "head": read_back(HeadSpec, stored["head"])})
