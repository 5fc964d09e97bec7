"""Teaching a random-feature student to follow its softmax original: data in batches, two training stages, losses.

Stage 1 fits every layer's phases alone, on the original's own hidden rows (no error of one layer reaches the next).
Stage 2 trains all layers end to end. In both a penalty keeps denominators above the floor; in stage 2 others keep the
GELU inputs and the layer norm variances inside the intervals that the protocol's Fourier fits can afford.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from ..codegen.embed import Embedder
from ..codegen.features import orthogonal_features
from .student import Rows, Shape, Trace, Weights, encode, linear, rfa_attention

Log = Callable[[str], None]
Losses = dict[str, Tensor]
"""Named parts of a loss, already weighted."""
Checkpoint = Callable[[dict[str, Tensor]], None]
VECTORS = (
    "v.bias", "o.bias", "ffn_in.bias", "ffn_out.bias",
    "attention_norm.gamma", "attention_norm.beta", "output_norm.gamma", "output_norm.beta",
)  # fmt: skip
"""What stage 2 trains of a layer beside its phases."""


@dataclass(frozen=True)
class Recipe:
    """Knobs of the training; the defaults made the shipped adapter."""

    steps: int = 1650
    seed: int = 0
    layer_share: float = 0.6364
    """Part of the steps that stage 1 takes."""
    batch_rows: int = 1024
    lr_layers: float = 2e-3
    lr_whole: float = 5e-4
    lr_vectors: float = 5e-4
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
    """Tokenised texts, the original's weights, and how batches are drawn."""

    def __init__(
        self, texts: list[list[int]], embedder: Embedder, teacher: Weights, shape: Shape, recipe: Recipe
    ) -> None:
        self.texts, self.embedder, self.teacher, self.shape, self.recipe = texts, embedder, teacher, shape, recipe
        self.rng = np.random.default_rng(recipe.seed)

    def batch(self, chosen: list[int]) -> tuple[Tensor, Rows]:
        """Embedding rows of some texts, padded to a length drawn for each."""
        texts = [self.texts[i] for i in chosen]
        inputs = self.embedder.embed(texts, [[0] * len(t) for t in texts])
        lengths = torch.tensor([len(t) for t in texts])
        longest = int(lengths.max())
        mask = torch.from_numpy(inputs["mask"][:, :longest] > 0)
        low, high = self.recipe.padded
        drawn = torch.from_numpy(self.rng.integers(low, high + 1, len(texts)))
        rows = Rows(mask, torch.maximum(drawn, lengths).float())
        return self.affine(rows.unpad(torch.from_numpy(inputs["x"][:, :longest])), 0), rows

    def affine(self, normalised: Tensor, layer: int) -> Tensor:
        """Normalised rows to what enters `layer`."""
        prefix = f"layers.{layer - 1}.output_norm" if layer else "embeddings"
        return normalised * self.teacher[f"{prefix}.gamma"] + self.teacher[f"{prefix}.beta"]

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

    def prompt(self, x: Tensor, rows: Rows, layer: int) -> Tensor:
        """Random prompt rows `[B, n, h]` for the input `x` of `layer`: normalised token rows, noise, or between."""
        n = int(self.rng.integers(1, 9))
        token = x[torch.from_numpy(self.rng.integers(0, len(x), n))]
        zero = self.affine(torch.zeros(x.shape[-1]), layer)
        token = (token - zero) / (self.affine(torch.ones(x.shape[-1]), layer) - zero)
        noise = torch.from_numpy(self.rng.standard_normal(token.shape)).float()
        a, b = self.rng.uniform(0, 1, 2)
        return self.affine(a * token + b * noise, layer).expand(len(rows.mask), -1, -1)


def initial_phases(corpus: Corpus) -> dict[str, Tensor]:
    """Orthogonal random features of the original's queries and keys, centred on each other and of a common spread.

    At the Gaussian kernel's own temperature (logits reach 45) 32 features would be noise: training sharpens them.
    """
    shape, recipe, teacher = corpus.shape, corpus.recipe, corpus.teacher
    rng = np.random.default_rng(recipe.seed)
    head_dim, phases = shape.hidden // shape.heads, {}
    x, rows = next(corpus.epoch())
    traces, _, _ = encode(x, rows, teacher, shape, rfa=False)
    for layer, trace in enumerate(traces):
        drawn = [orthogonal_features(shape.features, head_dim, rng) for _ in range(shape.heads)]
        omega = torch.from_numpy(np.stack(drawn)).float()
        projected, power = {}, torch.zeros(shape.heads)
        for name in "qk":
            weight = teacher[f"layers.{layer}.{name}.weight"].reshape(shape.heads, head_dim, -1)
            projected[name] = omega @ weight
            angle = torch.einsum("hfx,nx->hfn", projected[name], trace.sites["hidden"])
            power += angle.var(-1).mean(-1)
        turns = recipe.spread / (2 * math.pi * power.sqrt())[:, None, None]
        for name, long in (("q", "phase_query"), ("k", "phase_key")):
            weight = (turns * projected[name]).flatten(0, 1)
            phases[f"layers.{layer}.{long}.weight"] = weight
            phases[f"layers.{layer}.{long}.bias"] = -weight @ trace.sites["hidden"].mean(0)
    return phases


