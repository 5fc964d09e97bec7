"""The MP-SPDZ target without MP-SPDZ: golden programs, wire order, refusals, and how templates and kernels must
look.
"""

from __future__ import annotations

import ast
import math
import os
import re
import runpy
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from helpers.mpspdz_local import CONFIGS, DECODERS, HEADS, toy_decoder_plan, toy_plan
from jinja2 import nodes
from secfwt.codegen.commandline.problems import ProblemsFound
from secfwt.codegen.mpspdz.calls import translate
from secfwt.codegen.mpspdz.options import MpSpdzOptions
from secfwt.codegen.mpspdz.program import Call, Ref
from secfwt.codegen.mpspdz.protocols import PROTOCOLS
from secfwt.codegen.mpspdz.text import environment, render
from secfwt.codegen.series.softmax import period
from secfwt.runtime.mpspdz.compiler import LIBRARY

EXAMPLES = LIBRARY / "examples"
COMMAND = "secfwt-gen config.json --target mp-spdz"
SMALL = MpSpdzOptions(examples=4, tile=2)
UPDATE = "SECFWT_UPDATE_GOLDEN"


def text(
    folder: Path, family: str = "bert", head: str = "classification", options: MpSpdzOptions = SMALL, **choices: object
) -> str:
    plan = toy_plan(folder, family, head, **choices)
    return render(plan, options, version="0.1.0", source_hash="sha256 of the toy", command=COMMAND)


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("family", CONFIGS)
def test_golden(tmp_path: Path, family: str, head: str) -> None:
    is_golden(f"{family}_{head}", text(tmp_path, family, head))


def test_golden_softmax(tmp_path: Path) -> None:
    is_golden("bert_softmax", text(tmp_path, attention="softmax"))


PLACES = {"mistral": "start", "qwen2": "template"}


@pytest.mark.parametrize("family", DECODERS)
def test_golden_decoder(tmp_path: Path, family: str) -> None:
    plan = toy_decoder_plan(tmp_path, family, prompt_at=PLACES.get(family, "end"))
    is_golden(
        f"{family}_causal_lm",
        render(plan, SMALL, version="0.1.0", source_hash="sha256 of the toy", command=COMMAND),
    )


def is_golden(name: str, got: str) -> None:
    golden = EXAMPLES / f"{name}.mpc"
    if os.environ.get(UPDATE):
        golden.write_text(got)
    assert got == golden.read_text(), f"run with {UPDATE}=1 if the change is meant"


def test_deterministic_and_without_paths(tmp_path: Path) -> None:
    first, second = (text(tmp_path) for _ in range(2))
    assert first == second
    assert str(tmp_path) not in first
    assert str(LIBRARY.parent) not in first


def test_header_names_version_input_and_command(tmp_path: Path) -> None:
    header = text(tmp_path).splitlines()[:4]
    assert "0.1.0" in header[0]
    assert "sha256 of the toy" in header[1]
    assert COMMAND in header[2]


def test_source_does_not_grow_with_depth(tmp_path: Path) -> None:
    program = translate(toy_plan(tmp_path, sizes={"num_hidden_layers": 5}), SMALL)
    kernels = [call.kernel for call in program.evaluate if call.kernel.startswith("encoder.")]
    assert kernels == ["encoder.encoder_stack", "encoder.reading_layer"]
    assert [stack["v.weight"].shape for stack in program.stacks.values()] == [(4, 16, 16), (1, 16, 16)]


def test_layers_below_the_prompt_run_once_an_example(tmp_path: Path) -> None:
    program = translate(toy_plan(tmp_path, prompt_layer=1), SMALL)
    assert [call.kernel for call in program.load if "encoder" in call.kernel] == ["encoder.encoder_stack"]
    assert list(program.stacks) == ["layers_0", "layers_1"]
    assert [c.shape for c in program.kept if c.name.startswith("encoder")] == [(2, 2, 6, 16)]


def kernels_of(calls: list[Call]) -> list[str]:
    return [call.kernel for call in calls if call.kernel.startswith("decoder.")]


def test_a_decoders_text_runs_once_an_example_and_its_keys_are_kept_by_layer(tmp_path: Path) -> None:
    program = translate(toy_decoder_plan(tmp_path, sizes={"num_hidden_layers": 5}, prompt_layer=1), SMALL)
    assert kernels_of(program.load) == ["decoder.rows", "decoder.rows_and_keys"]
    assert kernels_of(program.evaluate) == ["decoder.rows_behind", "decoder.last_row_behind", "decoder.final_norm"]
    layers = [dict(call.keywords).get("layers") for call in program.load + program.evaluate if "decoder" in call.kernel]
    assert layers == [(0, 1), (1, 5), (1, 4), (4, 5), None]
    keys = next(c for c in program.kept if c.name.startswith("keys"))
    assert keys.shape == (2, 4, 2, 5 * 2 * (2 * 4 + 1))  # tiles, layers, examples, text rows × key heads × columns
    readers = [call for call in program.evaluate if Ref(f"kept_{keys.name}") in call.arguments]
    assert [Ref("tiles") in call.arguments for call in readers] == [True, True]


