"""Teaching a random-feature student to follow its softmax original: data in batches, two training stages, losses.

Stage 1 fits every layer's phases alone, on the original's own hidden rows (no error of one layer reaches the next).
Stage 2 trains all layers end to end. In both a penalty keeps denominators above the floor; in stage 2 others keep the
GELU inputs and the layer norm variances inside the intervals that the protocol's Fourier fits can afford.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .student import Rows, Shape, Trace, Weights, embed, encode, linear, rfa_attention, softmax_attention

Log = Callable[[str], None]
Losses = dict[str, Tensor]
"""Named parts of a loss, already weighted."""


@dataclass(frozen=True)
class Recipe:
    """Knobs of the training; the defaults made the shipped adapter."""

    steps: int = 3000
    seed: int = 0
    layer_share: float = 0.4
    """Part of the steps that stage 1 takes."""
    batch_rows: int = 1024
    lr_layers: float = 2e-3
    lr_whole: float = 1e-3
    lr_vectors: float = 1e-3
    spread: float = 1.0
    """Root mean square of a query's minus a key's phase at the start, in radians."""
    prompt_share: float = 0.25
    """Part of stage 2's batches that carry random prompt rows."""
    pooled_weight: float = 4.0
    range_weight: float = 0.05
    gelu_limit: float = 16.0
    variance_limit: float = 60.0
    padded: tuple[int, int] = (24, 64)
    """Padded lengths that are drawn for a text (at least its own)."""


class Corpus:
    """Tokenised texts, the original's embedding rows for them, and how batches are drawn."""

    def __init__(self, texts: list[list[int]], teacher: Weights, shape: Shape, recipe: Recipe) -> None:
        self.texts, self.teacher, self.shape, self.recipe = texts, teacher, shape, recipe
        self.rng = np.random.default_rng(recipe.seed)

    def batch(self, chosen: list[int]) -> tuple[Tensor, Rows]:
        """Embedding rows of some texts, padded to a length drawn for each."""
        texts = [self.texts[i] for i in chosen]
        lengths = torch.tensor([len(t) for t in texts])
        mask = torch.arange(int(lengths.max())) < lengths[:, None]
        ids = torch.zeros(mask.shape, dtype=torch.long)
        ids[mask] = torch.tensor([i for t in texts for i in t])
        low, high = self.recipe.padded
        drawn = torch.from_numpy(self.rng.integers(low, high + 1, len(texts)))
        rows = Rows(mask, torch.maximum(drawn, lengths).float())
        return embed(self.teacher, ids, rows, self.shape.eps), rows

    def epoch(self) -> Iterator[tuple[Tensor, Rows]]:
        """All texts once, those of like length together, `batch_rows` rows a batch."""
        order = self.rng.permutation(len(self.texts))
        for start in range(0, len(order), 512):
            window = sorted(order[start : start + 512].tolist(), key=lambda i: len(self.texts[i]))
            batches: list[list[int]] = [[]]
            for i in window:
                if (len(batches[-1]) + 1) * len(self.texts[i]) > self.recipe.batch_rows and batches[-1]:
                    batches.append([])
                batches[-1].append(i)
            for j in self.rng.permutation(len(batches)):
                yield self.batch(batches[j])

    def forever(self) -> Iterator[tuple[Tensor, Rows]]:
        """Epoch after epoch."""
        while True:
            yield from self.epoch()

    def prompt(self, rows: Rows, x: Tensor, at: int) -> Tensor:
        """Random prompt rows `[B, n, h]` before layer `at`: in normalised-row space token rows, noise, or between."""
        teacher, prefix = self.teacher, f"layers.{at - 1}.output_norm" if at else "embeddings.norm"
        n = int(self.rng.integers(1, 9))
        token = x[torch.from_numpy(self.rng.integers(0, len(x), n))]
        token = (token - teacher[f"{prefix}.beta"]) / teacher[f"{prefix}.gamma"]
        noise = torch.from_numpy(self.rng.standard_normal(token.shape)).float()
        a, b = self.rng.uniform(0, 1, 2)
        prompt = a * token + b * noise
        return (prompt * teacher[f"{prefix}.gamma"] + teacher[f"{prefix}.beta"]).expand(len(rows.mask), -1, -1)


