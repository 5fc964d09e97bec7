"""A fast clear engine: the model plan in torch, with tokens' lower layers computed once a set.

Examples of like length go together, so that little of the padding is computed. Losses can be differentiated with
respect to z, which is what gradient prompt tuning needs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from secfwt.codegen.model.options import GenOptions
from secfwt.runtime.adaptation.training import has_bfloat16
from secfwt.runtime.engine import Batch, Floats
from secfwt.runtime.tuning.clear import InProcessEngine
from secfwt.runtime.tuning.model import Model
from secfwt.runtime.tuning.objective import Ints, PromptSpace
from torch import Tensor
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence

TILE = 8
"""Examples of like length that are computed together."""
TILE_ROWS = 6_000
"""Rows that go through a layer at once: more leave the caches."""


@dataclass(frozen=True)
class Tile:
    """A few examples of like length as they enter the prompted layer: `hidden` `[E, T, h]`, `mask` `[E, T]`, and what
    that layer's attention takes of them `[E, T, …]`, which no prompt changes."""

    index: Tensor
    hidden: Tensor
    mask: Tensor
    taken: Tensor


@dataclass(frozen=True)
class Examples:
    """A set: its tiles, one-hot labels `[E, L]` and weights `[E]`."""

    tiles: list[Tile]
    labels: Tensor
    weight: Tensor


def mean_losses(logits: Tensor, labels: Tensor, weight: Tensor, options: GenOptions) -> Tensor:
    """Losses `[C]` of logits `[C, E, L]`, with one-hot labels `[E, L]` and weights `[E]` that sum to 1."""
    right = (logits * labels).sum(-1)
    if options.loss == "ce":
        each = logits.logsumexp(-1) - right
    else:
        each = ((options.margin + logits - right[..., None]).clamp(min=0) * (1 - labels)).sum(-1)
    return (each * weight).sum(-1)


