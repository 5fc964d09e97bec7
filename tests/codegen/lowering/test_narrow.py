"""Rings as narrow as their readers allow: nothing that is read is lost, and nothing wider is sent."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np
import pytest
from helpers.ring_toys import toy
from secfwt.codegen.lowering.narrow import OPENED, narrow
from secfwt.codegen.lowering.program import lower
from secfwt.codegen.model.options import GenOptions
from secfwt.codegen.model.spec import HeadSpec, ModelSpec
from secfwt.codegen.plan.build import build_plan
from secfwt.codegen.plan.graph import Output, Stage
from secfwt.codegen.ring.builder import RingBuilder
from secfwt.codegen.ring.cost import Estimate, stage_cost
from secfwt.codegen.ring.encoding import Words
from secfwt.codegen.ring.operations import COMMUNICATING
from secfwt.codegen.ring.oracle import Machine, run_program
from secfwt.codegen.ring.program import PHASE, WORD, RingProgram, RingValue
from secfwt.codegen.series.fits import ROUNDINGS, Fit, Format
from secfwt.codegen.series.ranges import Ranges

TOYS = [("bert", "folded"), ("masked_lm", "paper"), ("prototypes", "softmax")]


@pytest.mark.parametrize(("head", "variant"), TOYS)
def test_results_are_those_of_the_whole_ring(head: str, variant: str) -> None:
    t = toy(head, variant=variant, health=True)
    whole = replace(t.ring, values=[replace(v, ring=WORD) for v in t.ring])
    assert min(v.ring for v in t.ring) < 40
    for name, words in run_program(whole, t.words).items():
        np.testing.assert_array_equal(run_program(t.ring, t.words)[name], words)


@pytest.mark.parametrize(("head", "variant"), TOYS)
@pytest.mark.parametrize("rounds", ["default", "few"])
def test_what_a_wrap_is_taken_from_fits_its_ring(head: str, variant: str, rounds: str) -> None:
    ring = toy(head, variant=variant, health=True, rounds=rounds).ring
    wide = 0
    for v in ring:
        if v.kind not in COMMUNICATING:
            continue
        (i,) = v.inputs
        before, source = ring[i], ring[i].ring
        if v.kind in ("fourier", "cos_sin"):
            before = replace(v, scale=v.scale + v.attrs["shift"])
            source = v.attrs["sum"] if v.kind == "cos_sin" else ring.fits[v.attrs["fit"]].format.ring_bits
        if v.ring > source - v.attrs.get("shift", 0) and v.kind != "reshare":
            roundings = 1.5 * 2.0 ** v.attrs["shift"] if "rounds" in v.attrs else 0
            assert before.bound * 2.0**before.scale + roundings <= 2.0 ** (source - 2)
            wide += 1
    assert wide > 5
    assert any("rounds" in v.attrs for v in ring)


@pytest.mark.parametrize(("head", "variant"), TOYS)
def test_values_keep_to_what_a_wrap_is_taken_from(head: str, variant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not their bounds alone: what the program computes, before any reduction."""
    t = toy(head, variant=variant, health=True)
    compute, seen = Machine.run, []

    def watched(machine: Machine, v: RingValue, *args: Words) -> Words:
        if v.kind == "trunc":
            source, ring = t.ring[v.inputs[0]].ring, t.ring[v.id].ring
            if ring > source - v.attrs["shift"]:
                seen.append(float(np.abs(args[0].astype(np.float64)).max()) / 2.0 ** (source - 2))
        return compute(machine, v, *args)

    monkeypatch.setattr(Machine, "run", watched)
    run_program(replace(t.ring, values=[replace(v, ring=WORD) for v in t.ring]), t.words)
    assert len(seen) > 5
    assert max(seen) < 1


@pytest.mark.parametrize(("attention", "prompt"), [("rfa", 0), ("softmax", 0), ("rfa", 4)])
def test_few_rounds_cost_bytes(attention: Literal["rfa", "softmax"], prompt: int) -> None:
    head = HeadSpec("prototypes", "mean", ("a", "b"))
    spec = ModelSpec("bert", 384, 2, 12, 1536, "gelu", 1e-12, 100, 512, 0, 0, 0, head)

    def cost(rounds: Literal["default", "few"]) -> Estimate:
        options = GenOptions(sequence_length=64, n_prompt_tokens=prompt, attention=attention, rounds=rounds)
        stage = Stage.PAIR if prompt else Stage.EXAMPLE
        return stage_cost(lower(build_plan(spec, options), None, Ranges()).ring, stage, 1)

    few, usual = cost("few"), cost("default")
    assert few.rounds < 0.9 * usual.rounds
    assert usual.bytes < few.bytes < 1.25 * usual.bytes


