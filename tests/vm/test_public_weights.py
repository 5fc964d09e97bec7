"""Public weights: numbers that the parties read from a file by their hashes, and no share of them."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.toy_decoders import save_decoder
from helpers.toy_lora import save_lora
from helpers.toys import save_toy
from helpers.tune_runs import tune, write_data
from secfwt.codegen.compile import Compiled, compile_model, encoded_weights, public_numbers
from secfwt.codegen.intervals import ACCEPTED
from secfwt.codegen.model.options import GenOptions
from secfwt.codegen.model.weights import Widened
from secfwt.codegen.native.simulator import Simulator, SimulatorError
from secfwt.codegen.plan.graph import Stage
from secfwt.codegen.plan.oracle import run_plan
from secfwt.codegen.ring.cost import stage_cost, uploaded_bytes
from secfwt.codegen.ring.encoding import decode, encode, number_bytes, stored
from secfwt.codegen.ring.traffic import comparison
from secfwt.runtime.embedded.processes import public_weights

pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")  # by peft
TEXTS = ("a good film", "bad", "the news was")
PROGRAM = """secfwt-program 4
v 0 candidate rep 0 2x64 candidate - name=x ring=64
v 1 setup pub 0 64x32 constant - name=first bytes={size} sha256={first}
v 2 setup pub 0 32 constant - name=second bytes=1 sha256={second}
v 3 candidate rep 0 2x32 matmul 0,1
v 4 candidate rep 0 2x32 add 3,2
out y 4 ring=64
end
"""


def program(size: int) -> tuple[str, bytes, np.ndarray, np.ndarray]:
    """Its text, its file, and the two constants."""
    rng = np.random.default_rng(size)
    first = rng.integers(-(1 << 8 * size - 1), 1 << 8 * size - 1, size=(64, 32), endpoint=False, dtype=np.int64)
    second = rng.integers(-128, 128, size=32, dtype=np.int64)
    parts = stored(first, size), stored(second, 1)
    hashes = (hashlib.sha256(part).hexdigest() for part in parts)
    return PROGRAM.format(size=size, first=next(hashes), second=next(hashes)), b"".join(parts), first, second


@pytest.mark.parametrize("size", range(1, 9))
def test_numbers_of_every_length(size: int) -> None:
    text, file, first, second = program(size)
    assert number_bytes(first) == size
    x = np.random.default_rng(0).integers(-(1 << 60), 1 << 60, size=(3, 2, 64))
    sim = Simulator(text, constants=file)
    before = sim.counters()
    got = sim.step(3, x).reshape(3, 2, 32)
    assert (sim.counters() - before).total == comparison().data // 8  # the product itself sends nothing
    with np.errstate(over="ignore"):
        assert np.array_equal(got.view(np.int64), x @ first + second)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (lambda file: file[:-1], "second (program line 4) lies beyond the end of the file"),
        (lambda file: b"x" + file[1:], "first (program line 3) has another hash than the program says"),
        (lambda file: b"", "first (program line 3) lies beyond the end of the file"),
    ],
)
def test_another_file_is_refused(changed: Any, message: str) -> None:
    text, file, *_ = program(3)
    with pytest.raises(SimulatorError) as refused:
        Simulator(text, constants=changed(file)).weights(np.empty(0, np.uint64))
    assert message in str(refused.value)


def adapted(folder: Path, kind: str, weights: Any, products: Any = "merged") -> Compiled:
    if kind == "encoder":
        model = save_toy(folder / "model", "bert", "classification")
        save_lora(folder / "lora", model, target_modules=["query", "output.dense"], layers_to_transform=[1])
        more: dict[str, Any] = {}
    else:
        model = save_decoder(folder / "model", "llama", "causal_lm")
        save_lora(folder / "lora", model, target_modules=["v_proj", "gate_proj"], layers_to_transform=[1])
        more = {"label_words": ("good", "bad"), "template": "{text} So it is"}
    options = GenOptions(
        attention="softmax", sequence_length=30, n_prompt_tokens=2, intrinsic_dim=5, weights=weights,
        lora_products=products, **more,
    )  # fmt: skip
    return compile_model(folder / "model", options, lora=folder / "lora")


@pytest.fixture(scope="module", params=["encoder", "decoder"])
def compiled(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Compiled, ...]:
    """With a public base, changes merged and factored, and with a private one."""
    folder = tmp_path_factory.mktemp(request.param)
    ways = ("base", "merged"), ("base", "factored"), ("private", "merged")
    return tuple(adapted(folder, request.param, *way) for way in ways)


def test_a_public_base_computes_what_a_private_one_does(compiled: tuple[Compiled, ...]) -> None:
    base, *_ = compiled
    assert base.weights is not None
    assert base.embedder is not None
    inputs = base.embedder.encode(TEXTS, [base.spec.head.labels[0]] * len(TEXTS))[0]
    inputs["z"] = np.random.default_rng(0).normal(size=(2, 5)).astype(np.float32)
    reference = run_plan(base.plan, base.weights, inputs)["loss"]
    found = []
    for each in compiled:
        ring, words = each.ring, encoded_weights(each)
        words |= {v.attrs["name"]: encode(inputs[v.attrs["name"]], v.scale) for v in ring.inputs("example")}
        words |= {v.attrs["name"]: encode(inputs[v.attrs["name"]], v.scale) for v in ring.inputs("candidate")}
        sim = Simulator(each.text, constants=b"".join(public_numbers(each)))

        def all_of(kind: str, words: dict[str, Any] = words, ring: Any = ring) -> np.ndarray:
            return np.concatenate([words[v.attrs["name"]].reshape(-1) for v in ring.inputs(kind)])

        sim.weights(all_of("weight"))
        before = sim.counters()
        sim.examples(len(TEXTS), all_of("example"))
        cost = sim.counters() - before
        estimate = stage_cost(ring, Stage.EXAMPLE, len(TEXTS))
        assert cost.rounds == estimate.rounds
        assert cost.total == pytest.approx(estimate.bytes, rel=0.02)
        scale = ring[next(o.value for o in ring.outputs if o.name == "loss")].scale
        loss = decode(sim.step(2, all_of("candidate")).view(np.int64), scale).reshape(reference.shape)
        assert np.abs(loss - reference).max() < ACCEPTED
        sent = (sim.counters() - before).total
        found.append((sent, len(ring.inputs("weight")), len(ring.inputs("constant"))))
    (base_bytes, base_weights, constants), (factored_bytes, _, more), (private_bytes, weights, none) = found
    assert factored_bytes != base_bytes
    assert more > constants
    assert none == 0
    assert weights == base_weights + constants
    assert base_bytes <= private_bytes


def test_factors_are_thin_and_shared_by_what_the_same_tensors_change(compiled: tuple[Compiled, ...]) -> None:
    merged, factored, _ = compiled
    assert (merged.options.lora_products, merged.options.private_ranks) == ("merged", ())
    assert factored.options.lora_products == "factored"
    assert set(factored.options.private_ranks) == {3}
    kinds = {v.attrs["name"]: (v.kind, v.shape) for v in factored.ring if v.kind in ("weight", "constant")}
    down = {name.removesuffix(".down"): shape for name, (_, shape) in kinds.items() if name.endswith(".down")}
    up = {name.removesuffix(".up") for name in kinds if name.endswith(".up")}
    assert all(kind == "weight" for name, (kind, _) in kinds.items() if name.endswith((".down", ".up")))
    assert all(kinds[name][0] == "constant" for name in up)  # the base itself
    assert down.keys() <= up
    if factored.spec.causal:  # the gate's phases and its linear half
        assert up - down.keys() == {"layers.1.ffn_gate.weight"}
        assert kinds["layers.1.v.weight.down"][1] == (factored.spec.hidden_size, 3)
    assert uploaded_bytes(factored.ring, "weight") < uploaded_bytes(merged.ring, "weight")
    assert up <= {v.attrs["name"] for v in merged.ring.inputs("weight")}


@pytest.mark.parametrize("index", [0, 1])
def test_no_constant_reads_what_is_secret(compiled: tuple[Compiled, ...], index: int) -> None:
    base = compiled[index]
    assert base.weights is not None
    assert base.plan.secret is not None
    without = {name: value for name, value in base.weights.items() if name not in base.plan.secret}
    constants = {v.attrs["name"] for v in base.ring.inputs("constant")}
    for name, fold in base.lowered.folds.items():
        if name in constants:
            fold.words(Widened(without))
        else:
            with pytest.raises(KeyError):
                fold.words(Widened(without))
    assert set(base.plan.secret) >= set(base.options.private_tensors)
    assert any(name.startswith("layers.1") for name in constants)


def test_the_quicker_products_are_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert adapted(tmp_path / "quick", "encoder", "base", "auto").options.lora_products == "merged"
    monkeypatch.setattr("secfwt.codegen.lowering.program.MEMORY", 1e4)  # bytes per second: weights take long
    waited = "secfwt.codegen.lowering.program.waited"
    for name, sign, taken in (("more", -1, "factored"), ("fewer", 1, "merged")):
        monkeypatch.setattr(waited, lambda ring, sign=sign: sign * len(ring.inputs("constant")))
        assert adapted(tmp_path / name, "encoder", "base", "auto").options.lora_products == taken


def test_parties_over_tls_read_the_file(tmp_path: Path) -> None:
    model = save_toy(tmp_path / "model", "bert", "classification")
    save_lora(tmp_path / "lora", model, target_modules=["query"], layers_to_transform=[1])
    write_data(tmp_path / "films.jsonl", ("LABEL_0", "LABEL_1"))
    done = tune(
        "--model", tmp_path / "model", "--lora", tmp_path / "lora", "--data", tmp_path / "films.jsonl", "--k-shot", 2,
        "--popsize", 4, "--intrinsic-dim", 6, "--attention", "softmax", "--sequence-length", 12, "--prompt-layer", 1,
        "--n-prompt-tokens", 2, "--budget", 4, "--eval-every", 1, "--run", tmp_path / "run",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    text = next((tmp_path / "run").rglob("program.txt"))
    assert " constant - " in text.read_text()
    numbers = public_weights(text).read_bytes()
    assert numbers


@pytest.mark.parametrize("given", [[], ["--public-weights", "/nowhere"]])
def test_a_party_without_the_file_does_not_start(given: list[str], tmp_path: Path) -> None:
    from secfwt.codegen.native.binaries import VM, find

    text, _, *_ = program(3)
    (tmp_path / "program.txt").write_text(text)
    command = [find(VM), "--party", "0", "--listen", "localhost:9", "--program", tmp_path / "program.txt", *given]
    for option in ("--peer1", "--peer2"):
        command += [option, "localhost:1"]
    for option in ("--threads", "--lanes", "--ahead-mb"):
        command += [option, "1"]
    command += ["--tile-words", "1024"]
    for option in ("--connect-timeout", "--idle-timeout", "--command-timeout"):
        command += [option, "5"]
    ended = subprocess.run([*command], capture_output=True, text=True, timeout=20, check=False)
    assert ended.returncode == 2
    assert ("/nowhere" if given else "--public-weights is missing") in ended.stderr
