"""Teaching a student to follow its softmax original: three stages, what each trains and by which loss.

1. `layers`: every layer's phases alone, or merged heads' queries and keys, on the original's own hidden rows (no error
   of one layer reaches the next).
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
from .decoder import heads
from .forward import attend, encode
from .merging import merged_start
from .options import ConvertOptions
from .student import LEAST_SUM, Architecture, Forms, Parameters, Rows, Trace, linear, variance

Losses = dict[str, Tensor]
"""Named parts of a loss, already weighted."""
VECTORS = (
    "v.bias", "o.bias", "ffn_in.bias", "ffn_out.bias",
    "attention_norm.gamma", "attention_norm.beta", "output_norm.gamma", "output_norm.beta",
)  # fmt: skip
"""What stages 2 and 3 train of a layer beside its phases and the low-rank changes."""
MATRICES = {
    "folded": ("v", "o", "ffn_in", "ffn_out"),
    "paper": ("q", "k", "v", "o", "ffn_in", "ffn_out"),
    "relu2": ("v", "o", "ffn_in", "ffn_out"),
    "merged": ("v", "o", "ffn_in", "ffn_out"),
}
"""Matrices that get a low-rank change, by what the student's attention is."""
OF_DECODER = ("input_norm.gamma", "ffn_norm.gamma")
"""What they train of a decoder's layer, whose biases a checkpoint may lack."""
FEATURE_RATE = {"folded": 1.0, "paper": 1.0, "relu2": 2.0, "merged": 2.0}
"""Factor on the rate of stage 1: other weights are larger than those of phases, which are in turns."""
ROTATED_RATE = 4.0
"""The same for features of rotated queries and keys."""
ROW_SUMS = (0.3, 12.0)
"""What sums of a row's weights, of squared ReLU features, are kept within: a series inverts that with room around."""


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
    """What stage 1 begins with: merged heads' queries and keys, or orthogonal random features, folded ones of the
    original's queries and keys, centred on each other.

    At the Gaussian kernel's own temperature (logits reach 45) a few dozen features would be noise: learned ones start
    at a common small spread.
    """
    if shape.merged > 1:
        return merged_start(corpus.teacher, shape)
    teacher, rng = corpus.teacher, np.random.default_rng(recipe.seed)
    device, head_dim = corpus.device, shape.hidden // shape.heads
    x, rows = corpus.draw(rng)
    with torch.no_grad():
        traces, _, _ = encode(x, rows, teacher, shape, adapted=False)
    features: dict[str, Tensor] = {}
    if shape.decoder:
        for layer, trace in enumerate(traces):
            features |= rotated_start(teacher, trace, rows, shape, layer, rng)
        return features
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
        if shape.variant == "relu2":
            features |= squared_relu_start(projected, teacher, trace, rows, shape, layer)
            continue
        spread = recipe.spread / power.sqrt() if recipe.learned else torch.full_like(power, head_dim**-0.25)
        for name, long in (("q", "phase_query"), ("k", "phase_key")):
            weight = ((spread / (2 * math.pi))[:, None, None] * projected[name]).flatten(0, 1)
            features[f"layers.{layer}.{long}.weight"] = weight
            features[f"layers.{layer}.{long}.bias"] = -weight @ trace.sites["hidden"].mean(0)
    return features


def squared_relu_start(
    projected: Parameters, teacher: Parameters, trace: Trace, rows: Rows, shape: Architecture, layer: int
) -> dict[str, Tensor]:
    """Random projections `[H, F, h]` of queries and keys, centred, of such a size that a head's sums of weights are 1
    in the geometric mean. Attention does not change with it."""
    hidden = trace.sites["hidden"]
    start: dict[str, Tensor] = {}
    for name, long in (("q", "feature_query"), ("k", "feature_key")):
        weight = projected[name] / (projected[name].flatten(0, 1) @ hidden.T).std()
        start[f"layers.{layer}.{long}.weight"] = weight.flatten(0, 1)
        start[f"layers.{layer}.{long}.bias"] = -weight.flatten(0, 1) @ hidden.mean(0)
    _, sites = attend(hidden, rows, {**teacher, **start}, layer, shape)
    size = torch.exp(-sites["row_sum"].clamp(min=LEAST_SUM).log().mean(0) / 4).repeat_interleave(shape.features[layer])
    return {name: tensor * (size[:, None] if tensor.ndim == 2 else size) for name, tensor in start.items()}


