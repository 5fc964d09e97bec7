"""Whole toy models on the VM: three parties against the fixed-point oracle, and counted traffic against the
estimate."""

import numpy as np
import pytest
from helpers.ring_toys import Toy, toy
from secfwt.codegen.native.simulator import Simulator, SimulatorError
from secfwt.codegen.plan.graph import Stage
from secfwt.codegen.plan.oracle import run_plan
from secfwt.codegen.ring.cost import generation_cost, stage_cost
from secfwt.codegen.ring.encoding import decode, encode
from secfwt.codegen.ring.oracle import run_program
from secfwt.codegen.ring.text import program_text

CASES = [
    ("bert", "gelu", "folded", "ce"),
    ("distilbert", "relu", "folded", "hinge"),
    ("masked_lm", "gelu", "paper", "ce"),
    ("prototypes", "gelu", "folded", "ce"),
    ("bert", "gelu", "softmax", "ce"),
    ("prototypes", "relu", "softmax", "hinge"),
    ("prototypes", "gelu", "relu2", "ce"),
]


RNG = np.random.default_rng(0)


def flat(t: Toy, kind: str) -> np.ndarray:
    """Inputs of a kind with noise above their rings, where nobody reads them."""
    return np.concatenate([noisy(t.words[v.attrs["name"]], v.ring).reshape(-1) for v in t.ring.inputs(kind)])


def noisy(words: np.ndarray, ring: int) -> np.ndarray:
    noise = RNG.integers(0, 2 ** (64 - ring), words.shape, np.uint64) << np.uint64(ring % 64)
    return words.astype(np.uint64) + noise


def simulator(t: Toy, tile_words: int = 1 << 22) -> Simulator:
    s = Simulator(program_text(t.ring), tile_words)
    s.weights(flat(t, "weight"))
    return s


def outputs(t: Toy, s: Simulator) -> dict[str, np.ndarray]:
    candidates = len(t.inputs["z"])
    result = {}
    z = noisy(t.words["z"], t.ring.inputs("candidate")[0].ring)
    loss = t.ring.outputs[0]
    result["loss"] = decode(s.step(candidates, z, 0).view(np.int64), t.ring[loss.value].scale)
    logits = [s.step(1, z[c], 1).view(np.int64) for c in range(candidates)]
    result["logits"] = decode(np.stack(logits), t.ring[t.ring.outputs[1].value].scale)
    return result


@pytest.mark.parametrize(("head", "act", "variant", "loss"), CASES)
@pytest.mark.parametrize("prompt_layer", [0, 1])
def test_vm_follows_the_oracles(head: str, act: str, variant: str, loss: str, prompt_layer: int) -> None:
    follow(toy(head, act, variant, loss, prompt_layer=prompt_layer))


@pytest.mark.parametrize("variant", ["folded", "softmax"])
def test_so_it_does_in_few_rounds(variant: str) -> None:
    t = toy(variant=variant, rounds="few")
    assert sum("rounds" in v.attrs for v in t.ring) > 3
    follow(t)


def follow(t: Toy) -> None:
    """Whether the VM computes what the oracles do."""
    s = simulator(t)
    s.examples(len(t.inputs["x"]), flat(t, "example"))
    got = outputs(t, s)
    fixed = run_program(t.ring, t.words)
    spread = max(1.0, np.abs(t.reference["logits"]).max())
    for o in t.ring.outputs:
        oracle = decode(fixed[o.name], t.ring[o.value].scale).reshape(t.reference[o.name].shape)
        vm = got[o.name].reshape(oracle.shape)
        assert np.abs(vm - oracle).max() < 0.01 * spread
        assert np.abs(vm - t.reference[o.name]).max() < 0.02 * spread


