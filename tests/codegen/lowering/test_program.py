"""The ring program computes what the model plan says: fixed-point oracle against float oracle; scheduling, cost and
refusals."""

import dataclasses

import numpy as np
import pytest
from helpers.ring_toys import DIM, FEATURES, HEAD_SPECS, HEADS, HIDDEN, LAYERS, PROMPT, TOKENS, Toy, toy
from secfwt.codegen.commandline.problems import ProblemsFound
from secfwt.codegen.commandline.units import amount
from secfwt.codegen.estimate import uploads_line
from secfwt.codegen.lowering.narrow import narrow
from secfwt.codegen.lowering.program import lower
from secfwt.codegen.lowering.scales import ROW
from secfwt.codegen.memory import kept_bytes
from secfwt.codegen.model.options import GenOptions
from secfwt.codegen.model.spec import HeadSpec, ModelSpec
from secfwt.codegen.native.simulator import Simulator
from secfwt.codegen.owners import reach
from secfwt.codegen.owners.calibration import calibrate
from secfwt.codegen.owners.reach import Reaches
from secfwt.codegen.plan.build import build_plan
from secfwt.codegen.plan.graph import UNION_TOTAL, UNION_WEIGHT, Output, Stage
from secfwt.codegen.plan.oracle import run_plan
from secfwt.codegen.ring.arithmetic import ring_matmul
from secfwt.codegen.ring.builder import RingBuilder
from secfwt.codegen.ring.cost import generation_cost, stage_cost, traffic, uploaded_bytes
from secfwt.codegen.ring.encoding import Words, decode, encode
from secfwt.codegen.ring.operations import COMMUNICATING
from secfwt.codegen.ring.oracle import Machine, run_program
from secfwt.codegen.ring.program import RingProgram, RingValue, Sharing
from secfwt.codegen.ring.schedule import schedule
from secfwt.codegen.ring.text import program_text
from secfwt.codegen.series import classes
from secfwt.codegen.series.ranges import Ranges
from secfwt.runtime.parties.sharing import Elements, RangeError, share
from secfwt.runtime.parties.sharing import encode as encode_shared

CASES = [
    ("bert", "gelu", "folded", "ce"),
    ("distilbert", "gelu", "folded", "hinge"),
    ("distilbert", "relu", "folded", "ce"),
    ("masked_lm", "gelu", "folded", "hinge"),
    ("masked_lm", "gelu", "paper", "ce"),
    ("prototypes", "gelu", "folded", "ce"),
    ("prototypes", "relu", "paper", "hinge"),
    ("bert", "gelu", "relu2", "ce"),
    ("prototypes", "relu", "relu2", "hinge"),
    ("bert", "gelu", "softmax", "ce"),
    ("masked_lm", "gelu", "softmax", "hinge"),
    ("prototypes", "relu", "softmax", "ce"),
]


@pytest.mark.parametrize(("head", "act", "variant", "loss"), CASES)
@pytest.mark.parametrize("prompt_layer", [0, 1])
def test_fixed_point_follows_float(head: str, act: str, variant: str, loss: str, prompt_layer: int) -> None:
    t = toy(head, act, variant, loss, prompt_layer=prompt_layer)
    result = run_program(t.ring, t.words)
    spread = np.abs(t.reference["logits"]).max()
    for output in t.ring.outputs:
        got = decode(result[output.name], t.ring[output.value].scale).reshape(t.reference[output.name].shape)
        assert np.abs(got - t.reference[output.name]).max() < 0.02 * max(1.0, spread)


