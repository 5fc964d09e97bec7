"""The operations of the ring program, one row each: what goes in, what comes out, what is sent, what is computed.

Everything else reads these rows: the builder, the schedule, the costs, the oracle, and the table in docs/program.md.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from ..plan.graph import Stage
from . import arithmetic, rules
from .encoding import Words
from .program import WORD, Shape, Sharing, Use
from .rules import Key, Rule, between
from .traffic import Traffic, opening, reshare, truncation


@dataclass(frozen=True, kw_only=True)
class Operation:
    """One kind of operation. Most rules default to those of an operation that moves elements of one input."""

    kind: str
    arity: range = range(1, 2)
    """How many inputs it may have."""
    keys: Mapping[str, Key] = field(default_factory=dict)
    """In the order of the text; operations that communicate have a `group` besides, which the schedule gives them."""
    optional: Mapping[str, Key] = field(default_factory=dict)
    """Keys that stand behind the others where they are asked for."""
    shape: Rule[Shape] = rules.same_shape
    sharing: Rule[Sharing] = rules.same_sharing
    scale: Rule[int] = rules.same_scale
    ring: Rule[int] = rules.least_ring
    stage: Stage | None = None
    """None: that of the inputs together."""
    traffic: Rule[Traffic] | None = None
    """What is sent for one element of the input; None: nothing, the operation is local."""
    clear: Callable[..., Words]
    """The result in numpy, of an `Arithmetic`, the value and the inputs' arrays, which have one rank."""
    result: str
    """What it is, for docs/program.md."""
    sent: str = "0"
    """`traffic` as formulas, bits and rounds, for docs/program.md."""

    def derive(self, use: Use) -> tuple[Shape, Sharing, int, int]:
        """Shape, sharing, scale and ring of the result.

        Raises ValueError unless inputs are as many as they must be, keys are the row's, and all fit each other.
        """
        try:
            if len(use.inputs) not in self.arity:
                raise ValueError(f"{len(use.inputs)} inputs are given, {self.arity.start} is the least")
            if use.keys.keys() - self.optional.keys() != self.keys.keys():
                raise ValueError(f"keys are {', '.join(use.keys)}, accepted: {', '.join(self.keys)}")
            for name, key in {**self.keys, **self.optional}.items():
                if name in use.keys and not key.holds(use[name]):
                    raise ValueError(f"{name} is {use[name]}, accepted: {key.words}")
            return self.shape(use), self.sharing(use), self.scale(use), self.ring(use)
        except ValueError as error:
            raise ValueError(f"{self.kind}: {error}") from None


_NONE, _TWO, _ANY = range(1), range(2, 3), range(1, 1 << 16)
_NAMED = {"name": rules.NAME}
_BITS = between(8, WORD)
_RING = {"ring": _BITS}
_GIVEN = {**_NAMED, "ring": between(2, WORD)}
_SERIES = {"shift": between(0, WORD - 2), **_RING}