@pytest.mark.parametrize(("layers", "place"), [(1, "end"), (2, "template"), (3, "start")])
def test_a_prompt_in_the_last_layer_of_a_decoder(tmp_path: Path, layers: int, place: str) -> None:
    sizes = {"num_hidden_layers": layers}
    program = translate(toy_decoder_plan(tmp_path, sizes=sizes, prompt_layer=layers - 1, prompt_at=place), SMALL)
    below = ["decoder.rows"] if layers > 1 else []
    behind = place != "start"
    assert kernels_of(program.load) == below + (["decoder.rows_and_keys"] if behind else [])
    assert kernels_of(program.evaluate)[0] == ("decoder.last_row_behind" if behind else "decoder.last_row")


def test_a_decoders_norms_are_folded_by_the_model_owner(tmp_path: Path) -> None:
    plan = toy_decoder_plan(tmp_path, "qwen3")
    program = translate(plan, SMALL)
    stack = program.stacks["layers_0"]
    assert not [role for role in stack if role.startswith(("input_norm", "ffn_norm"))]
    assert stack["ffn_in.bias"].weights == {
        f"layers.{i}.{name}" for i in (0, 1) for name in
        ("ffn_in.bias", "ffn_in.weight", "ffn_norm.gamma", "ffn_norm.beta")
    }  # fmt: skip
    assert {name for c in program.wire for name in c.weights} == {name for v in plan for name in v.weights.values()}
    assert (stack["q.weight"].factor, stack["q_norm.gamma"].factor) == (1.0, 8**-0.5)


def test_few_layers_whose_activations_reach_far_do_not_widen_all_others(tmp_path: Path) -> None:
    plan = toy_decoder_plan(tmp_path, sizes={"num_hidden_layers": 5}, prompt_at="start")
    plan.meta["calibration"] = {
        f"layers.{i}.activation": {"min": -width, "max": width, "q0.0001": -width, "q0.9999": width}
        for i, width in enumerate((5.0, 20.0, 4.0, 15.0, 5.0))
    }
    for protocol, reach in (("ring", [6.0, 24.0, 6.0, 24.0]), ("rep4-ring", [24.0] * 4)):
        (call,) = (
            call
            for call in translate(plan, replace(SMALL, protocol=protocol)).evaluate
            if call.kernel == "decoder.rows"
        )
        assert dict(call.keywords)["reach"] == reach


def test_rows_that_fixed_point_does_not_serve_are_refused_with_their_numbers(tmp_path: Path) -> None:
    plan = toy_decoder_plan(tmp_path)
    plan.meta["calibration"] = {"layers.1.ffn_norm_var": {"min": 2.0, "max": 4e6}}
    with pytest.raises(ProblemsFound, match=r"layer 1, ffn_norm: mean squares of rows lie from 1 to 8e\+06"):
        translate(plan, SMALL)


def test_every_weight_of_the_plan_is_sent_once(tmp_path: Path) -> None:
    plan = toy_plan(tmp_path, "roberta", "masked_lm")
    sent = [name for container in translate(plan, SMALL).wire for name in container.sources]
    assert sorted(sent) == sorted(name for value in plan for name in value.weights.values())


@pytest.mark.parametrize(
    ("head", "reads", "pooled"),
    [
        ("classification", ("pooling.first_row", ()), "pooling.first_row"),
        ("masked_lm", ("pooling.select_row", ()), "pooling.first_row"),
        ("prototypes", ("prompt.token_rows", (("n", 2),)), "pooling.mean_rows"),
    ],
)
def test_the_last_layer_computes_only_what_is_read(
    tmp_path: Path, head: str, reads: tuple[str, object], pooled: str
) -> None:
    calls = translate(toy_plan(tmp_path, head=head), SMALL).evaluate
    at = next(i for i, call in enumerate(calls) if call.kernel == "encoder.reading_layer")
    assert (calls[at - 1].kernel, calls[at - 1].keywords) == reads
    assert calls[at].arguments[0] == Ref(calls[at - 1].result)
    assert (calls[at + 1].kernel, calls[at + 1].arguments[0]) == (pooled, Ref(calls[at].result))


