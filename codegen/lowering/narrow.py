"""The smallest ring for every value of a program: shares need only be right as far as somebody reads them.

Backward, from what is opened (`OPENED`): a value that is right mod 2^R makes sums and products that are right
mod 2^R. Bits are lost where something is opened or cut off:

* a multiple of 2^n needs n bits less, so that a phase with its 64 bits needs few of the number it is made of;
* a truncation by s bits into Z_2^R needs R + s bits, and then costs one round and no randomness (`traffic.py`). Or it
  needs as many as its input's magnitude has, and two more, and takes away the wrap;
* a lift needs the ring that its input is shared in, whatever its own is;
* a series needs a whole phase, whatever its result's ring. Its harmonics add up in a ring that holds the result, or in
  R + shift bits, whichever is smaller. Small ones add up in a smaller ring first.

Of two ways the one that costs less is taken, as far as its neighbourhood tells: in bits, and in rounds, of which each
is worth some bits.

Weights are shared in the ring that their readers need: the model owner may choose them as it likes. What the data owner
chooses must be small where it meets weights, or products read them bit by bit (docs/security.md). Its examples are
lifted from rings that hold no more than their bounds ask for (`RangedValues.example`). A candidate's numbers pass a
truncation first, which takes the wrap away and so does the same for the rows made of them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from math import inf

from ..plan.graph import Stage
from ..ring.operations import COMMUNICATING, OPERATIONS
from ..ring.program import NOISE_REACH, PHASE, WORD, RingProgram, RingValue, Sharing
from ..ring.rules import precision
from ..ring.traffic import opening, truncation
from ..ring.values import magnitude_bits
from ..series.fits import LEAST_RING, Format, Tail

OPENED = 10
"""Bits of an output beyond its largest magnitude, noise included: a sign, and 9 more, so that one of 512 values at
most that have left their ranges looks like one that has not (`runtime/tuning/limits.py`)."""
ROUND = {"default": (1 << 18,), "few": (1 << 18, 1 << 19, 1 << 20, 1 << 22)}
"""Bits per instance that a round is worth (`--rounds`): 32 kB, on the networks of `compare.py` as good as any for 320
pairs and better than less for fewer; or up to 512 kB, whatever leads to the fewest rounds. A
ring that is wider than it need be saves a round at one truncation, and may cost one at another before it."""


def narrow(program: RingProgram, round_bits: int = ROUND["default"][0]) -> RingProgram:
    """The same program with the ring of every protocol's result, and of every series' sum, as small as it may be where
    a round is worth so many bits (`ROUND`)."""
    need = _Need(program, round_bits)
    for v in reversed(program.values):
        need.pass_on(v)
    narrowed = RingProgram(outputs=program.outputs)
    for v in program:
        attrs = dict(v.attrs)
        if v.kind in COMMUNICATING or v.kind in ("weight", "candidate"):
            attrs["ring"] = need.ring(v)
        if v.kind == "cos_sin":
            attrs["sum"] = need.format(v).ring_bits
        if v.kind == "fourier":
            attrs["fit"] = narrowed.number(replace(program.fits[attrs["fit"]], format=need.format(v)))
        if v.kind == "trunc" and need.opens(v, narrowed[v.inputs[0]].ring):
            attrs["rounds"] = 2
        made = replace(v, attrs=attrs)
        if v.kind == "lift" and need.ring(v) <= program[v.inputs[0]].ring:
            made = replace(v, kind="reshape", attrs={})  # who reads it needs no more than there is
        narrowed.values.append(replace(made, ring=OPERATIONS[made.kind].ring(narrowed.use(made))))
    return narrowed


class _Need:
    """Bits that each value must be right in; 0 where nobody reads it."""

    def __init__(self, program: RingProgram, round_bits: int) -> None:
        self._program = program
        self._round = round_bits
        self._bits: dict[int, int] = defaultdict(int)
        for o in program.outputs:
            v = program[o.value]
            whole = v.scale == PHASE or v.bound == inf or o.keep is not None
            reach = v.bound + NOISE_REACH * o.noise
            self._bits[o.value] = WORD if whole else min(WORD, magnitude_bits(reach, v.scale) + OPENED)

    def ring(self, v: RingValue) -> int:
        """Of a protocol's result, or an input."""
        return max(LEAST_RING, self._bits[v.id])

    def format(self, v: RingValue) -> Format:
        """Of a series: with the rings that its harmonics add up in, at the scale before its shift."""
        whole = max(_magnitude(v, v.scale + int(v.attrs["shift"])), int(v.attrs["shift"])) + 2
        cut = self.ring(v) + int(v.attrs["shift"])
        rings = [max(LEAST_RING, min(bits, WORD)) for bits in (whole, cut)]
        if v.kind == "cos_sin":
            form, tails = precision(self._program.use(v)), []
        else:
            fit = self._program.fits[v.attrs["fit"]]
            form, tails = fit.format, list(fit.tails())
        return min(
            (replace(form, ring_bits=ring, tail=tail) for ring in rings for tail in _in_ring(form, tails, ring)),
            key=partial(self._price, v),
        )

    def _price(self, v: RingValue, form: Format) -> int:
        """What a series costs in that format."""
        results, harmonics = (2, 1) if v.kind == "cos_sin" else (1, len(self._program.fits[v.attrs["fit"]].m))
        sent = opening(form, harmonics=harmonics, shift=v.attrs["shift"], ring=self.ring(v), results=results)
        return v.size // results * sent.bits + self._round * sent.rounds

    def opens(self, v: RingValue, source: int) -> bool:
        """Whether a truncation of a value of Z_2^source is to take two rounds in place of three."""
        shift, ring = int(v.attrs["shift"]), self.ring(v)
        if not self._may_open(v) or ring <= source - shift or source < self._held(v, opened=True):
            return False
        more = truncation(source, shift, ring, opened=True).bits - truncation(source, shift, ring).bits
        return v.size * more <= self._round

    def _may_open(self, v: RingValue) -> bool:
        """Whether the parties may open a truncation's input under a mask: an additive one, that leaves room."""
        return self._program[v.inputs[0]].sharing is Sharing.ADD and self._held(v, opened=True) <= WORD

    def _held(self, v: RingValue, *, opened: bool) -> int:
        """Bits of a truncation's input that a wrap can be taken away from: two more than its magnitude has, to which
        an opening adds the roundings of shares, and their middle."""
        before, shift = self._program[v.inputs[0]], int(v.attrs["shift"])
        rounded = 2.0 ** (shift + 1 - before.scale) if opened else 0.0
        return max(magnitude_bits(before.bound + rounded, before.scale), shift) + 2

    def pass_on(self, v: RingValue) -> None:
        """What a value needs of its inputs."""
        bits = self._bits[v.id]
        if not bits:
            return
        if v.kind == "scale" and not v.attrs["by"]:
            return
        if v.kind == "scale":
            by = abs(int(v.attrs["by"]))
            bits = max(bits - (by & -by).bit_length() + 1, 1)
        elif v.kind == "lift":
            bits = self._program[v.inputs[0]].ring
        elif v.kind == "trunc":
            bits = self._before(v)
        elif v.kind in ("fourier", "cos_sin"):
            bits = WORD
        for i in v.inputs:
            self._bits[i] = max(self._bits[i], bits)

    def _before(self, v: RingValue) -> int:
        """Bits of a truncation's input."""
        (i,) = v.inputs
        cut = self.ring(v) + int(v.attrs["shift"])
        opened = self._may_open(v)
        held = self._held(v, opened=opened)
        if held <= WORD and self._of_candidates(i):
            return min(held, cut)
        if cut <= max(held, self._bits[i]) or held > WORD:
            return min(cut, WORD)
        if cut > WORD:
            return held
        wider = sum(
            3 * self._program[j].size * max(0, cut - max(held, self._bits[j])) for j in self._sent_before(i)
        )  # fmt: skip
        bits, rounds = (cut - held, 1) if opened else (int(v.attrs["shift"]) + 2, 2)
        return cut if wider <= v.size * bits + self._round * rounds else held

    def _sent_before(self, i: int) -> set[int]:
        """Results of protocols that a value follows from by local operations."""
        return {j for j in self._sources(i) if self._program[j].kind in COMMUNICATING}

    def _of_candidates(self, i: int) -> bool:
        """Whether a value follows from candidates by local operations."""
        return any(self._program[j].kind == "candidate" for j in self._sources(i))

    def _sources(self, i: int) -> set[int]:
        """Inputs and results of protocols, but for weights and what they alone make, that a value follows from by local
        operations; and what those follow from that are only shared anew, which must be right in as many bits."""
        found, todo = set(), [i]
        while todo:
            v = self._program[todo.pop()]
            if v.kind in COMMUNICATING or not v.inputs:
                found.add(v.id)
            if v.kind == "reshare" or (v.kind not in COMMUNICATING and v.stage != Stage.SETUP):
                todo += v.inputs
        return found


def _in_ring(form: Format, tails: list[Tail], ring: int) -> Iterator[Tail | None]:
    """None, and every tail of a series whose harmonics add up in Z_2^ring: in its own ring, from which its sum is
    lifted, and in one from which it need not be."""
    yield None
    for tail in tails:
        whole = max(LEAST_RING, ring - (form.phasor_bits - tail.phasor_bits))
        yield replace(tail, ring_bits=min(tail.ring_bits, whole))
        yield replace(tail, ring_bits=whole)


def _magnitude(v: RingValue, scale: int) -> int:
    return magnitude_bits(v.bound, scale)
