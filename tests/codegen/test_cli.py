"""`secfwt-gen` from its command line: bundles of every family and head, same bytes anywhere, one report on failure."""

from __future__ import annotations

import hashlib
import json
import re
import shlex
import shutil
import stat
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import secfwt.codegen.bundle as bundle_module
from helpers.commands import Ended, run
from helpers.toy_decoders import save_decoder
from helpers.toys import CONFIGS, HEADS, save_sentence_transformer, save_toy
from safetensors.numpy import load_file, save_file
from secfwt.codegen.bundle import program_covered
from secfwt.codegen.cli import main
from secfwt.codegen.estimate import grouped
from secfwt.codegen.owners.embed import Embedder
from secfwt.codegen.ring.cost import Estimate
from secfwt.codegen.ring.header import read_program

SMALL = shlex.split("--sequence-length 12 --n-prompt-tokens 2 --intrinsic-dim 4 --popsize 4")
SMALL += shlex.split("--attention rfa --rfa-features 8")
OF_HEAD = {
    "classification": ["--labels", "no,yes"],
    "masked_lm": ["--label-words", "good,bad", "--template", "{text} is {mask}"],
    "prototypes": ["--label-texts", "good film|bad film|the news"],
}
LABELS = {"classification": ("no", "yes"), "masked_lm": ("good", "bad")}


def generate(model: Path, out: Path, *arguments: Any) -> Ended:
    result = run(main, model, "--output", out, *SMALL, *arguments)
    assert result.exit_code == 0, result.stderr
    assert result.stderr == ""
    return result


def refused(model: Path, out: Path, *arguments: Any) -> str:
    """The report of a run that must fail, write nothing and leave nothing."""
    before = tree(out.parent)
    result = run(main, model, "--output", out, *SMALL, *arguments)
    assert result.exit_code == 2
    assert "Traceback" not in result.stderr
    assert tree(out.parent) == before
    return result.stderr


