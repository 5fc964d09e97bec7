"""Squared ReLU features in the ring: the map itself, generation with them, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from helpers.decoder_runs import save_features
from helpers.toy_decoders import save_decoder
from helpers.toys import save_toy
from secfwt.codegen.commandline.problems import ProblemsFound
from secfwt.codegen.compile import compile_model
from secfwt.codegen.lowering.squared_relu import MOST_BITS, square_bits, squared_relu
from secfwt.codegen.model.hf import read_model
from secfwt.codegen.model.options import GenOptions
from secfwt.codegen.mpspdz.calls import translate
from secfwt.codegen.mpspdz.options import MpSpdzOptions
from secfwt.codegen.plan.build import build_plan
from secfwt.codegen.plan.graph import Output
from secfwt.codegen.ring.builder import RingBuilder
from secfwt.codegen.ring.encoding import decode, encode
from secfwt.codegen.ring.oracle import run_program
from secfwt.codegen.series.ranges import Ranges


@pytest.mark.parametrize("bits", [-3, 0, 4])
def test_the_map_is_the_squares_of_both_halves(bits: int) -> None:
    width = 2.0 ** (bits / 2)
    u = np.linspace(-2 * width, 2 * width, 401)
    r = RingBuilder()
    turns = r.example("u", (1, 401), 30, bound=1.1)  # 2w a turn
    r.program.outputs.append(Output("y", squared_relu(r, turns, bits)))
    (got,) = run_program(r.program, {"u": encode(u / (2 * width), 30).reshape(1, 1, 401)}).values()
    y = decode(got, r[r.program.outputs[0].value].scale).reshape(2, 401)
    exact = np.square(np.stack([np.maximum(u, 0), np.maximum(-u, 0)]))
    inside = np.abs(u) <= width
    np.testing.assert_allclose(y[:, inside], exact[:, inside], atol=0.04 * width**2)
    assert y.min() > -(2.0**-12) * width**2
    # twice as far out the larger half stays at w²
    assert np.abs(np.maximum(*y)[~inside & (np.abs(u) < 1.9 * width)] / width**2 - 1).max() < 0.2


def test_a_text_is_continued_with_them(tmp_path: Path) -> None:
    save_decoder(tmp_path / "model", "llama", "causal_lm")
    adapter = save_features(tmp_path / "adapter", "llama")
    options = GenOptions(
        head="tokens", attention="auto", sequence_length=12, n_prompt_tokens=0, max_new_tokens=6, step_rows=2
    )
    compiled = compile_model(tmp_path / "model", options, adapter)  # which tries it against the float oracle
    assert {v.shape[-1] for v in compiled.ring if v.kind == "state" and v.attrs["name"].endswith("key")} == {16}


def test_a_sequence_longer_than_an_adapters_is_refused(tmp_path: Path) -> None:
    save_decoder(tmp_path / "model", "llama", "prototypes")
    file = save_features(tmp_path / "adapter", "llama") / "adapter.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"rows": 24}))
    options = GenOptions(sequence_length=24, n_prompt_tokens=0, attention="auto", label_texts=("good", "bad"))
    with pytest.raises(ProblemsFound, match="a sequence has 25 rows, the adapter was trained for 24"):
        compile_model(tmp_path / "model", options, file.parent)


def test_projections_that_are_too_wide_are_refused() -> None:
    site = {"min": -20.0, "max": 20.0, "q0.0001": -(2.0 ** (MOST_BITS / 2)), "q0.9999": 1.0}
    ranges = Ranges({"layers.3.feature_key": site})
    assert square_bits(ranges, "layers.3.feature_key") == MOST_BITS
    wider = Ranges({"layers.3.feature_key": site | {"q0.9999": 17.0}})
    with pytest.raises(ProblemsFound, match="layer 3: projections for squared ReLU features lie within"):
        square_bits(wider, "layers.3.feature_key")


def test_mp_spdz_refuses_them_by_name(tmp_path: Path) -> None:
    save_toy(tmp_path, "bert", "classification")
    options = GenOptions(sequence_length=8, n_prompt_tokens=2, intrinsic_dim=4, rfa_variant="relu2")
    plan = build_plan(read_model(tmp_path, options), options)
    with pytest.raises(ProblemsFound, match=r"squared ReLU features \(relu2\)"):
        translate(plan, MpSpdzOptions())