@pytest.mark.parametrize("head", ["prototypes", "masked_lm"])
@pytest.mark.parametrize("most", [0.5, 4.0, 32.0])
def test_shots_beside_texts_and_words(head: str, most: float) -> None:
    """From none of the shots' weight to all of it; and the means themselves, of labels with one example or more."""
    t = toy(head, shots=most, candidates=3, examples=7)
    result = run_program(t.ring, t.words, ("loss", "logits"))
    for output in t.ring.outputs[:2]:
        got = decode(result[output.name], t.ring[output.value].scale).reshape(t.reference[output.name].shape)
        assert np.abs(got - t.reference[output.name]).max() < 0.02 * np.abs(t.reference["logits"]).max()
    alone = toy(head, candidates=3, examples=7)
    assert np.abs(t.reference["logits"][0] - alone.reference["logits"][0]).max() < 1e-9  # no weight: texts, or words
    (numbers,) = (v for v in t.ring.inputs("candidate") if v.attrs["name"] == "shots")
    parts = np.array([1.0, 0.5, 0.25])[:, None].repeat(numbers.size, axis=1)  # that are kept of them
    rows = run_plan(t.plan, t.weights, t.inputs | {"shots": parts})["class_means"]
    (words,) = run_program(t.ring, t.words | {"shots": encode(parts, numbers.scale)}, ("class_means",)).values()
    assert np.abs(decode(words, t.ring[t.ring.outputs[2].value].scale).reshape(rows.shape) - rows).max() < 2e-3
    lengths, count = np.linalg.norm(rows, axis=-1), t.inputs["labels"].sum(0)
    assert np.allclose(lengths[:, count == 1], parts[:, :1])
    assert np.all(lengths[:, count == 0] == 0)


