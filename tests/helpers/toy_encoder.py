"""A random two-layer BERT of twenty words as files, and texts for it."""

import json
import math
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

WORDS = [
    "the", "a", "red", "blue", "small", "boat", "star", "tree",
    "soup", "runs", "shines", "grows", "boils", "over", "under", "near",
]  # fmt: skip


def write_model(directory: Path) -> Path:
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace
    from tokenizers.processors import BertProcessing

    vocabulary = {w: i for i, w in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS])}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.post_processor = BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    tokenizer.save(str(directory / "tokenizer.json"))
    (directory / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "PreTrainedTokenizerFast"}))
    hidden, inner = 16, 32
    config = {
        "model_type": "bert", "architectures": ["BertModel"], "hidden_size": hidden, "num_hidden_layers": 2,
        "num_attention_heads": 2, "intermediate_size": inner, "hidden_act": "gelu", "vocab_size": len(vocabulary),
        "max_position_embeddings": 64, "type_vocab_size": 2,
    }  # fmt: skip
    (directory / "config.json").write_text(json.dumps(config))
    rng = np.random.default_rng(0)

    def normal(*shape: int) -> np.ndarray:
        return (rng.standard_normal(shape) / math.sqrt(shape[-1])).astype(np.float32)

    tensors = {
        f"embeddings.{n}_embeddings.weight": 4 * normal(rows, hidden)
        for n, rows in (("word", len(vocabulary)), ("position", 64), ("token_type", 2))
    }
    shapes = {
        "attention.self.query": (hidden, hidden), "attention.self.key": (hidden, hidden),
        "attention.self.value": (hidden, hidden), "attention.output.dense": (hidden, hidden),
        "intermediate.dense": (inner, hidden), "output.dense": (hidden, inner),
    }  # fmt: skip
    norms = ["embeddings.LayerNorm"]
    for i in range(2):
        norms += [f"encoder.layer.{i}.{n}" for n in ("attention.output.LayerNorm", "output.LayerNorm")]
        for name, shape in shapes.items():
            tensors[f"encoder.layer.{i}.{name}.weight"] = 2 * normal(*shape)
            tensors[f"encoder.layer.{i}.{name}.bias"] = 0.1 * normal(shape[0])
    for name in norms:
        tensors[f"{name}.weight"] = 1 + 0.1 * normal(hidden)
        tensors[f"{name}.bias"] = 0.1 * normal(hidden)
    save_file(tensors, directory / "model.safetensors")
    return directory


def write_texts(path: Path, count: int = 200) -> Path:
    rng = np.random.default_rng(1)
    path.write_text("\n".join(" ".join(rng.choice(WORDS, int(rng.integers(3, 12)))) for _ in range(count)))
    return path
