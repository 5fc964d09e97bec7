"""Peers: the layer that they are given, and what becomes of their answers."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers.benchmark_rows import TOY
from secfwt.codegen.plan.oracle import run_plan

from peers import measure
from performance import layer

REPORT = {
    "engine": "SPU 1",
    "protocol": "ABY3",
    "parties": 3,
    "seconds": [2.0, 1.0],
    "bytes_sent": 5,
    "rounds": 7,
    "peak_bytes": 9,
}
SPU = measure.PEERS["spu"]


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
    monkeypatch.syspath_prepend(str(measure.SCRIPTS))
    import layer_file

    monkeypatch.setattr(sys, "argv", ["spu_layer.py", str(tmp_path), "--attention", "rfa", "--runs", "2"])
    read = layer_file.read_task()
    assert (read.heads, read.attention, read.runs) == (2, "rfa", 2)
    assert read.inputs.keys() == task.inputs.keys()
    np.testing.assert_array_equal(read.inputs["x"], task.inputs["x"])


def fake_peer(tmp_path: Path, body: str) -> measure.Peer:
    script = tmp_path / "fake.py"
    script.write_text("import sys, json, pathlib\nimport numpy as np\nfolder = pathlib.Path(sys.argv[1])\n" + body)
    return replace(SPU, script=script)


def test_a_peers_result_becomes_a_row_with_its_error(tmp_path: Path) -> None:
    task = layer.layer_task(TOY, 4, "softmax")
    body = f"np.save(folder / 'result.npy', np.full((4, 8), 7.0))\nprint('chatter')\nprint(json.dumps({REPORT!r}))"
    row = measure.measure(fake_peer(tmp_path, body), Path(sys.executable), task, runs=1)
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
    with pytest.raises(measure.PeerError) as caught:
        measure.measure(fake_peer(tmp_path, body), Path(sys.executable), task, 1, timeout)
    assert str(caught.value) == message


@pytest.mark.parametrize("line", ["", "[]", "{}", json.dumps(REPORT | {"seconds": []}), json.dumps(REPORT)[:-1], "7"])
def test_what_is_no_report_is_refused(line: str) -> None:
    with pytest.raises(measure.PeerError, match="SPU: its last line is no report"):
        measure.parse_report(SPU, f"chatter\n{line}")


def test_an_absent_peer_is_skipped_with_what_it_needs(tmp_path: Path) -> None:
    absent = replace(SPU, module="no_such_module")
    with pytest.raises(measure.PeerError, match="SPU: no --spu-python; in an environment of its own: pip install spu"):
        measure.check(SPU, None)
    with pytest.raises(measure.PeerError, match=r"SPU: --spu-python .*/nothing is no file"):
        measure.check(SPU, tmp_path / "nothing")
    with pytest.raises(measure.PeerError, match="has no no_such_module; it needs: pip install spu"):
        measure.check(absent, Path(sys.executable))
    assert measure.check(replace(SPU, module="json"), Path(sys.executable)) == Path(sys.executable)