def rotated_start(
    teacher: Parameters, trace: Trace, rows: Rows, shape: Architecture, layer: int, rng: np.random.Generator
) -> dict[str, Tensor]:
    """The same of a decoder's rotated queries and keys: `[H·F, D]` and `[KV·F, D]`, of one size for all heads.

    Biases that queries and keys have in common keep sums of the first rows, which see few keys, away from 0.
    """
    hidden, start = trace.sites["hidden"], {}
    common = rng.choice([-1.0, 1.0], shape.features[layer])
    for name, long in (("q", "feature_query"), ("k", "feature_key")):
        turned = heads(hidden, rows, teacher, layer, name, shape)
        drawn = [orthogonal_features(shape.features[layer], turned.shape[-1], rng) for _ in range(turned.shape[1])]
        weight = torch.from_numpy(np.concatenate(drawn)).to(turned) / turned.square().sum(-1).mean().sqrt()
        start[f"layers.{layer}.{long}.weight"] = weight
        start[f"layers.{layer}.{long}.bias"] = torch.from_numpy(np.tile(common, turned.shape[1])).to(weight)
    _, sites = attend(hidden, rows, {**teacher, **start}, layer, shape)
    size = torch.exp(-sites["row_sum"].clamp(min=LEAST_SUM).log().mean() / 4)
    return {name: tensor * size for name, tensor in start.items()}


def low_rank_start(teacher: Parameters, shape: Architecture, recipe: Recipe) -> dict[str, Tensor]:
    """Low-rank changes that change nothing yet: `down` random, `up` zero (Hu et al. 2021)."""
    rng, changes = np.random.default_rng([recipe.seed, 1]), {}
    for layer in range(shape.layers):
        for name in MATRICES[shape.kind] if recipe.rank else ():
            weight = teacher[f"layers.{layer}.{name}.weight"]
            rows, columns = weight.shape
            down = torch.from_numpy(rng.standard_normal((recipe.rank, columns)) / math.sqrt(columns))
            changes[f"layers.{layer}.{name}.down"] = down.to(weight)
            changes[f"layers.{layer}.{name}.up"] = weight.new_zeros(rows, recipe.rank)
    return changes


def trained_vectors(teacher: Parameters, shape: Architecture) -> dict[str, Tensor]:
    """The original's biases and layer norms."""
    names = OF_DECODER if shape.decoder else VECTORS
    return {f"layers.{i}.{name}": teacher[f"layers.{i}.{name}"].clone() for i in range(shape.layers) for name in names}


def hard_to_invert(sites: dict[str, Tensor], shape: Architecture) -> Tensor:
    """Penalty on denominators under 1.5 floors, or on sums of weights outside `ROW_SUMS`; none on softmax."""
    if shape.merged > 1:
        return torch.zeros(())
    if shape.variant != "relu2":
        return (1.5 - sites["den"].float() / shape.floor).clamp(min=0).square().mean()
    total, (low, high) = sites["row_sum"].float().clamp(min=LEAST_SUM).log(), ROW_SUMS
    return 10 * torch.maximum(math.log(low) - total, total - math.log(high)).clamp(min=0).square().mean()


def out_of_range(trace: Trace, recipe: Recipe) -> Tensor:
    """Penalty on every row's widest activation input and on variances beyond their limits."""
    if not trace.sums:  # a decoder's stream is scaled to its rows, and its activations' intervals hold outliers
        return trace.hidden.new_zeros(())
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
            traces = encode(x, rows, self.teacher, self.shape, adapted=False)[0]
        unexplained, floor = x.new_zeros(()), x.new_zeros(())
        for layer, target in enumerate(traces):
            context, sites = attend(target.sites["hidden"], rows, self.student, layer, self.shape)
            difference = (linear(context, self.student, f"layers.{layer}.o") - target.attention).float()
            unexplained = unexplained + difference.square().sum() / target.attention.float().square().sum()
            floor = floor + self.recipe.floor_weight * hard_to_invert(sites, self.shape)
        return {"attention": unexplained / self.shape.layers, "floor": floor / self.shape.layers}

    def whole(self, batch: Batch, rng: np.random.Generator) -> Losses:
        """Stages 2 and 3: hidden rows of every layer and the pooled embedding, with and without random prompt rows."""
        x, rows = batch
        shape, recipe = self.shape, self.recipe
        prompt, at = None, 0
        with torch.no_grad():
            if rng.random() < recipe.prompt_share:
                at = int(rng.integers(0, shape.layers))
                below = encode(x, rows, self.teacher, replace(shape, layers=at), adapted=False)[0]
                prompt = self.corpus.prompt(below[-1].hidden if below else x, rows, at, rng)
            targets, pooled, _ = encode(x, rows, self.teacher, shape, adapted=False, prompt=prompt, at=at)
        traces, mine, _ = encode(x, rows, self.student, shape, adapted=True, prompt=prompt, at=at, forms=self.forms)
        hidden, floor, ranges = (x.new_zeros(()) for _ in range(3))
        for trace, target in zip(traces, targets, strict=True):
            error = (trace.hidden - target.hidden).square().sum(-1) / target.hidden.square().sum(-1)
            hidden = hidden + error.mean()
            floor = floor + recipe.floor_weight * hard_to_invert(trace.sites, shape)
            ranges = ranges + recipe.range_weight * out_of_range(trace, recipe)
        pooled_loss = recipe.pooled_weight * (1 - (mine * pooled).sum(-1)).mean()
        return {"pooled": pooled_loss, "hidden": hidden, "floor": floor, "ranges": ranges}
