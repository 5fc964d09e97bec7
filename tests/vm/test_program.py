"""The parser of ring programs: what it refuses; messages name the line, what is there and what is expected."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from secfwt.codegen.native.simulator import Simulator, SimulatorError
from secfwt.codegen.plan.graph import Stage
from secfwt.codegen.ring.header import ProgramTextError, read_program
from secfwt.codegen.ring.operations import OPERATIONS
from secfwt.codegen.ring.program import PHASE, RingValue, Sharing, Use

GOOD = """\
# a comment
secfwt-program 4
fit 0 k=16 fc=13 fa=13 ring=32 const=3.25 m=1,3,5 re=-2.4,-0.2,-0.1 im=0,0,0
v 0 setup rep 48 8x4 weight - name=w  # and another

v 1 example rep 16 3x8 example - name=x
v 2 candidate rep 16 8 candidate - name=z
v 3 setup pub 12 2x8 public - name=A seed=00112233445566778899aabbccddeeff bits=13
v 4 example add 64 3x4 matmul 1,0
v 5 example rep 28 3x8 cos_sin 4 group=0 k=16 fc=14 fa=14
v 6 example rep 26 3x4 fourier 4 fit=0 group=0
v 7 pair rep 16 3x8 sub 1,2
v 8 pair add 44 3x8 mul 7,5
v 9 pair rep 16 3x8 trunc 8 shift=28 group=1
v 10 candidate rep 16 3x8 reduce_examples 9
out total 10 max_candidates=3
out pairs 9
end
"""


def change(line: int, text: str) -> str:
    lines = GOOD.splitlines()
    lines[line - 1] = text
    return "\n".join(lines) + "\n"


def test_the_good_program_is_accepted() -> None:
    Simulator(GOOD)


SYNTAX = [
    (2, "secfwt-program 1", "'secfwt-program 4' expected"),
    (4, "w 0 setup", "'w' found, fit, v, out or end expected"),
    (4, "v 1 setup rep 48 8x4 weight - name=w", "numbered in file order, 0 expected"),
    (4, "v 0 setup rep 48 8x4", "ends where a kind is expected"),
    (4, "v 0  setup rep 48 8x4 weight - name=w", "separated by one space"),
    (4, "v 0 later rep 48 8x4 weight - name=w", "stage is 'later', must be one of: setup, example, candidate, pair"),
    (4, "v 0 setup foo 48 8x4 weight - name=w", "sharing is 'foo', must be one of: rep, add, pub"),
    (4, "v 0 setup rep 4.5 8x4 weight - name=w", "scale is '4.5', must be an integer"),
    (4, "v 0 setup rep 48 8x weight - name=w", "dimension of shape 8x is ''"),
    (4, "v 0 setup rep 48 8x0 weight - name=w", "dimension of shape 8x0 is '0', must be an integer from 1"),
    (4, "v 0 setup rep 48 1048576x1048577 weight - name=w", "more than 2.40 elements"),
    (4, "v 0 setup rep 48 8x4 wait - name=w", "kind is 'wait', must be one of: weight, example, .*fourier"),
    (4, "v 0 setup rep 48 8x4 weight -", "key 'name' is missing"),
    (4, "v 0 setup rep 48 8x4 weight - name=w by=3", "key 'by' does not belong here"),
    (4, "v 0 setup rep 48 8x4 weight - name=w name=v", "key 'name' is given twice"),
    (4, "v 0 setup rep 48 8x4 weight - name", "'name' found, key=value expected"),
    (9, "v 4 example add 64 3x4 matmul 1,4", "input value is '4', must be an integer from 0 to 3"),
    (9, "v 4 example add 64 3x4 matmul 1", "matmul: has 1 inputs, must have 2"),
    (8, "v 3 setup pub 12 2x8 public - name=A seed=0011 bits=13", "seed is '0011', must be 32"),
    (8, f"v 3 setup pub 12 2x8 public - name=A seed={'0' * 32} bits=17", "bits is '17', must be an integer"),
    (8, "v 3 setup pub 0 2x2 table - name=t numbers=1,2,3", "3 numbers found, its shape has 4"),
    (8, "v 3 setup pub 0 2x1 table - name=t numbers=1,65536", "number is '65536', must be an integer from -65535"),
    (10, "v 5 example rep 28 3x8 cos_sin 4 group=0 k=33 fc=14 fa=14", "k is '33', must be an integer from 8 to 32"),
    (10, "v 5 example rep 61 3x8 cos_sin 4 group=0 k=16 fc=40 fa=21", "fc \\+ fa is 61, must be at most 60"),
    (11, "v 6 example rep 26 3x4 fourier 4 fit=1 group=0", "fit is '1', must be an integer from 0 to 0"),
    (14, "v 9 pair rep 16 3x8 trunc 8 shift=63 group=1", "shift is '63', must be an integer from 1 to 62"),
    (16, "out total 11", "value is '11', must be an integer from 0 to 10"),
    (16, "out total 0", "stage setup, an output must have another"),
    (17, "out total 9", "output 'total' is defined twice"),
    (16, "out total 10 max_candidates=0", "max_candidates is '0', must be an integer from 1"),
    (16, "out total 10 noise=0", "noise is '0', must be an integer from 1 to 72057594037927936"),
    (16, "out total 10 noise=72057594037927937", "noise is '72057594037927937', must be an integer from 1"),
    (16, "out total 10 ring=7", "ring is '7', must be an integer from 8 to 64"),
    (6, "v 1 example rep 16 3x8 example - name=x ring=1", "ring is '1', must be an integer from 2 to 64"),
    (8, f"v 3 setup pub 12 2x8 public - name=A ring=40 seed={'0' * 32} bits=13", "key 'ring' does not belong here"),
    (18, "end 1", "'1' found, end of line expected"),
]
FITS = [
    ("fit 1 k=16 fc=13 fa=13 ring=32 const=0 m=1 re=1 im=0", "numbered in file order, 0 expected"),
    ("fit 0 k=7 fc=13 fa=13 ring=32 const=0 m=1 re=1 im=0", "k is '7', must be an integer from 8 to 32"),
    ("fit 0 k=9 fc=13 fa=13 ring=32 const=0 m=1 re=1 im=0 tail=2", "tail is '2', must be an integer from 1 to 1"),
    ("fit 0 k=9 fc=13 fa=13 ring=32 const=0 m=1 re=1 im=0 tail=1", "tail_fa"),
    (
        "fit 0 k=9 fc=13 fa=13 ring=32 const=0 m=1 re=1 im=0 tail=1 tail_fa=14 tail_ring=20",
        "tail_fa is '14', must be an integer from 0 to 13",
    ),
    (
        "fit 0 k=9 fc=13 fa=13 ring=32 const=0 m=1 re=1 im=0 tail=1 tail_fa=9 tail_ring=33",
        "tail_ring is '33', must be an integer from 8 to 32",
    ),
    (
        "fit 0 k=9 fc=13 fa=13 ring=32 const=0 m=1,2 re=1,1 im=0,0 tail=1 tail_fa=9 tail_ring=24",
        "tail's sum at scale fc \\+ tail_fa reaches 2.22[.]00.*, must be below 2.22 in a ring of 24 bits",
    ),
    ("fit 0 k=16 fc=13 fa=13 ring=65 const=0 m=1 re=1 im=0", "ring is '65', must be an integer from 8 to 64"),
    ("fit 0 k=16 fc=13 fa=31 ring=32 const=0 m=1 re=1 im=0", "fa is '31', must be an integer from 0 to 30"),
    ("fit 0 k=16 fc=13 fa=13 ring=32 const=nan m=1 re=1 im=0", "const is 'nan', must be a finite number"),
    ("fit 0 k=16 fc=13 fa=13 ring=32 const=0 m=1,2 re=1 im=0", "m, re and im have 2, 1 and 1 entries"),
    ("fit 0 k=16 fc=13 fa=13 ring=32 const=0 m=0 re=1 im=0", "harmonic is '0', must be an integer from 1 to 65535"),
    ("fit 0 k=16 fc=40 fa=13 ring=64 const=0 m=7 re=2000 im=0", "harmonic 7: .* below 2.50"),
    ("fit 0 k=16 fc=40 fa=30 ring=64 const=0 m=1 re=1 im=0", "fc \\+ fa is 70, must be at most 60"),
]
TOO_LARGE = [
    ("fc=13 fa=13 ring=32 const=0 m=1 re=40 im=0", 26, r"reaches 2\^31.3\d+, must be below 2\^30 .* 32 bits"),
    ("fc=13 fa=13 ring=29 const=0 m=1 re=2 im=0", 26, r"reaches 2\^27.0\d*, must be below 2\^27 .* 29 bits"),
    ("fc=30 fa=28 ring=64 const=-15 m=1,3 re=1,0 im=0,-0.5", 58, r"reaches 2\^6\d.\d+, must be below 2\^62"),
]
MEANING = [
    (6, "v 1 setup rep 16 3x8 example - name=x", "stage is setup, example expected"),
    (6, "v 1 example add 16 3x8 example - name=x", "sharing is add, rep expected"),
    (9, "v 4 example add 64 3x5 matmul 1,0", "shape is 3x5, 3x4 expected"),
    (9, "v 4 example add 64 3x8 matmul 1,2", "shape is 3x8, 3 expected"),
    (9, "v 4 example add 64 3x8 matmul 1,3", "inner dimensions of 3x8 @ 2x8 differ"),
    (9, "v 4 example rep 64 3x4 matmul 1,0", "sharing is rep, add expected"),
    (9, "v 4 pair add 64 3x4 matmul 1,0", "stage is pair, example expected"),
    (10, "v 5 example rep 28 3x4 cos_sin 4 group=0 k=16 fc=14 fa=14", "shape is 3x4, 3x8 expected"),
    (10, "v 5 example rep 27 3x8 cos_sin 4 group=0 k=16 fc=14 fa=14", "scale is 27, 28 expected"),
    (10, "v 5 example rep 28 3x16 cos_sin 1 group=0 k=16 fc=14 fa=14", "phase and must have scale 64, not 16"),
    (11, "v 6 example rep 26 3x8 fourier 5 fit=0 group=0", "phase and must have scale 64, not 28"),
    (11, "v 6 example rep 24 3x8 trunc 5 shift=4 group=0", "depends on value 5 of its own group 0"),
    (14, "v 9 pair rep 16 3x8 trunc 8 shift=28 group=0", "group 0 was used before"),
    (12, "v 7 pair rep 16 3x8 sub 1,0", "shapes 3x8 and 8x4 do not broadcast"),
    (12, "v 7 example rep 16 3x8 sub 1,5", "scales 16 and 28 must be equal"),
    (13, "v 8 example add 92 3x4 mul 4,6", "additive input can be multiplied with a public one only"),
    (13, "v 8 pair rep 16 3x8 reshare 7 group=3", "its input's sharing is rep, must be add"),
    (13, "v 8 setup rep 12 2x8 trunc 3 shift=4 group=3", "its input is public, must be shared"),
    (13, "v 8 pair rep 16 3x8 lift 7 ring=64 group=3", "lift: ring is 64, must be larger than its input's, .* 64 bits"),
    (13, "v 8 example add 64 3x4 lift 4 ring=64 group=3", "lift: its input's sharing is add, must be rep"),
    (13, "v 8 pair rep 17 3x8 lift 7 ring=64 group=3", "lift: scale is 17, 16 expected"),
    (13, "v 8 pair rep 16 3x9 concat 7,5 axis=-1", "shape is 3x9, 3x16 expected"),
    (13, "v 8 pair rep 16 6x8 concat 7,4 axis=-2", "shapes 3x8 and 3x4 must agree but for axis -2"),
    (13, "v 8 pair rep 16 3x3 slice 7 axis=-1 lo=5 hi=9", "lo=5 hi=9 must satisfy 0 <= lo < hi <= 8"),
    (13, "v 8 pair rep 16 5x5 reshape 7", "3x8 cannot become 5x5"),
    (13, "v 8 pair rep 16 8x3 permute 7 axes=1,1", "axes must name each of the 2 axes"),
    (13, "v 8 pair rep 16 3 sum 7 axis=-2", "shape is 3, 1x8 expected"),
    (13, "v 8 pair rep 16 3x8 sum 7 axis=-3", "axis is '-3', must be an integer from -2 to -1"),
    (15, "v 10 candidate rep 16 8 reduce_examples 2", "its input has stage candidate, must have stage pair"),
    (14, "v 9 pair rep 16 3x8 trunc 8 shift=28 ring=7 group=1", "ring is '7', must be an integer from 8 to 64"),
    (14, "v 9 pair rep 16 3x8 trunc 8 shift=28 ring=36 rounds=2 group=1", "leaves 3 to 35 bits .* ring, not 36"),
    (14, "v 9 pair rep 16 3x8 trunc 8 shift=62 ring=36 rounds=2 group=1", "leaves 3 to 35 bits .* ring, not 2"),
    (14, "v 9 pair rep 16 3x8 trunc 7 shift=28 rounds=2 group=1", "is for an additive input, its sharing is rep"),
    (13, "v 8 candidate pub 12 3x8 window 3 rows=3", "rows=3 must be at most 2"),
    (13, "v 8 candidate rep 16 3x8 window 7 rows=3", "its input has stage pair, must have stage setup"),
    (13, "v 8 setup pub 12 1x8 window 3 rows=1", "stage is setup, candidate expected"),
    (13, "v 8 pair rep 16 3x8 append 1,7", "its first input is a example, must be a state"),
    (10, "v 5 example rep 8 3x8 cos_sin 4 k=16 fc=14 fa=14 sum=20 shift=20 group=0", "its sum's ring has 20 bits"),
]


@pytest.mark.parametrize(("line", "text", "message"), [*SYNTAX, *MEANING, *((3, t, m) for t, m in FITS)])
def test_refusals(line: int, text: str, message: str) -> None:
    with pytest.raises(SimulatorError, match=f"program line {line}: .*{message}"):
        Simulator(change(line, text))


@pytest.mark.parametrize(("fit", "scale", "message"), TOO_LARGE)
def test_a_series_that_outgrows_the_ring_of_its_sum_is_refused(fit: str, scale: int, message: str) -> None:
    text = change(3, f"fit 0 k=16 {fit}").replace("rep 26 3x4 fourier", f"rep {scale} 3x4 fourier")
    with pytest.raises(SimulatorError, match=f"program line 11: fourier: .*{message}"):
        Simulator(text)
    # where the result needs no more than what is left of the sum, a wrap is a multiple of its ring
    if "ring=64" not in fit:
        ring = re.findall(r"ring=(\d+)", fit)[0]
        Simulator(text.replace("fourier 4 fit=0 group=0", f"fourier 4 fit=0 ring={ring} group=0"))


def test_a_series_whose_amplitudes_add_up_to_more_than_it_reaches_is_accepted() -> None:
    """Amplitudes of 8 + 8 + 8 make 2^30.6 at scale 26, but cos θ - cos 3θ + sin 2θ stays below 3/4 of their sum."""
    Simulator(change(3, "fit 0 k=16 fc=13 fa=13 ring=32 const=0 m=1,2,3 re=6.5,0,-6.5 im=0,-3.5,0"))


@pytest.mark.parametrize("byte", ["\r", "\t", "\x0b", "\x0c", "\x7f", "é", "\u2028"])
def test_bytes_that_may_end_a_line_for_some_readers_are_refused_by_both_parsers(tmp_path: Path, byte: str) -> None:
    """Otherwise a comment could hold an output that people and clients see, and the parties do not."""
    text = change(16, f"out total 10 # {byte}out raw 0")
    found = f"byte {byte.encode()[0]} found, a program is printable ASCII"
    assert refusal(text).startswith(f"program line 16: {found}")
    path = tmp_path / "program.txt"
    path.write_bytes(text.encode())
    with pytest.raises(ProgramTextError, match=f":16: {found}"):
        read_program(path)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("v 9 pair rep 0 3x4 trunc 8 shift=39 ring=20 group=2", "trunc: shift is 39, its input's ring has 40 bits"),
        ("v 9 pair rep 26 3x4 fourier 8 fit=0 group=2", "fourier: .*a ring of 64 bits, not 40 bits"),
        ("v 9 pair rep 16 3x4 reshare 8 ring=41 group=2", "reshare: ring is 41, its input's has 40 bits"),
    ],
)
def test_what_a_narrow_ring_cannot_be_used_for(line: str, message: str) -> None:
    """Value 8 is in Z_2^40."""
    narrow = ["v 7 example rep 64 3x4 trunc 4 shift=20 ring=40 group=1", "v 8 example add 64 3x4 mul 7,7"]
    text = "\n".join([*GOOD.splitlines()[:11], *narrow, line.replace("pair", "example"), "out a 2", "end", ""])
    with pytest.raises(SimulatorError, match=f"program line 14: {message}"):
        Simulator(text)


def test_outputs_have_the_rings_of_their_values() -> None:
    text = change(14, "v 9 pair rep 16 3x8 trunc 8 shift=28 ring=30 group=1")
    message = "program line 16: output total is opened in a ring of 64 bits, value 10 has one of 30"
    with pytest.raises(SimulatorError, match=message):
        Simulator(text)
    Simulator(text.replace("out total 10", "out total 10 ring=30").replace("out pairs 9", "out pairs 9 ring=30"))


STATES = """\
secfwt-program 4
v 0 candidate rep 16 2x4 candidate - name=rows
v 1 example rep 16 6x4 state - name=kept
v 2 pair rep 16 6x4 append 1,0
out all 2 max_candidates=1
end
"""


def test_a_state_is_accepted() -> None:
    Simulator(STATES)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("v 2 pair", "v 2 example", "append: stage is example, pair expected"),
        ("6x4 append 1,0", "6x4 add 1,1", "add: stage is pair, example expected"),
        (
            "v 2 pair rep 16 6x4 append 1,0",
            "v 2 example rep 16 6x4 add 1,1",
            "add: reads a state, which only append may",
        ),
        ("6x4 append", "2x4 append", "append: shape is 2x4, 6x4 expected"),
        ("16 2x4 candidate", "16 7x4 candidate", "append: shape 7x4 holds no rows of 6x4"),
        ("16 2x4 candidate", "17 2x4 candidate", "append: its inputs' scales 16 and 17 must be equal"),
        ("1,0\n", "1,0\nv 3 pair rep 16 6x4 append 1,0\n", "append: its state has another append"),
        (" max_candidates=1", "", "append: output 'all' depends on append: it must have max_candidates=1"),
        (" max_candidates=1", " max_candidates=2", "append: output 'all' depends on append"),
        ("v 1 example rep 16 6x4 state", "v 1 setup rep 16 6x4 state", "state: stage is setup, example expected"),
    ],
)
def test_refused_states(old: str, new: str, message: str) -> None:
    with pytest.raises(SimulatorError, match=message):
        Simulator(STATES.replace(old, new))


KEPT = """\
secfwt-program 4
v 0 setup rep 0 2x3 kept - name=means
v 1 example rep 0 2x3 example - name=x
v 2 candidate rep 0 1 candidate - name=weight
v 3 pair add 0 2x3 mul 1,2
v 4 candidate add 0 2x3 reduce_examples 3
v 5 candidate rep 0 2x3 reshare 4 group=0
v 6 candidate add 0 2x3 mul 0,2
out made 5 max_candidates=1 keep=0
out read 6
end
"""


def test_what_is_kept_is_read_by_later_steps() -> None:
    rng = np.random.default_rng(0)
    weights, x = np.array([2]), rng.integers(-1000, 1000, (4, 2, 3))
    sim = Simulator(KEPT)
    sim.weights(np.empty(0, np.uint64))
    sim.examples(4, x.reshape(-1))
    with pytest.raises(SimulatorError, match="output read reads means, which no step has made yet"):
        sim.step(1, weights, 1)
    for factor in (2, -3):
        assert not sim.step(1, np.array([factor]), 0).size
        read = sim.step(2, np.array([5, 7]), 1).view(np.int64).reshape(2, 2, 3)
        assert (read == np.array([5, 7])[:, None, None] * factor * x.sum(axis=0)).all()
    assert not sim.step(1, np.array([5]), 0, at=1).size  # added to the last one
    assert (sim.step(1, weights, 1).view(np.int64).reshape(2, 3) == 2 * (5 - 3) * x.sum(axis=0)).all()
    with pytest.raises(SimulatorError, match="output made is added to one part, and there are 2"):
        sim.step(1, weights, 0, at=1)
    sim.weights(np.empty(0, np.uint64))
    sim.examples(4, x.reshape(-1))
    with pytest.raises(SimulatorError, match="which no step has made yet"):
        sim.step(1, weights, 1)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("keep=0", "keep=1", "example: an output is to be kept in a example"),
        ("out made 5", "out made 6", "mul: is to be kept in value 0: it must be a rep of stage candidate"),
        ("v 0 setup rep 0 2x3", "v 0 setup rep 1 2x3", "reshare: is to be kept in value 0"),
        (" max_candidates=1", "", "output 'made' is kept: it must have max_candidates=1, and no max_opened"),
        (" keep=0", " keep=0 noise=5", "output 'made' is kept: it must have no noise, as nothing is opened"),
        (" keep=0", "", "kept: is made by 0 outputs, must be made by one"),
        (" keep=0\n", " keep=0\nout again 5 max_candidates=1 keep=0\n", "kept: is made by 2 outputs"),
        ("v 6 candidate add 0 2x3 mul 0,2", "v 6 example add 0 2x3 mul 0,1", "reads a kept value in stage example"),
        ("v 0 setup rep", "v 0 example rep", "kept: stage is example, setup expected"),
    ],
)
def test_refused_kept_values(old: str, new: str, message: str) -> None:
    with pytest.raises(SimulatorError, match=message):
        Simulator(KEPT.replace(old, new))


def test_noise_must_leave_room_in_the_ring() -> None:
    """21 standard deviations of one party's, which three parties' sum stays below."""
    text = change(14, "v 9 pair rep 16 3x8 trunc 8 shift=28 ring=20 group=1")
    text = text.replace("out total 10", "out total 10 ring=20 noise=12483").replace(
        "out pairs 9", "out pairs 9 ring=20"
    )
    Simulator(text)
    with pytest.raises(SimulatorError, match=r"noise is 12484: .* reaches 21 times that, .* below 2\^18 .* 20 bits"):
        Simulator(text.replace("noise=12483", "noise=12484"))


def test_sums_over_examples_cannot_meet_examples_again() -> None:
    text = change(16, "v 11 pair rep 16 3x8 add 10,1").replace("out pairs 9", "out pairs 11")
    with pytest.raises(SimulatorError, match="program line 16: add: an input depends on reduce_examples"):
        Simulator(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1: the file ends"),
        (GOOD.replace("end\n", ""), "line 18: the file ends where a line 'end' is expected"),
        (GOOD + "v 11", "line 19: 'v 11' found after end"),
        ("secfwt-program 4\nend\n", "no output"),
        ("secfwt-program 4\nout a 0\nend\n", "line 2: value is '0'"),
        ("secfwt-program 4\nv 0 candidate rep 0 4 fourier - fit=0 group=1\n", "line 2: no fit is defined before"),
        ("secfwt-program 4\nv 0 candidate rep 0 4 add -\n", "line 2: add: has 0 inputs, must have 2"),
        ("secfwt-program 4\nv 0 candidate rep 0 4 scale 0 by=1\n", "line 2: input value is '0'"),
    ],
)
def test_files_that_are_not_programs(text: str, message: str) -> None:
    with pytest.raises(SimulatorError, match=message):
        Simulator(text)


def refusal(text: str) -> str:
    """What the parser says; empty where it accepts."""
    try:
        Simulator(text)
    except SimulatorError as error:
        return str(error)
    return ""


def test_the_parser_knows_the_compilers_operations() -> None:
    listed = refusal(change(4, "v 0 setup rep 48 8x4 wait - name=w")).split("must be one of: ")[1]
    assert set(listed.strip().split(", ")) == OPERATIONS.keys()


LINES = {
    "weight": (4, "v 0 setup rep 48 8x4 weight - name=w ring=64"),
    "example": (6, "v 1 example rep 16 3x8 example - name=x ring=64"),
    "candidate": (7, "v 2 candidate rep 16 8 candidate - name=z ring=64"),
    "public": (8, f"v 3 setup pub 12 2x8 public - name=A seed={'0' * 32} bits=13"),
    "constant": (8, f"v 3 setup pub 12 2x8 constant - name=A bytes=3 sha256={'0' * 64}"),
    "cos_sin": (10, "v 5 example rep 28 3x8 cos_sin 4 group=0 k=16 fc=14 fa=14 sum=64"),
    "trunc": (14, "v 9 pair rep 16 3x8 trunc 8 shift=28 ring=64 rounds=2 group=1"),
    "fourier": (11, "v 6 example rep 26 3x4 fourier 4 fit=0 shift=0 ring=64 group=0"),
}


def test_parser_and_compiler_refuse_the_same_scales_of_phasors() -> None:
    def use(fc: int) -> Use:
        phase = RingValue(
            id=0,
            kind="example",
            inputs=(),
            shape=(3, 4),
            stage=Stage.EXAMPLE,
            bound=1.0,
            sharing=Sharing.REP,
            scale=PHASE,
        )
        return Use((phase,), {"k": 16, "fc": fc, "fa": 25, "sum": 64, "shift": 0, "ring": 64})

    assert OPERATIONS["cos_sin"].derive(use(35))[2] == 60
    with pytest.raises(ValueError, match="fc \\+ fa is 61, must be at most 60"):
        OPERATIONS["cos_sin"].derive(use(36))
    line = "v 5 example rep 60 3x8 cos_sin 4 group=0 k=16 fc={} fa=25"
    assert "fc + fa" not in refusal(change(10, line.format(35)))
    assert "fc + fa is 61, must be at most 60" in refusal(change(10, line.format(36)))


@pytest.mark.parametrize(
    ("kind", "key"),
    [
        ("weight", "ring"),
        ("example", "ring"),
        ("candidate", "ring"),
        ("public", "bits"),
        ("constant", "bytes"),
        ("cos_sin", "k"),
        ("cos_sin", "fc"),
        ("cos_sin", "fa"),
        ("trunc", "shift"),
        ("trunc", "ring"),
        ("trunc", "rounds"),
        ("fourier", "shift"),
        ("fourier", "ring"),
        ("cos_sin", "sum"),
    ],
)
def test_parser_and_compiler_accept_the_same_keys(kind: str, key: str) -> None:
    number, line = LINES[kind]
    accepted = {**OPERATIONS[kind].keys, **OPERATIONS[kind].optional}[key].holds
    tried = range(-1, 66)
    assert {accepted(x) for x in tried} == {True, False}
    for x in tried:
        said = refusal(change(number, re.sub(rf" {key}=\d+", f" {key}={x}", line)))
        assert (f"{key} is" in said) != accepted(x), said