def test_classes_of_neurons_share_rounds_and_change_no_result(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(classes, "LEAST", 0)
    t = toy("prototypes", loud=3.0)
    monkeypatch.setattr(reach, "LEAST_ROWS", 1)
    reaches = Reaches(t.plan)
    sites = calibrate(t.plan, t.weights, [t.inputs], reaches.see)
    plain, classed = (lower(t.plan, t.weights | more, Ranges(sites)) for more in ({}, reaches.weights()))
    openings, harmonics = zip(*(_openings(each.ring) for each in (plain, classed)), strict=True)
    assert openings[0] < openings[1]
    assert harmonics[1] < harmonics[0]
    assert generation_cost(classed.ring, 2, 3).rounds <= generation_cost(plain.ring, 2, 3).rounds
    spread = max(1.0, np.abs(t.reference["logits"]).max())
    result = run_program(classed.ring, t.words | classed.words(t.weights | reaches.weights()))
    for output in classed.ring.outputs:
        got = decode(result[output.name], classed.ring[output.value].scale).reshape(t.reference[output.name].shape)
        assert np.abs(got - t.reference[output.name]).max() < 0.02 * spread


def _openings(ring: RingProgram) -> tuple[int, int]:
    """Operations that evaluate series, and harmonics of all their values."""
    series = [(v.size, ring.fits[v.attrs["fit"]]) for v in ring if v.kind == "fourier"]
    return len(series), sum(size * len(fit.m) for size, fit in series)


@pytest.mark.parametrize("head", ["prototypes", "masked_lm"])
def test_a_prompt_before_the_text_is_normalised(head: str) -> None:
    t = toy(head, variant="softmax", prompt_layer=0, prompt_at="start")
    for longer in (1.0, 3.0):  # rows of z are as long as a search may make them, and longer than public text's
        inputs = {**t.inputs, "z": longer * t.inputs["z"]}
        expected = run_plan(t.plan, t.weights, inputs)["logits"]
        result = run_program(t.ring, {**t.words, "z": encode(inputs["z"], t.ring.inputs("candidate")[0].scale)})
        value = next(each.value for each in t.ring.outputs if each.name == "logits")
        got = decode(result["logits"], t.ring[value].scale).reshape(expected.shape)
        assert np.abs(got - expected).max() < 0.02 * max(1.0, np.abs(expected).max())


def test_the_candidates_matter() -> None:
    t = toy("prototypes")
    assert np.abs(t.reference["loss"][0] - t.reference["loss"][1]) > 1e-3


def test_the_program_takes_every_z_that_can_be_shared() -> None:
    (z,) = toy("prototypes").ring.inputs("candidate")
    encode_shared(np.array([z.bound * 0.999]), z.scale, "z")
    with pytest.raises(RangeError):
        encode_shared(np.array([z.bound]), z.scale, "z")


def test_labels_and_weights_enter_the_loss() -> None:
    t = toy("bert")
    before = run_program(t.ring, t.words, ("loss",))["loss"]
    t.words["labels"] = np.roll(t.words["labels"], 1, axis=-1)
    assert np.any(run_program(t.ring, t.words, ("loss",))["loss"] != before)


@pytest.mark.parametrize("health", [False, True])
def test_a_sum_over_several_owners_has_room_for_their_examples(health: bool) -> None:
    one, several = toy(health=health), toy(health=health, min_owners=2)
    name = "loss_health" if health else "loss"
    (alone,), (summed,) = ([t.ring[o.value] for o in t.ring.outputs if o.name == name] for t in (one, several))
    assert summed.bound == UNION_TOTAL * alone.bound
    assert summed.bound * 2.0**summed.scale < 2.0 ** (summed.ring - 2)
    (output,) = (o for o in several.ring.outputs if o.name == name)
    assert output.min_owners == 2
    weights = {"example_weight": encode(np.full((3, 1), UNION_WEIGHT), 24)}
    found = decode(run_program(several.ring, several.words | weights, (name,))[name], summed.scale)
    mean = decode(run_program(one.ring, one.words, (name,))[name], alone.scale)
    assert found / (3 * UNION_WEIGHT) == pytest.approx(mean, abs=2e-3)


@pytest.mark.parametrize("variant", ["folded", "softmax"])
def test_padding_rows_do_not_matter(variant: str) -> None:
    t = toy("prototypes", variant=variant, examples=2)
    padding = t.inputs["mask"] == 0
    assert padding.any()
    # to the model plan, whatever they are
    x = t.inputs["x"].copy()
    x[padding] = np.random.default_rng(1).normal(size=x[padding].shape)
    np.testing.assert_allclose(run_plan(t.plan, t.weights, {**t.inputs, "x": x})["logits"], t.reference["logits"])
    # the parties get zeros from the data owner, and a layer makes zeros of what it has computed for them
    assert not t.words["x"][padding].any()
    rows = rows_between_layers(t)
    assert np.abs(rows[padding]).max() <= 2.0**-ROW
    np.testing.assert_allclose(np.linalg.norm(rows[~padding], axis=-1), np.sqrt(HIDDEN), rtol=0.02)


@pytest.mark.parametrize("variant", ["folded", "softmax"])
def test_padding_may_come_to_anything_before_it_meets_the_mask(variant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    t = toy("prototypes", variant=variant, examples=2)
    before = run_program(t.ring, t.words, ("logits",))["logits"]
    (masked,) = (v for v in t.ring if v.kind == "reshare")
    (inverse,) = (i for i in t.ring[masked.inputs[0]].inputs if t.ring[i].kind == "fourier")
    (normed,) = (v for v in t.ring if masked.id in v.inputs)
    (row,) = (i for i in normed.inputs if i != masked.id)
    rng, compute, padding = np.random.default_rng(1), Machine.run, (t.inputs["mask"] == 0)[None, :, :, None]

    def spoilt(machine: Machine, v: RingValue, *args: Words) -> Words:
        result = compute(machine, v, *args)
        return (
            np.where(padding, rng.integers(-(2**63), 2**63, result.shape), result) if v.id in (inverse, row) else result
        )

    monkeypatch.setattr(Machine, "run", spoilt)
    np.testing.assert_array_equal(run_program(t.ring, t.words, ("logits",))["logits"], before)


def rows_between_layers(t: Toy) -> np.ndarray:
    """x̂ `[E, T, h]` of the tokens, as they leave layer 0."""
    last = [v.id for v in t.ring if v.kind == "trunc" and v.site == "layer 0"][-1]
    ring = dataclasses.replace(t.ring, outputs=[Output("rows", last, None)])
    return decode(run_program(ring, t.words)["rows"], ROW).reshape(-1, TOKENS, HIDDEN)


def test_schedule_keeps_dependencies_and_merges_rounds() -> None:
    t = toy("bert")
    groups: dict[int, list[int]] = {}
    for v in t.ring:
        assert all(i < v.id for i in v.inputs)
        assert (v.kind in COMMUNICATING) == ("group" in v.attrs)
        if "group" in v.attrs:
            groups.setdefault(v.attrs["group"], []).append(v.id)
    for members in groups.values():
        assert members == list(range(members[0], members[-1] + 1))
        assert not any(i in members for m in members for i in t.ring[m].inputs)
        assert len({t.ring[m].stage for m in members}) == 1
    alone = sum(traffic(t.ring, v).rounds for v in t.ring)
    together = sum(stage_cost(t.ring, s, 1).rounds for s in (Stage.EXAMPLE, Stage.CANDIDATE, Stage.PAIR))
    assert together < alone


def test_schedule_drops_dead_values() -> None:
    t = toy("bert")
    dead = dataclasses.replace(t.ring[0], id=len(t.ring.values), kind="scale", inputs=(0,), attrs={"by": 1})
    with_dead = dataclasses.replace(t.ring, values=[*t.ring.values, dead], outputs=t.ring.outputs[:1])
    assert len(schedule(with_dead).values) == len(t.ring.values)


def test_a_layer_takes_few_rounds() -> None:
    t = toy("bert", prompt_layer=1)
    # one whole layer, and the tokens' part of the prompted one: features, values, sums
    assert stage_cost(t.ring, Stage.EXAMPLE, 1).rounds <= 34 + 9


def test_the_prompted_layer_keeps_the_tokens_part_per_example() -> None:
    t = toy("prototypes", prompt_layer=1)
    openings = [v for v in t.ring if v.kind == "cos_sin" and v.site == "layer 1"]
    # keys of the tokens, keys of the prompt, queries of the tokens: the head reads no prompt row
    assert sorted(v.stage for v in openings) == [Stage.EXAMPLE, Stage.EXAMPLE, Stage.CANDIDATE]
    sums = [
        v
        for v in t.ring
        if v.site == "layer 1" and v.kind == "matmul" and v.shape[1:] == (2 * FEATURES, HIDDEN // HEADS)
    ]
    assert [v.stage for v in sums] == [Stage.EXAMPLE, Stage.CANDIDATE]


@pytest.mark.parametrize(("head", "rows"), [("bert", 1), ("masked_lm", 1), ("prototypes", TOKENS)])
def test_only_rows_that_the_head_reads_are_computed(head: str, rows: int) -> None:
    t = toy(head, prompt_layer=0)
    openings = [v for v in t.ring if v.kind == "fourier" and t.ring.fits[v.attrs["fit"]].format.phase_bits <= 16]
    assert [v.shape[0] for v in openings] == [TOKENS + PROMPT, rows]


@pytest.mark.parametrize("head", list(HEAD_SPECS))
def test_pooling_comes_before_the_last_truncation(head: str) -> None:
    t = toy(head, prompt_layer=0)
    truncated = [v for v in t.ring if v.kind == "trunc" and v.site == f"layer {LAYERS - 1}"]
    assert truncated[-1].shape == (1, HIDDEN)


@pytest.mark.parametrize("head", ["prototypes", "bert"])
def test_deep_prompts_replace_each_other(head: str) -> None:
    t = toy(head, prompt_layer=0, deep=True)
    assert t.ring.inputs("candidate")[0].shape == (LAYERS * DIM,)
    result = run_program(t.ring, t.words)
    got = decode(result["logits"], 16).reshape(t.reference["logits"].shape)
    assert np.abs(got - t.reference["logits"]).max() < 0.02 * max(1.0, np.abs(t.reference["logits"]).max())
    # prompt rows are thrown away after each layer, so that nobody computes them
    rows = [v.shape[0] for v in t.ring if v.kind == "fourier" and t.ring.fits[v.attrs["fit"]].format.phase_bits <= 16]
    assert rows == [TOKENS, TOKENS if head == "prototypes" else 1]


def test_text_is_deterministic_and_round_trips() -> None:
    first, second = (toy("prototypes") for _ in range(2))
    text = program_text(first.ring)
    assert text == program_text(second.ring)
    assert text.startswith("secfwt-program 4\n")
    assert text.endswith("end\n")
    assert text.count("\nv ") == len(first.ring.values)


def test_overflow_is_refused_with_every_place() -> None:
    with pytest.raises(ProblemsFound) as caught:
        toy("bert", loud=3e4)
    assert len(caught.value.problems) > 1
    assert "would overflow" in str(caught.value)
    assert "layer 0" in str(caught.value)


@pytest.mark.parametrize(("hidden", "heads", "inner", "tokens"), [(384, 12, 1536, 32), (1024, 16, 4096, 512)])
def test_shapes_of_real_models_fit_with_assumed_norms(hidden: int, heads: int, inner: int, tokens: int) -> None:
    head = HeadSpec("classification", "first", ("a", "b"), dense_act="tanh")
    spec = ModelSpec("roberta", hidden, 2, heads, inner, "gelu", 1e-5, 100, 514, 2, 1, 1, head)
    plan = build_plan(spec, GenOptions(sequence_length=tokens))
    ring = lower(plan, None, Ranges()).ring
    assert all(v.scale == 64 or v.scale + np.log2(v.bound) <= 62 for v in ring)


def test_a_range_too_wide_for_a_phase_is_refused() -> None:
    r = RingBuilder()
    x = r.example("x", (4,), 40, bound=2.0**20)
    theta, period = r.phase(x, 2.0**18)
    assert (r[theta].scale, period) == (64, 2.0**18)
    with pytest.raises(ProblemsFound, match="leaves a factor of 16 for its phase"):
        r.phase(x, 2.0**20)


def test_every_sum_stays_below_the_ring() -> None:
    t = toy("bert")
    for v in t.ring:
        if v.scale != 64:
            assert v.scale + np.log2(v.bound) <= 62


def test_generation_cost_adds_up() -> None:
    t = toy("bert")
    one, many = (generation_cost(t.ring, c, 4) for c in (1, 8))
    assert one.rounds == many.rounds
    assert many.bytes > 6 * one.bytes
    gelu = next(v for v in t.ring if v.kind == "fourier" and t.ring.fits[v.attrs["fit"]].format.phase_bits <= 16)
    fit = t.ring.fits[gelu.attrs["fit"]]
    assert gelu.ring < 40
    form, tail = fit.format, fit.format.tail
    assert tail is not None

    def wrap(more: int) -> int:
        return 2 + more if more > 0 else 0

    harmonics = 2 * form.ring_bits * (len(fit.m) - tail.harmonics) + 2 * tail.ring_bits * tail.harmonics
    lifted = wrap(form.ring_bits - form.phasor_bits + tail.phasor_bits - tail.ring_bits)
    shifted = wrap(gelu.ring + gelu.attrs["shift"] - form.ring_bits)
    assert traffic(t.ring, gelu).bits == 60 + harmonics + lifted + shifted + 2 * gelu.ring


def test_factors_that_products_alone_read_are_kept_packed() -> None:
    r = RingBuilder()
    x = r.example("x", (4, 384), 16, bound=8.0)
    weights = [r.weight(name, (384, 512), 16, lambda _: np.zeros((384, 512))) for name in ("alone", "added")]
    alone, added = (r.matmul(x, w) for w in weights)
    rows = r.raise_scale(r.slice(weights[1], -2, 0, 4), r[added].scale)
    r.program.outputs = [Output("alone", alone), Output("added", r.add(added, rows))]
    program = schedule(narrow(r.program))
    kept, words = Simulator(program_text(program)).kept(), 16 * 384 * 512
    assert words < min(kept) <= max(kept) <= kept_bytes(program, Stage.SETUP) < 1.8 * words


def test_kept_memory_is_what_later_stages_read() -> None:
    t = toy("bert", prompt_layer=1)
    assert max(Simulator(program_text(t.ring)).kept()) <= kept_bytes(t.ring, Stage.SETUP)
    labels = t.reference["logits"].shape[-1]
    sums = HEADS * 2 * FEATURES * (HIDDEN // HEADS + 1)  # S and n of the tokens
    queries = HEADS * 2 * FEATURES
    # and the residual of the one row that the head reads, additive; labels and the example's weight
    words = 2 * (sums + queries + labels + 1) + HIDDEN
    read = {i for v in t.ring for i in v.inputs if t.ring[i].stage != v.stage}
    kept = [v for v in t.ring if v.stage == Stage.EXAMPLE and v.id in read]
    sizes = [v.size * (1 + (v.sharing is Sharing.REP)) for v in kept]
    assert sum(sizes) == words
    bits = sum(size * v.ring for size, v in zip(sizes, kept, strict=True))
    assert bits / 8 <= kept_bytes(t.ring, Stage.EXAMPLE) < bits / 8 + 16 * len(kept) <= 8 * words


@pytest.mark.parametrize(("kind", "instances"), [("weight", 1), ("example", 3), ("candidate", 2)])
def test_uploads_are_what_clients_send(kind: str, instances: int) -> None:
    t = toy("masked_lm")
    payloads = share([Elements(t.words[v.attrs["name"]], v.ring) for v in t.ring.inputs(kind)])
    assert sum(len(part) for payload in payloads for part in payload) == uploaded_bytes(t.ring, kind, instances)
    elements = instances * sum(v.size for v in t.ring.inputs(kind))
    assert uploaded_bytes(t.ring, kind, instances) < 0.9 * 16 * elements


def test_the_estimate_says_what_owners_send() -> None:
    ring = toy("bert").ring
    line = uploads_line(ring)
    for kind, what in (("weight", "of weights"), ("example", "per example"), ("candidate", "per candidate")):
        assert f"{amount(uploaded_bytes(ring, kind), 'B')} {what}" in line


@pytest.mark.parametrize("shape", [(3, 5, 2), (1, 1, 1), (4, 0, 3), (17, 300, 9)])
def test_ring_matmul_is_exact(shape: tuple[int, int, int]) -> None:
    m, k, n = shape
    rng = np.random.default_rng(m)
    a, b = (rng.integers(-(2**63), 2**63 - 1, s, dtype=np.int64) for s in ((m, k), (k, n)))
    exact = [[sum(int(a[i, t]) * int(b[t, j]) for t in range(k)) % 2**64 for j in range(n)] for i in range(m)]
    assert ring_matmul(a, b).view(np.uint64).tolist() == exact


def test_encode_wraps_phases_and_rounds() -> None:
    turns = np.array([0.25, -0.25, 1.25, 0.75, 1e-19, 3.0])
    quarter = 1 << 62
    assert encode(turns, 64).tolist() == [quarter, -quarter, quarter, -quarter, 2, 0]
    assert encode(np.array([1.5, -1.5, 2.0**-17 * 1.01]), 16).tolist() == [98304, -98304, 1]


def test_scores_that_spread_too_far_for_a_series_are_refused_by_layer() -> None:
    t = toy(variant="softmax")
    sites = {f"layers.1.{site}": {"min": low, "max": 6.0, "q0.0001": low, "q0.9999": 6.0}
             for site, low in (("score", -600.0), ("row_sum", 0.1))}  # fmt: skip
    with pytest.raises(ProblemsFound, match=r"layer 1: scores lie up to 720 below .*\n.*--attention rfa"):
        lower(t.plan, t.weights, Ranges(sites))


def test_scores_above_what_a_weight_covers_are_refused_by_layer() -> None:
    t = toy(variant="softmax")
    sites = {"layers.1.score": {"min": -9.0, "max": 12.0, "q0.0001": -9.0, "q0.9999": 9.0}}
    with pytest.raises(ProblemsFound, match=r"layer 1: scores lie up to 9 above .* accepted: 8.4\n.*--attention rfa"):
        lower(t.plan, t.weights, Ranges(sites))


@pytest.mark.parametrize("attention", ["rfa", "softmax"])
def test_wide_models_fit_the_ring_on_assumed_norms(attention: str) -> None:
    """RoBERTa-large's shape, one layer: what `secfwt-gen config.json` lowers without weights."""
    spec = ModelSpec("roberta", 1024, 1, 16, 4096, "gelu", 1e-5, 50265, 514, 2, 1, 1, HEAD_SPECS["prototypes"])
    options = GenOptions(sequence_length=128, attention=attention)  # type: ignore[arg-type]
    lowered = lower(build_plan(spec, options), None, Ranges())
    assert lowered.ring.outputs[0].name == "loss"
