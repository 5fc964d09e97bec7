"""One encoder layer as programs of MP-SPDZ, with their input and what float64 makes of them: ours with random-feature
attention, and MP-SPDZ's own layer (softmax attention).
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

import numpy as np
from layer import encoder_plan, layer_inputs
from models import FEATURES, RandomWeights, Shape, normalised_rows
from secfwt.codegen.mpspdz_calls import PHASE_BITS
from secfwt.codegen.mpspdz_options import PROTOCOLS, MpSpdzOptions, Protocol
from secfwt.codegen.options import GenOptions
from secfwt.codegen.oracle_fixed import encode
from secfwt.codegen.oracle_float import run_plan

HEADER = """
from lib.settings import configure
configure(**{settings})
from Compiler.library import break_point

def fill(x):
    words = sint.get_input_from(0, size=x.total_size())
    x.assign_vector(words if x.value_type is sint else sfix._new(words))
    break_point()
    return x
"""

OURS = """
from lib import encoder, normalization
from lib.tensor import tensor

w = {{name: fill(tensor(shape, sint if phase else sfix)) for name, (shape, phase) in {weights}.items()}}
x, mask, out = (tensor(shape) for shape in ((1, {tokens}, {hidden}), (1, {tokens}), (1, {tokens}, {hidden})))
fill(x), fill(mask)

@for_range({runs})
def _(i):
    start_timer(1)
    rows = normalization.affine(x, w["embeddings.gamma"], w["embeddings.beta"])
    result = encoder.encoder_layer(
        rows, mask, w, variant="folded", heads={heads}, features={features}, floor=0.02, act="gelu",
        attention_eps=1e-12, output_eps=1e-12,
    )
    out.assign_vector(result.get_vector())
    stop_timer(1)

out.get_vector().v.reveal().binary_output(0)
"""

BERT_LAYER = """
import ml
layer = ml.BertLayer(1, {tokens}, {hidden}, {inner}, {heads}, 1e-12)
attention = layer.multi_head_attention
for dense in (attention.wq, attention.wk, attention.wv, attention.output.dense, layer.intermediate.dense,
              layer.output.dense):
    fill(dense.W), fill(dense.b)
for norm in (attention.output.layer_norm, layer.output.layer_norm):
    norm.weights.assign_all(1)
    norm.bias.assign_all(0)
fill(layer.X)

@for_range({runs})
def _(i):
    start_timer(1)
    layer.forward(regint.Array(1).assign([0]))
    stop_timer(1)

layer.Y.get_vector().v.reveal().binary_output(0)
"""


@dataclass(frozen=True)
class Layer:
    """A program, the words of party 0's input and the result in float64, `[tokens, hidden]`."""

    shape: Shape
    attention: str
    source: str
    words: np.ndarray
    clear: np.ndarray


def our_layer(shape: Shape, tokens: int, protocol: Protocol, runs: int) -> Layer:
    """The layer that generated programs call, with weights of a trained encoder's spread."""
    plan = encoder_plan(shape, tokens, 1)
    weights = RandomWeights(shape, GenOptions(rfa_features=FEATURES), plan)
    inputs = layer_inputs(shape, tokens)
    shapes, words = {}, []
    for name, values in weights.items():
        phase = "phase_" in name
        scale = (64 if name.endswith("bias") else PHASE_BITS) if phase else 16
        shapes[name.removeprefix("layers.0.")] = (values.T.shape, phase)
        words.append(encode(values.T, scale))
    words += [encode(values, 16) for values in inputs.values()]
    sizes = {"tokens": tokens, "hidden": shape.hidden, "heads": shape.heads, "features": FEATURES, "runs": runs}
    source = header(protocol, MpSpdzOptions.budget) + OURS.format(weights=shapes, **sizes)
    return Layer(
        shape, "rfa", source, flat(words), run_plan(plan, weights, inputs)["rows"].reshape(tokens, shape.hidden)
    )


def bert_layer(shape: Shape, tokens: int, protocol: Protocol, runs: int) -> Layer:
    """MP-SPDZ's own layer at its compiler's default budget: larger ones give wrong results."""
    rng = np.random.default_rng(1)
    h, inner = shape.hidden, shape.inner
    dense = [
        (rng.normal(size=(rows, columns)) / math.sqrt(rows), 0.1 * rng.normal(size=columns))
        for rows, columns in [(h, h)] * 4 + [(h, inner), (inner, h)]
    ]
    x = normalised_rows((tokens, h), rng)
    sizes = {"tokens": tokens, "hidden": h, "inner": inner, "heads": shape.heads, "runs": runs}
    words = [encode(part, 16) for pair in dense for part in pair] + [encode(x, 16)]
    source = header(protocol, 1000) + BERT_LAYER.format(**sizes)
    return Layer(shape, "softmax", source, flat(words), softmax_layer(x, dense, shape.heads))


def softmax_layer(x: np.ndarray, dense: list[tuple[np.ndarray, np.ndarray]], heads: int) -> np.ndarray:
    """Post-norm encoder layer (Vaswani et al. 2017) in float64; norms without affine part."""
    q, k, v = (np.stack(np.split(x @ w + b, heads, axis=1)) for w, b in dense[:3])
    scores = np.exp(q @ k.swapaxes(1, 2) / math.sqrt(q.shape[-1]))
    context = np.concatenate(scores / scores.sum(-1, keepdims=True) @ v, axis=1)
    (wo, bo), (wi, bi), (wf, bf) = dense[3:]
    y = normalised(x + context @ wo + bo)
    pre = y @ wi + bi
    return normalised(y + pre / 2 * (1 + np.vectorize(math.erf)(pre / math.sqrt(2))) @ wf + bf)


def normalised(x: np.ndarray) -> np.ndarray:
    """Rows of mean zero and variance one."""
    return (x - x.mean(-1, keepdims=True)) / x.std(-1, keepdims=True)


def header(protocol: Protocol, budget: int) -> str:
    """Settings as generated programs have them, and how a container gets party 0's input."""
    options = {k: v for k, v in asdict(PROTOCOLS[protocol]).items() if k != "parties"}
    return HEADER.format(
        settings={**options, "fraction_bits": 16, "value_bits": 31, "round_nearest": False, "budget": budget}
    )


def flat(parts: list[np.ndarray]) -> np.ndarray:
    """All words one after the other."""
    return np.concatenate([np.ravel(part) for part in parts])
