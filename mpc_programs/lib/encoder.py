"""One post-norm transformer encoder layer (Vaswani et al. 2017; BERT)."""

from Compiler.library import break_point, for_range

from lib import attention, softmax
from lib.feed_forward import plain
from lib.linear import dense
from lib.normalization import affine, normalize
from lib.tensor import plus, store, view

ATTENTION = {"folded": attention.folded, "paper": attention.paper, "softmax": softmax.attend}
"""By variant; every one takes (reads, x, mask, w, heads=…) and keywords of its own."""


def encoder_stack(x, mask, weights, *, layers, **attrs):
    """Layers one after the other in a run-time loop, so that bytecode does not grow with depth.

    Shapes: x `[B, T, h]` (normalised rows: a layer starts with the affine part of the norm below), mask `[B, T]`,
    weights: by role one tensor `[n, *shape]`, of which lo <= i < hi are taken, `layers` = (lo, hi) -> normalised rows
    `[B, T, h]`. Scale: f.
    Interval: every layer's that of `encoder_layer`.
    Error: that of `encoder_layer` a layer, as far as the model does not amplify it.
    Rounds: 215 a layer; up to 260 without masked openings. Opens: as `encoder_layer`.
    """
    hidden = store(x.get_vector(), *x.shape)

    @for_range(*layers)
    def _(layer):
        w = {role: stack[layer] for role, stack in weights.items()}
        rows = affine(hidden, w["input_norm.gamma"], w["input_norm.beta"])
        hidden.assign_vector(encoder_layer(rows, rows, mask, w, **attrs).get_vector())
        break_point()

    return hidden


def reading_layer(reads, x, mask, weights, **attrs):
    """One layer for the rows `reads` alone, which are linear in its input rows x: for what reads no others.

    Shapes: reads `[B, R, h]` or `[B, h]`, x `[B, T, h]` (normalised rows), mask `[B, T]`, weights: by role one tensor
    `[1, *shape]` -> normalised rows `[B, R, h]`. Scale: f.
    Interval: that of `encoder_layer`.
    Error: that of `encoder_layer`.
    Rounds: 215; up to 260 without masked openings. Opens: as `encoder_layer`.
    """
    w = {role: stack[0] for role, stack in weights.items()}
    gamma, beta = w["input_norm.gamma"], w["input_norm.beta"]
    batch, _, width = x.shape
    reads = view(reads, batch, reads.total_size() // (batch * width), width)
    return encoder_layer(affine(reads, gamma, beta), affine(x, gamma, beta), mask, w, **attrs)


def encoder_layer(reads, x, mask, w, *, variant, heads, act, attention_eps, output_eps, reach=None, **attending):
    """Attention with keywords of its own, output projection, layer norm, feed-forward, layer norm without its affine
    part.

    Shapes: reads `[B, R, h]`, the rows that are wanted; x `[B, T, h]`, those that they attend to; mask `[B, T]`; w:
    this layer's weights by role -> `[B, R, h]`. Scale: f.
    Interval: that of its attention, `gelu`, `normalize`.
    Error: 1e-3 against float64 on a toy with unit-variance rows; with softmax and masked openings 3e-3.
    Rounds: 212, whatever B, T and h; up to 257 without masked openings; with softmax 247 and 296. Opens: as its
    attention and `feed_forward.plain`.
    """
    found = ATTENTION[variant](reads, x, mask, w, heads=heads, **attending)
    y = normalize(plus(reads, dense(found, w["o.weight"], w["o.bias"])), attention_eps)
    y = affine(y, w["attention_norm.gamma"], w["attention_norm.beta"])
    limits = {} if reach is None else {"reach": reach}
    return normalize(plus(y, plain(y, w, act, **limits)), output_eps)
