"""The interpreter of ring programs: local operations against numpy on uint64, stages, tiles, liveness, input checks."""

from __future__ import annotations

import math
from time import perf_counter

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from helpers.ring_builder import LABELS, RingProgram, run
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import mutually_broadcastable_shapes
from secfwt.codegen.native.simulator import Counters, Simulator, SimulatorError, ring_matmul
from secfwt.codegen.ring.traffic import comparison

Shape = tuple[int, ...]
RNG = np.random.default_rng(7)
COMPARED = comparison().rounds
"""In the end of every step the parties compare what they hold."""
C, E = 3, 4


def ring(*shape: int) -> np.ndarray:
    return RNG.integers(0, 2**64, shape, dtype=np.uint64)


def aes_stream(key: bytes, n: int) -> bytes:
    """What a public value of that seed is made from."""
    return Cipher(algorithms.AES(key), modes.CTR(bytes(16))).encryptor().update(bytes(n))


class Case:
    """A program with a value of every stage, and numpy's copy of each: `[c, e, *shape]`."""

    def __init__(self) -> None:
        self.program = RingProgram()
        self.given: dict[str, list[np.ndarray]] = {"setup": [], "example": [], "candidate": []}

    def input(self, stage: str, shape: Shape, scale: int = 0) -> tuple[int, np.ndarray, str]:
        if stage == "pair":
            a, x, _ = self.input("candidate", shape, scale)
            b, y, _ = self.input("example", shape, scale)
            return self.program.v("add", (a, b), shape, "pair", scale=scale), x + y, "pair"
        batch = {"setup": (1, 1), "example": (1, E), "candidate": (C, 1)}[stage]
        x = ring(*batch, *shape)
        self.given[stage].append(x)
        kind = "weight" if stage == "setup" else stage
        return self.program.v(kind, (), shape, stage, scale=scale, name=f"i{self.program.values}"), x, stage

    def words(self, stage: str) -> np.ndarray:
        return np.concatenate([x.reshape(-1) for x in self.given[stage]] or [np.empty(0, np.uint64)])

    def check(self, value: int, expected: np.ndarray, stage: str) -> None:
        sim = Simulator(self.program.text(value))
        sim.weights(self.words("setup"))
        if self.given["example"]:
            sim.examples(E, self.words("example"))
        got = sim.step(C, self.words("candidate"))
        batch = (C, E) if stage == "pair" else (C, 1)
        assert (got == np.broadcast_to(expected, batch + expected.shape[2:]).reshape(-1)).all()
        assert sim.counters().rounds == COMPARED


def join(*stages: str) -> str:
    return LABELS[max(LABELS.index(s) for s in stages) if not {"example", "candidate"} <= set(stages) else 3]


def pad(x: np.ndarray, rank: int) -> np.ndarray:
    return x.reshape(*x.shape[:2], *(1,) * (rank + 2 - x.ndim), *x.shape[2:])


STAGES = [
    ("candidate", "setup"), ("setup", "candidate"), ("candidate", "example"), ("example", "candidate"),
    ("pair", "setup"), ("pair", "example"), ("candidate", "pair"), ("pair", "pair"),
]  # fmt: skip
MIXTURES = [("setup", "candidate", "example"), ("pair", "setup"), ("candidate",), ("candidate", "candidate", "setup")]
BINARY = {"add": np.add, "sub": np.subtract, "mul": np.multiply}


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(sorted(BINARY)),
    st.sampled_from(STAGES),
    mutually_broadcastable_shapes(num_shapes=2, min_dims=1, max_dims=3, max_side=4),
)
def test_elementwise(kind: str, stages: tuple[str, str], shapes: object) -> None:
    case = Case()
    sa, sb = shapes.input_shapes  # type: ignore[attr-defined]
    (a, x, _), (b, y, _) = case.input(stages[0], sa), case.input(stages[1], sb)
    rank = max(len(sa), len(sb))
    expected = BINARY[kind](pad(x, rank), pad(y, rank))
    stage = join(*stages)
    out = case.program.v(kind, (a, b), expected.shape[2:], stage, "add" if kind == "mul" else "rep")
    case.check(out, expected, stage)