def squared(bound: float, size: int = 4) -> RingProgram:
    """A product that is truncated, and read in so large a ring that no word has the bits which are cut off besides."""
    r = RingBuilder()
    x = r.example("x", (size,), 20, bound=bound)
    y = r.trunc(r.mul(x, x), 20)
    r.program.outputs.append(Output("y", r.mul(y, y)))
    return r.program


def cut(program: RingProgram) -> tuple[int, RingValue]:
    """The ring that a truncation starts from, and the truncation."""
    v = next(v for v in program if v.kind == "trunc")
    return program[v.inputs[0]].ring, v


def test_a_truncation_is_opened_where_that_saves_a_round_and_may_be() -> None:
    source, two = cut(narrow(squared(1.0)))
    assert (source, two.attrs["rounds"]) == (42 + 1, 2)
    # a number that fills its quarter of the ring leaves no room for the roundings of an opening
    assert cut(narrow(squared(2.0 ** (-ROUNDINGS / 2) * (1 - 1e-4))))[0] == 42
    assert cut(narrow(squared(2.0 ** (-ROUNDINGS / 2) * (1 - 1e-7))))[0] == 43
    # it sends more where the result's ring is the larger one: here more than a round is worth
    assert "rounds" not in cut(narrow(squared(1.0, size=1 << 20), 1 << 10))[1].attrs


def lone() -> RingProgram:
    """A truncated product, and a series of it."""
    r = RingBuilder()
    x = r.example("x", (1000,), 13, bound=4.0)
    y = r.trunc(r.mul(x, x), 13)
    theta, _ = r.phase(y, 100.0)
    form = Format(phase_bits=16, amplitude_bits=12, phasor_bits=12)
    r.fourier(theta, Fit(form, 0.0, (1,), (1.0,), (0.0,), 0.0), 12)
    return r.program


def rings(program: RingProgram) -> dict[str, int]:
    return {v.kind: v.ring for v in narrow(program)}


def test_a_small_number_keeps_the_bits_that_are_cut_off() -> None:
    r = RingBuilder()
    x = r.example("x", (4,), 15, bound=0.004)
    y = r.trunc(r.reshare(r.mul(x, x)), 10)
    found = narrow(replace(r.program, outputs=[Output("y", r.trunc(r.mul(y, y), 10))]))
    assert [v.ring for v in found if v.kind == "trunc"] == [found[y].ring, 1 + OPENED]
    assert all(found[v.inputs[0]].ring >= v.attrs["shift"] + 2 for v in found if v.kind == "trunc")


def test_a_phase_needs_few_bits_of_the_number_it_is_made_of() -> None:
    program = lone()
    factor = next(v.attrs["by"] for v in program if v.scale == PHASE)
    zeros = (factor & -factor).bit_length() - 1
    found = rings(replace(program, outputs=[Output("series", len(program.values) - 1)]))
    assert found["trunc"] == WORD - zeros < 32
    assert found["fourier"] == 13 + OPENED


# Inputs and outputs


@pytest.mark.parametrize(("head", "variant"), TOYS)
def test_examples_are_lifted_from_rings_of_their_range(head: str, variant: str) -> None:
    t = toy(head, variant=variant, health=True)
    for x in t.ring.inputs("example"):
        assert x.scale + np.log2(x.bound) <= x.ring - 2 < x.scale + np.log2(x.bound) + 2
        assert {v.kind for v in t.ring if x.id in v.inputs} == {"lift"}


@pytest.mark.parametrize(("head", "variant"), TOYS)
def test_candidates_are_truncated_from_a_ring_of_the_prompts_range(head: str, variant: str) -> None:
    ring = toy(head, variant=variant, deep=True).ring
    (z,) = ring.inputs("candidate")
    reached, truncated = {z.id}, []
    for v in ring:
        if not reached.isdisjoint(v.inputs):
            if v.kind in COMMUNICATING:
                truncated.append(v)
            else:
                reached.add(v.id)
    for v in truncated:
        (i,) = v.inputs
        assert v.kind == "trunc"
        assert v.ring > ring[i].ring - v.attrs["shift"]
        assert ring[i].ring <= z.ring < ring[i].scale + np.log2(ring[i].bound) + 4
    assert truncated


@pytest.mark.parametrize(("head", "variant"), TOYS)
def test_outputs_have_room_for_values_that_cannot_be(head: str, variant: str) -> None:
    ring = toy(head, variant=variant).ring
    for o in ring.outputs:
        v = ring[o.value]
        assert v.scale + np.log2(v.bound) + 9 <= v.ring < WORD


def test_a_lift_that_nobody_needs_is_left_out() -> None:
    r = RingBuilder()
    x = r.example("x", (4,), 20, bound=100.0)
    y = r.candidate("y", (4,), 2, bound=1.0)
    product = r.declare(r.reshape(r.shift(x, 18), (4,)), bound=1.0)
    found = narrow(replace(r.program, outputs=[Output("y", r.mul(product, y))]))
    assert [v.kind for v in found if "lift" in v.kind] == []
