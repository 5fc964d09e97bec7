"""One encoder layer as programs of MP-SPDZ, with their input and what float64 makes of them: ours with random-feature
attention, and MP-SPDZ's own layer (softmax attention).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from secfwt.codegen.mpspdz.options import MpSpdzOptions
from secfwt.codegen.mpspdz.protocols import PROTOCOLS, ProtocolName
from secfwt.codegen.ring.encoding import encode
from secfwt.mpc_programs.lib.wire import PHASE_BITS, TURN_BITS

from performance.layer import LayerTask, layer_task
from performance.models import FEATURES, EncoderSize

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
        rows, rows, mask, w, variant="folded", heads={heads}, features={features}, floor=0.02, act="gelu", reach=12,
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
fill(attention.output.layer_norm.weights), fill(attention.output.layer_norm.bias)
layer.output.layer_norm.weights.assign_all(1)
layer.output.layer_norm.bias.assign_all(0)
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
    """A program, the words of party 0's input, and what is computed."""

    task: LayerTask
    source: str
    words: np.ndarray


def our_layer(shape: EncoderSize, tokens: int, protocol: ProtocolName, runs: int) -> Layer:
    """The layer that generated programs call."""
    task = layer_task(shape, tokens, "rfa")
    weights = {name: values.T for name, values in task.inputs.items() if name != "x"}
    shapes, words = {}, []
    for name, values in weights.items():
        phase = "phase_" in name
        scale = (TURN_BITS if name.endswith("bias") else PHASE_BITS) if phase else 16
        shapes[name] = (values.shape, phase)
        words.append(encode(values, scale))
    words += [encode(task.inputs["x"], 16), encode(np.ones(tokens), 16)]
    sizes = {"tokens": tokens, "hidden": shape.hidden, "heads": shape.heads, "features": FEATURES, "runs": runs}
    return Layer(task, header(protocol, MpSpdzOptions.budget) + OURS.format(weights=shapes, **sizes), flat(words))


def bert_layer(shape: EncoderSize, tokens: int, protocol: ProtocolName, runs: int) -> Layer:
    """MP-SPDZ's own layer at its compiler's default budget: larger ones give wrong results."""
    task = layer_task(shape, tokens, "softmax")
    given = task.inputs
    dense = [f"{name}.{part}" for name in ("q", "k", "v", "o", "ffn_in", "ffn_out") for part in ("weight", "bias")]
    words = [given[name].T for name in (*dense, "attention_norm.gamma", "attention_norm.beta")]
    words.append(given["x"] * given["embeddings.gamma"] + given["embeddings.beta"])
    sizes = {"tokens": tokens, "hidden": shape.hidden, "inner": shape.inner, "heads": shape.heads, "runs": runs}
    source = header(protocol, 1000) + BERT_LAYER.format(**sizes)
    return Layer(task, source, flat([encode(values, 16) for values in words]))


def header(protocol: ProtocolName, budget: int) -> str:
    """Settings as generated programs have them, and how a container gets party 0's input."""
    options = PROTOCOLS[protocol].settings
    return HEADER.format(
        settings={**options, "fraction_bits": 16, "value_bits": 31, "round_nearest": False, "budget": budget}
    )


def flat(parts: list[np.ndarray]) -> np.ndarray:
    """All words one after the other."""
    return np.concatenate([np.ravel(part) for part in parts])
