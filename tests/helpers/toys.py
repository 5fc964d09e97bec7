"""Random toy checkpoints of every family, written by `transformers`, with tokenizers in the forms they ship."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from tokenizers.pre_tokenizers import ByteLevel

WORDS = ["good", "bad", "film", "a", "the", "was", "it", "very", ".", ",", "world", "sport", "news", "##s"]
SHAPE = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}
ROBERTA = SHAPE | {"max_position_embeddings": 42, "pad_token_id": 1, "type_vocab_size": 1}
CONFIGS = {
    "bert": ("Bert", SHAPE | {"max_position_embeddings": 40}),
    "roberta": ("Roberta", ROBERTA),
    "xlm-roberta": ("XLMRoberta", ROBERTA),
    "distilbert": (
        "DistilBert",
        {"dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 48, "max_position_embeddings": 40},
    ),
}
NEW_NAMES = {
    "camembert": ("Camembert", ROBERTA),
    "data2vec-text": ("Data2VecText", ROBERTA),
    "ernie": ("Ernie", SHAPE | {"max_position_embeddings": 40}),
    "electra": ("Electra", SHAPE | {"max_position_embeddings": 40, "embedding_size": 32}),
}
"""Families that are one of those above under another name."""
HEAD_OPTIONS: dict[str, dict[str, Any]] = {
    "classification": {},
    "masked_lm": {"label_words": ("good", "bad"), "template": "{text} it was {mask}."},
    "prototypes": {"label_texts": ("good film", "bad film", "the news"), "temperature": 3.0},
}
HEADS = {"classification": "ForSequenceClassification", "masked_lm": "ForMaskedLM", "prototypes": "Model"}


def save_toy(directory: Path, family: str, head: str, shard: str | None = None, **config: Any) -> Any:
    """Write a toy checkpoint and return the model; `shard`: the largest size of a file."""
    name, shape = (CONFIGS | NEW_NAMES)[family]
    vocabulary = save_tokenizer(directory, byte_level="pad_token_id" in shape)
    settings = getattr(transformers, f"{name}Config")(vocab_size=vocabulary, **(shape | config))
    torch.manual_seed(0)
    model = getattr(transformers, name + HEADS[head])(settings).eval()
    with torch.no_grad():
        for tensor in model.parameters():
            mean = 1.0 if tensor.ndim == 1 and bool((tensor == 1).all()) else 0.0
            tensor.normal_(mean, 0.2)
    model.tie_weights()
    model.save_pretrained(directory, **({"max_shard_size": shard} if shard else {}))
    return model


def save_tokenizer(directory: Path, byte_level: bool) -> int:
    """Write vocab.txt, or vocab.json and merges.txt; returns the vocabulary's size."""
    directory.mkdir(parents=True, exist_ok=True)
    if not byte_level:
        vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS, *"dfgilmo"]
        (directory / "vocab.txt").write_text("\n".join(vocabulary) + "\n")
        return len(vocabulary)
    vocabulary = ["<s>", "<pad>", "</s>", "<unk>", *sorted(ByteLevel.alphabet())]
    merges = []
    for word in ("Ġgood", "Ġbad"):
        for i in range(1, len(word)):
            merges.append(f"{word[:i]} {word[i]}")
            vocabulary.append(word[: i + 1])
    vocabulary.append("<mask>")
    (directory / "vocab.json").write_text(json.dumps({token: i for i, token in enumerate(vocabulary)}))
    (directory / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n")
    (directory / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "RobertaTokenizer"}))
    return len(vocabulary)


def save_sentence_transformer(directory: Path, family: str, pooling: str = "mean") -> Any:
    """Write a toy sentence-transformers directory."""
    model = save_toy(directory, family, "prototypes")
    modules = [("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize")]
    content = [
        {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{name}"}
        for i, (path, name) in enumerate(modules)
    ]
    (directory / "modules.json").write_text(json.dumps(content))
    (directory / "1_Pooling").mkdir()
    flags = {f"pooling_mode_{name}": name.startswith(pooling) for name in ("cls_token", "mean_tokens", "max_tokens")}
    (directory / "1_Pooling" / "config.json").write_text(json.dumps({"word_embedding_dimension": 32, **flags}))
    return model


def random_ids(vocabulary: int, rows: int, tokens: int, mask_id: int | None = None) -> list[list[int]]:
    """Token id rows of different lengths, no special tokens but, where asked for, one mask in each."""
    rng = np.random.default_rng(0)
    ids = [rng.integers(5, vocabulary - 1, size=rng.integers(3, tokens + 1)).tolist() for _ in range(rows)]
    for row in ids:
        if mask_id is not None:
            row[int(rng.integers(1, len(row)))] = mask_id
    return ids


def padded(ids: list[list[int]], tokens: int, pad: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids and attention mask as `transformers` takes them."""
    return (
        torch.tensor([row + [pad] * (tokens - len(row)) for row in ids]),
        torch.tensor([[1] * len(row) + [0] * (tokens - len(row)) for row in ids]),
    )
