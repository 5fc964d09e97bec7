"""The VM's protocols against exact arithmetic, with counted traffic; what a single party receives."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from math import ceil, hypot, pi, sqrt
from time import monotonic, perf_counter, sleep

import numpy as np
import pytest
from helpers.ring_builder import RingProgram, Series, cos_sin, fourier, lift, opened_trunc, run, trunc, words
from hypothesis import given, settings
from hypothesis import strategies as st
from secfwt.codegen.native.simulator import Simulator

LIMIT = 2**62 - 1
RNG = np.random.default_rng(20250615)


def thirds(n: int) -> list[int]:
    return [n * (t + 1) // 3 - n * t // 3 for t in range(3)]


def checks(values: list[int], k: int, amplitudes: int) -> int:
    """Bytes for the sample of a step's tuples, from the beginning of their pool: for every 64 used (`values` of each
    third) one more is dealt, with `amplitudes` bytes, and LEFT tells RIGHT its pad of it."""
    return sum(n * amplitudes // 64 + ceil(n / 64) * k // 8 for n in values)


# Truncation


@pytest.mark.parametrize("shift", range(1, 63))
def test_trunc_is_exact_to_one_unit_over_the_whole_range(shift: int) -> None:
    z = [int(v) for v in RNG.integers(-LIMIT, LIMIT, 200)]
    z += [int(v) >> int(s) for v, s in zip(RNG.integers(-LIMIT, LIMIT, 200), RNG.integers(0, 62, 200), strict=True)]
    z += [0, 1, -1, LIMIT, -LIMIT, 2**61, -(2**61), 2**61 - 1, 2**shift, -(2**shift), 2**shift - 1, -(2 ** (shift - 1))]
    got, traffic = run(trunc(len(z), shift), words(z))
    error = np.array([int(g) - (v >> shift) for g, v in zip(got, z, strict=True)])
    assert set(np.unique(error)) <= {0, 1}
    assert traffic.rounds == 2  # of a replicated value
    assert traffic.total == sum(16 * n + ceil(shift * n / 8) + 2 * ceil(n / 8) for n in thirds(len(z)))


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 62), st.lists(st.integers(-LIMIT, LIMIT), min_size=1, max_size=9))
def test_trunc_property(shift: int, z: list[int]) -> None:
    got = trunc(len(z), shift).step(1, words(z)).view(np.int64)
    assert all(int(g) - (v >> shift) in (0, 1) for g, v in zip(got, z, strict=True))


def test_trunc_is_centred() -> None:
    z = RNG.integers(-(2**40), 2**40, 60_000)
    got = trunc(z.size, 16).step(1, z).view(np.int64)
    # rounded up or down by chance, a deviation of √(1/6) each: six standard deviations, 2·10⁻⁹ by chance
    assert abs((got - z / 2**16).mean()) < 0.01


def test_trunc_of_an_additive_value_and_reshare() -> None:
    n = 5000
    program = RingProgram()
    x = program.v("candidate", (), (n,), name="x")
    square = program.v("mul", (x, x), (n,), sharing="add")
    short = program.v("trunc", (square,), (n,), shift=20, group=0)
    same = program.v("reshare", (square,), (n,), group=0)
    z = RNG.integers(-(2**30), 2**30, n)
    sim = Simulator(program.text(short, same))
    assert set(np.unique(sim.step(1, z, 0).view(np.int64) - (z**2 >> 20))) <= {0, 1}
    got, traffic = run(sim, z, 1)
    assert (got == z**2).all()
    assert (traffic.total, traffic.rounds) == (24 * n, 1)


@st.composite
def opened_truncations(draw: st.DrawFn) -> tuple[int, int, int, list[int]]:
    """Source, shift, ring and numbers of a truncation in two rounds: all that fit each other."""
    source = draw(st.integers(6, 64))
    shift = draw(st.integers(1, source - 3))
    ring = draw(st.integers(max(8, source - shift + 1), 64))
    limit = 2 ** (source - 2) - 3 * 2 ** (shift - 1) - 1
    extreme = st.sampled_from([limit, -limit, 0])
    return source, shift, ring, draw(st.lists(st.one_of(st.integers(-limit, limit), extreme), min_size=1, max_size=9))


@settings(max_examples=60, deadline=None)
@given(opened_truncations())
def test_trunc_in_two_rounds(case: tuple[int, int, int, list[int]]) -> None:
    source, shift, ring, z = case
    got, traffic = run(opened_trunc(len(z), shift, source, ring), np.array([*z, 1]))
    assert all(-1.5 < int(g) - v / 2**shift <= 1.5 for g, v in zip(got, z, strict=True))
    kept = source - shift
    bits = (kept, kept, ring, *[ring - kept] * 3)
    assert traffic.total == sum(ceil(m * b / 8) for m in thirds(len(z)) for b in bits)
    assert traffic.rounds == 2


def test_trunc_in_two_rounds_is_centred() -> None:
    z = RNG.integers(-(2**40), 2**40, 60_000)
    got = opened_trunc(z.size, 16).step(1, np.append(z, 1)).view(np.int64)
    # three roundings, a deviation of 1/2: five standard deviations, 6·10⁻⁷ by chance
    assert abs((got - z / 2**16).mean()) < 0.01
    assert (got - z / 2**16).std() == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize(("source", "ring"), [(2, 8), (3, 36), (20, 37), (27, 56), (62, 64)])
def test_a_lift_is_exact_and_bounds_what_it_makes(source: int, ring: int) -> None:
    """A quarter of all numbers of the small ring are smaller than it holds with two bits free: those stay as they are.
    The others, and what stands above the ring, become something equal in it, and not much larger."""
    n, limit = 3000, 2 ** (source - 2)
    small = RNG.integers(-limit, limit, n, endpoint=True)
    small[np.abs(small) == limit] = 0
    got, traffic = run(lift(n, source, ring), small)
    assert (got == small).all()
    assert traffic.rounds == 2
    bits = (ring, ring, 1, 1, ring - source)
    assert traffic.total == sum(ceil(m * b / 8) for m in thirds(n) for b in bits)
    above = RNG.integers(0, 2**64, n, dtype=np.uint64)
    got, _ = run(lift(n, source, ring), above)
    assert ((got.view(np.uint64) - above) % 2**source == 0).all()
    assert np.abs(got).max() <= 3 * limit


@pytest.mark.parametrize(("source", "shift", "ring"), [(36, 27, 37), (20, 1, 64), (40, 38, 8)])
def test_a_truncation_that_takes_wraps_away_bounds_what_it_makes(source: int, shift: int, ring: int) -> None:
    """Prompt rows, whatever a candidate is: at most three quarters of the small ring, and a unit."""
    program = RingProgram()
    x = program.v("candidate", (), (3000,), name="x", ring=source)
    y = program.v("trunc", (x,), (3000,), shift=shift, ring=ring, group=0)
    sim = Simulator(program.text(y).replace(f"out o0 {y}", f"out o0 {y} ring={ring}"))
    got, _ = run(sim, RNG.integers(0, 2**64, 3000, dtype=np.uint64))
    assert np.abs(got).max() <= 3 * 2 ** (source - 2 - shift) + 1


def test_what_is_above_an_outputs_ring_stays_with_the_parties() -> None:
    """Their words are right mod 2^30 only; the sum of what they send has nothing else."""
    n = 1000
    program = RingProgram()
    x = program.v("candidate", (), (n,), name="x", ring=30)
    y = program.v("candidate", (), (n,), name="y")
    product = program.v("mul", (x, y), (n,), sharing="add")
    text = program.text(product).replace(f"out o0 {product}", f"out o0 {product} ring=30")
    a, b = RNG.integers(0, 2**64, (2, n), dtype=np.uint64)
    got = Simulator(text).step(1, np.concatenate([a, b])).view(np.int64)
    assert (got == ((a * b).view(np.int64) << 34) >> 34).all()


def test_operations_of_a_group_share_their_rounds() -> None:
    program = RingProgram()
    x = program.v("candidate", (), (6,), scale=64, name="x")
    a = program.v("trunc", (x,), (6,), shift=3, group=4)
    b = program.v("trunc", (x,), (6,), shift=9, group=4)
    c = program.v("cos_sin", (x,), (12,), scale=24, k=16, fc=12, fa=12, group=4)
    d = program.v("concat", (a, b), (12,), axis=-1)
    e = program.v("trunc", (d,), (12,), shift=1, group=5)
    f = program.v("trunc", (c,), (12,), shift=24, group=5)
    z = np.array([0, 2**61, -(2**61), 77, -5, 1 << 40])
    got, traffic = run(Simulator(program.text(program.v("add", (e, f), (12,)))), z)
    cosine, sine = np.cos(2 * pi * z / 2**64), np.sin(2 * pi * z / 2**64)
    expected = np.concatenate([z / 2**4 + cosine, z / 2**10 + sine])
    assert np.abs(got - expected).max() < 4 + 1e-9
    assert traffic.rounds == 4


# Fourier series


def bound(f: Series) -> float:
    """Phases within 1.5·2^-k turn, amplitudes rounded to 2^-fc (their phasor to 2^-30), phasors within 2·2^-fa."""
    total = 2.0 ** -(f.fc + f.fa) + 1e-12
    for m, re, im in zip(f.m, f.re, f.im, strict=True):
        a = hypot(re, im)
        amplitude = (sqrt(0.5) * 2.0**-f.fc + 3 * a * 2.0**-30) * 1.01
        total += a * 2 * pi * m * 1.5 * 2.0**-f.k + amplitude + sqrt(8) * a * 2.0**-f.fa
    return total


@pytest.mark.parametrize("k", [16, 32])
@pytest.mark.parametrize(("ring", "fc", "fa"), [(32, 13, 13), (32, 14, 10), (64, 20, 20), (64, 30, 28), (64, 2, 30)])
@pytest.mark.parametrize("harmonics", [1, 12, 70])
def test_fourier_within_its_bound(k: int, ring: int, fc: int, fa: int, harmonics: int) -> None:
    re, im = RNG.normal(size=(2, harmonics)) / harmonics
    f = Series(k, fc, fa, ring, -0.625, range(1, 3 * harmonics, 3), re, im)
    phases = np.concatenate([RNG.integers(0, 2**64, 1000, dtype=np.uint64), words([0, 1, -1, 2**63, 2**63 - 1, 2**48])])
    got, traffic = run(fourier(phases.size, f), phases)
    assert np.abs(got / 2.0 ** (fc + fa) - f(phases / 2.0**64)).max() < bound(f)
    lift = [ceil(n * 32 / 8) + 2 * ceil(n / 8) if ring == 32 else 0 for n in thirds(phases.size)]
    amplitudes = harmonics * 2 * ring // 8
    sent = phases.size * (4 * k // 8 + amplitudes + 16) + sum(lift)
    assert traffic.total == sent + checks(thirds(phases.size), k, amplitudes)
    assert traffic.rounds == (3 if ring == 32 else 2)


def test_ring_32_holds_up_to_its_limit() -> None:
    f = Series(32, 13, 13, 32, 0, [1], [15.99], [0])
    phases = words([0, 2**63, 2**62, 2**61])
    got, _ = run(fourier(4, f), phases)
    assert np.abs(got / 2**26 - f(phases / 2.0**64)).max() < bound(f)


def test_fourier_error_is_centred() -> None:
    f = Series(16, 24, 24, 64, 0, [1], [0.0], [-1.0])  # a sine; its slope here is near 2π
    phases = RNG.integers(-(2**58), 2**58, 30_000)
    got = run(fourier(phases.size, f), phases)[0] / 2**48
    error = (got - np.sin(2 * pi * phases / 2**64)) * 2**16 / (2 * pi)  # in units of the opened phase
    # three roundings, a deviation of 1/2: 6.9 standard deviations of the mean, 5·10⁻¹² by chance; 50 of the deviation
    assert abs(error.mean()) < 0.02
    assert error.std() < 0.6


@pytest.mark.parametrize("k", [16, 32])
@pytest.mark.parametrize("shape", [(1,), (2, 5), (4, 384), (70, 3, 33)])
def test_cos_sin(k: int, shape: tuple[int, ...]) -> None:
    phases = RNG.integers(0, 2**64, shape, dtype=np.uint64)
    result, traffic = run(cos_sin(shape, k), phases)
    got = result.reshape(*shape[:-1], -1) / 2**28
    angle = 2 * pi * phases / 2.0**64
    limit = 2 * pi * 1.5 * 2.0**-k + (sqrt(0.5) + sqrt(8)) * 2.0**-14 + 1e-8
    assert np.abs(got - np.concatenate([np.cos(angle), np.sin(angle)], -1)).max() < limit
    values = [rows * shape[-1] for rows in thirds(phases.size // shape[-1])]
    assert traffic.total == phases.size * (4 * k // 8 + 48) + checks(values, k, 16)
    assert traffic.rounds == 2


def test_no_party_is_the_bottleneck() -> None:
    assert len(set(run(cos_sin((300, 7), 16), np.zeros(2100, np.uint64))[1].bytes_sent)) == 1


# What a single party receives


def chi_square(data: np.ndarray, bins: int) -> float:
    counts = np.bincount(data, minlength=bins)
    expected = data.size / bins
    return float(((counts - expected) ** 2 / expected).sum())


def assert_uniform(data: np.ndarray) -> None:
    """Bytes: 255 degrees of freedom, exceeded by chance with probability 6·10⁻¹³. Differences of independent uniform
    bytes along a chain are independent, too. All 554 checks of this module: 3·10⁻¹⁰."""
    assert data.size > 20_000
    assert chi_square(data, 256) < 450


def squares(n: int) -> Simulator:
    """An additive value, truncated in two rounds."""
    program = RingProgram()
    x = program.v("candidate", (), (n,), name="x")
    square = program.v("mul", (x, x), (n,), sharing="add")
    return Simulator(program.text(program.v("trunc", (square,), (n,), shift=33, rounds=2, group=0)))


PROTOCOLS: dict[str, Callable[[int], Simulator]] = {
    "lift": lambda n: lift(n, 20, 37),
    "trunc": lambda n: trunc(n, 16),
    "trunc in two rounds": squares,
    "cos_sin 16": lambda n: cos_sin((n, 1), 16),
    "cos_sin 32": lambda n: cos_sin((n, 1), 32),
    "fourier 32": lambda n: fourier(n, Series(16, 13, 13, 32, 0.5, [1, 2], [1.0, 0.0], [0.0, 2.0])),
    "fourier 64": lambda n: fourier(n, Series(32, 13, 13, 64, 0.5, [1, 2], [1.0, 0.0], [0.0, 2.0])),
}


def step_views(sim: Simulator, x: np.ndarray) -> list[np.ndarray]:
    """Bytes that each party receives in a step from the party before it and the one after."""
    sim.record()
    sim.step(1, x)
    received = (sim.received(p, from_next=d) for p in range(3) for d in (False, True))
    return [np.frombuffer(view, np.uint8) for view in received]


@pytest.mark.parametrize("name", PROTOCOLS)
@pytest.mark.parametrize("secret", [0, 2**61 - 1])
def test_views_are_uniform_and_fresh(name: str, secret: int) -> None:
    """Same secret in every place: bytes, their differences along the message and between two runs are all uniform."""
    n = 15_360  # whole strata of tuples: every step opens as large a sample
    sim = PROTOCOLS[name](n)
    x = np.full(n, secret, np.uint64)
    views = []
    for _ in range(2):
        views.append(step_views(sim, x))
    for first, second in zip(*views, strict=True):
        assert_uniform(first)
        assert_uniform(first ^ second)  # the same operation on the same input a second time
        for lag in (1, 2, 4, 8, 16):
            assert_uniform(first[lag:] ^ first[:-lag])


def openings(sim: Simulator, n: int) -> np.ndarray:
    """The opened δ of a cos_sin with k = 16 on 3n values, from what the parties received: [third, n]."""
    word, sample = 2 * n, n // 64
    streams = {(p, d): sim.received(p, from_next=d) for p in range(3) for d in (False, True)}
    position = dict.fromkeys(streams, 0)

    def take(party: int, from_next: bool, size: int) -> bytes:
        at = position[party, from_next]
        position[party, from_next] += size
        return streams[party, from_next][at : at + size]

    result = []
    for rotation in range(3):
        left, right = rotation, (rotation + 1) % 3
        from_right, to_left = take(left, True, word), take(left, False, word)
        take(left, False, 16 * (n + sample))  # the harmonic's share
        from_left, to_right = take(right, False, word), take(right, True, word)
        take(right, False, 2 * sample)  # LEFT's pads of the checked tuples
        assert to_left == to_right  # the helper tells both the same
        a, b, c = (np.frombuffer(message, np.uint16) for message in (from_right, from_left, to_left))
        result.append(a + b + c)
    return np.array(result)


def test_openings_are_independent_and_reduced() -> None:
    """δ is uniform for equal phases, differs between equal values of a tensor and between runs, and has k bits."""
    n, runs = 512, 60  # whole batches of tuples
    sim = cos_sin((3 * n, 1), 16)
    x = np.full(3 * n, 3 << 60, np.uint64)
    opened = []
    for _ in range(runs):
        sim.record()
        sim.step(1, x)
        opened.append(openings(sim, n).reshape(-1))
        sizes = [len(sim.received(p, from_next=d)) for p in range(3) for d in (False, True)]
        assert sum(sizes) == 3 * n * (8 + 16 + 32) + 3 * n // 64 * (16 + 2) + 6 * 32  # in the end 32 bytes on each link
    deltas = np.array(opened)
    for sample in (deltas, deltas[1:] - deltas[:-1], deltas[:, 1:] - deltas[:, :-1], deltas[:, n:] - deltas[:, :-n]):
        assert_uniform((sample >> 8).astype(np.int64).reshape(-1))
        assert_uniform((sample & 255).astype(np.int64).reshape(-1))


# Randomness dealt ahead


AHEAD = Series(16, 13, 13, 32, 0.5, [1, 2, 5], [1.0, 0.0, 0.25], [0.0, 2.0, 0.5])


def ahead_program(n: int, ahead: int, lanes: int = 2, background: bool = True) -> Simulator:
    """A series and a cos_sin of every pair."""
    program = RingProgram()
    fit = program.fit(AHEAD)
    x = program.v("example", (), (n,), "example", scale=64, name="x")
    z = program.v("candidate", (), (n,), scale=64, name="z")
    pair = program.v("add", (x, z), (n,), "pair", scale=64)
    wave = program.v("fourier", (pair,), (n,), "pair", scale=26, fit=fit, group=0)
    circle = program.v("cos_sin", (pair,), (2 * n,), "pair", scale=26, k=16, fc=13, fa=13, group=0)
    both = program.v("concat", (wave, circle), (3 * n,), "pair", scale=26, axis=-1)
    return Simulator(program.text(both), ahead=ahead, lanes=lanes, background=background)


def expected_pairs(x: np.ndarray, z: np.ndarray) -> np.ndarray:
    turns = (x[None] + z[:, None]) / 2.0**64
    angle = 2 * pi * turns
    return np.concatenate([AHEAD(turns.reshape(-1)).reshape(turns.shape), np.cos(angle), np.sin(angle)], -1)


@pytest.mark.parametrize("lanes", [1, 3])
@pytest.mark.parametrize("ahead", [0, 20_000, 1 << 30])
def test_results_and_traffic_do_not_depend_on_what_was_dealt_ahead(ahead: int, lanes: int) -> None:
    """Steps of two sizes in turn, with pauses in which threads deal tuples."""
    n, count = 130, 4
    sim = ahead_program(n, ahead, lanes)
    x = RNG.integers(0, 2**64, (count, n), dtype=np.uint64)
    sim.examples(count, x)
    for candidates in (3, 1, 3, 3, 2):
        z = RNG.integers(0, 2**64, (candidates, n), dtype=np.uint64)
        before = sim.counters()
        got = sim.step(candidates, z).view(np.int64).reshape(candidates, count, 3 * n) / 2.0**26
        assert np.abs(got - expected_pairs(x, z)).max() < 5e-3
        values = candidates * count * n
        sent = (sim.counters() - before).total
        fixed = values * (4 * 2 + 3 * 8 + 16 + 4) + values * (4 * 2 + 16 + 32)
        assert fixed <= sent < fixed * 1.01 + 200  # packed bits are rounded up to bytes
        sleep(0.05)


def test_threads_deal_while_nobody_steps() -> None:
    sim = ahead_program(1536, 1 << 30)
    sim.examples(2, RNG.integers(0, 2**64, (2, 1536), dtype=np.uint64))
    sim.step(1, RNG.integers(0, 2**64, 1536, dtype=np.uint64))
    taken = sim.dealt().late
    deadline = monotonic() + 120  # a busy machine deals late
    while sim.dealt().ahead < taken:
        assert monotonic() < deadline, sim.dealt()
        sleep(0.01)


def test_a_step_does_not_wait_for_what_was_dealt_ahead() -> None:
    """The first step waits for all of its tuples, as long as the network takes for them; the next ones for none."""
    n, count, bandwidth = 768, 8, 5_000_000  # whole batches of 128 tuples in every third of both lanes' tiles
    harmonics = 32
    series = Series(16, 13, 13, 64, 0, list(range(1, harmonics + 1)), [0.01] * harmonics, [0.0] * harmonics)
    program = RingProgram()
    fit = program.fit(series)
    x = program.v("example", (), (n,), "example", scale=64, name="x")
    z = program.v("candidate", (), (n,), scale=64, name="z")
    pair = program.v("add", (x, z), (n,), "pair", scale=64)
    wave = program.v("fourier", (pair,), (n,), "pair", scale=26, fit=fit, group=0)
    sim = Simulator(program.text(wave), ahead=1 << 30, background=False, network=(0, bandwidth))
    sim.examples(count, RNG.integers(0, 2**64, (count, n), dtype=np.uint64))
    z_values = RNG.integers(0, 2**64, n, dtype=np.uint64)
    tuples = n * count * harmonics * 16 * 65 // 64

    start = perf_counter()
    sim.step(1, z_values)
    assert perf_counter() - start > tuples / 3 / bandwidth  # one third of them on each link
    assert sim.dealt().late == tuples
    for _ in range(3):
        sim.deal()
        assert sim.dealt().ahead == tuples
        sim.step(1, z_values)
    assert sim.dealt().late == tuples


def test_steps_without_a_pause_fill_the_store_little_by_little() -> None:
    """A quarter of what a step takes in each, which is not what the examples took."""
    sim = ahead_program(4096, 1 << 30, background=False)
    x, z = (RNG.integers(0, 2**64, (n, 4096), dtype=np.uint64) for n in (16, 2))
    sim.examples(16, x)
    dealt = [sim.dealt()]
    for _ in range(7):
        sim.step(2, z)
        dealt.append(sim.dealt())
    taken = dealt[1].late  # nothing was ahead of the first step
    batch = 6 * 512 * (3 * 2 * 4 + 2 * 8) * 65 // 64  # of 3 harmonics, of cos and sin: at 3 parties in 2 lanes
    assert taken >= 16 * batch  # each step may be one short
    for i, (before, after) in enumerate(pairwise(dealt)):
        assert after.ahead == pytest.approx(min(i / 4, 1) * taken, abs=4 * batch)
        assert after.late - before.late == pytest.approx(taken - before.ahead, abs=batch)


def test_views_stay_uniform_and_fresh_when_dealt_ahead() -> None:
    n, count = 5120, 3
    sim = ahead_program(n, 1 << 30, lanes=1, background=False)
    same = np.full(n, 2**61 - 1, np.uint64)
    sim.examples(count, np.tile(same, count))
    views = []
    for _ in range(3):
        views.append(step_views(sim, same))
        sim.deal()
    for runs in zip(*views, strict=True):
        assert len({view.size for view in runs}) == 1
        for i, first in enumerate(runs):
            assert_uniform(first)
            for second in runs[:i]:
                assert_uniform(first ^ second)
            for lag in (1, 2, 4, 8, 16):
                assert_uniform(first[lag:] ^ first[:-lag])