def initial_phases(corpus: Corpus) -> dict[str, Tensor]:
    """Orthogonal random features of the original's queries and keys, centred on each other and of a common spread.

    With the Gaussian kernel's own temperature (logits reach 45) 32 features would be noise: start wide, sharpen by training.
    """
    shape, recipe, teacher = corpus.shape, corpus.recipe, corpus.teacher
    generator = torch.Generator().manual_seed(recipe.seed)
    x, rows = next(corpus.epoch())
    traces, _, _ = encode(x, rows, teacher, shape, rfa=False)
    head_dim, phases = shape.hidden // shape.heads, {}
    for layer, hidden in enumerate([x, *(t.hidden for t in traces)][: shape.layers]):
        blocks = math.ceil(shape.features / head_dim)
        square = torch.randn(shape.heads, blocks, head_dim, head_dim, generator=generator)
        omega = torch.linalg.qr(square)[0].flatten(1, 2)[:, : shape.features]
        omega = omega * torch.randn(shape.heads, shape.features, head_dim, generator=generator).norm(dim=-1, keepdim=True)
        centred, power = {}, torch.zeros(shape.heads)
        for name in "qk":
            rows_of = linear(hidden, teacher, f"layers.{layer}.{name}").unflatten(-1, (shape.heads, head_dim))
            centred[name] = rows_of.mean(0)
            power += torch.einsum("hfd,nhd->nhf", omega, rows_of - rows_of.mean(0)).square().mean((0, 2))
        omega = omega * (recipe.spread / (2 * math.pi * power.sqrt()))[:, None, None]
        for name, long in (("q", "phase_query"), ("k", "phase_key")):
            weight = teacher[f"layers.{layer}.{name}.weight"].unflatten(0, (shape.heads, head_dim))
            bias = teacher[f"layers.{layer}.{name}.bias"].unflatten(0, (shape.heads, head_dim)) - centred[name]
            phases[f"layers.{layer}.{long}.weight"] = torch.einsum("hfd,hdx->hfx", omega, weight).flatten(0, 1)
            phases[f"layers.{layer}.{long}.bias"] = torch.einsum("hfd,hd->hf", omega, bias).flatten()
    return phases


def below_floor(den: Tensor, floor: float) -> Tensor:
    """Penalty on denominators under 1.5 floors."""
    return (1.5 - den / floor).clamp(min=0).square().mean()


def out_of_range(trace: Trace, recipe: Recipe) -> Tensor:
    """Penalty on GELU inputs and variances outside their limits."""
    gelu = (trace.sites["gelu"].abs() - recipe.gelu_limit).clamp(min=0).square().sum(-1).mean()
    high = (trace.sites["output_var"] / recipe.variance_limit).log().clamp(min=0).square().mean()
    return gelu + high