MATMULS = [
    ((5, 7), (7, 3)), ((7,), (7, 3)), ((5, 7), (7,)), ((7,), (7,)), ((2, 5, 7), (7, 3)), ((2, 5, 7), (2, 7, 3)),
    ((5, 7), (2, 7, 3)), ((2, 1, 5, 7), (3, 7, 2)), ((3, 5, 7), (2, 1, 7, 2)), ((1, 33), (33, 40)),
]  # fmt: skip


@pytest.mark.parametrize("stages", STAGES)
@pytest.mark.parametrize(("sa", "sb"), MATMULS)
def test_matmul(stages: tuple[str, str], sa: Shape, sb: Shape) -> None:
    case = Case()
    (a, x, _), (b, y, _) = case.input(stages[0], sa), case.input(stages[1], sb)
    x, y = (x[..., None, :] if len(sa) == 1 else x), (y[..., None] if len(sb) == 1 else y)
    rank = max(x.ndim, y.ndim) - 2
    expected = np.matmul(pad(x, rank), pad(y, rank))
    shape = np.matmul(np.zeros(sa), np.zeros(sb)).shape or (1,)
    expected = expected.reshape(*expected.shape[:2], *shape)
    stage = join(*stages)
    case.check(case.program.v("matmul", (a, b), shape, stage, "add"), expected, stage)


@pytest.mark.parametrize("stage", ["candidate", "pair"])
@pytest.mark.parametrize(("sa", "sb"), [((1, 64), (64, 32)), ((3, 5, 128), (3, 128, 16)), ((9, 448), (448, 80))])
def test_static_factors_of_whole_panels(stage: str, sa: Shape, sb: Shape) -> None:
    """Weights that a kernel may keep packed; and a public matrix."""
    case = Case()
    p = case.program
    (a, x, _), (b, y, _) = case.input(stage, sa), case.input("setup", sb)
    shape = np.matmul(np.zeros(sa), np.zeros(sb)).shape
    public = p.v("public", (), sb[-2:], "setup", "pub", name="A", seed=bytes(16).hex(), bits=1)
    secret = p.v("matmul", (a, b), shape, stage, "add")
    clear = p.v("matmul", (a, public), shape, stage)
    stream = np.frombuffer(aes_stream(bytes(16), 2 * math.prod(sb[-2:])), "<i2").reshape(sb[-2:])
    expected = x @ y - x @ (stream >> 15).astype(np.uint64)
    case.check(p.v("sub", (secret, clear), shape, stage, "add"), expected, stage)


def test_static_factors_that_something_else_reads_too() -> None:
    """As a summand, as a left factor, under another shape: none may see a packed one."""
    case = Case()
    p = case.program
    a, x, _ = case.input("pair", (64, 64))
    summand, y, _ = case.input("setup", (64, 64))
    left, z, _ = case.input("setup", (64, 64))
    flat, w, _ = case.input("setup", (32, 128))
    tall = p.v("reshape", (flat,), (64, 64), "setup")
    square = ((64, 64), "pair", "add")
    right, swapped = p.v("matmul", (a, left), *square), p.v("matmul", (left, a), *square)
    half = p.v("slice", (a,), (64, 32), "pair", axis=-1, lo=0, hi=32)
    outputs = [
        p.v("add", (p.v("matmul", (a, summand), *square), summand), *square),
        p.v("add", (right, swapped), *square),
        p.v("matmul", (a, tall), *square),
        p.v("matmul", (half, flat), (64, 128), "pair", "add"),
    ]
    expected = [x @ y + y, x @ z + z @ x, x @ w.reshape(1, 1, 64, 64), x[..., :32] @ w]
    both = p.v("concat", tuple(outputs), (64, 320), "pair", "add", axis=-1)
    case.check(both, np.concatenate(expected, axis=-1), "pair")


@pytest.mark.parametrize(("m", "k", "n"), [(1, 1, 1), (0, 3, 2), (2, 0, 3), (5, 17, 3), (64, 200, 65), (131, 70, 129)])
def test_gemm(m: int, k: int, n: int) -> None:
    a, b = ring(m, k), ring(k, n)
    assert (ring_matmul(a, b) == a @ b).all()