class TorchEngine(InProcessEngine[Examples]):
    """`Engine` for GELU sentence encoders with mean pooling and a prototype head, softmax or folded random features.

    `dtype` is that of weights and hidden rows; logits and losses are float32. By default it is bfloat16 where the
    processor has it, which is several times faster there (and 40 times slower elsewhere); it moves a loss by about
    0.001.
    """

    name = "torch (not private)"

    def __init__(self, model: Model, dtype: torch.dtype | None = None) -> None:
        super().__init__()
        dtype = dtype or (torch.bfloat16 if has_bfloat16(torch.device("cpu")) else torch.float32)
        assert model.weights is not None
        spec, self._options = model.spec, model.options
        if (spec.head.kind, spec.head.rows, spec.hidden_act) != ("prototypes", "mean", "gelu"):
            raise ValueError("only GELU encoders with mean pooling and prototypes run here")
        self._dtype, self._layers, self._heads, self._eps, self._hidden = (
            dtype, spec.num_hidden_layers, spec.num_attention_heads, spec.layer_norm_eps, spec.hidden_size,
        )  # fmt: skip
        inner = {n: np.array(w, np.float32) for n, w in model.weights.items() if not n.startswith("embeddings.word")}
        self._weights = {name: torch.from_numpy(w).to(dtype) for name, w in inner.items()}
        self.prototypes = torch.from_numpy(inner["head.prototypes"])
        """`[L, h]`, unit rows."""
        self._means = torch.zeros_like(self.prototypes)
        names = ("q", "k", "v") if self._options.attention == "softmax" else ("phase_query", "phase_key", "v")
        for i in range(self._layers):
            for part in ("weight", "bias"):
                joined = torch.cat([self._weights[f"layers.{i}.{name}.{part}"] for name in names])
                self._weights[f"layers.{i}.qkv.{part}"] = joined
        self._prompts = PromptSpace(model.plan, 1.0).prompts if self._options.n_prompt_tokens else []
        self._rows = [torch.from_numpy(inner[prompt.p0]) for prompt in self._prompts]
        self._projections = [torch.from_numpy(prompt.projection).float() for prompt in self._prompts]
        self._first = self._options.prompt_layer if self._prompts else self._layers

    def load_examples(self, name: str, batch: Batch) -> None:
        """Keep a set under a name, computed up to the prompted layer (without prompt: all layers)."""
        with self._timed():
            self._sets[name] = self.compute(batch)

    def compute(self, batch: Batch) -> Examples:
        """A set as it is kept."""
        given = {key: torch.from_numpy(np.array(value, np.float32)) for key, value in batch.inputs.items()}
        lengths = given["mask"].sum(1).long()
        tiles = []
        with torch.no_grad():
            for chosen in lengths.argsort().split(TILE):
                length = int(lengths[chosen].max())
                mask = given["mask"][chosen, :length]
                x = self._affine(given["x"][chosen, :length].to(self._dtype), 0)
                for layer in range(self._first):
                    x = self._layer(x, mask, layer)
                tiles.append(self._tile(chosen, x, mask))
        return Examples(tiles, given["labels"], given["example_weight"][:, 0])

    def take(self, name: str, whole: Examples, chosen: Ints) -> None:
        """Keep some examples `[E]` of a set that an engine of the same model, but for its prompts' projections, has
        computed."""
        found = {int(i): (tile, at) for tile in whole.tiles for at, i in enumerate(tile.index)}
        rows = [(tile.hidden[at], tile.mask[at]) for tile, at in (found[int(i)] for i in chosen)]
        lengths, tiles = torch.stack([mask.sum() for _, mask in rows]).long(), []
        for few in lengths.argsort().split(TILE):
            length = int(lengths[few].max())
            cut = [(hidden[:length], mask[:length]) for hidden, mask in (rows[i] for i in few.tolist())]
            hidden, mask = (pad_sequence(list(each), batch_first=True) for each in zip(*cut, strict=True))
            with torch.no_grad():
                tiles.append(self._tile(few, hidden, mask))
        labels = whole.labels[torch.from_numpy(chosen)]
        self._sets[name] = Examples(tiles, labels, torch.full((len(chosen),), 1 / len(chosen)))

    def _tile(self, index: Tensor, hidden: Tensor, mask: Tensor) -> Tile:
        taken = self._linear(hidden, self._first, "qkv") if self._prompts else hidden[..., :0]
        return Tile(index, hidden, mask, taken)

    def losses(self, name: str, z: Floats) -> Floats:
        """Mean loss of every candidate, z `[C, d]` -> `[C]`."""
        with self._timed(), torch.no_grad():
            result = self.loss(name, torch.from_numpy(z).float())
        self._cost.steps += 1
        return result.double().numpy()

    def logits(self, name: str, z: Floats) -> Floats:
        """Logits of one set under one prompt, z `[d]` -> `[E, L]`."""
        with self._timed(), torch.no_grad():
            result: Floats = self.forward(name, torch.from_numpy(z[None]).float())[0].double().numpy()
        return result

    def keep(self, name: str, z: Floats, *, add: bool = False) -> None:
        """Keep the mean embedding of each label's examples of a set under one prompt, z `[d]`, times the shots' weight
        in z, or add it to what is kept."""
        with self._timed(), torch.no_grad():
            labels = self._sets[name].labels
            means = (labels / labels.sum(0)).T @ self.embeddings(name, torch.from_numpy(z[None]).float())[0]
            self._means = float(z[-1]) * means + self._means * add

    def loss(self, name: str, z: Tensor) -> Tensor:
        """`losses` that can be differentiated, `[C]`."""
        examples = self._sets[name]
        return mean_losses(self.forward(name, z), examples.labels, examples.weight, self._options)

    def forward(self, name: str, z: Tensor) -> Tensor:
        """Logits of the program's z `[C, d]`, `[C, E, L]`."""
        prototypes = self.prototypes
        if self._options.prototype_shots:
            prototypes = functional.normalize(prototypes + z[:, -1, None, None] * self._means, dim=-1)
        return self._options.temperature * self.embeddings(name, z) @ prototypes.mT

    def embeddings(self, name: str, z: Tensor) -> Tensor:
        """Unit rows that are compared with prototypes, of the program's z `[C, d]`, `[C, E, h]`."""
        examples = self._sets[name]
        prompts = [self._prompt(i, z) for i in range(len(self._prompts))]
        parts = []
        for tile in examples.tiles:
            step = max(1, TILE_ROWS // tile.mask.numel())
            few = [self._upper(tile, [p[i : i + step] for p in prompts]) for i in range(0, len(z), step)]
            parts.append(torch.cat(few))
        order = torch.cat([tile.index for tile in examples.tiles])
        return torch.cat(parts, 1)[:, order.argsort()]

    def _prompt(self, index: int, z: Tensor) -> Tensor:
        """A prompt as it enters its layer, `[C, n, h]`."""
        offset = torch.tensordot(z[:, self._prompts[index].part], self._projections[index], dims=1)
        return self._affine((self._rows[index] + offset).to(self._dtype), self._first + index)

    def _upper(self, tile: Tile, prompts: list[Tensor]) -> Tensor:
        """Layers from the prompted one on, for all of `prompts`' candidates × the tile's examples, `[C, E, h]`."""
        count, (examples, tokens) = len(prompts[0]) if prompts else 1, tile.mask.shape
        x, mask = tile.hidden.repeat(count, 1, 1), tile.mask.repeat(count, 1)
        n = self._options.n_prompt_tokens
        wide = torch.cat([mask[:, :1], mask.new_ones(len(mask), n), mask[:, 1:]], 1)
        for layer in range(self._first, self._layers):
            if layer - self._first < len(prompts):
                prompt = prompts[layer - self._first].repeat_interleave(examples, 0)
                x = torch.cat([x[:, :1], prompt, x[:, x.shape[1] - tokens + 1 :]], 1)
            taken = None
            if layer == self._first and prompts:
                own = self._linear(prompts[0], layer, "qkv").repeat_interleave(examples, 0)
                text = tile.taken.repeat(count, 1, 1)
                taken = torch.cat([text[:, :1], own, text[:, 1:]], 1)
            x = self._layer(x, wide, layer, taken)
        x = torch.cat([x[:, :1], x[:, x.shape[1] - tokens + 1 :]], 1).float()
        return functional.normalize((x * mask[..., None]).sum(1), dim=-1).reshape(count, examples, -1)

    def _layer(self, x: Tensor, mask: Tensor, layer: int, taken: Tensor | None = None) -> Tensor:
        wide = self._linear(x, layer, "qkv") if taken is None else taken
        x = self._norm(
            x + self._linear(self._attention(wide, mask, layer), layer, "o"), f"layers.{layer}.attention_norm"
        )
        inner = functional.gelu(self._linear(x, layer, "ffn_in"))
        return self._norm(x + self._linear(inner, layer, "ffn_out"), f"layers.{layer}.output_norm")

    def _attention(self, wide: Tensor, mask: Tensor, layer: int) -> Tensor:
        """Before its output product, `[B, T, h]`, of queries, keys and values side by side."""
        hidden = self._hidden
        width = (wide.shape[-1] - hidden) // 2
        q, k, v = (
            part.unflatten(-1, (self._heads, -1)).transpose(1, 2) for part in wide.split([width, width, hidden], -1)
        )
        if self._options.attention == "softmax":
            out = functional.scaled_dot_product_attention(q, k, v, attn_mask=mask[:, None, None, :] > 0)
        else:
            q, k = (2 * torch.pi * phases.float() for phases in (q, k))
            q, k = (torch.cat([angle.cos(), angle.sin()], -1).to(self._dtype) for angle in (q, k))
            k = k * mask[:, None, :, None].to(self._dtype)
            # floor · features · rows, as the program counts them: with all of its padding
            rows = self._options.sequence_length + self._options.n_prompt_tokens * (layer >= self._first)
            floor = self._options.rfa_floor * self._options.features_of(layer) * rows
            numerator = q @ (k.transpose(-1, -2) @ v)
            out = numerator / (q @ k.sum(-2)[..., None]).clamp(min=floor)
        return out.transpose(1, 2).flatten(2)

    def _linear(self, x: Tensor, layer: int, name: str) -> Tensor:
        name = f"layers.{layer}.{name}"
        return functional.linear(x, self._weights[f"{name}.weight"], self._weights[f"{name}.bias"])

    def _norm(self, x: Tensor, name: str) -> Tensor:
        return functional.layer_norm(
            x, x.shape[-1:], self._weights[f"{name}.gamma"], self._weights[f"{name}.beta"], self._eps
        )

    def _affine(self, x: Tensor, layer: int) -> Tensor:
        name = f"layers.{layer - 1}.output_norm" if layer else "embeddings"
        return x * self._weights[f"{name}.gamma"] + self._weights[f"{name}.beta"]
