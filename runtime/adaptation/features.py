"""Teaching a random-feature student to follow its softmax original: three stages, what each trains and by which loss.

1. `layers`: every layer's phases alone, on the original's own hidden rows (no error of one layer reaches the next).
2. `whole`: all layers end to end, with phases, biases, layer norms and low-rank changes of the other matrices.
3. `fitted`: the same through the protocol's Fourier fits on intervals calibrated at its start, at a falling rate.

In all a penalty keeps denominators above the floor; from stage 2 on others keep the activations' inputs and layer norm
variances inside intervals that the fits can afford.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from ...codegen.model.features import orthogonal_features
from .corpus import Batch, Corpus
from .options import ConvertOptions
from .student import Architecture, Forms, Parameters, Trace, encode, linear, rfa_attention, variance

Losses = dict[str, Tensor]
"""Named parts of a loss, already weighted."""
VECTORS = (
    "v.bias", "o.bias", "ffn_in.bias", "ffn_out.bias",
    "attention_norm.gamma", "attention_norm.beta", "output_norm.gamma", "output_norm.beta",
)  # fmt: skip
"""What stages 2 and 3 train of a layer beside its phases and the low-rank changes."""
MATRICES = {"folded": ("v", "o", "ffn_in", "ffn_out"), "paper": ("q", "k", "v", "o", "ffn_in", "ffn_out")}
"""Matrices that get a low-rank change, by variant."""


@dataclass(frozen=True)
class Recipe:
    """Knobs of the training; what a user may choose has the defaults of `ConvertOptions`."""

    layer_steps: int = ConvertOptions.layer_steps
    whole_steps: int = ConvertOptions.steps
    fitted_steps: int = ConvertOptions.fitted_steps
    seed: int = ConvertOptions.seed
    rank: int = ConvertOptions.rank
    learned: bool = True
    """Whether the features are trained; random ones stay as they are drawn."""
    batch_rows: int = 1024
    lr: float = 5e-4
    spread: float = 0.3
    """Root mean square of a query's minus a key's phase at the start, in radians: small, for the kernel sharpens in
    training, and does so better than it blunts."""
    splice: float = ConvertOptions.splice
    """Part of the texts that get another's tail."""
    exchange: float = ConvertOptions.exchange
    """Part of the tokens, in every other text, that near ones stand in for."""
    prompt_share: float = 0.25
    """Part of the batches that carry random prompt rows, from stage 2 on."""
    pooled_weight: float = 4.0
    floor_weight: float = 0.1
    range_weight: float = 0.05
    gelu_limit: float = ConvertOptions.gelu_limit
    variance_limit: float = 40.0


def initial_features(corpus: Corpus, shape: Architecture, recipe: Recipe) -> dict[str, Tensor]:
    """Orthogonal random features; folded ones, of the original's queries and keys, centred on each other.

    At the Gaussian kernel's own temperature (logits reach 45) a few dozen features would be noise: learned ones start
    at a common small spread.
    """
    teacher, rng = corpus.teacher, np.random.default_rng(recipe.seed)
    device, head_dim = corpus.device, shape.hidden // shape.heads
    x, rows = corpus.draw(rng)
    with torch.no_grad():
        traces, _, _ = encode(x, rows, teacher, shape, rfa=False)
    features = {}
    for layer, trace in enumerate(traces):
        drawn = [orthogonal_features(shape.features[layer], head_dim, rng) for _ in range(shape.heads)]
        omega = torch.from_numpy(np.stack(drawn)).float().to(device)
        if shape.variant == "paper":
            features[f"layers.{layer}.features"] = omega
            continue
        projected, power = {}, torch.zeros(shape.heads, device=device)
        for name in "qk":
            weight = teacher[f"layers.{layer}.{name}.weight"].reshape(shape.heads, head_dim, -1)
            projected[name] = omega @ weight
            power += torch.einsum("hfx,nx->hfn", projected[name], trace.sites["hidden"]).var(-1).mean(-1)
        spread = recipe.spread / power.sqrt() if recipe.learned else torch.full_like(power, head_dim**-0.25)
        for name, long in (("q", "phase_query"), ("k", "phase_key")):
            weight = ((spread / (2 * math.pi))[:, None, None] * projected[name]).flatten(0, 1)
            features[f"layers.{layer}.{long}.weight"] = weight
            features[f"layers.{layer}.{long}.bias"] = -weight @ trace.sites["hidden"].mean(0)
    return features


