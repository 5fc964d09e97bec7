"""`secfwt-generate` on toys: the same tokens in the clear and in private, with and without a draft, and refusals."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from helpers.commands import Ended, run
from helpers.parties import write_deployment
from helpers.toy_decoders import save_decoder
from helpers.tune_runs import BASE, tune, write_data
from secfwt.codegen.cli import main as secfwt_gen
from secfwt.codegen.hub.tokenizer import load_tokenizer
from secfwt.codegen.model.hf import read_model
from secfwt.codegen.model.options import GenOptions
from secfwt.codegen.owners.first_token import first_token
from secfwt.codegen.owners.prepare import PROBES, prepare_weights
from secfwt.runtime.commands.generate import main
from secfwt.runtime.embedded.processes import LocalParties
from secfwt.runtime.embedded.weights import share_bundle
from secfwt.runtime.generation.engines import ClearText

PROMPT = ("--prompt", "an old film", "--max-new-tokens", 6)
"""The likeliest token leads by 3 % of the largest logit in all toys: noise, of up to 0.3 %, decides nowhere."""


def generate(*words: object) -> Ended:
    return run(main, *words)


def told(ended: Ended) -> str:
    assert ended.exit_code == 0, ended.output
    return ended.stdout


@pytest.mark.parametrize("family", ["gpt2", "llama", "qwen3"])
def test_private_tokens_are_those_in_the_clear(family: str, tmp_path: Path) -> None:
    model = save_decoder(tmp_path, family, "causal_lm")
    tokenizer = load_tokenizer(tmp_path)
    options = GenOptions(head="tokens", attention="softmax", n_prompt_tokens=0, sequence_length=16, max_new_tokens=6)
    spec = read_model(tmp_path, options)
    weights, _ = prepare_weights(tmp_path, spec, options)
    ids = [first_token(tokenizer, spec, weights, PROBES), *tokenizer.encode("an old film").ids]
    with torch.no_grad():
        made = model.generate(torch.tensor([ids]), max_new_tokens=6, do_sample=False, eos_token_id=None)[0, len(ids) :]
    expected = tokenizer.decode(made.tolist()) + "\n"
    clear = generate("--model", tmp_path, *PROMPT, "--engine", "clear")
    assert "NOT PRIVATE" in clear.stderr
    assert told(clear) == expected
    private = generate("--model", tmp_path, *PROMPT)
    assert told(private) == expected
    assert re.search(
        r"text +[\d.]+ s, [\d.]+ MB, \d+ rounds\ntokens +6, .* 5 steps, [\d.]+ MB and \d+ rounds", private.stderr
    )


def test_a_draft_changes_nothing_but_the_steps(tmp_path: Path) -> None:
    save_decoder(tmp_path, "llama", "causal_lm")
    draft = ("--draft", tmp_path, "--draft-tokens", 2)
    alone = generate("--model", tmp_path, *PROMPT, "--engine", "clear")
    together = generate("--model", tmp_path, *PROMPT, *draft)
    assert told(together) == told(alone)
    assert "2 steps, 3 of 3 drafted tokens kept" in together.stderr
    seeded = [
        generate("--model", tmp_path, *PROMPT, "--engine", "clear", "--temperature", 1, "--seed", n) for n in (1, 1, 2)
    ]
    texts = [told(each) for each in seeded]
    assert texts[0] == texts[1] != texts[2]


def test_refusals(tmp_path: Path) -> None:
    save_decoder(tmp_path / "model", "llama", "causal_lm")
    for words, message in (
        ((), "no model is given"),
        (("--model", tmp_path / "model", "--prompt", " "), "no text: give --prompt TEXT"),
        (("--bundle", tmp_path, "--prompt", "a"), "--bundle is given without --deployment"),
        (("--model", tmp_path / "model", "--prompt", "a", "--template", "b"), "It must hold {text}."),
        (
            ("--model", tmp_path / "model", "--prompt", "a", "--max-new-tokens", 80),
            "80 more, the model has positions for 64",
        ),
        (("--model", tmp_path / "model", "--prompt", "a", "--stop", ""), "--stop is empty"),
    ):
        ended = generate(*words)
        assert ended.exit_code == 2
        assert message in ended.output


def test_a_draft_of_another_vocabulary_is_refused(tmp_path: Path) -> None:
    save_decoder(tmp_path / "base", "llama", "causal_lm")
    shutil.copytree(tmp_path / "base", tmp_path / "draft")
    file = tmp_path / "draft" / "tokenizer.json"
    file.write_text(file.read_text("utf-8").replace('"!"', '"\u2047"'), "utf-8")
    ended = generate("--model", tmp_path / "base", *PROMPT, "--engine", "clear", "--draft", tmp_path / "draft")
    assert ended.exit_code == 2
    assert "draft has another vocabulary than base" in ended.output


def test_a_run_continues_under_its_prompt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_decoder(tmp_path / "model", "llama", "causal_lm")
    write_data(tmp_path / "films.jsonl", ("good", "bad"))
    words = ["--label-words", "good=good", "--label-words", "bad=bad", "--template", "Film: {text} So"]
    chosen = ["--data", tmp_path / "films.jsonl", *BASE, "--attention", "softmax", "--sequence-length", 40, *words]
    done = tune("--model", tmp_path / "model", *chosen, "--budget", 4, "--run", tmp_path / "run")
    assert done.exit_code == 0, done.output
    asked = ("--run", tmp_path / "run", "--prompt", "the news", "--max-new-tokens", 6)
    opened: list[Any] = []
    begin = ClearText.begin
    monkeypatch.setattr(ClearText, "begin", lambda *inputs: opened.append(begin(*inputs)) or opened[-1])
    clear = generate(*asked, "--engine", "clear")
    assert told(generate(*asked)) == told(clear)
    with np.load(tmp_path / "run" / "prompt.npz") as saved:
        parts = dict(saved)
    np.savez(tmp_path / "run" / "prompt.npz", **{**parts, "z": parts["z"] + 4.0})
    assert generate(*asked, "--engine", "clear").exit_code == 0
    assert np.abs(opened[0] - opened[1]).max() > 0.01  # the prompt counts
    save_decoder(tmp_path / "other", "llama", "causal_lm", intermediate_size=40)
    other = generate(*asked, "--engine", "clear", "--model", tmp_path / "other")
    assert other.exit_code == 2
    assert "is for another model: changed since the run: embeddings, layers" in other.stderr
    refused = generate(*asked, "--template", "{text}")
    assert "--template is given with --run" in refused.output


def test_parties_elsewhere_hold_the_limits(tmp_path: Path) -> None:
    """Two texts and five rows behind them: the second text ends early, a third is refused."""
    save_decoder(tmp_path / "model", "llama", "causal_lm")
    bundle, deployment = tmp_path / "bundle", write_deployment(tmp_path)
    options = ["--head", "tokens", "--n-prompt-tokens", 0, "--sequence-length", 16, "--max-new-tokens", 6]
    limits = ["--max-prompts", 2, "--max-tokens", 5, "--target", "embedded"]
    made = run(secfwt_gen, tmp_path / "model", *options, *limits, "-o", bundle)
    assert made.exit_code == 0, made.output
    assert "a step of 1 rows" in made.output
    common = ("--deployment", tmp_path / "deployment.toml", "--bundle", bundle, "--prompt", "an old film")
    with LocalParties(deployment, bundle / "public" / "program.txt", tmp_path / "logs"):
        share_bundle(deployment, bundle)
        first = generate(*common, "--max-new-tokens", 4)
        assert told(first)
        assert "the parties open 5 more rows behind texts" in first.stderr
        second = generate(*common, "--max-new-tokens", 6)
        assert "the parties open 2 more rows" in second.stderr
        assert "tokens   3, " in second.stderr
        assert told(first).startswith(told(second)[:-1])
        third = generate(*common, "--max-new-tokens", 4)
        assert third.exit_code == 2
        assert "limit on texts is reached" in third.stderr
        assert "generated for 6" in generate(*common, "--max-new-tokens", 7).stderr
        assert "the bundle's steps have one row" in generate(*common, "--draft", tmp_path / "model").stderr


def test_an_interrupted_command_leaves_no_party(tmp_path: Path) -> None:
    save_decoder(tmp_path / "model", "gpt2", "causal_lm")
    words = ["--model", tmp_path / "model", "--prompt", "an old film", "--max-new-tokens", 40]
    code = "from secfwt.runtime.commands.generate import main; main()"
    command = [sys.executable, "-u", "-c", code, *map(str, words)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.read(1), process.communicate()[1].decode()
    parties = psutil.Process(process.pid).children(recursive=True)
    assert len(parties) == 3
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert b"Traceback" not in errors
    assert psutil.wait_procs(parties, timeout=20)[1] == []
