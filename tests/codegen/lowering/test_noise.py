"""Noise on losses: the clip that bounds an example's loss, whatever the example is, and the room for what is added."""

from __future__ import annotations

from math import ldexp

import numpy as np
import pytest
from helpers.plan_toys import SMALL, model
from helpers.ring_toys import toy
from secfwt.codegen.commandline.problems import ProblemsFound
from secfwt.codegen.lowering.program import lower
from secfwt.codegen.model.options import GenOptions
from secfwt.codegen.mpspdz.calls import translate
from secfwt.codegen.mpspdz.options import MpSpdzOptions
from secfwt.codegen.plan.build import build_plan
from secfwt.codegen.plan.graph import Output
from secfwt.codegen.ring.builder import RingBuilder
from secfwt.codegen.ring.encoding import decode, encode
from secfwt.codegen.ring.oracle import run_program
from secfwt.codegen.ring.text import program_text
from secfwt.codegen.series.clip import clip, period
from secfwt.codegen.series.ranges import Ranges

SCALE = 40


@pytest.mark.parametrize(("head", "loss"), [("bert", "ce"), ("masked_lm", "hinge")])
@pytest.mark.parametrize("at", [0.5, 4.0])
def test_clipped_losses_follow_the_plan(head: str, loss: str, at: float) -> None:
    t = toy(head, loss=loss, noise=0.1, clip_loss=at, examples=5)
    plain = toy(head, loss=loss, examples=5)
    assert (t.reference["loss"] <= at).all()
    if at == 4.0 and loss == "ce":
        assert t.reference["loss"] == pytest.approx(plain.reference["loss"])
    if at == 0.5:
        assert (t.reference["loss"] < plain.reference["loss"]).all()
    got = decode(run_program(t.ring, t.words, ("loss",))["loss"], SCALE)[:, 0]
    assert got == pytest.approx(t.reference["loss"], abs=0.02 * at + 0.02)


@pytest.mark.parametrize(("at", "most"), [(4.0, 42.0), (4.0, 3.0), (0.5, 42.0), (64.0, 80.0)])
def test_the_clip_is_right_inside_and_bounded_everywhere(at: float, most: float) -> None:
    turn = period(at, most)
    fit = clip(at, most, turn)
    inside = np.linspace(0, max(at, most), 5000)
    assert np.abs(fit(inside / turn) - np.minimum(inside, at)).max() < 0.05 * at
    assert fit.error <= 0.01 * at or len(fit.m) == 384
    low, high = fit.span(16)
    anywhere = fit(np.random.default_rng(0).random(20_000))
    assert low < anywhere.min()
    assert anywhere.max() < high
    assert high - low < 1.15 * at
    assert anywhere.max() > high - 0.04 * at  # the bound is not far off


def test_no_example_and_no_wrong_value_gets_beyond() -> None:
    """Whatever is wrong before the clip, as with rows of any length: each example's loss stays where it is said."""
    t = toy("bert", noise=0.1, clip_loss=1.0, examples=12)
    assert t.clipped is not None
    low, high = t.clipped
    assert -0.07 < low < 0
    assert 1.0 < high < 1.02
    rng = np.random.default_rng(1)
    names = {v.attrs["name"]: v for v in t.ring.inputs("example")}
    one = np.zeros((12, 1))
    words = t.words | {
        "x": encode(20 * rng.standard_normal(t.inputs["x"].shape), names["x"].scale),
        "labels": encode(rng.standard_normal(t.inputs["labels"].shape), names["labels"].scale + 1),
    }
    seen = []
    for example in range(12):
        one[:] = 0
        one[example] = 1
        words["example_weight"] = encode(one, names["example_weight"].scale)
        seen.append(decode(run_program(t.ring, words, ("loss",))["loss"], SCALE))
    losses = np.array(seen)
    assert (losses >= low).all()
    assert (losses <= high).all()
    assert np.ptp(losses) > 0.8


def test_the_program_says_the_noise_and_has_room_for_it() -> None:
    quiet, loud = (toy("bert", noise=noise) for noise in (1e-3, 16.0))
    lines = [next(x for x in program_text(t.ring).splitlines() if x.startswith("out loss")) for t in (quiet, loud)]
    assert lines[0].endswith(f" noise={round(ldexp(1e-3, SCALE))}")
    assert lines[1].endswith(f" noise={16 << SCALE}")
    rings = [t.ring[t.ring.opened("loss")].ring for t in (quiet, loud)]
    assert 2 ** (rings[1] - 2) > 21 * (16 << SCALE)
    assert rings[0] + 5 <= rings[1] <= 64
    assert "noise" not in program_text(toy("bert").ring)


def test_noise_that_no_ring_holds_is_refused() -> None:
    r = RingBuilder()
    z = r.candidate("z", (1,), 56, bound=1.0)
    r.check_noise("loss", z, 2.0)
    assert not r.problems
    r.check_noise("loss", z, 4.0)
    assert "output loss: noise of 4 per party reaches 84, and with what is opened 62.4 bits; 61.95" in r.problems[0]


@pytest.mark.parametrize(
    ("others", "header"),
    [
        ({"reveal": "logits"}, "--noise is 0.1, --reveal is logits"),
        ({"health": True}, "--noise is 0.1, --health is given"),
        ({"prototype_shots": 4.0, "head": "prototypes"}, "--noise is 0.1, --prototype-shots is 4"),
        ({"head": "tokens"}, "--noise is 0.1, --head is tokens"),
        ({"min_owners": 2}, "--min-owners is 2, --noise is 0.1, --max-evaluations is 0"),
        ({"noise": 1e-9}, "--noise is 1e-09"),
        ({"noise": -1.0}, "--noise is -1.0"),
        ({"noise": 65.0}, "--noise is 65.0"),
        ({"clip_loss": 0.0}, "--clip-loss is 0.0"),
    ],
)
def test_what_noise_does_not_go_with(others: dict[str, object], header: str) -> None:
    with pytest.raises(ProblemsFound) as found:
        GenOptions(**{**SMALL, "noise": 0.1, **others})  # type: ignore[arg-type]
    assert any(problem.header == header for problem in found.value.problems)


def test_the_mp_spdz_target_refuses_noise_by_name() -> None:
    plan = build_plan(model("classification"), GenOptions(**SMALL, noise=0.1))  # type: ignore[arg-type]
    with pytest.raises(ProblemsFound, match=r"--noise is 0\.1"):
        translate(plan, MpSpdzOptions())


def test_health_and_logits_have_none() -> None:
    plan = build_plan(model("classification"), GenOptions(**SMALL, noise=0.1))  # type: ignore[arg-type]
    assert [(o.name, o.noise) for o in plan.outputs] == [("loss", 0.1), ("logits", 0.0)]
    ring = lower(plan, None, Ranges()).ring
    assert [(o.name, o.noise) for o in ring.outputs] == [("loss", 0.1), ("logits", 0.0)]
    assert Output("logits", 0).noise == 0