def low_rank_start(teacher: Parameters, shape: Architecture, recipe: Recipe) -> dict[str, Tensor]:
    """Low-rank changes that change nothing yet: `down` random, `up` zero (Hu et al. 2021)."""
    rng, changes = np.random.default_rng([recipe.seed, 1]), {}
    for layer in range(shape.layers):
        for name in MATRICES[shape.variant] if recipe.rank else ():
            weight = teacher[f"layers.{layer}.{name}.weight"]
            rows, columns = weight.shape
            down = torch.from_numpy(rng.standard_normal((recipe.rank, columns)) / math.sqrt(columns))
            changes[f"layers.{layer}.{name}.down"] = down.to(weight)
            changes[f"layers.{layer}.{name}.up"] = weight.new_zeros(rows, recipe.rank)
    return changes


def trained_vectors(teacher: Parameters, shape: Architecture) -> dict[str, Tensor]:
    """The original's biases and layer norms."""
    return {
        f"layers.{i}.{name}": teacher[f"layers.{i}.{name}"].clone() for i in range(shape.layers) for name in VECTORS
    }


def below_floor(den: Tensor, floor: float) -> Tensor:
    """Penalty on denominators under 1.5 floors."""
    return (1.5 - den.float() / floor).clamp(min=0).square().mean()


def out_of_range(trace: Trace, recipe: Recipe) -> Tensor:
    """Penalty on every row's widest activation input and on variances beyond their limits."""
    inner = trace.sites["activation"]
    widest = torch.maximum(inner.amax(-1), -inner.amin(-1)).float()
    outside = (widest - recipe.gelu_limit).clamp(min=0).square().mean()
    high = (variance(trace.sums["output_var"]) / recipe.variance_limit).log().clamp(min=0).square().mean()
    return outside + high


@dataclass(frozen=True)
class Lesson:
    """What a step's loss is made of: `teacher` and `student` hold weights in the precision that they are used in."""

    corpus: Corpus
    teacher: Parameters
    student: Parameters
    shape: Architecture
    recipe: Recipe
    forms: Forms

    def layers(self, batch: Batch, _: np.random.Generator) -> Losses:
        """Stage 1: unexplained part of every layer's attention output, each on the original's input."""
        x, rows = batch
        with torch.no_grad():
            traces = encode(x, rows, self.teacher, self.shape, rfa=False)[0]
        unexplained, floor = x.new_zeros(()), x.new_zeros(())
        for layer, target in enumerate(traces):
            context, sites = rfa_attention(target.sites["hidden"], rows, self.student, layer, self.shape)
            difference = (linear(context, self.student, f"layers.{layer}.o") - target.attention).float()
            unexplained = unexplained + difference.square().sum() / target.attention.float().square().sum()
            floor = floor + self.recipe.floor_weight * below_floor(sites["den"], self.shape.floor)
        return {"attention": unexplained / self.shape.layers, "floor": floor / self.shape.layers}

    def whole(self, batch: Batch, rng: np.random.Generator) -> Losses:
        """Stages 2 and 3: hidden rows of every layer and the pooled embedding, with and without random prompt rows."""
        x, rows = batch
        shape, recipe = self.shape, self.recipe
        prompt, at = None, 0
        with torch.no_grad():
            if rng.random() < recipe.prompt_share:
                at = int(rng.integers(0, shape.layers))
                below = encode(x, rows, self.teacher, replace(shape, layers=at), rfa=False)[0]
                prompt = self.corpus.prompt(below[-1].hidden if below else x, rows, at, rng)
            targets, pooled, _ = encode(x, rows, self.teacher, shape, rfa=False, prompt=prompt, at=at)
        traces, mine, _ = encode(x, rows, self.student, shape, rfa=True, prompt=prompt, at=at, forms=self.forms)
        hidden, floor, ranges = (x.new_zeros(()) for _ in range(3))
        for trace, target in zip(traces, targets, strict=True):
            error = (trace.hidden - target.hidden).square().sum(-1) / target.hidden.square().sum(-1)
            hidden = hidden + error.mean()
            floor = floor + recipe.floor_weight * below_floor(trace.sites["den"], shape.floor)
            ranges = ranges + recipe.range_weight * out_of_range(trace, recipe)
        pooled_loss = recipe.pooled_weight * (1 - (mine * pooled).sum(-1)).mean()
        return {"pooled": pooled_loss, "hidden": hidden, "floor": floor, "ranges": ranges}
