"""The order of random-feature attention's sums: the cheaper one, with the same result."""

import numpy as np
import pytest
from helpers.ring_toys import FEATURES, HEADS, HIDDEN, PROMPT, TOKENS, Toy, toy
from secfwt.codegen.lowering.association import Association
from secfwt.codegen.lowering.narrow import ROUND
from secfwt.codegen.lowering.program import lower
from secfwt.codegen.model.options import GenOptions
from secfwt.codegen.model.spec import HeadSpec, ModelSpec
from secfwt.codegen.plan.build import build_plan
from secfwt.codegen.plan.graph import Stage
from secfwt.codegen.ring.cost import stage_cost
from secfwt.codegen.ring.encoding import decode
from secfwt.codegen.ring.oracle import run_program
from secfwt.codegen.ring.program import RingProgram
from secfwt.codegen.series.ranges import Ranges

SUMS = (HEADS, 2 * FEATURES, HIDDEN // HEADS)


def truncated(ring: RingProgram, layer: int) -> list[tuple[int, ...]]:
    """Shapes of a layer's truncations."""
    return [v.shape for v in ring if v.kind == "trunc" and v.site == f"layer {layer}"]


def in_order(monkeypatch: pytest.MonkeyPatch, kernel: bool, **what: object) -> Toy:
    """A toy whose layers take one order all, whatever it costs."""
    with monkeypatch.context() as patch:
        patch.setattr(Association, "_kernel_is_smaller", lambda *_: kernel)
        return toy("prototypes", **what)  # type: ignore[arg-type]


def price(t: Toy) -> int:
    """Bits of a pair, and of its rounds what they are worth: rings are chosen by that."""
    cost = stage_cost(t.ring, Stage.PAIR, 1)
    return 8 * cost.bytes + ROUND["default"][0] * cost.rounds


def of_length(tokens: int, features: int = 32) -> RingProgram:
    """A layer of MiniLM's shape, all of whose rows are read."""
    head = HeadSpec("prototypes", "mean", ("a", "b"), None)
    spec = ModelSpec("bert", 384, 1, 12, 1536, "gelu", 1e-12, 100, 512, 0, 2, 0, head)
    options = GenOptions(sequence_length=tokens, n_prompt_tokens=0, rfa_features=features)
    return lower(build_plan(spec, options), None, Ranges()).ring


@pytest.mark.parametrize("prompt_layer", [0, 1])
def test_both_orders_compute_attention(monkeypatch: pytest.MonkeyPatch, prompt_layer: int) -> None:
    for kernel in (True, False):
        t = in_order(monkeypatch, kernel, prompt_layer=prompt_layer)
        assert all((SUMS in truncated(t.ring, layer)) != kernel for layer in (0, 1))
        got = decode(run_program(t.ring, t.words, ("logits",))["logits"], 16).reshape(t.reference["logits"].shape)
        assert np.abs(got - t.reference["logits"]).max() < 0.02 * np.abs(t.reference["logits"]).max()


def test_a_layer_of_few_rows_truncates_the_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    t = toy("prototypes", prompt_layer=0)
    rows = TOKENS + PROMPT
    assert (HEADS, TOKENS, rows) in truncated(t.ring, 1)
    assert SUMS not in truncated(t.ring, 1)
    assert price(t) < price(in_order(monkeypatch, False, prompt_layer=0))


def test_the_prompts_own_layer_shares_sums_between_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    t = toy("prototypes", prompt_layer=1)
    assert SUMS in truncated(t.ring, 1)
    assert price(t) < price(in_order(monkeypatch, True, prompt_layer=1))


@pytest.mark.parametrize(("tokens", "kernel"), [(21, True), (32, True), (64, False)])
def test_long_texts_truncate_sums(tokens: int, kernel: bool) -> None:
    shapes = truncated(of_length(tokens), 0)
    assert ((12, tokens, tokens) in shapes) == kernel
    assert ((12, 64, 32) in shapes) != kernel
