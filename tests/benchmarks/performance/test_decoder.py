"""Passes and pairs of decoders with random weights, on toys of both kinds."""

from __future__ import annotations

import numpy as np
import pytest
from secfwt.codegen.model.options import GenOptions

from performance import decoder
from performance.models import DECODERS, DecoderSize, RandomWeights, model_spec

LLAMA, GPT2 = DecoderSize(64, 4, 128, 1, 2), DecoderSize(64, 4, 128, 1, 4, llama=False)


@pytest.mark.parametrize(("shape", "pair", "error"), [(LLAMA, 0, 0.05), (GPT2, 0, 0.2), (LLAMA, 3, 0.01)])
def test_what_the_parties_compute_is_the_decoder(shape: DecoderSize, pair: int, error: float) -> None:
    row = decoder.measure(shape, 8, pair, 0, 1)
    assert row.max_error < error
    assert row.rms_error > 0
    assert (row.layers, row.tokens, row.benchmark) == (1, 8, "decoder, a pair" if pair else "decoder")


def test_shapes_are_those_of_the_models() -> None:
    parameters = {}
    for name, shape in DECODERS.items():
        spec = model_spec(shape)
        options = GenOptions(sequence_length=8, n_prompt_tokens=0, attention="softmax")
        weights = RandomWeights(shape, options, decoder.pass_plan(shape, options))
        sizes = {each: int(np.prod(weights.shape(each))) for each in weights}
        of_layers = sum(n for each, n in sizes.items() if each.endswith("weight"))
        parameters[name] = of_layers / 1e6
        assert spec.kv_heads == shape.key_heads
    # 135 and 124 million with the embeddings of 49,152 and 50,257 words, and 1,024 positions; 6.7 billion with two
    # tables of 32,000
    assert parameters == pytest.approx({"smollm2": 106.2, "gpt2": 84.9, "llama-7b": 6476}, rel=0.001)
