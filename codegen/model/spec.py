"""What a model is, apart from whose config file said so: Hugging Face names end here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ..commandline.options import read_back
from ..series.names import DecoderActivationName
from .decoders.rope import Rope

Family = Literal["bert", "roberta", "distilbert", "gpt2", "llama"]
HeadKind = Literal["classification", "masked_lm", "causal_lm", "tokens", "prototypes"]
Rows = Literal["first", "select", "last", "mean"]


@dataclass(frozen=True)
class HeadSpec:
    """How one row of the model's output becomes logits."""

    kind: HeadKind
    rows: Rows
    """The row that is read: row 0, the mask token's, the last, or the mean over the tokens."""
    labels: tuple[str, ...]
    """Label names in logit order; none where all tokens are told apart."""
    dense_act: Literal["tanh", DecoderActivationName] | None = None
    """Activation of the dense layer before the output; None: no such layer."""
    norm: bool = False
    """Whether a layer norm follows that dense layer (masked-LM heads)."""

    @property
    def num_labels(self) -> int:
        """Length of the logits."""
        return len(self.labels)


@dataclass(frozen=True)
class ModelSpec:
    """What a transformer is, and its head. The defaults are those of a BERT-like encoder: layer norms behind attention
    and feed-forward network, a table of positions."""

    family: Family
    """Which tensor names the checkpoint uses; nothing but the checkpoint reader asks."""
    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    intermediate_size: int
    hidden_act: DecoderActivationName
    layer_norm_eps: float
    vocab_size: int
    max_positions: int
    """Rows of the position table, or what rotary positions were trained for."""
    position_offset: int
    """Position id of the first token (RoBERTa: padding id + 1)."""
    token_types: int
    """Rows of the token type table; 0: the model has none."""
    pad_token_id: int
    head: HeadSpec
    prompt: str = ""
    """What stands before every text where no template says how texts become input: a sentence encoder's own prompt."""

    causal: bool = False
    """Whether a row sees none behind it; then layers are pre-norm, and it stands behind one public first token."""
    norm: Literal["layer", "rms"] = "layer"
    """Layer norm, or root mean square without centring and beta (Zhang & Sennrich 2019)."""
    rope: Rope | None = None
    """Rotary positions; None: the table's."""
    num_key_value_heads: int | None = None
    """Heads of keys and values, each for a group of queries'; None: as many."""
    head_size: int | None = None
    """Columns of one attention head; None: all heads' together are the hidden size."""
    gated: bool = False
    """Whether the feed-forward network is W_down (act(W_gate x) ∘ W_up x) (Shazeer 2020), not W_out act(W_in x)."""
    qk_norm: bool = False
    """Whether each head's queries and keys are normalised (root mean square) before they are rotated."""
    biased: tuple[str, ...] = ("q", "k", "v", "o", "ffn_in", "ffn_out")
    """A layer's matrices that have biases in the checkpoint; the others' are zero."""
    tied: bool = True
    """Whether a language model's output layer is its table of word embeddings, where the checkpoint holds no other."""

    @property
    def head_dim(self) -> int:
        """Columns of one attention head."""
        return self.head_size or self.hidden_size // self.num_attention_heads

    @property
    def kv_heads(self) -> int:
        """Heads of keys and values."""
        return self.num_key_value_heads or self.num_attention_heads

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> ModelSpec:
        """The spec that `dataclasses.asdict` made JSON of. Raises KeyError or TypeError where it is none."""
        rope = stored.get("rope")
        return cls(**{
            **stored, "head": read_back(HeadSpec, stored["head"]), "rope": rope and read_back(Rope, rope),
            "biased": tuple(stored["biased"]),
        })  # fmt: skip
