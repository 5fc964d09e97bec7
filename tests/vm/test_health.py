"""`--health`: on the VM as in the fixed-point oracle, and what it sees of values outside calibrated intervals."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.ring_toys import Toy, toy
from secfwt.codegen.lowering.scales import ROW
from secfwt.codegen.native.simulator import Simulator
from secfwt.codegen.plan.oracle import run_plan
from secfwt.codegen.ring.cost import generation_cost
from secfwt.codegen.ring.encoding import decode, encode
from secfwt.codegen.ring.oracle import run_program
from secfwt.codegen.ring.text import program_text
from secfwt.codegen.ring.unstaged import unstaged

SCALE = 40


def health(t: Toy, words: dict[str, np.ndarray], program: object = None) -> np.ndarray:
    """Loss and wrong rows of every candidate `[C, 2]`."""
    return decode(run_program(program or t.ring, words, ("loss_health",))["loss_health"], SCALE)  # type: ignore[arg-type]


def others(
    t: Toy, factor: float, examples: int, head: str = "bert"
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Inputs of examples that were not calibrated on, rows longer by a factor: reals, and with weights ring words."""
    inputs = dict(toy(head, examples=examples).inputs)
    inputs["x"] = inputs["x"] * factor
    names = [(v.attrs["name"], v.scale) for kind in ("example", "candidate") for v in t.ring.inputs(kind)]
    return inputs, t.words | {name: encode(inputs[name], scale) for name, scale in names}


@pytest.mark.parametrize(
    ("head", "variant", "layer"),
    [
        ("prototypes", "folded", 1),
        ("masked_lm", "folded", 0),
        ("bert", "softmax", 1),
        ("bert", "folded", 0),
        ("bert", "relu2", 1),
    ],
)
def test_all_is_well_inside_the_intervals(head: str, variant: str, layer: int) -> None:
    t = toy(head, variant=variant, prompt_layer=layer, health=True)
    assert t.health is not None
    oracle = health(t, t.words)
    assert (np.abs(oracle[:, 1]) < t.health).all()
    assert oracle[:, 0] == pytest.approx(t.reference["loss_health"][:, 0], abs=0.02)
    s = Simulator(program_text(t.ring), 1 << 22)
    for kind, give in (("weight", s.weights), ("example", lambda words: s.examples(len(t.inputs["x"]), words))):
        flat = [t.words[v.attrs["name"]].reshape(-1) for v in t.ring.inputs(kind)]
        give(np.concatenate(flat).astype(np.uint64))
    vm = decode(s.step(len(oracle), t.words["z"].astype(np.uint64), 0).view(np.int64), SCALE).reshape(-1, 2)
    assert (np.abs(vm[:, 1]) < t.health).all()
    assert vm[:, 0] == pytest.approx(oracle[:, 0], abs=0.02)


@pytest.mark.parametrize("layer", [0, 1])
def test_staged_and_unstaged_agree_on_wrong_rows(layer: int) -> None:
    t = toy("bert", prompt_layer=layer, health=True)
    _, words = others(t, 1.5, 6)
    staged = health(t, words)
    assert (staged[:, 1] > 1).all()
    assert health(t, words, unstaged(t.ring)) == pytest.approx(staged, abs=1e-3)


@pytest.mark.parametrize("factor", [1.0, 1.15, 1.5, 3.0])
def test_a_result_is_right_or_flagged(factor: float) -> None:
    t = toy("bert", health=True)  # calibrated on three examples
    assert t.health is not None
    inputs, words = others(t, factor, 40)
    logits = decode(run_program(t.ring, words, ("logits",))["logits"], 16)
    reference = run_plan(t.plan, t.weights, inputs)["logits"]
    wrong = (np.abs(logits.reshape(reference.shape) - reference).max(axis=-1) > 0.05)[0]
    assert wrong.any() == (factor > 1)
    one = {"example_weight": encode(np.ones((1, 1)), 24)}
    shared = {v.attrs["name"] for v in t.ring.inputs("example")} - set(one)
    for e in np.flatnonzero(wrong):
        alone = words | {name: words[name][e : e + 1] for name in shared} | one
        assert health(t, alone)[0, 1] > t.health


@pytest.mark.parametrize("layer", [0, 1])
@pytest.mark.parametrize("head", ["prototypes", "bert"])
def test_a_prompt_in_every_layer(head: str, layer: int) -> None:
    t = toy(head, prompt_layer=layer, deep=True, health=True)
    assert t.health is not None
    assert (np.abs(health(t, t.words)[:, 1]) < t.health).all()
    z = t.words["z"] * 40  # rows of the prompt far longer than any calibrated on
    assert (health(t, t.words | {"z": z})[:, 1] > t.health).all()


def test_dead_rows_do_not_count() -> None:
    t = toy("bert", health=True)
    x, mask = t.inputs["x"].copy(), t.inputs["mask"]
    x[mask == 0] *= 30
    assert (mask == 0).any()
    assert t.health is not None
    assert (np.abs(health(t, t.words | {"x": encode(x, ROW)})[:, 1]) < t.health).all()


@pytest.mark.parametrize("head", ["prototypes", "bert"])
def test_a_wrong_row_sum_is_flagged(head: str) -> None:
    """Softmax calibrated on three examples: rows of others have sums below the interval of 1/n, and right lengths."""
    t = toy(head, variant="softmax", health=True)
    assert t.health is not None
    inputs, words = others(t, 1.0, 60, head)
    logits = decode(run_program(t.ring, words, ("logits",))["logits"], 16)
    reference = run_plan(t.plan, t.weights, inputs)["logits"]
    wrong = np.flatnonzero((np.abs(logits.reshape(reference.shape) - reference).max(axis=-1) > 0.06)[0])
    assert wrong.size > 5
    one = {"example_weight": encode(np.ones((1, 1)), 24)}
    shared = {v.attrs["name"] for v in t.ring.inputs("example")} - set(one)
    for e in wrong:
        alone = words | {name: words[name][e : e + 1] for name in shared} | one
        assert (health(t, alone)[:, 1] > t.health).any()


@pytest.mark.parametrize("variant", ["folded", "softmax"])
def test_it_costs_little(variant: str) -> None:
    with_it, without = (toy("prototypes", variant=variant, health=h).ring for h in (True, False))
    cost, base = generation_cost(with_it, 2, 3), generation_cost(without, 2, 3)
    assert base.bytes < cost.bytes < 1.2 * base.bytes  # of heads of 8; a head's own bytes grow with its width
    assert cost.rounds <= base.rounds + 4 * 2