@pytest.mark.parametrize("stage", ["candidate", "pair"])
@pytest.mark.parametrize("shape", [(4,), (3, 5), (2, 3, 4)])
def test_unary(stage: str, shape: Shape) -> None:
    for axis in range(1, len(shape) + 1):
        case = Case()
        a, x, _ = case.input(stage, shape)
        total = x.sum(-axis, keepdims=True, dtype=np.uint64)
        case.check(case.program.v("sum", (a,), total.shape[2:], stage, axis=-axis), total, stage)
        case = Case()
        a, x, _ = case.input(stage, shape)
        part = np.take(x, range(1, shape[-axis]), axis=-axis)
        case.check(case.program.v("slice", (a,), part.shape[2:], stage, axis=-axis, lo=1, hi=shape[-axis]), part, stage)
    for by in (0, 3, -(2**63), 2**63 - 1):
        case = Case()
        a, x, _ = case.input(stage, shape)
        case.check(case.program.v("scale", (a,), shape, stage, by=by), x * np.uint64(by % 2**64), stage)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, 5), min_size=1, max_size=4), st.randoms(use_true_random=False))
def test_permute_and_reshape(shape: list[int], random: object) -> None:
    axes = list(range(len(shape)))
    random.shuffle(axes)  # type: ignore[attr-defined]
    case = Case()
    a, x, _ = case.input("pair", tuple(shape))
    expected = x.transpose(0, 1, *(2 + i for i in axes))
    b = case.program.v("permute", (a,), expected.shape[2:], "pair", axes=axes)
    flat = case.program.v("reshape", (b,), (math.prod(shape),), "pair")
    case.check(flat, expected.reshape(C, E, -1), "pair")


@pytest.mark.parametrize("axis", [-1, -2])
def test_concat_broadcasts_batches(axis: int) -> None:
    for stages in MIXTURES:
        case = Case()
        inputs = [case.input(s, (2 + i, 5) if axis == -2 else (2, 5 + i)) for i, s in enumerate(stages)]
        stage = join(*stages)
        batch = (C, E) if stage == "pair" else (C, 1)
        expected = np.concatenate([np.broadcast_to(x, batch + x.shape[2:]) for _, x, _ in inputs], axis)
        ids = tuple(i for i, _, _ in inputs)
        case.check(case.program.v("concat", ids, expected.shape[2:], stage, axis=axis), expected, stage)


def test_additive_and_public_operands() -> None:
    case = Case()
    p = case.program
    a, x, _ = case.input("candidate", (4, 3))
    b, y, _ = case.input("example", (4, 3))
    seed = bytes(range(16)).hex()
    public = p.v("public", (), (3, 3), "setup", "pub", name="A", seed=seed, bits=13)
    xy = p.v("mul", (a, b), (4, 3), "pair", "add")
    plus = p.v("add", (xy, a), (4, 3), "pair", "add")  # additive + replicated
    minus = p.v("sub", (b, plus), (4, 3), "pair", "add")
    product = p.v("matmul", (minus, public), (4, 3), "pair", "add")  # additive @ public
    row = p.v("slice", (public,), (1, 3), "setup", "pub", axis=-2, lo=1, hi=2)
    shifted = p.v("sub", (row, product), (4, 3), "pair", "add")  # public - additive
    rep = p.v("matmul", (a, public), (4, 3), "candidate")  # replicated @ public
    both = p.v("add", (rep, row), (4, 3), "candidate")  # replicated + public
    mixed = p.v("concat", (shifted, both, public), (11, 3), "pair", "add", axis=-2)

    A = (
        (np.frombuffer(aes_stream(bytes.fromhex(seed), 18), "<i2").astype(np.int64) >> 3)
        .astype(np.uint64)
        .reshape(3, 3)
    )
    expected = A[1] - (y - (x * y + x)) @ A
    expected = np.concatenate(
        [np.broadcast_to(v, (C, E, *v.shape[-2:])) for v in (expected, x @ A + A[1], A[None, None])], axis=-2
    )
    case.check(mixed, expected, "pair")