def train(
    corpus: Corpus, parameters: dict[str, Tensor], losses_of: Callable[[Weights], Iterator[Losses]], rates: dict[str, float],
    steps: int, log: Log, stage: str, checkpoint: Callable[[dict[str, Tensor]], None] | None = None,
) -> None:  # fmt: skip
    """Adam with a cosine schedule; `losses_of` yields the loss of a step in parts, `checkpoint` sees the parameters four times."""
    for tensor in parameters.values():
        tensor.requires_grad_(True)
    groups = [{"params": [tensor], "lr": rates[name], "full": rates[name]} for name, tensor in parameters.items()]
    optimiser = torch.optim.Adam(groups, betas=(0.9, 0.98))
    losses, seen = losses_of({**corpus.teacher, **parameters}), Counter[str]()
    every = max(1, steps // 40)
    for step in range(1, steps + 1):
        schedule = min(1.0, step / 50) * (0.02 + 0.49 * (1 + math.cos(math.pi * step / steps)))
        for group in optimiser.param_groups:
            group["lr"] = group["full"] * schedule
        parts = next(losses)
        optimiser.zero_grad()
        torch.stack(list(parts.values())).sum().backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(list(parameters.values()), 1.0)
        optimiser.step()
        seen.update({name: float(part.detach()) for name, part in parts.items()})
        if step % every == 0:
            shown = ", ".join(f"{name} {total / every:.4f}" for name, total in seen.items())
            log(f"{stage} step {step}/{steps}: loss {seen.total() / every:.4f} ({shown})")
            seen.clear()
        if checkpoint and (step == steps or step % (steps // 4 + 1) == 0):
            checkpoint(parameters)
    for tensor in parameters.values():
        tensor.requires_grad_(False)


def layer_losses(corpus: Corpus, weights: Weights) -> Iterator[Losses]:
    """Stage 1: unexplained part of every layer's attention output, each on the original's input."""
    shape = corpus.shape
    for x, rows in corpus.forever():
        with torch.no_grad():
            traces = encode(x, rows, corpus.teacher, shape, rfa=False)[0]
        unexplained, floor = x.new_zeros(()), x.new_zeros(())
        for layer, hidden in enumerate([x, *(t.hidden for t in traces)][: shape.layers]):
            context, den, _ = rfa_attention(hidden, rows, weights, layer, shape)
            target = traces[layer].attention
            difference = linear(context, weights, f"layers.{layer}.o") - target
            unexplained = unexplained + difference.square().sum() / target.square().sum()
            floor = floor + 0.1 * below_floor(den, shape.floor)
        yield {"attention": unexplained / shape.layers, "floor": floor / shape.layers}


def whole_losses(corpus: Corpus, weights: Weights) -> Iterator[Losses]:
    """Stage 2: hidden rows of every layer and the pooled embedding, with and without random prompt rows."""
    shape, recipe = corpus.shape, corpus.recipe
    for x, rows in corpus.forever():
        prompt, at = None, 0
        with torch.no_grad():
            if corpus.rng.random() < recipe.prompt_share:
                at = int(corpus.rng.integers(0, shape.layers))
                below = encode(x, rows, corpus.teacher, shape, rfa=False)[0][at - 1].hidden if at else x
                prompt = corpus.prompt(rows, below, at)
            targets, pooled, _ = encode(x, rows, corpus.teacher, shape, rfa=False, prompt=prompt, at=at)
        traces, mine, _ = encode(x, rows, weights, shape, rfa=True, prompt=prompt, at=at)
        hidden, floor, ranges = (x.new_zeros(()) for _ in range(3))
        for trace, target in zip(traces, targets, strict=True):
            error = (trace.hidden - target.hidden).square().sum(-1) / target.hidden.square().sum(-1)
            hidden = hidden + error.mean()
            floor = floor + 0.1 * below_floor(trace.sites["den"], shape.floor)
            ranges = ranges + recipe.range_weight * out_of_range(trace, recipe)
        pooled_loss = recipe.pooled_weight * (1 - (mine * pooled).sum(-1)).mean()
        yield {"pooled": pooled_loss, "hidden": hidden, "floor": floor, "ranges": ranges}


def adapt(corpus: Corpus, log: Log, checkpoint: Callable[[dict[str, Tensor]], None]) -> dict[str, Tensor]:
    """Both stages; the trained tensors by canonical name."""
    recipe, shape = corpus.recipe, corpus.shape
    with torch.no_grad():
        phases = initial_phases(corpus)
    first = int(recipe.steps * recipe.layer_share)
    rates = dict.fromkeys(phases, recipe.lr_layers)
    train(corpus, phases, lambda w: layer_losses(corpus, w), rates, first, log, "layers")
    vectors = {
        f"layers.{i}.{name}": corpus.teacher[f"layers.{i}.{name}"].clone()
        for i in range(shape.layers)
        for name in ("v.bias", "o.bias", "ffn_out.bias", "ffn_in.bias",
                     "attention_norm.gamma", "attention_norm.beta", "output_norm.gamma", "output_norm.beta")
    }  # fmt: skip
    parameters = {**phases, **vectors}
    rates = {name: recipe.lr_whole if name in phases else recipe.lr_vectors for name in parameters}
    train(corpus, parameters, lambda w: whole_losses(corpus, w), rates, recipe.steps - first, log, "whole", checkpoint)
    return parameters
