"""Fields of a config.json that encoders and decoders share; pydantic checks them."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, PositiveInt


class ModelConfig(BaseModel):
    """What every configuration says; defaults are those of `transformers`."""

    model_config = ConfigDict(extra="ignore", populate_by_name=True)

    architectures: list[str] = []
    hidden_size: PositiveInt
    num_hidden_layers: PositiveInt
    num_attention_heads: PositiveInt
    vocab_size: PositiveInt
    id2label: dict[int, str] | None = None
    num_labels: PositiveInt | None = None
    problem_type: str | None = None