def staged_program() -> tuple[RingProgram, tuple[int, ...]]:
    """Every stage with a protocol in it, and a candidate value after the sum over examples."""
    p = RingProgram()
    w = p.v("weight", (), (6, 5), "setup", scale=12, name="w")
    x = p.v("example", (), (7, 6), "example", scale=12, name="x")
    label = p.v("example", (), (1,), "example", scale=0, name="label")
    z = p.v("candidate", (), (6,), "candidate", scale=12, name="z")
    short = p.v("trunc", (w,), (6, 5), "setup", scale=10, shift=2, group=0)
    zw = p.v("matmul", (z, short), (5,), "candidate", "add", scale=22)
    zs = p.v("trunc", (zw,), (5,), "candidate", scale=12, shift=10, group=1)
    xw = p.v("matmul", (x, short), (7, 5), "example", "add", scale=22)
    xs = p.v("trunc", (xw,), (7, 5), "example", scale=12, shift=10, group=2)
    both = p.v("mul", (xs, zs), (7, 5), "pair", "add", scale=24)
    pair = p.v("trunc", (both,), (7, 5), "pair", scale=12, shift=12, group=3)
    masked = p.v("mul", (pair, label), (7, 5), "pair", "add", scale=12)
    rows = p.v("reshare", (masked,), (7, 5), "pair", scale=12, group=4)
    total = p.v("reduce_examples", (rows,), (7, 5), "candidate", scale=12)
    square = p.v("mul", (total, zs), (7, 5), "candidate", "add", scale=24)
    result = p.v("trunc", (square,), (7, 5), "candidate", scale=12, shift=12, group=5)
    return p, (result, rows, zs)


def staged_inputs(c: int, e: int) -> tuple[np.ndarray, ...]:
    w, x, z = (np.rint(RNG.normal(size=s) * 2**12) for s in ((6, 5), (e, 7, 6), (c, 6)))
    return w, x, z, RNG.integers(0, 2, e)


@pytest.mark.parametrize("lanes", [1, 2, 5])
@pytest.mark.parametrize("tile_words", [1, 40, 100, 300, 1 << 22])
def test_stages_and_tiles(tile_words: int, lanes: int) -> None:
    c, e = 5, 9
    w, x, z, label = staged_inputs(c, e)
    p, outputs = staged_program()
    sim = Simulator(p.text(*outputs), tile_words, lanes=lanes)
    sim.weights(w.astype(np.int64))
    sim.examples(e, np.concatenate([x.reshape(-1), label]).astype(np.int64), set_id=5)
    got = [sim.step(c, z.astype(np.int64), i, set_id=5).view(np.int64) / 2**12 for i in range(3)]
    zs = z @ w / 2**24
    rows = (x @ w / 2**24)[None] * zs[:, None, None] * label[None, :, None, None]
    for result, expected in zip(got, ((rows.sum(1) * zs[:, None]), rows, zs), strict=True):
        assert np.abs(result.reshape(expected.shape) - expected).max() < 4e-2 * max(1, np.abs(expected).max())


def test_tiles_of_one_pair_and_all_pairs_use_rounds_as_documented() -> None:
    c, e = 3, 4
    w, x, z, label = staged_inputs(c, e)
    p, outputs = staged_program()
    for tile_words, pair_tiles in ((1, c * e), (35 * e, c), (35 * 2, 2 * c), (35 * 6, 2), (35 * c * e, 1)):
        sim = Simulator(p.text(*outputs), tile_words, lanes=1)
        sim.weights(w.astype(np.int64))
        sim.examples(e, np.concatenate([x.reshape(-1), label]).astype(np.int64))
        before = sim.counters()
        sim.step(c, z.astype(np.int64))
        assert (sim.counters() - before).rounds == 3 + 4 * pair_tiles + 3 + COMPARED
        before = sim.counters()
        sim.step(c, z.astype(np.int64), 2)  # needs no pairs
        assert (sim.counters() - before).rounds == 3 + COMPARED


def timed_step(lanes: int, network: tuple[float, float]) -> tuple[float, Counters]:
    c, e = 3, 4
    w, x, z, label = staged_inputs(c, e)
    p, outputs = staged_program()
    sim = Simulator(p.text(*outputs), 1, lanes=lanes, network=network)
    sim.weights(w.astype(np.int64))
    sim.examples(e, np.concatenate([x.reshape(-1), label]).astype(np.int64))
    before, start = sim.counters(), perf_counter()
    sim.step(c, z.astype(np.int64))
    return perf_counter() - start, sim.counters() - before


def test_lanes_wait_at_the_same_time() -> None:
    """12 tiles of 4 rounds: three lanes need the rounds, and on a slow network the time, of 4 tiles."""
    latency = 0.02
    (alone, more), (together, fewer) = timed_step(1, (latency, 0)), timed_step(3, (latency, 0))
    assert (more.rounds, fewer.rounds) == (3 + 4 * 12 + 3 + COMPARED, 3 + 4 * 4 + 3 + COMPARED)
    assert alone > latency * more.rounds
    assert together < 0.75 * alone


