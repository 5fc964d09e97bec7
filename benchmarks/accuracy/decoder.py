"""The fast clear engine of decoders: the model plan in torch, with keys and values of texts computed once a set.

Rows behind the text, a prompt's and the template's end, are a pair's; nothing else is computed for a candidate. Losses
can be differentiated with respect to z, which is what gradient prompt tuning needs.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from secfwt.runtime.engine import Batch, Floats
from secfwt.runtime.tuning.clear import InProcessEngine
from secfwt.runtime.tuning.model import Model
from secfwt.runtime.tuning.objective import PromptSpace
from torch import Tensor
from torch.nn import functional

from accuracy.clear import mean_losses

ACTIVATIONS = {"silu": functional.silu, "gelu_new": lambda x: functional.gelu(x, approximate="tanh")}
TILE_TEXTS = 64
"""Texts that go through a layer at once."""
TILE_PAIRS = 2_048
"""Pairs of a candidate and a text that do."""
NEVER = -1e9
"""The score of a row that is not seen: a row of padding sees none, and its softmax is to be a number."""

Kept = tuple[Tensor, Tensor]
"""A layer's rotated keys and values of a text's rows, `[E, KV, T, D]`."""


@dataclass
class Tile:
    """A few examples: rows of the text `[E, T, h]`, those behind it `[E, b, h]`, what is seen of the text `[E, T]`:
    its tokens (`mask`) and the slot of the public first token (`sink`)."""

    text: Tensor
    behind: Tensor
    mask: Tensor
    sink: Tensor
    kept: list[Kept] = field(default_factory=list)


@dataclass(frozen=True)
class Examples:
    """A set: its tiles, one-hot labels `[E, L]` and weights `[E]`."""

    tiles: list[Tile]
    labels: Tensor
    weight: Tensor


class TorchDecoder(InProcessEngine[Examples]):
    """`Engine` for decoders that read labels off their last row, with a prompt behind the text."""

    name = "torch (not private)"

    def __init__(self, model: Model, device: str = "", dtype: torch.dtype = torch.float32) -> None:
        """`device`: torch's name of one; empty: a CUDA device where there is one, else the processor."""
        super().__init__()
        assert model.weights is not None
        self._spec, self._options, self._dtype = model.spec, model.options, dtype
        if not self._spec.causal or self._spec.head.rows != "last" or self._spec.qk_norm:
            raise ValueError("only decoders that read labels off their last row, without norms of queries, run here")
        if self._options.prompt_at == "start":
            raise ValueError("only prompts behind the text run here")
        self._device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        inner = {n: w for n, w in model.weights.items() if not n.startswith("embeddings.")}
        self._weights = {n: torch.from_numpy(np.array(w, np.float32)).to(self._device, dtype) for n, w in inner.items()}
        self._projection = None
        if self._options.n_prompt_tokens:  # a decoder has one prompt
            (prompt,) = PromptSpace(model.plan, 1.0).prompts
            self._projection = torch.from_numpy(prompt.unit * prompt.projection).to(self._device, dtype)
        self._means = torch.zeros(self._spec.head.num_labels, self._spec.hidden_size, device=self._device)
        self._behind = self._options.template_rows + self._options.own_rows
        rows = 1 + self._options.sequence_length + self._options.own_rows
        self._tables = None
        if self._spec.rope:
            tables = self._spec.rope.tables(rows, self._spec.head_dim)
            self._tables = [torch.from_numpy(t).to(self._device, dtype) for t in tables]

    def load_examples(self, name: str, batch: Batch) -> None:
        """Keep a set under a name."""
        given = {key: self._tensor(value) for key, value in batch.inputs.items()}
        following = functional.pad(given["mask"][:, 1:], (0, 1), value=1.0)
        parts = [p.split(TILE_TEXTS) for p in (given["x"], given["mask"], following - given["mask"])]
        text = given["x"].shape[1] - self._behind
        tiles = [Tile(x[:, :text], x[:, text:], m[:, :text], s[:, :text]) for x, m, s in zip(*parts, strict=True)]
        self._sets[name] = Examples(tiles, given["labels"].float(), given["example_weight"][:, 0].float())

    def losses(self, name: str, z: Floats) -> Floats:
        """Mean loss of every candidate, z `[C, d]` -> `[C]`."""
        with self._timed(), torch.no_grad():
            result = self.loss(name, torch.from_numpy(z))
        self._cost.steps += 1
        return result.double().cpu().numpy()

    def logits(self, name: str, z: Floats) -> Floats:
        """Logits of one set under one prompt, z `[d]` -> `[E, L]`; no keys and values are kept for it."""
        tiles = self._sets[name].tiles
        with self._timed(), torch.no_grad():
            prompt = torch.from_numpy(z[None])
            parts = [self._pairs(tile, tile.kept or self._keys_values(tile), prompt) for tile in tiles]
        result: Floats = self._head(torch.cat(parts, 1), prompt)[0].double().cpu().numpy()
        return result

    def keep(self, name: str, z: Floats, *, add: bool = False) -> None:
        """Keep the mean row of each label's examples of a set under one prompt, z `[d]`, times the shots' weight in z,
        or add it to what is kept."""
        labels = self._sets[name].labels
        with self._timed(), torch.no_grad():
            rows = functional.normalize(self._rows(name, torch.from_numpy(z[None]))[0], dim=-1)
            self._means = float(z[-2]) * (labels / labels.sum(0)).T @ rows + self._means * add

    def unit_rows(self, name: str) -> Floats:
        """The rows that label words are compared with, before their affine part and of unit length, `[E, h]`; without
        a prompt."""
        with torch.no_grad():
            parts = [self._pairs(t, self._keys_values(t), torch.zeros(1, 0)) for t in self._sets[name].tiles]
        rows: Floats = functional.normalize(torch.cat(parts, 1)[0], dim=-1).double().cpu().numpy()
        return rows

    def read(self, unit: Floats) -> Floats:
        """Logits `[…, L]` of such rows."""
        rows = torch.from_numpy(unit * np.sqrt(unit.shape[-1])).to(self._device, self._dtype)
        logits: Floats = self._read(rows).double().cpu().numpy()
        return logits

    def loss(self, name: str, z: Tensor) -> Tensor:
        """`losses` that can be differentiated, `[C]`."""
        examples = self._sets[name]
        return mean_losses(self.forward(name, z), examples.labels, examples.weight, self._options)

    def forward(self, name: str, z: Tensor) -> Tensor:
        """Logits of the program's z `[C, d]`, `[C, E, L]`."""
        return self._head(self._rows(name, z), z)

    def _rows(self, name: str, z: Tensor) -> Tensor:
        """Normalised last rows `[C, E, h]`."""
        parts = []
        for tile in self._sets[name].tiles:
            if not tile.kept:
                with torch.no_grad():
                    tile.kept = self._keys_values(tile)
            step = max(1, TILE_PAIRS // len(tile.mask))
            parts.append(torch.cat([self._pairs(tile, tile.kept, some) for some in z.split(step)]))
        return torch.cat(parts, 1)

    def _tensor(self, value: Floats) -> Tensor:
        return torch.from_numpy(np.array(value, np.float32)).to(self._device, self._dtype)

    def _keys_values(self, tile: Tile) -> list[Kept]:
        """Every layer's keys and values of the text."""
        x, rows = tile.text, tile.text.shape[1]
        causal = torch.ones(rows, rows, dtype=torch.bool, device=self._device).tril()
        seen = (tile.mask + tile.sink)[:, None, None, :] * causal > 0
        kept = []
        for layer in range(self._spec.num_hidden_layers):
            row = self._norm(x, f"layers.{layer}.input_norm") * tile.mask[..., None]
            k, v = (
                self._linear(row, layer, name) * tile.mask[..., None]
                + tile.sink[..., None] * self._weights[f"layers.{layer}.sink.{role}"]
                for name, role in (("k", "key"), ("v", "value"))
            )
            q, k, v = self._turned(self._linear(row, layer, "q"), 0), self._turned(k, 0), self._heads(v)
            kept.append((k, v))
            wide = [part.repeat_interleave(q.shape[1] // k.shape[1], 1) for part in (k, v)]
            scores = (q @ wide[0].mT * self._spec.head_dim**-0.5).masked_fill(~seen, NEVER)
            y = (scores.softmax(-1) @ wide[1]).transpose(1, 2).flatten(2)
            x = self._fed_forward(x + self._linear(y, layer, "o"), layer)
        return kept

    def _pairs(self, tile: Tile, kept: list[Kept], z: Tensor) -> Tensor:
        """The last row of those behind the text, through all layers, normalised, `[C, E, h]`."""
        x, count, behind = tile.behind.expand(len(z), *tile.behind.shape), len(z), self._behind
        examples, text = tile.mask.shape
        seen = (tile.mask + tile.sink)[:, None, None, None, None, :] > 0
        causal = torch.ones(behind, behind, dtype=torch.bool, device=self._device).tril()
        for layer, (keys, values) in enumerate(kept):
            x = self._prompted(x, layer, z)
            row = self._norm(x, f"layers.{layer}.input_norm")
            q, k, v = (self._linear(row, layer, name) for name in ("q", "k", "v"))
            # [C, E, ·, b, D] to [E, KV, C, g, b, D]
            q, k = (self._turned(part.flatten(0, 1), text) for part in (q, k))
            q, k, v = (
                part.unflatten(0, (count, examples)).unflatten(2, (self._spec.kv_heads, -1)).permute(1, 2, 0, 3, 4, 5)
                for part in (q, k, self._heads(v.flatten(0, 1)))
            )
            scale = self._spec.head_dim**-0.5
            before = (q.flatten(2, 4) @ keys.mT).unflatten(2, q.shape[2:5]) * scale
            own = q @ k.mT * scale
            scores = torch.cat([before.masked_fill(~seen, NEVER), own.masked_fill(~causal, NEVER)], -1).softmax(-1)
            y = (scores[..., :text].flatten(2, 4) @ values).unflatten(2, q.shape[2:5]) + scores[..., text:] @ v
            y = y.permute(2, 0, 4, 1, 3, 5).flatten(3)
            x = self._fed_forward(x + self._linear(y, layer, "o"), layer)
        return self._normalised(x[:, :, -1]).to(x.dtype)

    def _head(self, rows: Tensor, z: Tensor) -> Tensor:
        """Logits `[C, E, L]` of last rows under the program's z `[C, d]`: of label words; with shots beside them, whose
        weight and κ stand behind (docs/program.md, "Shots")."""
        if not self._options.prototype_shots:
            return self._read(rows)
        weight, less = z[:, -2, None, None].to(rows), z[:, -1, None, None].to(rows)
        unit, middle = functional.normalize(rows, dim=-1), self._means.mean(0)
        own = self._options.temperature * (unit - middle) @ (self._means - middle).T
        return self._read(rows - less * middle * rows.shape[-1] ** 0.5) + weight * own

    def _read(self, rows: Tensor) -> Tensor:
        """Logits `[…, L]` of normalised last rows."""
        out = self._affine(rows, "final_norm")
        return functional.linear(out, self._weights["head.out.weight"], self._weights["head.out.bias"]).float()

    def _prompted(self, x: Tensor, layer: int, z: Tensor) -> Tensor:
        """Rows behind the text `[C, E, b, h]` as they enter a layer, with every candidate's offset if it has one."""
        if self._projection is None or layer != self._options.prompt_layer:
            return x
        own = z[:, : len(self._projection)].to(self._device, self._dtype)
        offset = torch.tensordot(own, self._projection, dims=1)
        at = 0 if self._options.prompt_at == "end" else self._behind - self._options.n_prompt_tokens
        around = (at, self._behind - at - self._options.n_prompt_tokens)
        return x + functional.pad(offset, (0, 0, *around))[:, None]

    def _fed_forward(self, x: Tensor, layer: int) -> Tensor:
        row = self._norm(x, f"layers.{layer}.ffn_norm")
        act = ACTIVATIONS[self._spec.hidden_act]
        if self._spec.gated:
            inner = act(self._linear(row, layer, "ffn_gate")) * self._linear(row, layer, "ffn_in")
        else:
            inner = act(self._linear(row, layer, "ffn_in"))
        return x + self._linear(inner, layer, "ffn_out")

    def _linear(self, x: Tensor, layer: int, name: str) -> Tensor:
        name = f"layers.{layer}.{name}"
        return functional.linear(x, self._weights[f"{name}.weight"], self._weights[f"{name}.bias"])

    def _normalised(self, x: Tensor) -> Tensor:
        wide = x.float()
        if self._spec.norm == "layer":
            wide = wide - wide.mean(-1, keepdim=True)
        return wide * (wide.square().mean(-1, keepdim=True) + self._spec.layer_norm_eps).rsqrt()

    def _norm(self, x: Tensor, name: str) -> Tensor:
        return self._affine(self._normalised(x).to(x.dtype), name)

    def _affine(self, x: Tensor, name: str) -> Tensor:
        return x * self._weights[f"{name}.gamma"] + self._weights[f"{name}.beta"]

    def _heads(self, x: Tensor) -> Tensor:
        """`[B, R, G·D]` to `[B, G, R, D]`."""
        return x.unflatten(-1, (-1, self._spec.head_dim)).transpose(1, 2)

    def _turned(self, x: Tensor, first: int) -> Tensor:
        """Rows `[B, R, G·D]` from position `first` on as heads, turned by their positions."""
        heads = self._heads(x)
        if self._tables is None:
            return heads
        cos, sin = (table[first : first + x.shape[1]] for table in self._tables)
        return heads * cos + heads.roll(self._spec.head_dim // 2, -1) * sin
