"""Models as transformers has them, for PEFT to train on: MiniLM, and SmolLM2 from its GGUF file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
import transformers
from secfwt.codegen.hub.gguf import open_gguf
from secfwt.codegen.model.hf import read_model
from secfwt.codegen.model.options import GenOptions
from secfwt.codegen.owners.check import fitting_tokenizer
from secfwt.codegen.owners.first_token import first_token
from secfwt.codegen.owners.prepare import PROBES, prepare_weights
from secfwt.codegen.owners.sequences import bare_ids
from secfwt.runtime.data.examples import Example
from torch import Tensor
from torch.nn import functional

from accuracy.tasks import Task

TEMPERATURE = 20.0
"""What secfwt multiplies cosines with prototypes by."""


class Subject(Protocol):
    """A model, and what it is trained for."""

    module: Any
    """transformers' model; PEFT changes it in place."""
    layers: int
    targets: list[str]
    """Names of the modules that are adapted."""

    def loss(self, batch: Sequence[Example]) -> Tensor:
        """Mean over what is predicted."""

    def score(self, examples: Sequence[Example]) -> float:
        """How good it is on held-out examples."""


@dataclass
class Writer:
    """A decoder that learns to write as texts do; its score is the perplexity."""

    path: Path
    tokens: int = 64
    targets = ["q_proj", "v_proj"]  # noqa: RUF012 (PEFT's default for the family)

    def __post_init__(self) -> None:
        file = open_gguf(self.path)
        given = file.config()
        base = given.pop("rope_theta")
        config = transformers.LlamaConfig(
            **{k: v for k, v in given.items() if v is not None},
            rope_parameters={"rope_type": "default", "rope_theta": base},
        )
        self.module = transformers.LlamaForCausalLM(config).eval()
        stored = {f"model.{name}": torch.from_numpy(file.read(name)) for name in file.names()}
        if (missing := self.module.load_state_dict(stored, strict=False).missing_keys) != ["lm_head.weight"]:
            raise ValueError(f"{self.path} lacks {', '.join(missing)}")
        self.layers = config.num_hidden_layers
        options = GenOptions(attention="softmax", sequence_length=self.tokens, n_prompt_tokens=0, head="tokens")
        spec = read_model(self.path, options)
        self._tokenizer = fitting_tokenizer(self.path, spec)
        weights, _ = prepare_weights(self.path, spec, options)
        self._first = first_token(self._tokenizer, spec, weights, PROBES)

    def loss(self, batch: Sequence[Example]) -> Tensor:
        """Cross entropy of the tokens of texts, each behind those before it."""
        rows = [[self._first, *bare_ids(self._tokenizer, str(e.text))[: self.tokens]] for e in batch]
        longest = max(map(len, rows))
        ids = torch.tensor([row + [0] * (longest - len(row)) for row in rows])
        real = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows])
        labels = torch.where(real > 0, ids, -100)
        loss: Tensor = self.module(input_ids=ids, attention_mask=real, labels=labels).loss
        return loss

    def score(self, examples: Sequence[Example]) -> float:
        """Perplexity."""
        batches = [examples[i : i + 8] for i in range(0, len(examples), 8)]
        return float(torch.stack([self.loss(batch) for batch in batches]).mean().exp())


@dataclass
class Classifier:
    """A sentence encoder that learns which label's text an example is like; its score is the accuracy in percent."""

    task: Task
    path: Path
    targets = ["query", "key", "value", "dense"]  # noqa: RUF012 (all matrices of a layer)

    def __post_init__(self) -> None:
        self.module = transformers.AutoModel.from_pretrained(self.path).eval()
        self.layers = self.module.config.num_hidden_layers
        spec = read_model(self.path, GenOptions(head="prototypes", label_texts=("a", "b")))
        self._tokenizer = fitting_tokenizer(self.path, spec)

    def loss(self, batch: Sequence[Example]) -> Tensor:
        """Cross entropy of labels."""
        right = torch.tensor([self.task.labels.index(e.label) for e in batch])
        return functional.cross_entropy(self._logits(batch), right)

    def score(self, examples: Sequence[Example]) -> float:
        """Percent that get the right label."""
        right = 0
        for start in range(0, len(examples), 32):
            batch = examples[start : start + 32]
            said = self._logits(batch).argmax(-1).tolist()
            right += sum(self.task.labels[i] == e.label for i, e in zip(said, batch, strict=True))
        return 100 * right / len(examples)

    def _logits(self, batch: Sequence[Example]) -> Tensor:
        prototypes = self._embedded([self.task.label_texts[label] for label in self.task.labels])
        return TEMPERATURE * self._embedded([str(e.text) for e in batch]) @ prototypes.T

    def _embedded(self, texts: Sequence[str]) -> Tensor:
        """Unit rows `[n, h]`: means over a text's tokens."""
        rows = [encoded.ids for encoded in self._tokenizer.encode_batch(list(texts))]
        rows = [[*ids[: self.task.sequence_length - 1], ids[-1]] if len(ids) > self.task.sequence_length else ids
                for ids in rows]  # fmt: skip
        longest = max(map(len, rows))
        ids = torch.tensor([row + [0] * (longest - len(row)) for row in rows])
        real = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows])
        hidden = self.module(input_ids=ids, attention_mask=real).last_hidden_state
        return functional.normalize((hidden * real[..., None]).sum(1), dim=-1)