def test_a_slow_network_takes_as_long_as_its_bytes() -> None:
    bandwidth = 20_000
    seconds, traffic = timed_step(2, (0, bandwidth))
    assert seconds > traffic.bytes_sent[0] / 2 / bandwidth  # one of its two links carries at least half


def test_lanes_are_limited() -> None:
    for lanes in (0, 65):
        with pytest.raises(SimulatorError, match=f"lanes: 1 to 64, not {lanes}"):
            Simulator(staged_program()[0].text(10), lanes=lanes)


def test_only_what_an_output_needs_is_computed() -> None:
    p = RingProgram()
    w = p.v("weight", (), (4,), "setup", name="w")
    p.v("trunc", (w,), (4,), "setup", shift=1, group=0)  # nobody asks for it
    z = p.v("candidate", (), (4,), name="z")
    p.v("trunc", (z,), (4,), shift=1, group=1)
    sim = Simulator(p.text(p.v("add", (z, w), (4,))))
    sim.weights(np.arange(4))
    assert (run(sim, np.arange(4))[0] == 2 * np.arange(4)).all()
    assert sim.counters().rounds == COMPARED


def test_sets_are_kept_and_replaced() -> None:
    p = RingProgram()
    x = p.v("example", (), (2,), "example", name="x")
    z = p.v("candidate", (), (2,), name="z")
    pair = p.v("add", (x, z), (2,), "pair")
    sim = Simulator(p.text(p.v("reduce_examples", (pair,), (2,), "candidate")))
    sim.examples(1, [1, 2], set_id=0)
    sim.examples(2, [1, 2, 3, 4], set_id=1)
    assert list(sim.step(1, [10, 20], set_id=0)) == [11, 22]
    assert list(sim.step(1, [10, 20], set_id=1)) == [24, 46]
    sim.examples(1, [5, 6], set_id=1)
    assert list(sim.step(2, [10, 20, 30, 40], set_id=1)) == [15, 26, 35, 46]
    sim.weights(np.empty(0, np.uint64))
    with pytest.raises(SimulatorError, match="no example set 1"):
        sim.step(1, [10, 20], set_id=1)


def test_refusals_name_numbers_and_leave_the_parties_working() -> None:
    p = RingProgram()
    w = p.v("weight", (), (2, 2), "setup", name="w")
    x = p.v("example", (), (3, 2), "example", name="x")
    z = p.v("candidate", (), (2,), name="z")
    xw = p.v("matmul", (x, w), (3, 2), "example", "add")
    pair = p.v("add", (xw, z), (3, 2), "pair", "add")
    text = p.text(pair).replace("out o0 4", "out o0 4 max_candidates=2")
    sim = Simulator(text)
    with pytest.raises(SimulatorError, match="weights: shares have 0 ring elements, the program needs 4"):
        sim.examples(1, np.arange(6))
    with pytest.raises(SimulatorError, match="weights: shares have 5 ring elements, the program needs 4"):
        sim.weights(np.arange(5))
    sim.weights(np.arange(4))
    with pytest.raises(SimulatorError, match="examples: shares have 6 ring elements, the program needs 12 for 2"):
        sim.examples(2, np.arange(6))
    with pytest.raises(SimulatorError, match="at least 1 example"):
        sim.examples(0, np.empty(0, np.uint64))
    with pytest.raises(SimulatorError, match="no example set 0"):
        sim.step(1, [1, 2])
    sim.examples(1, np.arange(6))
    with pytest.raises(SimulatorError, match="3 candidates asked for, output 'o0' allows 2"):
        sim.step(3, np.arange(6))
    with pytest.raises(SimulatorError, match="at least 1 candidate"):
        sim.step(0, np.empty(0, np.uint64))
    with pytest.raises(SimulatorError, match="output 1 asked for, the program has 1"):
        sim.step(1, [1, 2], output=1)
    with pytest.raises(SimulatorError, match="step: shares have 3 ring elements, the program needs 2"):
        sim.step(1, [1, 2, 3])
    with pytest.raises(TypeError, match="must be integers"):
        sim.step(1, [1.0, 2.0])
    expected = np.arange(6).reshape(3, 2) @ np.arange(4).reshape(2, 2) + [10, 20]
    assert (sim.step(1, [10, 20]).reshape(3, 2) == expected).all()