ROWS = (
    # inputs of the program, in the order of their stages
    Operation(
        kind="weight", arity=_NONE, keys=_GIVEN, stage=Stage.SETUP,
        shape=rules.asked_shape, sharing=rules.replicated, scale=rules.asked_scale, ring=rules.asked_ring,
        clear=arithmetic.weight,
        result="rep; shared by the model owner",
    ),
    Operation(
        kind="public", arity=_NONE, stage=Stage.SETUP,
        keys={**_NAMED, "seed": rules.SEED, "bits": between(1, 16)},
        shape=rules.asked_shape, sharing=rules.public, scale=rules.asked_scale,
        clear=arithmetic.public,
        result="pub; element j is the j-th little-endian int16 of AES-128-CTR(seed, counter 0…), sign extended, "
        "arithmetic-shifted right by 16−bits",
    ),
    Operation(
        kind="table", arity=_NONE, stage=Stage.SETUP,
        keys={**_NAMED, "numbers": rules.NUMBERS},
        shape=rules.tabled, sharing=rules.public, scale=rules.asked_scale,
        clear=arithmetic.table,
        result="pub; the numbers of the text, as many as the shape has",
    ),
    Operation(
        kind="constant", arity=_NONE, stage=Stage.SETUP,
        keys={**_NAMED, "bytes": between(1, WORD // 8), "sha256": rules.HASH},
        shape=rules.asked_shape, sharing=rules.public, scale=rules.asked_scale,
        clear=arithmetic.weight,
        result="pub; numbers of `bytes` bytes, two's complement, little-endian, of the file that every party has; "
        "one value's follow the other's in program order, and the hash is of these bytes",
    ),
    Operation(
        kind="state", arity=_NONE, keys=_NAMED, stage=Stage.EXAMPLE,
        shape=rules.asked_shape, sharing=rules.replicated, scale=rules.asked_scale,
        clear=arithmetic.state,
        result="rep; zeros, and what `append` has written in the steps before; nothing else reads it",
    ),
    Operation(
        kind="kept", arity=_NONE, keys=_NAMED, stage=Stage.SETUP,
        shape=rules.asked_shape, sharing=rules.replicated, scale=rules.asked_scale,
        clear=arithmetic.weight,
        result="rep; what a step, or two, have made of the output that names it (`keep`); steps alone read it",
    ),
    Operation(
        kind="example", arity=_NONE, keys=_GIVEN, stage=Stage.EXAMPLE,
        shape=rules.asked_shape, sharing=rules.replicated, scale=rules.asked_scale, ring=rules.asked_ring,
        clear=arithmetic.example,
        result="rep; shared by the data owner, once for every example",
    ),
    Operation(
        kind="candidate", arity=_NONE, keys=_GIVEN, stage=Stage.CANDIDATE,
        shape=rules.asked_shape, sharing=rules.replicated, scale=rules.asked_scale, ring=rules.asked_ring,
        clear=arithmetic.candidate,
        result="rep; shared by the data owner, for every candidate of a step",
    ),
    # local: linear, and products that leave an additive sharing
    Operation(
        kind="matmul", arity=_TWO,
        shape=rules.matrix_product, sharing=rules.product, scale=rules.added_scales,
        clear=arithmetic.matmul,
        result="a @ b; rep·rep → add, a pub factor keeps the other's sharing; scales add up",
    ),
    Operation(
        kind="mul", arity=_TWO,
        shape=rules.broadcast, sharing=rules.product, scale=rules.added_scales,
        clear=lambda m, v, a, b: a * b,
        result="a ∘ b; sharing and scale as of `matmul`",
    ),
    Operation(
        kind="add", arity=_TWO, shape=rules.broadcast, sharing=rules.weakest,
        clear=lambda m, v, a, b: a + b,
        result="a + b at one scale; with an add → add, rep + rep → rep, pub joins either",
    ),
    Operation(
        kind="sub", arity=_TWO, shape=rules.broadcast, sharing=rules.weakest,
        clear=lambda m, v, a, b: a - b,
        result="a − b, likewise",
    ),
    Operation(
        kind="scale", keys={"by": rules.INTEGER}, scale=rules.asked_scale, ring=rules.scaled_ring,
        clear=lambda m, v, a: a * np.int64(v.attrs["by"]),
        result="by · a; the scale is free: a multiple by 2^−n costs nothing; one of 2^n adds n bits to the ring",
    ),
    Operation(
        kind="sum", keys={"axis": rules.AXIS}, shape=rules.summed,
        clear=lambda m, v, a: np.asarray(a.sum(axis=v.attrs["axis"], keepdims=True)),
        result="sum over an axis of the instance shape, kept with length 1",
    ),
    Operation(
        kind="reshape", shape=rules.reshaped,
        clear=lambda m, v, a: a.reshape(*a.shape[:2], *v.shape),
        result="the same elements in another shape",
    ),
    Operation(
        kind="permute", keys={"axes": rules.AXES}, shape=rules.permuted,
        clear=lambda m, v, a: a.transpose(0, 1, *(2 + axis for axis in v.attrs["axes"])),
        result="axes in another order: `axes=1,0,2`",
    ),
    Operation(
        kind="concat", arity=_ANY, keys={"axis": rules.AXIS}, shape=rules.joined, sharing=rules.weakest,
        clear=arithmetic.concat,
        result="inputs of one scale side by side; batches broadcast; sharing as of `add`",
    ),
    Operation(
        kind="slice", keys={"axis": rules.AXIS, "lo": rules.COUNT, "hi": rules.COUNT}, shape=rules.sliced,
        clear=arithmetic.cut,
        result="elements lo ≤ i < hi",
    ),
    Operation(
        kind="window", keys={"rows": rules.COUNT}, shape=rules.windowed, stage=Stage.CANDIDATE,
        clear=lambda m, v, a: a[:, :, m.at : m.at + v.attrs["rows"]],
        result="rows of a setup value, from the row on that the step begins with",
    ),
    Operation(
        kind="append", arity=_TWO, shape=rules.appended, sharing=rules.all_replicated, stage=Stage.PAIR,
        clear=arithmetic.append,
        result="the state a with rows b from that row on, which it keeps",
    ),
    Operation(
        kind="reduce_examples", stage=Stage.CANDIDATE,
        clear=lambda m, v, a: np.asarray(a.sum(axis=1, keepdims=True)),
        result="of a pair, candidate: the sum over the example axis",
    ),
    # protocols
    Operation(
        kind="lift", keys=_RING, sharing=rules.held, ring=rules.larger_ring,
        traffic=lambda use: truncation(use.inputs[0].ring, 0, use["ring"], held=True),
        clear=lambda m, v, a: a,
        result="rep, the same signed number in a larger ring, of a rep",
        sent="3·ring + 2 − source; 2",
    ),
    Operation(
        kind="trunc", keys={"shift": between(1, WORD - 2), **_RING}, optional={"rounds": rules.one_of(2)},
        sharing=rules.replicated, scale=rules.asked_scale, ring=rules.truncated_ring,
        traffic=lambda use: truncation(
            use.inputs[0].ring, use["shift"], use["ring"],
            held=use.inputs[0].sharing is Sharing.REP, opened="rounds" in use.keys,
        ),
        clear=arithmetic.nearest,
        result="rep, ⌊a/2^shift⌉ ± 1.5 units; the scale is free",
        sent="[add]·(3·ring + [wide]·(2 + shift)) + [rep]·(2·ring + [wide]·(2 + ring + shift − source)) + "
        "[opened]·(ring − source − 2); 1 + [wide] + [add]·[wide] − [opened]",
    ),
    Operation(
        kind="reshare", keys=_RING, sharing=rules.reshared, ring=rules.part_of_ring,
        traffic=lambda use: reshare(use["ring"]),
        clear=lambda m, v, a: a,
        result="rep, of an add",
        sent="3·ring; 1",
    ),
    Operation(
        kind="cos_sin",
        keys={"k": between(8, 32), "fc": between(0, 40), "fa": between(0, 30), "sum": _BITS, **_SERIES},
        shape=rules.doubled, sharing=rules.replicated, scale=rules.phasor_scale, ring=rules.ring_of_phase,
        traffic=lambda use: opening(
            rules.precision(use), harmonics=1, shift=use["shift"], ring=use["ring"], results=2
        ),
        clear=arithmetic.cos_sin,
        result="rep, of a phase: the cosines, and behind them on the last axis the sines; scale fc+fa−shift",
        sent="4·k + 2·sum + 2·(2·ring + [wide]·(2 + ring + shift − sum)); 2 + [wide]",
    ),
    Operation(
        kind="fourier", keys={"fit": rules.COUNT, **_SERIES},
        sharing=rules.replicated, scale=rules.fitted_scale, ring=rules.ring_of_phase,
        traffic=lambda use: opening(
            use.fit.format, harmonics=len(use.fit.m), shift=use["shift"], ring=use["ring"]
        ),
        clear=arithmetic.fourier,
        result="rep, of a phase: the fit's series; scale fc+fa of the fit, less the shift",
        sent="4·k + 2·sum·(harmonics − tail) + 2·tail_ring·tail + [lifted]·(2 + whole − tail_ring) + 2·ring + "
        "[wide]·(2 + ring + shift − sum); 2 + [lifted] + [wide]",
    ),
)  # fmt: skip
OPERATIONS = {row.kind: row for row in ROWS}
INPUTS = tuple(row.kind for row in ROWS if row.arity == _NONE)
COMMUNICATING = frozenset(row.kind for row in ROWS if row.traffic)


def table() -> str:
    """The rows in Markdown, for docs/program.md."""
    lines = ["| kind | inputs | keys | result | bits per value, all parties; rounds |", "|---|---|---|---|---|"]
    for row in ROWS:
        inputs = {_NONE: "–", _TWO: "a, b", _ANY: "a, b, …"}.get(row.arity, "a")
        keys = [f"`{name}`" + (f" {key.words}" if key.words else "") for name, key in row.keys.items()]
        keys += [f"`{name}` {key.words}, or none" for name, key in row.optional.items()]
        keys += ["`group`"] if row.traffic else []
        lines.append(f"| `{row.kind}` | {inputs} | {', '.join(keys)} | {row.result} | {row.sent} |")
    return "\n".join([*lines, ""])
