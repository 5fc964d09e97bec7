"""What a party takes in a step, and while examples arrive: bounded by tiles, whatever the set's size."""

from __future__ import annotations

import re
from functools import cache

from helpers.places import ROOT
from helpers.plan_toys import SMALL, model
from secfwt.codegen.lowering.program import lower
from secfwt.codegen.memory import LIVE_VALUES, loading_bytes, step_bytes
from secfwt.codegen.model.options import GenOptions
from secfwt.codegen.native.defaults import AHEAD_MB, AMPLE_MB, IDLE_MB
from secfwt.codegen.plan.build import build_plan
from secfwt.codegen.ring.program import RingProgram
from secfwt.codegen.series.ranges import Ranges

MANY = 10**7
GB = 2**30


@cache
def toy() -> RingProgram:
    return lower(build_plan(model("classification"), GenOptions(**SMALL, prompt_layer=1)), None, Ranges()).ring


def test_constants_are_the_vms() -> None:
    sizes = re.findall(r"k(?:MostIdle|Ample) = std::size_t\{(\d+)\} << 20", (ROOT / "vm/ring/memory.h").read_text())
    live = re.findall(r"kLiveValues = (\d+);", (ROOT / "vm/mpc/engine.cpp").read_text())
    assert [int(found) for found in (*sizes, *live)] == [IDLE_MB, AMPLE_MB, LIVE_VALUES]


def test_more_pairs_take_more_tiles_and_not_more_memory() -> None:
    few, more, most = (step_bytes(toy(), 2, n, GB) for n in (4, 400, MANY))
    assert few < more < most
    assert step_bytes(toy(), 2, 2 * MANY, GB) == most
    assert most < GB + 500e6 + (AHEAD_MB + IDLE_MB) * 2**20
    assert most < step_bytes(toy(), 2, MANY, 0) + GB, "a party that keeps little has more that is idle"


def test_more_examples_take_the_memory_of_their_inputs_alone() -> None:
    given = 16 * sum(v.size for v in toy().inputs("example"))
    assert loading_bytes(toy(), 2 * MANY, GB) - loading_bytes(toy(), MANY, GB) == given * MANY
    assert loading_bytes(toy(), 8, GB) - loading_bytes(toy(), 4, GB) > 4 * given
