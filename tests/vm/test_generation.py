"""Generation on the VM: three parties against both oracles, counted traffic, and what steps leave behind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.generations import Toy, compiled_toy
from secfwt.codegen.native.simulator import Simulator, SimulatorError
from secfwt.codegen.plan.graph import Output, Stage
from secfwt.codegen.ring.cost import generation_cost, stage_cost
from secfwt.codegen.ring.encoding import decode, encode

BEHIND = " film was new"


STATES = """\
secfwt-program 4
v 0 candidate rep 0 2x3 candidate - name=rows
v 1 example rep 0 1x3 example - name=x
v 2 example rep 0 5x3 state - name=kept
v 3 setup pub 0 5x1 table - name=places numbers=10,20,30,40,50
v 4 candidate pub 0 2x1 window 3 rows=2
v 5 candidate rep 0 2x3 mul 0,4
v 6 pair rep 0 2x3 add 5,1
v 7 pair rep 0 5x3 append 2,6
out first 1
out all 7 max_candidates=1
end
"""


@pytest.mark.parametrize("tile_words", [1, 1 << 20])
def test_states_windows_and_what_is_opened_of_examples(tile_words: int) -> None:
    """Each of three examples keeps rows·place + x, whatever tiles they are computed in."""
    rng = np.random.default_rng(0)
    x = rng.integers(0, 1000, (3, 1, 3))
    sim = Simulator(STATES, tile_words)
    sim.examples(3, x.reshape(-1))
    assert (sim.step(0, np.empty(0, np.uint64), 0).reshape(x.shape) == x.astype(np.uint64)).all()
    kept = np.zeros((3, 5, 3), np.int64)
    for at in (0, 2, 3, 1):
        rows = rng.integers(-1000, 1000, (2, 3))
        kept[:, at : at + 2] = rows * np.array([[10 * (at + 1)], [10 * (at + 2)]]) + x
        assert (sim.step(1, rows.reshape(-1), 1, at=at).view(np.int64).reshape(kept.shape) == kept).all()


def test_estimates_know_how_many_keys_a_row_sees(tmp_path: Path) -> None:
    """Sums of weights, which a series inverts, are of a size, whether there are two keys or forty."""
    compiled = compiled_toy(tmp_path, "llama", sequence_length=8, max_new_tokens=40, step_rows=2)
    for layer in (0, 1):
        sums = compiled.plan.meta["calibration"][f"layers.{layer}.row_sum"]
        assert sums["max"] < 10 * sums["min"]  # 200 times where estimates do not know it
    toy, ring = Toy(compiled, "a good"), compiled.ring
    known = {v.id for v in ring if v.kind == "table" and v.attrs["name"].startswith("log_keys")}
    known |= {v.id for v in ring if v.kind == "window" and v.inputs[0] in known}
    rows, steps = (v for v in ring if v.kind == "sum" and known & set(ring[v.inputs[0]].inputs))
    ring.outputs.extend([Output("rows", rows.id), Output("steps", steps.id)])
    tokens = len(toy.ids("a good"))
    counted = toy.ring.example("rows").reshape(-1)[-tokens:]
    assert decode(counted, rows.scale) == pytest.approx(np.log(np.arange(tokens) + 2), abs=1e-3)  # with the first one
    for at in (0, 7):
        given = encode(toy.text.rows([5] * (at + 2), at)[None], ring.inputs("candidate")[0].scale)
        counted = toy.ring.step("steps", {"rows": given}, at).reshape(-1)
        assert decode(counted, steps.scale) == pytest.approx(np.log(tokens + at + np.array([2, 3])), abs=1e-3)


@pytest.mark.parametrize(
    ("family", "options"),
    [
        ("gpt2", {"frozen_layers": 1}), ("llama", {"n_prompt_tokens": 2, "prompt_layer": 1, "step_rows": 1}),
        ("qwen3", {}), ("llama-biased-untied", {}),
    ],
)  # fmt: skip
def test_the_vm_follows_the_oracles(family: str, options: dict[str, Any], tmp_path: Path) -> None:
    toy = Toy(compiled_toy(tmp_path, family, **options), "a good")
    behind = toy.ids(BEHIND)
    ring = toy.compiled.ring
    before = toy.simulator.counters()
    toy.simulator.examples(1, toy.examples)
    loaded = toy.simulator.counters() - before
    opened = [toy.first()]
    before = toy.simulator.counters()
    opened.append(toy.step(toy.ids(" bad the"), 0))
    stepped = toy.simulator.counters() - before
    # what stood at row 0 before is taken back
    opened += [toy.step(behind, at) for at in (0, 1, 2)]
    for counted, estimate in ((loaded, stage_cost(ring, Stage.EXAMPLE, 1)), (stepped, generation_cost(ring, 1, 1))):
        assert counted.rounds == estimate.rounds
        assert abs(counted.total - estimate.bytes) <= 0.004 * estimate.bytes
    for plan, fixed, vm in opened:
        exact, oracle, got = (toy.logits(each) for each in (plan, fixed, vm))
        largest = np.abs(exact).max()
        assert np.abs(got - oracle).max() < 0.02 * largest
        assert np.abs(got - exact).max() < 0.1 * largest
        assert (got.argmax(axis=-1) == oracle.argmax(axis=-1)).all()


def test_steps_end_where_there_is_no_room(tmp_path: Path) -> None:
    toy = Toy(compiled_toy(tmp_path, "llama"), "a good")
    rows = toy.compiled.options.remembered_rows
    step = np.zeros((2, 32), np.uint64)
    toy.simulator.step(1, step, 1, at=rows - 2)
    with pytest.raises(SimulatorError, match=f"cannot begin at place {rows - 1}; the last one is {rows - 2}"):
        toy.simulator.step(1, step, 1, at=rows - 1)
    with pytest.raises(SimulatorError, match="2 candidates asked for, output 'next' allows 1"):
        toy.simulator.step(2, np.zeros((2, 2, 32), np.uint64), 1)


def test_a_new_text_begins_with_nothing_behind_it(tmp_path: Path) -> None:
    """States are a set's: another set has its own, and one that is replaced begins again."""
    toy = Toy(compiled_toy(tmp_path, "llama", step_rows=1), "a good")
    behind = toy.ids(BEHIND)
    once, twice = toy.step(behind, 0)[2], toy.step(behind, 1)[2]
    toy.simulator.examples(1, toy.examples, set_id=1)
    toy.simulator.examples(1, toy.examples)
    ring = toy.compiled.ring
    words = encode(toy.text.rows(behind[:2]), ring.inputs("candidate")[0].scale)
    scale = ring[ring.outputs[0].value].scale
    for set_id in (0, 1):
        for at, expected in ((0, once), (1, twice)):
            got = toy.simulator.step(1, words[at], 1, set_id=set_id, at=at).view(np.int64)
            assert np.abs(decode(got, scale) - expected.reshape(-1)).max() < 0.05


def test_what_a_party_receives_in_steps_is_uniform_and_fresh(tmp_path: Path) -> None:
    """The same row at the same place twice, and another text's: nothing of it shows, nor that it was the same."""
    toy = Toy(compiled_toy(tmp_path, "llama", step_rows=8), "a good")
    views = []
    for text in ("film was", "film was", "the news"):
        toy.simulator.record()
        toy.step(toy.ids(text * 2), 0)
        views.append([
            np.frombuffer(toy.simulator.received(p, from_next=side), np.uint8) for p in range(3) for side in (0, 1)
        ])  # fmt: skip
    for parts in zip(*views, strict=True):
        least = min(len(part) for part in parts)  # tuples are dealt in batches: not as many in each step
        first, second, other = (part[:least] for part in parts)
        for data in (first, first ^ second, first ^ other):
            assert data.size > 15_000
            counts = np.bincount(data, minlength=256)
            assert (np.square(counts - data.size / 256) / (data.size / 256)).sum() < 450
