"""Runs with a private adapter at its server end as runs in the clear with the adapter merged do."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from helpers.commands import run
from helpers.toy_decoders import save_decoder
from helpers.toy_lora import save_lora
from helpers.toys import save_sentence_transformer
from helpers.tune_runs import tune, write_data
from secfwt.runtime.commands.generate import main as generate_main
from secfwt.runtime.commands.predict import main as predict_main
from secfwt.runtime.parties.certificates import make_certificates
from secfwt.runtime.parties.deployment import Deployment
from secfwt.runtime.split.running import LocalServer, Place

pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")  # by peft
SMALL = ["--k-shot", 2, "--popsize", 4, "--intrinsic-dim", 6, "--attention", "softmax", "--sequence-length", 12]
SMALL += ["--n-prompt-tokens", 2, "--eval-every", 1, "--budget", 4, "--test-limit", 4]


def losses(folder: Path) -> list[float]:
    lines = (folder / "history.jsonl").read_text().splitlines()
    return [value for line in lines for value in json.loads(line).get("losses", [])]


@pytest.mark.parametrize("he", ["ahead", "online"])
def test_an_encoder_is_tuned_as_in_the_clear(he: str, tmp_path: Path) -> None:
    top = {"target_modules": ["query", "value"], "layers_to_transform": [1]}
    save_lora(tmp_path / "lora", save_sentence_transformer(tmp_path / "model", "bert"), **top)
    write_data(tmp_path / "films.jsonl", ("good", "bad"))
    given = ["--model", tmp_path / "model", "--data", tmp_path / "films.jsonl", *SMALL, "--prompt-layer", 1]
    clear = tune(*given, "--lora", tmp_path / "lora", "--engine", "clear", "--run", tmp_path / "clear")
    split = tune(*given, "--lora", tmp_path / "lora", "--engine", "split", "--he", he, "--run", tmp_path / "split")
    assert (clear.exit_code, split.exit_code) == (0, 0), split.output
    assert "a private adapter can be solved for" in split.output
    assert losses(tmp_path / "split") == pytest.approx(losses(tmp_path / "clear"), abs=0.01)
    told = run(predict_main, "--run", tmp_path / "split", "--text", "good film")
    assert told.exit_code == 0, told.output


def test_prototypes_are_made_of_shots(tmp_path: Path) -> None:
    top = {"target_modules": ["query", "value"], "layers_to_transform": [1]}
    save_lora(tmp_path / "lora", save_sentence_transformer(tmp_path / "model", "bert"), **top)
    write_data(tmp_path / "films.jsonl", ("good", "bad"))
    given = ["--model", tmp_path / "model", "--data", tmp_path / "films.jsonl", *SMALL, "--prompt-layer", 1]
    given += ["--lora", tmp_path / "lora", "--prototype-shots", 2]
    clear, split = (tune(*given, "--engine", e, "--run", tmp_path / e) for e in ("clear", "split"))
    assert (clear.exit_code, split.exit_code) == (0, 0), split.output
    assert losses(tmp_path / "split") == pytest.approx(losses(tmp_path / "clear"), abs=0.01)


@pytest.mark.parametrize("he", ["ahead", "online"])
def test_a_decoder_says_the_same_as_with_the_adapter_merged(he: str, tmp_path: Path) -> None:
    everything = {"target_modules": ["q_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]}
    save_lora(tmp_path / "lora", save_decoder(tmp_path / "model", "llama", "causal_lm"), **everything)
    given = ["--model", tmp_path / "model", "--prompt", "the news was", "--max-new-tokens", 4]
    lora = ["--lora", tmp_path / "lora"]
    clear = run(generate_main, *given, *lora, "--engine", "clear")
    split = run(generate_main, *given, *lora, "--engine", "split", "--he", he)
    plain = run(generate_main, *given, "--engine", "clear")
    assert (clear.exit_code, split.exit_code, plain.exit_code) == (0, 0, 0), split.output
    assert "a private adapter can be solved for" in split.stderr
    assert split.stdout == clear.stdout != plain.stdout


def test_the_adapter_is_at_a_server_elsewhere(tmp_path: Path) -> None:
    """Asked by its deployment; another base, and a deployment of other parties, are refused."""
    top = {"target_modules": ["query", "value"], "layers_to_transform": [1]}
    save_lora(tmp_path / "lora", save_sentence_transformer(tmp_path / "model", "bert"), **top)
    write_data(tmp_path / "films.jsonl", ("good", "bad"))
    make_certificates(tmp_path / "certificates", parties=1)
    file = tmp_path / "split.toml"
    Deployment.local(tmp_path / "certificates", engine="split").save(file)
    given = ["--data", tmp_path / "films.jsonl", *SMALL, "--prompt-layer", 1, "--engine", "split"]
    place = Place(tmp_path / "model", str(tmp_path / "lora"), "", "ahead")
    with LocalServer(place, file, tmp_path / "adapter.log"):
        ended = tune("--model", tmp_path / "model", *given, "--deployment", file, "--run", tmp_path / "run")
        assert ended.exit_code == 0, ended.output
        save_sentence_transformer(tmp_path / "other", "roberta")
        other = tune("--model", tmp_path / "other", *given, "--deployment", file, "--run", tmp_path / "wrong")
        assert other.exit_code == 3
        assert "another base than the one the adapter belongs to" in other.output
    gone = tune("--model", tmp_path / "model", *given, "--deployment", file, "--run", tmp_path / "gone")
    assert gone.exit_code == 3
    assert "cannot connect to the adapter's server" in gone.output


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "--engine split needs --lora or --deployment"),
        (["--lora", "DIR", "--weights", "private"], "With --engine split the base is public"),
        (["--lora", "DIR", "--lora-products", "factored"], "It is for --engine embedded"),
        (["--lora", "DIR", "--adapter", "DIR"], "the base runs here, from --model"),
    ],
)
def test_what_does_not_go_together_is_refused(words: list[str], says: str, tmp_path: Path) -> None:
    write_data(tmp_path / "films.jsonl", ("good", "bad"))
    ended = tune("--data", tmp_path / "films.jsonl", "--engine", "split", *words)
    assert ended.exit_code == 2
    assert says in ended.output
