"""Operations of the ring program: rows against real programs, against the documentation, and what they refuse."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from helpers.pages import check_made
from helpers.places import ROOT
from helpers.ring_toys import toy
from secfwt.codegen.plan.graph import Stage
from secfwt.codegen.ring.operations import COMMUNICATING, OPERATIONS, table
from secfwt.codegen.ring.program import RingProgram, RingValue, Sharing, Use
from secfwt.codegen.ring.traffic import Traffic
from secfwt.codegen.ring.unstaged import unstaged
from secfwt.codegen.series.fits import Fit, Format, Tail

HARMONICS = 8
FORMATS = [Format(phase_bits=16, amplitude_bits=13, phasor_bits=13, ring_bits=bits) for bits in (32, 64, 29)]
FORMATS += [
    Format(
        phase_bits=15, amplitude_bits=13, phasor_bits=13, ring_bits=29,
        tail=Tail(harmonics=6, phasor_bits=9, ring_bits=bits),
    )
    for bits in (20, 25)
]  # fmt: skip
FITS = [Fit(each, 0.5, tuple(range(1, 2 * HARMONICS, 2)), (0.1,) * 8, (0.0,) * 8, 0.0) for each in FORMATS]


def value(
    shape: tuple[int, ...] = (3, 4), sharing: Sharing = Sharing.REP, scale: int = 16, ring: int = 64
) -> RingValue:
    return RingValue(id=0, kind="", inputs=(), shape=shape, stage=Stage.SETUP, sharing=sharing, scale=scale, ring=ring)


def sent(kind: str, source: int = 64, *, rep: bool = False, **keys: int) -> Traffic:
    rule = OPERATIONS[kind].traffic
    assert rule is not None
    return rule(Use((value(ring=source, sharing=Sharing.REP if rep else Sharing.ADD),), keys, FITS))


@pytest.mark.parametrize("make", [lambda ring: ring, unstaged], ids=["staged", "unstaged"])
@pytest.mark.parametrize("head", ["masked_lm", "prototypes"])
def test_every_value_follows_from_its_row(head: str, make: Any) -> None:
    program: RingProgram = make(toy(head, variant="paper").ring)
    assert {v.kind for v in program} > COMMUNICATING
    for v in program:
        keys = {key: x for key, x in v.attrs.items() if key != "group"}
        row = OPERATIONS[v.kind]
        assert row.derive(replace(program.use(v), keys=keys)) == (v.shape, v.sharing, v.scale, v.ring)
        assert list(keys) == [key for key in (*row.keys, *row.optional) if key not in row.optional or key in keys]
        assert v.stage == (program.joined_stage(v.inputs) if row.stage is None else row.stage)


def test_documentation_has_the_rows() -> None:
    check_made(ROOT / "docs" / "program.md", "operations", table())


SAMPLES = [
    ("lift", {"source": 20, "ring": 37, "rep": True}),
    ("trunc", {"source": 64, "shift": 28, "ring": 36}),
    ("trunc", {"source": 64, "shift": 28, "ring": 37}),
    ("trunc", {"source": 40, "shift": 10, "ring": 64}),
    ("trunc", {"source": 40, "shift": 10, "ring": 30, "rep": True}),
    ("trunc", {"source": 40, "shift": 10, "ring": 31, "rep": True}),
    ("trunc", {"source": 40, "shift": 10, "ring": 36, "rounds": 2}),
    ("trunc", {"source": 64, "shift": 61, "ring": 64, "rounds": 2}),
    ("reshare", {"ring": 33}),
    ("cos_sin", {"k": 16, "fc": 14, "fa": 14, "sum": 54, "shift": 17, "ring": 37}),
    ("cos_sin", {"k": 32, "fc": 14, "fa": 14, "sum": 31, "shift": 17, "ring": 37}),
    ("fourier", {"fit": 0, "shift": 8, "ring": 24}),
    ("fourier", {"fit": 0, "shift": 8, "ring": 25}),
    ("fourier", {"fit": 1, "shift": 0, "ring": 64}),
    ("fourier", {"fit": 3, "shift": 12, "ring": 37}),
    ("fourier", {"fit": 4, "shift": 12, "ring": 17}),
]


@pytest.mark.parametrize(("kind", "keys"), SAMPLES)
def test_documented_formulas_are_the_traffic(kind: str, keys: dict[str, int]) -> None:
    fit = FITS[keys.get("fit", 0)]
    names = {"k": fit.format.phase_bits, "sum": fit.format.ring_bits, "harmonics": HARMONICS, "shift": 0, **keys}
    if kind == "fourier":
        form = fit.format
        tail = form.tail or Tail(harmonics=0, phasor_bits=0, ring_bits=0)
        whole = form.ring_bits - form.phasor_bits + tail.phasor_bits
        names |= {"tail": tail.harmonics, "tail_ring": tail.ring_bits, "whole": whole}
        names["lifted"] = form.tail is not None and whole > tail.ring_bits
    names["rep"] = keys.get("rep", False)
    names["add"] = not names["rep"]
    names["wide"] = names["ring"] > names.get("source", names["sum"]) - names["shift"]
    names["opened"] = "rounds" in keys
    said = OPERATIONS[kind].sent.replace("·", "*").replace("−", "-").replace("[", "").replace("]", "")
    bits, rounds = (eval(formula, names) for formula in said.split(";"))
    assert (bits, rounds) == (sent(kind, **keys).bits, sent(kind, **keys).rounds)


def test_every_communicating_row_is_sampled() -> None:
    assert {kind for kind, _ in SAMPLES} == COMMUNICATING


def test_bytes_are_those_of_the_protocols_page() -> None:
    """docs/protocols.md gives them in its headlines and below "One opening per non-linearity"."""
    assert (sent("reshare", ring=40).bits, sent("reshare", ring=40).rounds) == (3 * 40, 1)
    assert (sent("trunc", 60, shift=20, ring=40).bits, sent("trunc", 60, shift=20, ring=40).rounds) == (3 * 40, 1)
    assert (sent("trunc", 40, shift=20, ring=40).bits, sent("trunc", 40, shift=20, ring=40).rounds) == (3 * 40 + 22, 3)
    two = sent("trunc", 50, shift=20, ring=36, rounds=2)
    assert (two.bits, two.rounds) == (4 * 36 - 50 + 20, 2)
    assert sent("cos_sin", k=14, fc=12, fa=12, sum=50, shift=13, ring=37).bits == 304
    assert sent("fourier", fit=3, shift=12, ring=37).bits == 519
    assert sent("fourier", fit=3, shift=12, ring=37).corrections == 116 + 240 + 5 + 20


REP, ADD, PUB = (value(sharing=sharing) for sharing in (Sharing.REP, Sharing.ADD, Sharing.PUB))
PHASES = value(scale=64)
REFUSED = [
    ("add", (REP,), {}, "1 inputs are given, 2 is the least"),
    ("sum", (REP,), {"axes": -1}, "keys are axes, accepted: axis"),
    ("trunc", (ADD,), {"shift": 63, "ring": 64}, "shift is 63, accepted: 1…62"),
    ("trunc", (value(ring=40),), {"shift": 39, "ring": 20}, "shift is 39, the input's ring has 40 bits"),
    ("trunc", (ADD,), {"shift": 6, "ring": 65}, "ring is 65, accepted: 8…64"),
    ("trunc", (ADD,), {"shift": 6, "ring": 64, "rounds": 3}, "rounds is 3, accepted: 2"),
    ("trunc", (REP,), {"shift": 6, "ring": 64, "rounds": 2}, "is for an additive input, its sharing is rep"),
    ("trunc", (ADD,), {"shift": 28, "ring": 36, "rounds": 2}, "leaves 3 to 35 bits of the input's ring, not 36"),
    ("trunc", (ADD,), {"shift": 62, "ring": 36, "rounds": 2}, "leaves 3 to 35 bits of the input's ring, not 2"),
    ("reshare", (value(sharing=Sharing.ADD, ring=40),), {"ring": 41}, "ring is 41, the input's is 40"),
    ("lift", (value(ring=20),), {"ring": 20}, "ring is 20, the input's is 20"),
    ("lift", (value(sharing=Sharing.ADD, ring=20),), {"ring": 40}, "sharing is add, it must be rep"),
    ("example", (), {"name": "x", "ring": 1}, "ring is 1, accepted: 2…64"),
    ("fourier", (value(scale=64, ring=63),), {"fit": 0, "shift": 0, "ring": 64}, "63 bits, a phase has 64"),
    (
        "cos_sin", (PHASES,), {"k": 33, "fc": 14, "fa": 14, "sum": 64, "shift": 0, "ring": 64},
        "k is 33, accepted: 8…32",
    ),
    ("public", (), {"name": "A", "seed": "0011", "bits": 13}, "seed is 0011, accepted: 32 hexadecimal digits"),
    ("table", (), {"name": "t", "numbers": (1, 2)}, "2 numbers found, its shape has 1"),
    ("table", (), {"name": "t", "numbers": (1 << 16,)}, "accepted: from −65535 to 65535"),
    ("matmul", (REP, REP), {}, "are no matrices that fit"),
    ("mul", (ADD, REP), {}, "reshare it first"),
    ("add", (REP, value(scale=20)), {}, "scales differ: 16, 20"),
    ("sum", (REP,), {"axis": -3}, "axis is -3"),
    ("slice", (REP,), {"axis": -1, "lo": 2, "hi": 5}, "not within 0…4"),
    ("concat", (REP, value((2, 4))), {"axis": -1}, "differ beside axis -1"),
    ("permute", (REP,), {"axes": (0, 0)}, "every axis"),
    ("reshape", (REP,), {}, "cannot become"),
    ("reshare", (REP,), {"ring": 64}, "sharing is rep, it must be add"),
    ("trunc", (PUB,), {"shift": 4, "ring": 64}, "input is public"),
    ("fourier", (REP,), {"fit": 0, "shift": 0, "ring": 64}, "scale 16, a phase has 64"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "inputs", "keys", "message"), REFUSED)
def test_what_does_not_fit_is_refused(
    kind: str, inputs: tuple[RingValue, ...], keys: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=f"^{kind}: .*{message}"):
        OPERATIONS[kind].derive(Use(inputs, keys, FITS))


@pytest.mark.parametrize(
    ("kind", "rings", "by", "result"),
    [
        ("add", (40, 50), 0, 40),
        ("mul", (40, 64), 0, 40),
        ("scale", (40,), 3 << 20, 60),
        ("scale", (40,), -(1 << 30), 64),
    ],
)
def test_rings_of_local_operations(kind: str, rings: tuple[int, ...], by: int, result: int) -> None:
    use = Use(tuple(value(ring=ring) for ring in rings), {"by": by} if by else {}, scale=32 if kind == "mul" else 16)
    assert OPERATIONS[kind].derive(use)[3] == result


@pytest.mark.parametrize(("factors", "result"), [((REP, REP), "add"), ((PUB, REP), "rep"), ((ADD, PUB), "add")])
def test_sharing_of_products(factors: tuple[RingValue, ...], result: str) -> None:
    assert OPERATIONS["mul"].derive(Use(factors))[1].value == result


@pytest.mark.parametrize(("parts", "result"), [((REP, ADD), "add"), ((PUB, REP), "rep"), ((PUB, PUB), "pub")])
def test_sharing_of_sums(parts: tuple[RingValue, ...], result: str) -> None:
    assert OPERATIONS["add"].derive(Use(parts))[1].value == result
