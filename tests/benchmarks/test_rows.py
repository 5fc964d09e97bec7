"""The benchmarks' rows, figures, sweeps and peers; nothing is timed here."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers.places import ROOT
from secfwt.codegen.model.options import GenOptions
from secfwt.codegen.plan.oracle import run_plan

sys.path.insert(0, str(ROOT / "benchmarks"))
import figures
import generation
import layer
import peers
import rows
import run
import service
from generation import Generation
from models import SHAPES, EncoderSize, RandomWeights

TOY = EncoderSize(8, 2, 16, 2)
ROW = rows.Row(
    benchmark="layer",
    engine="embedded",
    protocol="replicated ring, semi-honest",
    parties=3,
    shape="384/12/1536",
    tokens=128,
    cold_seconds=0.2,
    seconds=0.1,
    seconds_min=0.09,
    seconds_max=0.11,
    runs=5,
    megabytes=32.0,
    rounds=34,
    max_error=0.001,
    rms_error=0.0001,
    peak_memory_mb=76.0,
    threads=1,
    commit="0123456+",
    command="python benchmarks/run.py layer",
)
REPORT = {
    "engine": "SPU 1",
    "protocol": "ABY3",
    "parties": 3,
    "seconds": [2.0, 1.0],
    "bytes_sent": 5,
    "rounds": 7,
    "peak_bytes": 9,
}
SPU = peers.PEERS["spu"]


def test_rows_come_back_as_they_were_written(tmp_path: Path) -> None:
    rows.write("layer", [ROW], tmp_path)
    other = replace(ROW, tokens=64, engine="SPU, ABY3")
    rows.write("layer", [other], tmp_path)
    assert rows.read("layer", tmp_path) == [ROW, other]
    assert rows.read("absent", tmp_path) == []


@pytest.mark.parametrize("name", ["layer", "forward", "generation", "mpspdz_layer", "peers"])
def test_rows_of_the_repository_are_whole(name: str) -> None:
    for row in rows.read(name):
        assert row.seconds_min <= row.seconds <= row.seconds_max
        assert row.megabytes > 0
        assert row.commit
        assert row.command.startswith("python benchmarks/")


def test_the_first_run_is_the_cold_one_and_counts_only_when_alone() -> None:
    known = {k: getattr(ROW, k) for k in ("benchmark", "engine", "protocol", "parties", "shape", "tokens", "threads")}
    cost = {"bytes_sent": 2_000_000, "peak_bytes": 3_000_000, "error": np.array([3.0, -4.0]), "rounds": 5}
    row = rows.measured(seconds=[9.0, 1.0, 3.0, 2.0], **cost, **known)
    assert (row.cold_seconds, row.seconds, row.seconds_min, row.seconds_max, row.runs) == (9.0, 2.0, 1.0, 3.0, 3)
    assert (row.megabytes, row.peak_memory_mb, row.max_error) == (2.0, 3.0, 4.0)
    assert row.rms_error == pytest.approx(np.sqrt(12.5))
    assert rows.measured(seconds=[9.0], **cost, **known).seconds == 9.0


def test_commands_show_no_folders_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        sys, "argv", ["/x/run.py", "peers", "--spu-python", "/home/someone/bin/python", "--tokens", "8"]
    )
    assert rows.command() == "python benchmarks/run.py peers --spu-python python --tokens 8"


def test_weights_are_the_same_at_every_reading_and_in_every_plan() -> None:
    options = GenOptions(rfa_features=4)
    rfa, softmax = (layer.encoder_plan(TOY, 4, 2, 4, attention) for attention in ("rfa", "softmax"))
    weights, both = RandomWeights(TOY, options, rfa), RandomWeights(TOY, options, rfa, softmax)
    assert weights.keys() < both.keys()
    assert "layers.1.q.weight" in both
    for name in weights:
        np.testing.assert_array_equal(weights[name], both[name])
    assert not np.array_equal(weights["layers.0.v.weight"], weights["layers.1.v.weight"])


def test_a_model_too_large_for_the_machine_is_refused_before_anything_starts() -> None:
    service.check_memory(1000, 56_000)
    with pytest.raises(
        service.MemoryShort, match=r"300 million weights need 16.8 GB, 16 bytes .* 2.0 GB are free: nothing was"
    ):
        service.check_memory(300_000_000, 2_000_000_000)


def test_weights_are_encoded_in_program_order() -> None:
    plan = layer.encoder_plan(TOY, 4, 1, 4)
    weights = RandomWeights(TOY, GenOptions(rfa_features=4), plan)
    lowered = service.lowered(plan, weights, layer.layer_inputs(TOY, 4))
    words = service.encoded(lowered, weights)
    first, *_, last = lowered.ring.inputs("weight")
    for value, part in ((first, words[: first.size]), (last, words[-last.size :])):
        fold = lowered.folds[value.attrs["name"]]
        exact = np.asarray(fold.make(weights)).ravel() * 2.0**fold.scale
        np.testing.assert_allclose(part.astype(float), exact, atol=0.5 + 1e-9)


def test_a_layer_and_a_staged_generation_are_measured() -> None:
    one = layer.measure(TOY, tokens=4, layers=2, features=4, runs=1, threads=1)
    assert (one.benchmark, one.layers, one.tokens, one.features, one.runs) == ("forward", 2, 4, 4, 1)
    assert one.max_error < 0.02
    size = Generation(replace(TOY, layers=2), 1, candidates=2, examples=3, tokens=4, features=4)
    staged, unstaged = (generation.measure(size, each, 0, 1) for each in (True, False))
    assert (staged.benchmark, unstaged.benchmark) == ("generation", "generation, unstaged")
    assert staged.max_error < 0.02 > unstaged.max_error
    assert staged.megabytes < unstaged.megabytes


def test_unstaged_rows_with_fewer_candidates_are_compared_by_the_pair() -> None:
    staged = replace(ROW, candidates=20, examples=4, seconds=2.0, megabytes=10.0)
    unstaged = replace(ROW, candidates=2, examples=4, seconds=0.6, megabytes=4.0)
    assert generation.times_cheaper(staged, unstaged) == pytest.approx((3.0, 4.0))


# peers


def test_a_peers_softmax_layer_differs_in_its_attention_alone() -> None:
    rfa, softmax = (layer.layer_task(TOY, 4, attention) for attention in ("rfa", "softmax"))
    assert {"q.weight", "k.bias", "phase_query.weight"}.isdisjoint(rfa.inputs.keys() & softmax.inputs.keys())
    np.testing.assert_array_equal(rfa.inputs["ffn_out.weight"], softmax.inputs["ffn_out.weight"])
    plan = layer.encoder_plan(TOY, 4, 1, attention="softmax")
    weights = {f"layers.0.{name}": values for name, values in softmax.inputs.items()}
    weights |= {name: softmax.inputs[name] for name in softmax.inputs if name.startswith("embeddings")}
    clear = run_plan(plan, weights, {"x": softmax.inputs["x"][None], "mask": np.ones((1, 4))})["rows"]
    np.testing.assert_allclose(clear.reshape(4, 8), softmax.clear)


def test_a_peers_script_finds_its_task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task = layer.layer_task(TOY, 4, "rfa")
    np.savez(tmp_path / "layer.npz", heads=2, **task.inputs)
    monkeypatch.syspath_prepend(str(peers.SCRIPTS))
    import layer_file

    monkeypatch.setattr(sys, "argv", ["spu_layer.py", str(tmp_path), "--attention", "rfa", "--runs", "2"])
    read = layer_file.read_task()
    assert (read.heads, read.attention, read.runs) == (2, "rfa", 2)
    assert read.inputs.keys() == task.inputs.keys()
    np.testing.assert_array_equal(read.inputs["x"], task.inputs["x"])


def fake_peer(tmp_path: Path, body: str) -> peers.Peer:
    script = tmp_path / "fake.py"
    script.write_text("import sys, json, pathlib\nimport numpy as np\nfolder = pathlib.Path(sys.argv[1])\n" + body)
    return replace(SPU, script=script)


def test_a_peers_result_becomes_a_row_with_its_error(tmp_path: Path) -> None:
    task = layer.layer_task(TOY, 4, "softmax")
    body = f"np.save(folder / 'result.npy', np.full((4, 8), 7.0))\nprint('chatter')\nprint(json.dumps({REPORT!r}))"
    row = peers.measure(fake_peer(tmp_path, body), Path(sys.executable), task, runs=1)
    assert (row.engine, row.attention, row.features, row.cold_seconds, row.seconds) == ("SPU 1", "softmax", 0, 2.0, 1.0)
    assert row.max_error == pytest.approx(np.abs(7.0 - task.clear).max())


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("raise SystemExit('party 1 ended with code 9')", "SPU: ended with code 1: party 1 ended with code 9"),
        ("raise SystemExit(3)", "SPU: ended with code 3: no message"),
        ("import time; time.sleep(300)", "SPU: not done after 1 s"),
        ("print('hello')", "SPU: its last line is no report: 'hello'"),
    ],
)
def test_a_peer_that_fails_is_skipped_with_the_reason(tmp_path: Path, body: str, message: str) -> None:
    timeout = 1.0 if "sleep" in body else 300.0
    task = layer.layer_task(TOY, 4, "rfa")
    with pytest.raises(peers.PeerError) as caught:
        peers.measure(fake_peer(tmp_path, body), Path(sys.executable), task, 1, timeout)
    assert str(caught.value) == message


@pytest.mark.parametrize("line", ["", "[]", "{}", json.dumps(REPORT | {"seconds": []}), json.dumps(REPORT)[:-1], "7"])
def test_what_is_no_report_is_refused(line: str) -> None:
    with pytest.raises(peers.PeerError, match="SPU: its last line is no report"):
        peers.parse_report(SPU, f"chatter\n{line}")


def test_an_absent_peer_is_skipped_with_what_it_needs(tmp_path: Path) -> None:
    absent = replace(SPU, module="no_such_module")
    with pytest.raises(peers.PeerError, match="SPU: no --spu-python; in an environment of its own: pip install spu"):
        peers.check(SPU, None)
    with pytest.raises(peers.PeerError, match=r"SPU: --spu-python .*/nothing is no file"):
        peers.check(SPU, tmp_path / "nothing")
    with pytest.raises(peers.PeerError, match="has no no_such_module; it needs: pip install spu"):
        peers.check(absent, Path(sys.executable))
    assert peers.check(replace(SPU, module="json"), Path(sys.executable)) == Path(sys.executable)


# figures and the command line


def test_a_figure_shows_what_differs_along_its_axis_alone(tmp_path: Path) -> None:
    measured = [replace(ROW, tokens=tokens, seconds=tokens / 1000) for tokens in (256, 64, 128)]
    measured += [replace(ROW, tokens=128, seconds=0.5), replace(ROW, tokens=128, features=64)]
    lines = figures.along(measured, "tokens")
    assert {name: [row.tokens for row in line] for name, line in lines.items()} == {
        "minilm, embedded, 32 features": [64, 128, 256]
    }
    (line,) = lines.values()
    assert line[1].seconds == 0.5  # the later row
    assert list(figures.along(measured, "features")) == ["minilm, embedded, 128 tokens"]
    path = tmp_path / "layer-tokens.svg"
    assert figures.growth(measured, "tokens", path)
    assert "minilm, embedded, 32 features" in path.read_text()
    before = path.read_bytes()
    assert figures.growth(measured, "tokens", path)
    assert path.read_bytes() == before
    assert not figures.growth(measured, "layers", tmp_path / "none.svg")
    assert not (tmp_path / "none.svg").exists()


def test_engines_stand_side_by_side(tmp_path: Path) -> None:
    measured = [ROW, replace(ROW, engine="SPU 1", attention="softmax"), replace(ROW, shape="768/12/3072")]
    figures.side_by_side(measured, tmp_path / "peers.svg")
    drawn = (tmp_path / "peers.svg").read_text()
    assert "SPU 1, softmax" in drawn
    assert "bert-base: MB, all parties" in drawn


def test_every_combination_of_options_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def measure(*given: object) -> rows.Row:
        seen.append(given)
        return ROW

    monkeypatch.setattr(layer, "measure", measure)
    options = run.parsed(["forward", "--shape", "minilm", "bert-base", "--layers", "1", "0", "--tokens", "8", "16"])
    assert len(list(run.forward_rows(options))) == 8
    assert (SHAPES["bert-base"], 16, 12, 32, 5, 1) in seen


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("layer --tokens 0", "argument --tokens: '0' is not a whole number from 1 on"),
        ("generation --candidates 1", "argument --candidates: '1' is not a whole number from 2 on"),
        ("forward --layers 7", "--layers is 7, minilm has 6"),
        ("generation --below-top 7", "--prompt-layer is -1"),
    ],
)
def test_wrong_options_end_with_a_message(
    line: str, message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["run.py", *line.split(), "--dry"])
    with pytest.raises(SystemExit) as ended:
        run.main()
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


def test_absent_peers_are_named_and_the_rest_is_measured(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(layer, "measure", lambda *_: ROW)
    options = run.parsed(["peers", "--engines", "spu", "crypten", "embedded"])
    assert [(row.benchmark, row.engine) for row in run.peer_rows(options)] == [("peers", "embedded")]
    output = capsys.readouterr().out
    assert "skipped spu: SPU: no --spu-python" in output
    assert "skipped crypten: CrypTen: no --crypten-python" in output
