"""Public texts as batches of embedding rows: a step's batch follows from the seed and the step's number alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from ...codegen.owners.embed import Embedder
from .neighbours import nearest_tokens
from .student import Parameters, Rows

Batch = tuple[Tensor, Rows]
"""Rows `[N, h]` that enter the encoder, and where they stand."""
NEIGHBOURS = 4
"""A batch is drawn from that many times as many texts, of like length."""
PROMPT_ROWS = 8


class Corpus:
    """Tokenised texts, sorted by length, and the original's embedding tables.

    `padded`: padded lengths that are drawn for a text (at least its own); the protocol sees texts padded.
    """

    def __init__(
        self,
        texts: Sequence[list[int]],
        embedder: Embedder,
        teacher: Parameters,
        *,
        batch_rows: int = 2048,
        padded: tuple[int, int] = (24, 64),
        splice: float = 0.0,
        exchange: float = 0.0,
    ) -> None:
        self.texts = sorted(texts, key=len)
        self.embedder, self.teacher = embedder, teacher
        self.batch_rows, self.padded, self.splice, self.exchange = batch_rows, padded, splice, exchange
        self._nearest = nearest_tokens(teacher["embeddings.word"], embedder.tokenizer) if exchange else None
        self.device = teacher["embeddings.word"].device
        share = np.cumsum([len(text) ** 2 for text in self.texts])
        self._drawn_below = share / share[-1]

    def draw(self, rng: np.random.Generator) -> Batch:
        """About `batch_rows` rows of texts of like length; long ones, which are harder, come more often."""
        centre = int(np.searchsorted(self._drawn_below, rng.random()))
        count = max(1, self.batch_rows // len(self.texts[centre]))
        low = max(0, min(centre - NEIGHBOURS * count // 2, len(self.texts) - NEIGHBOURS * count))
        window = range(low, min(len(self.texts), low + NEIGHBOURS * count))
        chosen = [self.texts[i] for i in rng.choice(window, min(count, len(window)), replace=False)]
        return self._batch([self._exchanged(self._spliced(t, rng), rng) for t in chosen], rng)

    def _spliced(self, text: list[int], rng: np.random.Generator) -> list[int]:
        """The head of a text and the tail of another, not longer than the text: new text at no cost."""
        if rng.random() >= self.splice or len(text) < 4:
            return text
        other = self.texts[int(rng.integers(len(self.texts)))]
        cut = int(rng.integers(1, len(text) - 1))
        return text[:cut] + other[-min(len(text) - cut, len(other) - 1) :]

    def _exchanged(self, text: list[int], rng: np.random.Generator) -> list[int]:
        """Some tokens of half the texts replaced by near ones."""
        if self._nearest is None or rng.random() < 0.5:
            return text
        ids = np.array(text)
        near = self._nearest[ids, rng.integers(self._nearest.shape[1], size=len(ids))]
        exchanged: list[int] = np.where(rng.random(len(ids)) < self.exchange, near, ids).tolist()
        return exchanged

    def all(self, seed: int = 0) -> Iterator[Batch]:
        """Every text once, in batches of like length; padded lengths follow from the seed."""
        rng, batch = np.random.default_rng(seed), list[list[int]]()
        for text in self.texts:
            if batch and (len(batch) + 1) * len(text) > self.batch_rows:
                yield self._batch(batch, rng)
                batch = []
            batch.append(text)
        yield self._batch(batch, rng)

    def _batch(self, texts: list[list[int]], rng: np.random.Generator) -> Batch:
        inputs = self.embedder.embed(texts, [[0] * len(t) for t in texts])
        lengths = torch.tensor([len(t) for t in texts])
        longest = int(lengths.max())
        drawn = torch.from_numpy(rng.integers(self.padded[0], self.padded[1] + 1, len(texts)))
        mask = torch.from_numpy(inputs["mask"][:, :longest] > 0).to(self.device)
        rows = Rows(mask, torch.maximum(drawn, lengths).float().to(self.device))
        x = torch.from_numpy(inputs["x"][:, :longest]).to(self.device)
        return self._affine(rows.unpad(x), 0), rows

    def _affine(self, normalised: Tensor, layer: int) -> Tensor:
        """Normalised rows to what enters `layer`."""
        prefix = f"layers.{layer - 1}.output_norm" if layer else "embeddings"
        return normalised * self.teacher[f"{prefix}.gamma"] + self.teacher[f"{prefix}.beta"]

    def prompt(self, x: Tensor, rows: Rows, layer: int, rng: np.random.Generator) -> Tensor:
        """Random prompt rows `[B, n, h]` for the input `x` of `layer`: normalised token rows, noise, or between."""
        n = int(rng.integers(1, PROMPT_ROWS + 1))
        token = x[torch.from_numpy(rng.integers(0, len(x), n)).to(self.device)]
        zero = self._affine(torch.zeros_like(x[0]), layer)
        token = (token - zero) / (self._affine(torch.ones_like(x[0]), layer) - zero)
        noise = torch.from_numpy(rng.standard_normal(token.shape)).float().to(self.device)
        a, b = rng.uniform(0, 1, 2)
        return self._affine(a * token + b * noise, layer).expand(len(rows.mask), -1, -1)


class DecoderCorpus(Corpus):
    """The same for a decoder: texts begin with its first token, and rows are those of the residual stream."""

    def _batch(self, texts: list[list[int]], rng: np.random.Generator) -> Batch:
        lengths = torch.tensor([len(text) for text in texts])
        mask = (torch.arange(int(lengths.max())) < lengths[:, None]).to(self.device)
        drawn = torch.from_numpy(rng.integers(self.padded[0], self.padded[1] + 1, len(texts)))
        rows = Rows(mask, torch.maximum(drawn, lengths).float().to(self.device))
        ids = torch.tensor([i for text in texts for i in text], device=self.device)
        x = self.teacher["embeddings.word"][ids]
        if (table := self.teacher.get("embeddings.position")) is not None:
            x = x + table[rows.index % mask.shape[1]]
        return x, rows

    def prompt(self, x: Tensor, rows: Rows, layer: int, rng: np.random.Generator) -> Tensor:
        """Random prompt rows `[B, n, h]` for the input `x` of a layer: token rows, and noise half as long."""
        n = int(rng.integers(1, PROMPT_ROWS + 1))
        token = x[torch.from_numpy(rng.integers(0, len(x), n)).to(self.device)]
        noise = torch.from_numpy(rng.standard_normal(token.shape)).float().to(self.device)
        size = x.square().mean(-1).median().sqrt() / 2
        return (token + float(rng.uniform(0, 1)) * size * noise).expand(len(rows.mask), -1, -1)