@pytest.mark.parametrize(("variant", "rounds"), [("folded", "default"), ("softmax", "default"), ("folded", "few")])
def test_traffic_is_what_the_estimate_says(variant: str, rounds: str) -> None:
    t = toy("prototypes", variant=variant, rounds=rounds)
    s = simulator(t)
    examples, candidates = len(t.inputs["x"]), len(t.inputs["z"])
    start = s.counters()
    s.examples(examples, flat(t, "example"))
    loaded = s.counters() - start
    estimate = stage_cost(t.ring, Stage.EXAMPLE, examples)
    assert loaded.rounds == estimate.rounds
    assert abs(loaded.total - estimate.bytes) <= 0.002 * estimate.bytes
    before = s.counters()
    s.step(candidates, t.words["z"].astype(np.uint64), 0)
    stepped = s.counters() - before
    estimate = generation_cost(t.ring, candidates, examples)
    assert stepped.rounds == estimate.rounds
    assert abs(stepped.total - estimate.bytes) <= 0.002 * estimate.bytes
    assert max(stepped.bytes_sent) < 1.1 * min(stepped.bytes_sent)


@pytest.mark.parametrize("head", ["prototypes", "masked_lm"])
def test_shots_become_part_of_the_head(head: str) -> None:
    """Means that are kept, of one set, of another in its place and of both, are what later steps read; traffic is as
    estimated."""
    t = toy(head, variant="softmax", shots=4.0)  # two candidates: pairs in one tile a lane
    s, candidates = simulator(t), len(t.inputs["z"])
    names = [o.name for o in t.ring.outputs]
    z = np.concatenate([noisy(t.words[v.attrs["name"]], v.ring).reshape(-1) for v in t.ring.inputs("candidate")])
    examples, z0, first = len(t.inputs["x"]), t.inputs["z"][:1], t.words["z"][:1].reshape(-1)
    (numbers,) = (v for v in t.ring.inputs("candidate") if v.attrs["name"] == "shots")
    parts = {part: np.full((1, numbers.size), part) for part in (1.0, 0.5)}
    one, half = (np.concatenate([first, encode(p, numbers.scale).reshape(-1)]) for p in parts.values())
    s.examples(examples, flat(t, "example"))
    with pytest.raises(SimulatorError, match="output loss reads class_means, which no step has made yet"):
        s.step(candidates, z, 0)
    for at, why in ((1, "class_means is added to one part, and there are 0"), (2, "at place 2; the last one is 1")):
        with pytest.raises(SimulatorError, match=why):
            s.step(1, one, names.index("class_means"), at=at)
    means = []
    for kept in ("first", "second", "both"):
        if kept == "second":  # other labels, other means
            t.inputs["labels"] = np.roll(t.inputs["labels"], 1, axis=1)
            t.words["labels"] = np.roll(t.words["labels"], 1, axis=1)
            s.examples(examples, flat(t, "example"), 1)
        sets = {"first": [(0, one)], "second": [(1, one)], "both": [(0, half), (1, half)]}[kept]
        for at, (number, part) in enumerate(sets):
            assert not s.step(1, part.astype(np.uint64), names.index("class_means"), number, at).size
        if kept == "both":
            with pytest.raises(SimulatorError, match="class_means is added to one part, and there are 2"):
                s.step(1, half, names.index("class_means"), at=1)
        if kept != "both":
            means.append(run_plan(t.plan, t.weights, t.inputs | {"z": z0, "shots": parts[1.0]})["class_means"][0])
        now = means[-1] if kept != "both" else np.mean(means, axis=0)
        expected = run_plan(t.plan, t.weights, {**t.inputs, "class_means": now})["loss"]
        before = s.counters()
        opened = s.step(candidates, z, 0, 0 if kept == "first" else 1).view(np.int64)
        got = decode(opened, t.ring[t.ring.outputs[0].value].scale)
        spent, estimate = s.counters() - before, generation_cost(t.ring, candidates, examples)
        assert np.abs(got - expected).max() < 0.02 * max(1.0, np.abs(t.reference["logits"]).max())
        assert np.abs(expected - expected[0]).max() > 0.1
        assert spent.rounds == estimate.rounds
        assert abs(spent.total - estimate.bytes) <= 0.002 * estimate.bytes


def test_tiles_change_rounds_not_results() -> None:
    t = toy("prototypes", examples=5, candidates=4)
    results = []
    for tile_words in (1 << 10, 1 << 13, 1 << 22):
        s = simulator(t, tile_words)
        s.examples(5, flat(t, "example"))
        results.append((outputs(t, s), s.counters().rounds))
    assert results[0][1] > results[1][1] > results[2][1]
    for result, _ in results[:2]:
        for name, values in result.items():
            assert np.abs(values - results[2][0][name]).max() < 0.02
