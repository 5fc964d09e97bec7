"""Decoders in the ring: the fixed-point oracle against the float oracle, stages, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.decoder_runs import decoder_run
from secfwt.codegen.commandline.problems import ProblemsFound
from secfwt.codegen.lowering.decoders.norm import normalised
from secfwt.codegen.lowering.decoders.rotation import rotated
from secfwt.codegen.lowering.program import lower
from secfwt.codegen.model.decoders.rope import Rope
from secfwt.codegen.model.weights import Widened
from secfwt.codegen.plan.graph import Output, Stage
from secfwt.codegen.ring.builder import RingBuilder
from secfwt.codegen.ring.encoding import decode, encode
from secfwt.codegen.ring.oracle import run_program
from secfwt.codegen.series.ranges import Ranges

CASES: list[tuple[str, str, dict[str, Any]]] = [
    ("llama", "causal_lm", {}),
    ("gpt2", "causal_lm", {"prompt_at": "template"}),
    ("qwen2", "causal_lm", {"prompt_at": "start"}),
    ("llama", "prototypes", {"prompt_at": "start", "prompt_layer": 1}),
    ("qwen2", "classification", {"prompt_layer": 1}),
    ("qwen3", "prototypes", {}),
    ("llama-biased-untied", "causal_lm", {"n_prompt_tokens": 0}),
    ("llama", "causal_lm", {"relu2": True}),
    ("gpt2", "prototypes", {"relu2": True, "prompt_at": "start"}),
    ("qwen3", "causal_lm", {"relu2": True, "n_prompt_tokens": 0}),
]


@pytest.mark.parametrize(("family", "head", "options"), CASES)
def test_the_ring_follows_the_model(family: str, head: str, options: dict[str, Any], tmp_path: Path) -> None:
    run = decoder_run(tmp_path, family, head, **options)
    fixed = run_program(run.compiled.ring, run.words)
    spread = max(1.0, float(np.abs(run.reference["logits"]).max()))
    for o in run.compiled.ring.outputs:
        got = decode(fixed[o.name], run.compiled.ring[o.value].scale).reshape(run.reference[o.name].shape)
        assert np.abs(got - run.reference[o.name]).max() < 0.1 * spread


@pytest.mark.parametrize("factor", [1e-2, 1e4])
def test_a_residual_stream_may_have_any_size(factor: float, tmp_path: Path) -> None:
    def altered(tensors: dict[str, Any]) -> None:
        for name, value in tensors.items():
            if any(part in name for part in ("embed_tokens", "o_proj", "down_proj")):
                value *= factor

    run = decoder_run(tmp_path, "llama-biased-untied", "causal_lm", altered, n_prompt_tokens=0)
    (logits,) = run_program(run.compiled.ring, run.words, ("logits",)).values()
    scale = run.compiled.ring[run.compiled.ring.opened("logits")].scale
    spread = max(1.0, float(np.abs(run.reference["logits"]).max()))
    np.testing.assert_allclose(decode(logits, scale), run.reference["logits"], atol=0.1 * spread)


def test_a_gates_outliers_are_right_however_rare(tmp_path: Path) -> None:
    def altered(tensors: dict[str, Any]) -> None:
        for name, value in tensors.items():
            if "gate_proj" in name:
                value *= 4

    run = decoder_run(tmp_path, "llama", "causal_lm", altered, n_prompt_tokens=0)
    sites = run.compiled.plan.meta["calibration"]
    rare = {"q0.0001": -0.1, "q0.9999": 0.1}
    sites |= {name: site | rare for name, site in sites.items() if name.endswith((".activation", ".product"))}
    assert run.compiled.weights is not None
    assert max(site["max"] for name, site in sites.items() if name.endswith(".activation")) > 10
    wide = Widened(run.compiled.weights)
    lowered = lower(run.compiled.plan, wide, Ranges(sites))
    (logits,) = run_program(lowered.ring, run.words | lowered.words(wide), ("logits",)).values()
    scale = next(lowered.ring[o.value].scale for o in lowered.ring.outputs if o.name == "logits")
    got, spread = decode(logits, scale), max(1.0, float(np.abs(run.reference["logits"]).max()))
    np.testing.assert_allclose(got.reshape(run.reference["logits"].shape), run.reference["logits"], atol=0.02 * spread)


def test_a_pair_costs_the_rows_behind_the_text_alone(tmp_path: Path) -> None:
    ring = decoder_run(tmp_path, "llama", "causal_lm").compiled.ring
    rows = {
        stage: max(v.shape[-2] for v in ring if v.stage == stage and v.shape[-1:] == (32,))
        for stage in (Stage.EXAMPLE, Stage.PAIR)
    }
    assert rows[Stage.EXAMPLE] > 20
    assert rows[Stage.PAIR] < 12


def test_a_rotation_is_one_truncation_of_the_rotated_rows() -> None:
    rng, r = np.random.default_rng(0), RingBuilder()
    rope = {"theta": 100.0, "kind": "default", "factor": 1.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
            "original_positions": 64}  # fmt: skip
    x = rng.standard_normal((1, 4, 2, 6))
    i = r.example("x", (4, 2, 6), 16, bound=8.0)
    r.program.outputs.append(Output("y", r.trunc(rotated(r, i, rope, 9), 16)))
    (got,) = run_program(r.program, {"x": encode(x, 16)}).values()
    omega = Rope(100.0).frequencies(6)
    for t in range(4):
        for p in range(3):
            turn = np.exp(1j * (5 + t) * omega[p]) * (x[0, t, :, p] + 1j * x[0, t, :, p + 3])
            np.testing.assert_allclose(decode(got, 16)[0, 0, t, :, p], turn.real, atol=3e-4)
            np.testing.assert_allclose(decode(got, 16)[0, 0, t, :, p + 3], turn.imag, atol=3e-4)


def test_ranges_that_no_series_serves_are_refused_with_their_numbers() -> None:
    r = RingBuilder()
    x = r.example("x", (4, 32), 16, bound=8.0)
    sites = {"layers.3.input_norm_var": {"min": 1e-4, "max": 1e3, "q0.0001": 1e-4, "q0.9999": 1e3}}
    with pytest.raises(ProblemsFound, match=r"layer 3, input_norm_var: mean squares of rows lie from 5e-05 to 2e\+03"):
        normalised(r, Ranges(sites), x, 1e-5, "layers.3.input_norm_var")