def tree(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() if p.is_file() else b"" for p in folder.rglob("*")}


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Toy checkpoints by family and head; to be copied before they are changed."""

    @cache
    def get(family: str = "bert", head: str = "classification") -> Path:
        directory = tmp_path_factory.mktemp("models") / f"{family}-{head}"
        save_toy(directory, family, head)
        return directory

    return get


def test_public_weights_below_the_prompt_go_to_the_data_owner(toy: Any, tmp_path: Path) -> None:
    generate(toy(), tmp_path / "bundle", "--weights", "public", "--prompt-layer", "1")
    assert (tmp_path / "bundle" / "data_owner" / "frozen.safetensors").is_file()
    names = {spec.name for spec in read_program(tmp_path / "bundle" / "public" / "program.txt").of_kind("weight")}
    assert {name.split(".")[1] for name in names if name.startswith("layers.")} == {"1"}


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("family", CONFIGS)
def test_bundle_of_every_family_and_head(family: str, head: str, toy: Any, tmp_path: Path) -> None:
    out = tmp_path / "new" / "bundle"
    generate(toy(family, head), out, *OF_HEAD[head])
    assert {str(p.relative_to(out)) for p in out.rglob("*") if p.is_file()} == {
        "public/program.txt", "public/program.mpc", "public/plan.json", "model_owner/weights.safetensors",
        "model_owner/mp-spdz.safetensors", "data_owner/tokenizer.json", "data_owner/embeddings.safetensors",
        "data_owner/data_owner.json",
    }  # fmt: skip
    assert [p.name for p in out.parent.iterdir()] == ["bundle"]
    secret = out / "model_owner" / "weights.safetensors"
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    assert {stat.S_IMODE((out / owner).stat().st_mode) for owner in ("model_owner", "data_owner")} == {0o700}

    plan = json.loads((out / "public" / "plan.json").read_text())
    program = read_program(out / "public" / "program.txt")
    assert plan["program_sha256"] == program.hash.hex()
    assert plan["program_sha256"] == hashlib.sha256((out / "public" / "program.txt").read_bytes()).hexdigest()
    assert plan["program_sha256"] in (out / "public" / "program.mpc").read_text()
    assert {s.name: s.shape for s in program.of_kind("weight")} == {
        name: value.shape or (1,) for name, value in load_file(secret).items()
    }
    inputs, problems = Embedder.open(out / "data_owner").encode(["good", "bad"])
    assert not problems
    given = {"labels", "x", "mask", "select", "example_weight"} & {s.name for s in program.of_kind("example")}
    assert {s.name for s in program.of_kind("example")} == given
    assert all(inputs[s.name].shape[1:] == s.shape for s in program.of_kind("example"))
    labels = LABELS.get(head, ("good film", "bad film", "the news"))
    assert tuple(plan["model"]["head"]["labels"]) == Embedder.open(out / "data_owner").settings.labels == labels


def test_sentence_transformer_directory(tmp_path: Path) -> None:
    save_sentence_transformer(tmp_path / "model", "bert", "cls")
    generate(tmp_path / "model", tmp_path / "out", *OF_HEAD["prototypes"])
    assert json.loads((tmp_path / "out/public/plan.json").read_text())["model"]["head"]["rows"] == "first"


def test_same_input_same_bytes(toy: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = tmp_path / "first", tmp_path / "elsewhere" / "second"
    generate(toy(), first)
    shutil.copytree(toy(), tmp_path / "copy" / toy().name)
    monkeypatch.chdir(tmp_path / "copy")
    generate(Path(toy().name), second)
    assert tree(first) == tree(second)
    for name, content in tree(first / "public").items():
        assert str(tmp_path).encode() not in content, name


def test_commands_stay_on_one_line(toy: Any, tmp_path: Path) -> None:
    generate(
        toy("bert", "masked_lm"), tmp_path / "out", "--label-words", "good,bad", "--template", "{text}\nit\r{mask}"
    )
    lines = (tmp_path / "out/public/program.mpc").read_text().splitlines()
    assert [line[0] for line in lines[:4]] == ["#"] * 4
    assert "--template '{text} it {mask}'" in lines[2]


def test_table_says_what_is_in_the_bundle(toy: Any, tmp_path: Path) -> None:
    result = generate(toy(), tmp_path / "out", "--examples", 7)
    assert "4 candidates × 7 examples × 12 tokens" in result.stdout
    lines = (re.split(r"  +", line.strip()) for line in result.stdout.split("expected time")[0].splitlines())
    rows = {cells[0]: cells[1:] for cells in lines if len(cells) >= 4}
    totals = {"part", "all", "unstaged", "before the first"}
    assert {"prompt", "layer 0", "layer 1", "dense", "loss"} | totals <= rows.keys()
    secret = load_file(tmp_path / "out/model_owner/weights.safetensors")
    count = sum(value.size for value in secret.values())
    assert rows["all"][0] == f"{count:,}"
    parts = [row for name, row in rows.items() if name not in totals]
    assert sum(int(row[0].replace(",", "")) for row in parts) == count
    estimate = json.loads((tmp_path / "out/public/plan.json").read_text())["estimate"]
    assert estimate["candidates"] == 4
    assert rows["all"][2] == str(estimate["per_example"]["rounds"])
    assert size(rows["all"][1]) == pytest.approx(sum(size(row[1]) for row in parts), rel=0.01)
    assert size(rows["unstaged"][0]) > size(rows["all"][1])
    for place in ("on this machine", "LAN 3 Gbit/s 0.8 ms", "WAN 200 Mbit/s 40 ms", "WAN 100 Mbit/s 80 ms"):
        assert re.search(rf"^ *{place} +[\d.]+ \w+ +[\d.]+ \w+ *$", result.stdout, re.MULTILINE), place


def size(text: str) -> float:
    """Bytes of a figure such as 1.3 GB."""
    number, unit = text.split()
    return float(number) * {"B": 1, "kB": 1e3, "MB": 1e6, "GB": 1e9}[unit]


def test_layers_that_cost_the_same_are_one_row() -> None:
    same, other = (12, Estimate(bytes=8, rounds=2)), (12, Estimate(bytes=9, rounds=2))
    sites = [("prompt", same), ("layer 0", same), ("layer 1", same), ("layer 2", other), ("mask", (0, Estimate()))]
    assert [part.label for part in grouped(sites)] == ["prompt", "2 layers: 0-1, each", "layer 2"]


def test_a_model_without_adapter_keeps_its_softmax(toy: Any, tmp_path: Path) -> None:
    said = generate(toy(), tmp_path / "out", "--attention", "auto")
    options = json.loads((tmp_path / "out/public/plan.json").read_text())["options"]
    assert options["attention"] == "softmax"
    assert "attention  softmax" in said.stdout
    assert "layers.0.log_sum.weight" in load_file(tmp_path / "out/model_owner/weights.safetensors")


@pytest.mark.parametrize(
    ("target", "files"),
    [("embedded", {"program.txt"}), ("mp-spdz", {"program.mpc"}), ("all", {"program.txt", "program.mpc"})],
)
def test_targets(target: str, files: set[str], toy: Any, tmp_path: Path) -> None:
    generate(toy() / "config.json", tmp_path / "out", "--target", target)
    assert {p.name for p in (tmp_path / "out/public").iterdir()} == files | {"plan.json"}


def test_health_is_an_output_of_the_embedded_program(toy: Any, tmp_path: Path) -> None:
    config = toy() / "config.json"
    generate(config, tmp_path / "out", "--target", "embedded", "--health")
    outputs = [
        line.split()[1]
        for line in (tmp_path / "out/public/program.txt").read_text().splitlines()
        if line.startswith("out ")
    ]
    assert outputs == ["loss_health", "logits"]
    refused = run(main, config, "-o", tmp_path / "other", "--health")
    assert refused.exit_code == 2
    assert "The MP-SPDZ target does not open it yet: give --target embedded." in refused.output
    refused = run(main, config, "-o", tmp_path / "other", "--target", "embedded", "--health", "--reveal", "logits")
    assert "--health is given, --reveal is logits" in refused.output


def test_limits_on_what_is_opened_are_in_the_program(toy: Any, tmp_path: Path) -> None:
    out = tmp_path / "bundle"
    limits = ["--max-evaluations", 500, "--max-logit-rows", 60]
    printed = generate(toy("bert", "classification"), out, *limits).stdout
    assert "no program.mpc: MP-SPDZ's parties count neither what they open nor owners" in printed
    assert sorted(path.name for path in (out / "public").iterdir()) == ["plan.json", "program.txt"]
    outputs = read_program(out / "public" / "program.txt").outputs
    assert [(o.name, o.max_candidates, o.max_opened) for o in outputs] == [("loss", None, 500), ("logits", 1, 60)]
    text = refused(toy("bert", "classification"), tmp_path / "other", *limits, "--target", "mp-spdz")
    assert "--max-evaluations is given, --target is mp-spdz\n  MP-SPDZ's parties count nothing" in text
    assert "--max-logit-rows is -1" in refused(
        toy("bert", "classification"), tmp_path / "other", "--max-logit-rows", -1
    )


def test_noise_is_in_the_program_and_not_for_mp_spdz(toy: Any, tmp_path: Path) -> None:
    out = tmp_path / "bundle"
    printed = generate(toy("bert", "classification"), out, "--noise", 0.05).stdout
    said = r"noise      0\.05 by each party on every loss; an example's is from -0\.[12]\d* to 4(\.\d+)?\n"
    assert re.search(said, printed), printed
    assert sorted(path.name for path in (out / "public").iterdir()) == ["plan.json", "program.txt"]
    outputs = read_program(out / "public" / "program.txt").outputs
    assert [(o.name, o.noise) for o in outputs] == [("loss", round(0.05 * 2**40)), ("logits", None)]
    low, high = program_covered(out).clipped or (0, 0)
    assert -0.25 < low < 0 < 4 < high < 4.1
    text = refused(toy("bert", "classification"), tmp_path / "other", "--noise", 0.05, "--target", "mp-spdz")
    assert "--noise is given, --target is mp-spdz\n  MP-SPDZ's parties add none to what they open" in text


def test_several_data_owners_are_in_the_program(toy: Any, tmp_path: Path) -> None:
    out, model = tmp_path / "bundle", toy("bert", "classification")
    generate(model, out, "--min-owners", 3)
    assert sorted(path.name for path in (out / "public").iterdir()) == ["plan.json", "program.txt"]
    outputs = read_program(out / "public" / "program.txt").outputs
    assert [(o.name, o.max_candidates, o.min_owners) for o in outputs] == [("loss", None, 3), ("logits", 1, None)]
    printed = generate(model, out, "--min-owners", 2, "--noise", 0.05, "--max-evaluations", 40).stdout
    assert "noise      0.05 by each party on every sum of losses, in which an example's weighs 0.0625; an" in printed
    (loss, _) = read_program(out / "public" / "program.txt").outputs
    assert (loss.noise, loss.min_owners, loss.max_opened) == (round(0.05 * 2.0**loss.scale), 2, 40)
    for wrong in (["--target", "mp-spdz"], ["--reveal", "logits"], ["--n-prompt-tokens", 0], ["--noise", 0.05]):
        assert "--min-owners is" in refused(model, tmp_path / "other", "--min-owners", 3, *wrong)
    assert "--min-owners is 1\n  What is opened of one owner's examples is no sum" in refused(
        model, tmp_path / "other", "--min-owners", 1
    )


def test_protocol_of_the_mp_spdz_program(toy: Any, tmp_path: Path) -> None:
    generate(toy() / "config.json", tmp_path / "out", "--protocol", "rep4-ring", "--target", "mp-spdz")
    assert "# Protocol: rep4-ring (4 parties)" in (tmp_path / "out/public/program.mpc").read_text()


def test_a_bare_config_gives_the_public_part(toy: Any, tmp_path: Path) -> None:
    shutil.copy(toy() / "config.json", tmp_path / "model.json")
    result = generate(tmp_path / "model.json", tmp_path / "out")
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["public"]
    assert "has its public part only" in result.stdout
    (tmp_path / "directory").mkdir()
    shutil.copy(toy() / "config.json", tmp_path / "directory")
    generate(tmp_path / "directory", tmp_path / "other")
    assert (tmp_path / "out/public/program.txt").read_bytes() == (tmp_path / "other/public/program.txt").read_bytes()


def test_plain_inference(toy: Any, tmp_path: Path) -> None:
    generate(toy(), tmp_path / "out", "--n-prompt-tokens", 0, "--target", "embedded")
    program = read_program(tmp_path / "out/public/program.txt")
    assert not program.of_kind("candidate")
    assert [o.name for o in program.outputs] == ["logits"]
    assert "give --target embedded" in refused(toy(), tmp_path / "refused", "--n-prompt-tokens", 0)


def test_public_text_calibrates(toy: Any, tmp_path: Path) -> None:
    text = tmp_path / "public.txt"
    text.write_text("a good film\n\nbad , very bad\n")
    generate(toy(), tmp_path / "out", "--calibration-text", text)
    generate(toy(), tmp_path / "random")
    assert tree(tmp_path / "out" / "public") != tree(tmp_path / "random" / "public")
    for content, message in ((b"\n \n", "has no text"), (b"\xff", "can't decode")):
        text.write_bytes(content)
        assert message in refused(toy(), tmp_path / "refused", "--calibration-text", text)
    assert "No such file" in refused(toy(), tmp_path / "refused", "--calibration-text", tmp_path / "absent")
    text.write_text("good")
    report = refused(toy() / "config.json", tmp_path / "refused", "--calibration-text", text)
    assert report.startswith("error: --calibration-text is given, but")


def changed(model: Path, directory: Path, **config: Any) -> Path:
    shutil.copytree(model, directory)
    path = directory / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | config))
    return directory


def test_everything_wrong_with_a_model_is_one_report(toy: Any, tmp_path: Path) -> None:
    model = changed(toy(), tmp_path / "model", hidden_act="silu", position_embedding_type="relative_key")
    report = refused(model, tmp_path / "out", "--sequence-length", 50, "--label-words", "a,b")
    headers = [line for line in report.splitlines() if not line.startswith("  ")]
    assert len(headers) == 4
    assert all(line.startswith("error: ") for line in headers)
    for part in ("'silu'", "Accepted: gelu, relu.", "'relative_key'", "--sequence-length is 50", "--label-words"):
        assert part in report


def test_every_missing_and_wrong_tensor_is_named(toy: Any, tmp_path: Path) -> None:
    model = changed(toy(), tmp_path / "model")
    tensors = load_file(model / "model.safetensors")
    del tensors["bert.encoder.layer.1.output.dense.weight"]
    del tensors["classifier.bias"]
    tensors["bert.pooler.dense.bias"] = tensors["bert.pooler.dense.bias"][:-1]
    save_file(tensors, model / "model.safetensors")
    report = refused(model, tmp_path / "out")
    for name in ("layers.1.ffn_out.weight", "head.out.bias", "bert.pooler.dense.bias"):
        assert name in report


def test_options_out_of_range_are_one_report(toy: Any, tmp_path: Path) -> None:
    report = refused(toy(), tmp_path / "out", "--popsize", 1, "--rfa-floor", 0, "--margin", "nan")
    for flag in ("--popsize is 1", "--rfa-floor is 0.0", "--margin is nan"):
        assert flag in report
    assert "--loss" in refused(toy(), tmp_path / "out", "--loss", "mse")
    assert "--examples" in refused(toy(), tmp_path / "out", "--examples", 0)


@pytest.mark.parametrize(("name", "message"), [("absent", "there is no model at"), ("model", "cannot read")])
def test_nothing_to_read(name: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    assert message in refused(tmp_path / name, tmp_path / "out")


def test_a_model_without_tokenizer(toy: Any, tmp_path: Path) -> None:
    model = changed(toy(), tmp_path / "model")
    (model / "vocab.txt").unlink()
    assert "BertTokenizer (config.json) needs vocab.txt or tokenizer.json" in refused(model, tmp_path / "out")


def test_an_adapter_needs_weights(toy: Any, tmp_path: Path) -> None:
    assert "cannot read the adapter" in refused(toy(), tmp_path / "out", "--adapter", tmp_path)
    adapter = {"features": 8, "variant": "folded", "floor": 0.02}
    (tmp_path / "adapter.json").write_text(json.dumps(adapter))
    save_file({}, tmp_path / "adapter.safetensors")
    assert "--adapter is given, but" in refused(toy() / "config.json", tmp_path / "out", "--adapter", tmp_path)
    assert "the adapter lacks" in refused(toy(), tmp_path / "out", "--adapter", tmp_path)


def test_other_folders_are_left_alone(toy: Any, tmp_path: Path) -> None:
    site, file = tmp_path / "site", tmp_path / "file"
    (site / "public").mkdir(parents=True)
    (site / "public" / "plan.json").write_text("{}")
    (site / "index.html").write_text("mine")
    file.write_text("mine")
    for path in (site, file):
        assert "exists and is no bundle" in refused(toy(), path)
    assert "cannot write" in refused(toy(), file / "below")


def test_an_earlier_bundle_is_replaced_as_a_whole(toy: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "out"
    out.mkdir()  # empty
    generate(toy(), out)
    generate(toy() / "config.json", out, "--target", "embedded")
    assert {str(p.relative_to(out)) for p in out.rglob("*")} == {"public", "public/program.txt", "public/plan.json"}

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(bundle_module, "save_file", full)
    assert "No space left on device" in refused(toy(), out)


def test_a_decoders_bundle(tmp_path: Path) -> None:
    save_decoder(tmp_path / "model", "qwen3", "causal_lm")
    options = ["--label-words", "good,bad", "--template", "{text} So it is", "--attention", "softmax"]
    options += ["--sequence-length", "30"]
    result = generate(tmp_path / "model", tmp_path / "out", *options)
    assert "no program.mpc" not in result.stdout
    assert "decoder.rows_and_keys(" in (tmp_path / "out" / "public" / "program.mpc").read_text()
    sent = load_file(tmp_path / "out" / "model_owner" / "mp-spdz.safetensors")
    assert {"layers.1.input_norm.gamma", "layers.1.k_norm.gamma", "layers.0.sink.key"} <= sent.keys()
    assert " table - name=rope.cos." in (tmp_path / "out" / "public" / "program.txt").read_text()
    owner = Embedder.open(tmp_path / "out" / "data_owner")
    assert owner.settings.layout is not None
    assert owner.encode(["a film"])[0]["mask"].sum() > owner.settings.layout.template_rows
    several = ["--min-owners", 2, "--noise", 0.05, "--max-evaluations", 9]
    generate(tmp_path / "model", tmp_path / "several", *options, *several)
    assert read_program(tmp_path / "several" / "public" / "program.txt").outputs[0].min_owners == 2
