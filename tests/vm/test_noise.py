"""Noise of three parties on what is opened, through the whole VM: its distribution, its cost, what a client gets."""

from __future__ import annotations

import re
from math import sqrt
from pathlib import Path

import numpy as np
import pytest
from helpers.parties import LOSSES, PROGRAM, TOLERANCE, X, Z, parties_with_weights
from helpers.ring_toys import toy
from secfwt.codegen.native.simulator import Simulator
from secfwt.codegen.ring.cost import generation_cost
from secfwt.codegen.ring.encoding import decode, encode
from secfwt.codegen.ring.oracle import run_program
from secfwt.codegen.ring.text import program_text
from secfwt.runtime.engine import Batch
from secfwt.runtime.parties.certificates import make_certificates

SCALE = 40
OPENED = """secfwt-program 4
v 0 candidate rep 16 1 candidate - name=z ring=40
v 1 candidate rep 16 1 scale 0 by=1
out loss 1 ring=40 noise=DEVIATION
out plain 1 ring=40
end
"""


def signed(words: np.ndarray) -> np.ndarray:
    """Numbers of Z_2^40."""
    return np.asarray((words.astype(np.uint64) << np.uint64(24)).view(np.int64) >> 24)


@pytest.mark.parametrize("deviation", [1, 3, 1000, 2**33])
def test_the_sum_of_three_discrete_gaussians_is_opened(deviation: int) -> None:
    n = 20000
    sim = Simulator(OPENED.replace("DEVIATION", str(deviation)))
    sim.weights(np.empty(0, np.uint64))
    z = np.full(n, 77, np.uint64)
    before = sim.counters()
    found = signed(sim.step(n, z, 0)) - 77
    noised = sim.counters() - before
    before = sim.counters()
    assert (signed(sim.step(n, z, 1)) == 77).all()
    plain = sim.counters() - before
    assert (noised.total, noised.rounds) == (plain.total, plain.rounds)  # nothing is sent for it
    # a discrete Gaussian's variance is that of the continuous one, to 10⁻⁶ from σ = 1 on
    due = 3 * deviation**2
    assert abs(found.mean()) < 5 * sqrt(due / n)
    assert abs(found.astype(float).var() / due - 1) < 5 * sqrt(2 / n)
    again = signed(sim.step(n, z, 0)) - 77
    assert abs(np.corrcoef(found, again)[0, 1]) < 5 / sqrt(n)
    if deviation <= 3:
        values = np.arange(-12 * deviation, 12 * deviation + 1)
        one = np.exp(-(values**2) / (2 * deviation**2))
        three = np.convolve(np.convolve(one, one), one)
        due_counts = n * three / three.sum()
        counts = np.bincount(found + 36 * deviation, minlength=len(three))
        core = due_counts > 20
        chi2 = float(((counts - due_counts)[core] ** 2 / due_counts[core]).sum())
        freedom = int(core.sum())
        assert abs(chi2 - freedom) < 6 * sqrt(2 * freedom)


def test_a_clipped_and_noised_step_costs_what_the_model_says() -> None:
    t = toy("bert", noise=0.05, candidates=6, examples=4)
    oracle = decode(run_program(t.ring, t.words, ("loss",))["loss"], SCALE)[:, 0]
    sim = Simulator(program_text(t.ring), 1 << 22)
    for kind, give in (("weight", sim.weights), ("example", lambda words: sim.examples(4, words))):
        flat = [t.words[v.attrs["name"]].reshape(-1) for v in t.ring.inputs(kind)]
        give(np.concatenate(flat).astype(np.uint64))
    ring = t.ring[t.ring.opened("loss")].ring
    before, seen = sim.counters(), []
    for _ in range(20):
        words = sim.step(6, t.words["z"].astype(np.uint64), 0)
        seen.append(decode((words << np.uint64(64 - ring)).view(np.int64) >> (64 - ring), SCALE))
    spent = sim.counters() - before
    cost = generation_cost(t.ring, 6, 4)
    assert spent.rounds == 20 * cost.rounds
    assert spent.total == pytest.approx(20 * cost.bytes, rel=2e-3)
    errors = np.array(seen) - oracle
    assert np.abs(errors).max() < 6 * sqrt(3) * 0.05
    assert errors.std() == pytest.approx(sqrt(3) * 0.05, rel=0.3)


def test_no_example_gets_beyond_the_clip_at_the_parties() -> None:
    """Roundings and all, whatever the rows are: what noise hides is bounded there, and not in the oracle alone."""
    t = toy("bert", noise=0.05, clip_loss=1.0, candidates=6, examples=1)
    assert t.clipped is not None
    low, high = t.clipped
    rng = np.random.default_rng(3)
    sim = Simulator(re.sub(" noise=[0-9]+", "", program_text(t.ring)), 1 << 22)
    sim.weights(np.concatenate([t.words[v.attrs["name"]].reshape(-1) for v in t.ring.inputs("weight")]))
    ring, seen = t.ring[t.ring.opened("loss")].ring, []
    for _ in range(20):
        junk = {"x": 20 * rng.standard_normal(t.inputs["x"].shape), "labels": rng.standard_normal((1, 3))}
        given = t.inputs | {"example_weight": np.ones((1, 1))} | junk
        flat = [encode(given[v.attrs["name"]], v.scale).reshape(-1) for v in t.ring.inputs("example")]
        sim.examples(1, np.concatenate(flat))
        words = sim.step(6, t.words["z"], 0)
        seen.append(decode((words << np.uint64(64 - ring)).view(np.int64) >> (64 - ring), SCALE))
    losses = np.array(seen)
    assert low <= losses.min() < 0.1
    assert 0.9 < losses.max() <= high


def test_a_client_of_three_parties_gets_noised_losses_and_plain_logits(tmp_path: Path) -> None:
    text = PROGRAM.replace("out loss 11 ring=28", "out loss 11 ring=28 noise=6554")  # 0.1 at scale 16
    make_certificates(tmp_path / "certificates")
    with parties_with_weights(tmp_path, tmp_path / "certificates", text) as running:
        assert [output.noise for output in running.header.outputs] == [6554, None]
        engine = running.session()
        engine.load_examples("train", Batch({"x": X}))
        errors = np.array([engine.losses("train", Z) - LOSSES for _ in range(60)])
        logits = engine.logits("train", Z[0])
        engine.leave()
    assert np.abs(errors).max() < 6 * sqrt(3) * 0.1
    assert errors.std() == pytest.approx(sqrt(3) * 0.1, rel=0.25)
    assert logits.sum() == pytest.approx(LOSSES[0], abs=TOLERANCE)