@pytest.mark.parametrize(("rows", "tiles"), [(1, 1), (16, 1), (47, 2), (48, 3), (10_000, 6)])
def test_as_many_tiles_at_once_as_there_is_room_for(tmp_path: Path, rows: int, tiles: int) -> None:
    """Tiles of 2 examples of 8 rows; 3 candidates on 2 tiles."""
    program = translate(toy_plan(tmp_path), replace(SMALL, rows=rows))
    assert program.pair_tiles == tiles
    assert [dict(call.keywords)["tiles"] for call in program.evaluate if "mean_examples" in call.kernel] == [tiles]


def test_gelu_reaches_as_far_as_calibration_saw_in_any_layer_of_a_stack(tmp_path: Path) -> None:
    plan = toy_plan(tmp_path, sizes={"num_hidden_layers": 3})
    extremes = {"min": -30.0, "max": 30.0}
    plan.meta["calibration"] = {
        "layers.0.activation": {**extremes, "q0.0001": -16.0, "q0.9999": 3.0},
        "layers.1.activation": {**extremes, "q0.0001": -5.0, "q0.9999": 5.0},
    }
    calls = [call for call in translate(plan, SMALL).evaluate if call.kernel.startswith("encoder.")]
    assert [dict(call.keywords)["reach"] for call in calls] == [20.0, 12.0]


def test_without_a_prompt_there_is_no_tuning_step(tmp_path: Path) -> None:
    with pytest.raises(ProblemsFound, match="no prompt and no losses"):
        translate(toy_plan(tmp_path, n_prompt_tokens=0), SMALL)


def test_paper_variant_projects_by_features_in_turns(tmp_path: Path) -> None:
    features = translate(toy_plan(tmp_path, rfa_variant="paper"), SMALL).stacks["layers_0"]["features"]
    assert features.shape == (1, 4, 8, 4)
    assert features.factor == pytest.approx(0.15915494)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_protocol_options_are_in_the_program(tmp_path: Path, protocol: str) -> None:
    options = PROTOCOLS[protocol]
    got = text(tmp_path, options=MpSpdzOptions(protocol=protocol, examples=4, tile=2))
    for name, value in options.settings.items():
        assert f"    {name}={value},\n" in got


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_softmax_weighs_by_a_series_where_openings_are_masked(tmp_path: Path, protocol: str) -> None:
    plan = toy_plan(tmp_path, attention="softmax")
    program = translate(plan, replace(SMALL, protocol=protocol))
    layers = [dict(call.keywords) for call in program.evaluate if call.kernel.startswith("encoder.")]
    by = {"period", "mean", "amplitudes"} if PROTOCOLS[protocol].masked_openings else {"plateau"}
    assert all(set(keywords) & {"period", "mean", "amplitudes", "plateau"} == by for keywords in layers)


def test_neighbours_that_take_as_many_harmonics_share_the_widest_period(tmp_path: Path) -> None:
    plan = toy_plan(tmp_path, attention="softmax", sizes={"num_hidden_layers": 4})
    lowest = (-60.0, -12.5, -13.2, -14.0)
    plan.meta["calibration"] = {
        f"layers.{i}.score": {"min": low, "max": 2.0, "q0.0001": low, "q0.9999": 2.0} for i, low in enumerate(lowest)
    }
    program = translate(plan, SMALL)
    layers = [dict(call.keywords) for call in program.evaluate if call.kernel.startswith("encoder.")]
    assert [keywords.get("layers") for keywords in layers] == [(0, 1), (1, 3), None]
    # owners read a bundle's program without calibration: it must not decide what is sent in which order
    assert (
        program.wire == translate(toy_plan(tmp_path, attention="softmax", sizes={"num_hidden_layers": 4}), SMALL).wire
    )
    assert [keywords["period"] for keywords in layers] == [period(-72.0), period(-16.0), period(-17.0)]


def test_the_client_divides_softmax_queries_by_the_root_of_their_length(tmp_path: Path) -> None:
    weights = translate(toy_plan(tmp_path, attention="softmax"), SMALL).stacks["layers_0"]
    assert [weights[f"{name}.weight"].factor for name in "qkv"] == [0.5, 1.0, 1.0]
    assert weights["q.bias"].factor == 0.5


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"protocol": "shamir"}, "--protocol is 'shamir'"), ({"tile": 0}, "tile is 0"),
        ({"value_bits": 50}, "fixed point with 50 bits"), ({"fraction_bits": 20}, "20 of them behind the point"),
    ],
)  # fmt: skip
def test_options_are_checked(choice: dict[str, object], message: str) -> None:
    with pytest.raises(ProblemsFound, match=re.escape(message)):
        MpSpdzOptions(**choice)  # type: ignore[arg-type]


