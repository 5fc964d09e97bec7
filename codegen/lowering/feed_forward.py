"""The feed-forward network in the ring: one opening per inner value, one truncation at the layer norm behind it.

    W₂ act(W₁ y + b₁) + b₂ + y  =  W₂ e(u) + (W₂W₁/2 + 1) y + W₂b₁/2 + b₂,   u = W₁ y + b₁,   act(u) = u/2 + e(u)

The activation's linear half and the residual are one matrix that the model owner makes; only the even part e is opened.
"""

from __future__ import annotations

import numpy as np

from ..model.weights import reach_name
from ..plan.graph import Value
from ..ring.builder import RingBuilder
from ..ring.values import Floats, WideWeights
from ..series.activations import ACTIVATIONS, Activation
from ..series.classes import Neurons, alike, classified
from ..series.nonlinear import even_part
from ..series.ranges import Ranges
from .layer_norm import Norm, centred
from .scales import BENT, ROW, TURN


def feed_forward(r: RingBuilder, ranges: Ranges, v: Value, x: int, scale: int) -> int:
    """The network of a layer and its residual for rows x̂ `[R, h]`, y = gamma∘x̂ + beta: centred, additive, at `scale`.

    Right where u lies within the interval that `ranges` has for the layer's `activation`.
    """
    hidden, inner, p = r[x].shape[-1], v.attrs["intermediate"], f"layers.{v.attrs['layer']}"
    norm = Norm(f"{p}.attention_norm.gamma", f"{p}.attention_norm.beta")
    w1, b1, w2, b2 = (f"{p}.ffn_{name}" for name in ("in.weight", "in.bias", "out.weight", "out.bias"))
    act = ACTIVATIONS[v.attrs["act"]]
    width = ranges.activation_width(f"{p}.activation", act.linear_beyond)
    neurons = neurons_of(r, ranges, v, act, width, v.attrs["harmonics"])
    order, periods = neurons.order, neurons.periods

    # W₂ e(u): u as a phase, 4·width per turn
    turns = r.matrix(w1, (hidden, inner), TURN, lambda w: norm.matrix(w, w1)[:, order] / periods)
    offset = r.weight(b1, (inner,), TURN + ROW, lambda w: norm.offset(w, w1, b1)[order] / periods)
    bent = even_parts(r, r.turns(r.add(r.product(x, turns), offset)), neurons, BENT)
    second = r.matrix(w2, (inner, hidden), scale - BENT, lambda w: centred(w[w2].T[order]))

    # all that is linear in y, and the constants
    def straight(w: WideWeights) -> Floats:
        return centred(((w[w2] @ w[w1] / 2 + np.eye(hidden)) * w[norm.gamma]).T)

    def constant(w: WideWeights) -> Floats:
        return centred(w[b2] + w[norm.beta] + w[w2] @ norm.offset(w, w1, b1) / 2)

    linear = r.matrix(f"{p}.ffn_linear.weight", (hidden, hidden), scale - ROW, straight)
    bias = r.weight(b2, (hidden,), scale, constant)
    return r.add(r.add(r.product(bent, second), r.product(x, linear)), bias)


def neurons_of(r: RingBuilder, ranges: Ranges, v: Value, act: Activation, width: float, harmonics: int = 0) -> Neurons:
    """A layer's neurons, in classes where their reach is known and nobody has said how many harmonics there are."""
    fit = even_part(act.name, width, harmonics)
    reach = (r.weights or {}).get(reach_name(v.attrs["layer"]))
    if reach is None or harmonics or r.known is not None:  # the order of neurons would tell of a private adapter
        return alike(v.attrs["intermediate"], width, fit)
    return classified(act, width, ranges.margin * reach)


def even_parts(r: RingBuilder, turns: int, neurons: Neurons, scale: int) -> int:
    """The activation's even part `[R, inner]` at `scale` of phases, both in the order of the neurons: an opening per
    class, side by side."""
    parts, at = [], 0
    for each in neurons.classes:
        parts.append(r.fourier(r.slice(turns, -1, at, at + each.size), each.fit, scale))
        at += each.size
    return r.declare(r.concat(tuple(parts), -1), norm=neurons.norm) if len(parts) > 1 else parts[0]
