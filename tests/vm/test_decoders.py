"""Toy decoders on the VM: three parties against both oracles, and counted traffic against the estimate."""

from __future__ import annotations

from math import inf
from pathlib import Path

import numpy as np
import pytest
from helpers.decoder_runs import DecoderRun, decoder_run
from secfwt.codegen.lowering import heads
from secfwt.codegen.native.simulator import Simulator
from secfwt.codegen.plan.graph import Stage
from secfwt.codegen.ring.cost import generation_cost, stage_cost
from secfwt.codegen.ring.encoding import decode
from secfwt.codegen.ring.oracle import run_program
from secfwt.codegen.ring.text import program_text


def flat(run: DecoderRun, kind: str) -> np.ndarray:
    parts = [run.words[v.attrs["name"]].reshape(-1) for v in run.compiled.ring.inputs(kind)]
    return np.concatenate(parts).astype(np.uint64)


@pytest.mark.parametrize(
    ("family", "head", "prompt_at", "relu2", "corrected"),
    [
        ("llama", "causal_lm", "start", False, False), ("gpt2", "prototypes", "end", False, True),
        ("qwen3", "causal_lm", "template", False, False), ("llama", "causal_lm", "end", True, True),
    ],
)  # fmt: skip
def test_the_vm_follows_the_oracles(
    family: str,
    head: str,
    prompt_at: str,
    relu2: bool,
    corrected: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(heads, "CORRECTION_ROUNDS", 0 if corrected else inf)
    run = decoder_run(tmp_path, family, head, prompt_at=prompt_at, relu2=relu2)
    ring = run.compiled.ring
    assert corrected == any(v.kind == "table" and v.attrs["name"].startswith("two.") for v in ring)
    s = Simulator(program_text(ring), 1 << 22)
    s.weights(flat(run, "weight"))
    before = s.counters()
    s.examples(3, flat(run, "example"))
    loaded = s.counters() - before
    z = run.words["z"].astype(np.uint64)
    before = s.counters()
    loss = decode(s.step(2, z, 0).view(np.int64), ring[ring.outputs[0].value].scale)
    stepped = s.counters() - before
    for counted, estimate in (
        (loaded, stage_cost(ring, Stage.EXAMPLE, 3)),
        (stepped, generation_cost(ring, 2, 3)),
    ):
        assert counted.rounds == estimate.rounds
        assert abs(counted.total - estimate.bytes) <= 0.002 * estimate.bytes
    logits = np.stack([s.step(1, z[c], 1).view(np.int64) for c in range(2)])
    got = {"loss": loss, "logits": decode(logits, ring[ring.outputs[1].value].scale)}
    fixed = run_program(ring, run.words)
    spread = max(1.0, float(np.abs(run.reference["logits"]).max()))
    for o in ring.outputs:
        oracle = decode(fixed[o.name], ring[o.value].scale).reshape(run.reference[o.name].shape)
        assert np.abs(got[o.name].reshape(oracle.shape) - oracle).max() < 0.02 * spread
        assert np.abs(got[o.name].reshape(oracle.shape) - run.reference[o.name]).max() < 0.1 * spread


def test_inference_without_a_prompt_opens_logits(tmp_path: Path) -> None:
    run = decoder_run(tmp_path, "llama", "causal_lm", n_prompt_tokens=0, sequence_length=8, template="{text} is")
    ring = run.compiled.ring
    assert [(o.name, ring[o.value].stage) for o in ring.outputs] == [("logits", Stage.EXAMPLE)]
    s = Simulator(program_text(ring), 1 << 22)
    s.weights(flat(run, "weight"))
    s.examples(3, flat(run, "example"))
    logits = decode(s.step(0, np.empty(0, np.uint64), 0).view(np.int64), ring[ring.outputs[0].value].scale)
    oracle = decode(run_program(ring, run.words)["logits"], ring[ring.outputs[0].value].scale)
    spread = max(1.0, float(np.abs(run.reference["logits"]).max()))
    assert np.abs(logits - oracle.reshape(-1)).max() < 0.02 * spread
    assert np.abs(logits - run.reference["logits"].reshape(-1)).max() < 0.1 * spread