ARITHMETIC = (nodes.Add, nodes.Sub, nodes.Mul, nodes.Div, nodes.FloorDiv, nodes.Mod, nodes.Pow, nodes.Neg)


def template_names() -> list[str]:
    """Those of programs; report.html.j2 is a page."""
    return [name for name in environment().list_templates(extensions=["j2"]) if not name.endswith(".html.j2")]


@pytest.mark.parametrize("name", template_names())
def test_templates_do_no_arithmetic_and_know_no_model(name: str) -> None:
    source, _, _ = environment().loader.get_source(environment(), name)  # type: ignore[union-attr]
    tree = environment().parse(source)
    assert not [n.lineno for n in tree.find_all(ARITHMETIC)]
    assert "model_type" not in source
    assert "family" not in source
    literal = [d.data for d in tree.find_all(nodes.TemplateData)]
    assert not re.search(r"[\w\])] [-+*/@%] [\w(]", "".join(literal).split("settings.configure", 1)[1])


@pytest.mark.parametrize(("width", "harmonics"), [(7.5, 9), (12, 15)])
def test_even_waves_are_right_up_to_where_they_bend_back(width: float, harmonics: int) -> None:
    fourier = runpy.run_path(str(LIBRARY / "lib" / "fourier.py"))

    def even(x: float) -> float:
        return x * math.erf(x / math.sqrt(2)) / 2

    centre, amplitudes = fourier["shortest_even_wave"](even, width, 1e-4)
    assert len(amplitudes) == harmonics
    for x in (0, 0.7, width / 2, -width, 2 * width - 4):
        assert fourier["at"](centre, amplitudes, width, x) == pytest.approx(even(x), abs=3e-4)


SECTIONS = ("Shapes:", "Scale:", "Interval:", "Error:", "Rounds:", "Opens:")
KERNEL_MODULES = (
    "activations", "attention", "bit_phasors", "decoder", "encoder", "feed_forward", "heads", "linear", "losses",
    "masked_opening", "normalization", "phasors", "pooling", "polynomial", "prompt", "rotary", "softmax",
    "trigonometry",
)  # fmt: skip
LOCAL = {
    "fit", "split", "degree_at", "feature_addresses", "strided", "rows_of", "to_turns", "heads_last", "plus",
    "block_product", "per_score", "rounding_shift", "chosen", "factors", "gelu_even", "angle", "slope_of",
    "gelu_new_even", "silu_even", "shorter", "stream_numbers", "up_to_own", "numbers", "scale_of",
}  # fmt: skip
"""Helpers that compute on public numbers, only move data, or do one local step."""


def kernels() -> Iterator[tuple[str, ast.FunctionDef]]:
    for module in KERNEL_MODULES:
        tree = ast.parse((LIBRARY / "lib" / f"{module}.py").read_text())
        for node in tree.body:
            if isinstance(node, ast.FunctionDef) and node.name not in LOCAL and not node.name.startswith("_"):
                yield f"{module}.{node.name}", node


@pytest.mark.parametrize(("name", "node"), list(kernels()), ids=[name for name, _ in kernels()])
def test_kernels_say_what_they_do(name: str, node: ast.FunctionDef) -> None:
    doc = ast.get_docstring(node) or ""
    missing = [section for section in SECTIONS if section not in doc]
    assert not missing, f"{name}: {missing}"


@pytest.mark.parametrize("kind", ["regint", "cint"])
def test_public_vectors_are_put_together_in_memory(kind: str) -> None:
    """The compiler makes a register of every element that such a concatenation has: three quarters of a decoder's
    compilation."""
    using = [path.name for path in (LIBRARY / "lib").glob("*.py") if f"{kind}.concat" in path.read_text("utf-8")]
    assert not using


def test_what_clients_read_of_the_library_needs_no_compiler() -> None:
    tree = ast.parse((LIBRARY / "lib" / "wire.py").read_text())
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]


def test_every_kernel_that_the_target_calls_exists(tmp_path: Path) -> None:
    names = {name for name, _ in kernels()}
    for head in HEADS:
        for loss in ("ce", "hinge"):
            program = translate(toy_plan(tmp_path, head=head, loss=loss), SMALL)
            assert {call.kernel for call in program.load + program.evaluate} <= names | {"picked"}
    for place in ("start", "end", "template"):
        more = {"head": "prototypes", "label_words": (), "label_texts": ("a", "b")} if place == "end" else {}
        program = translate(toy_decoder_plan(tmp_path, prompt_at=place, **more), SMALL)
        assert {call.kernel for call in program.load + program.evaluate} <= names | {"picked"}