def below_floor(den: Tensor, floor: float) -> Tensor:
    """Penalty on denominators under 1.5 floors."""
    return (1.5 - den / floor).clamp(min=0).square().mean()


def out_of_range(trace: Trace, recipe: Recipe) -> Tensor:
    """Penalty on every row's widest GELU input and on variances beyond their limits."""
    gelu = trace.sites["gelu"]
    widest = torch.maximum(gelu.amax(-1), -gelu.amin(-1))
    outside = (widest - recipe.gelu_limit).clamp(min=0).square().mean()
    high = (trace.sites["output_var"] / recipe.variance_limit).log().clamp(min=0).square().mean()
    return outside + high


def train(
    corpus: Corpus,
    parameters: dict[str, Tensor],
    losses_of: Callable[[Corpus, Weights], Iterator[Losses]],
    rates: dict[str, float],
    steps: int,
    log: Log,
    checkpoint: Checkpoint | None = None,
) -> None:
    """Adam, cosine schedule; `losses_of` yields a step's loss in parts, `checkpoint` comes half way and at the end."""
    for tensor in parameters.values():
        tensor.requires_grad_(True)
    groups = [{"params": [tensor], "lr": rates[name], "full": rates[name]} for name, tensor in parameters.items()]
    optimiser = torch.optim.Adam(groups, betas=(0.9, 0.98))
    losses, seen = losses_of(corpus, {**corpus.teacher, **parameters}), Counter[str]()
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
            log(f"{losses_of.__name__} step {step}/{steps}: loss {seen.total() / every:.4f} ({shown})")
            seen.clear()
        if checkpoint and (step == steps or step == steps // 2):
            checkpoint(parameters)
    for tensor in parameters.values():
        tensor.requires_grad_(False)


def fit_layers(corpus: Corpus, weights: Weights) -> Iterator[Losses]:
    """Stage 1: unexplained part of every layer's attention output, each on the original's input."""
    shape = corpus.shape
    for x, rows in corpus.forever():
        with torch.no_grad():
            traces = encode(x, rows, corpus.teacher, shape, rfa=False)[0]
        unexplained, floor = x.new_zeros(()), x.new_zeros(())
        for layer, target in enumerate(traces):
            context, sites = rfa_attention(target.sites["hidden"], rows, weights, layer, shape)
            difference = linear(context, weights, f"layers.{layer}.o") - target.attention
            unexplained = unexplained + difference.square().sum() / target.attention.square().sum()
            floor = floor + 0.1 * below_floor(sites["den"], shape.floor)
        yield {"attention": unexplained / shape.layers, "floor": floor / shape.layers}


def fit_whole(corpus: Corpus, weights: Weights) -> Iterator[Losses]:
    """Stage 2: hidden rows of every layer and the pooled embedding, with and without random prompt rows."""
    shape, recipe = corpus.shape, corpus.recipe
    for x, rows in corpus.forever():
        prompt, at = None, 0
        with torch.no_grad():
            if corpus.rng.random() < recipe.prompt_share:
                at = int(corpus.rng.integers(0, shape.layers))
                below = encode(x, rows, corpus.teacher, replace(shape, layers=at), rfa=False)[0]
                prompt = corpus.prompt(below[-1].hidden if below else x, rows, at)
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


def adapt(corpus: Corpus, log: Log, checkpoint: Checkpoint) -> dict[str, Tensor]:
    """Both stages; the trained tensors by canonical name."""
    recipe = corpus.recipe
    first = int(recipe.steps * recipe.layer_share)
    with torch.no_grad():
        phases = initial_phases(corpus)
    train(corpus, phases, fit_layers, dict.fromkeys(phases, recipe.lr_layers), first, log)
    vectors = {
        f"layers.{i}.{name}": corpus.teacher[f"layers.{i}.{name}"].clone()
        for i in range(corpus.shape.layers)
        for name in VECTORS
    }
    rates = dict.fromkeys(phases, recipe.lr_whole) | dict.fromkeys(vectors, recipe.lr_vectors)
    train(corpus, phases | vectors, fit_whole, rates, recipe.steps - first, log, checkpoint)
    return phases | vectors
