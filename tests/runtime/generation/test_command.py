"""`secfwt-generate` on toys: the same tokens in the clear and in private, with and without a draft, and refusals."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
import torch
from helpers.commands import Ended, run
from helpers.toy_decoders import save_decoder
from secfwt.codegen.hub.tokenizer import load_tokenizer
from secfwt.codegen.model.hf import read_model
from secfwt.codegen.model.options import GenOptions
from secfwt.codegen.owners.first_token import first_token
from secfwt.codegen.owners.prepare import PROBES, prepare_weights
from secfwt.runtime.commands.generate import main

PROMPT = ("--prompt", "a good film", "--max-new-tokens", 6)


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
    ids = [first_token(tokenizer, spec, weights, PROBES), *tokenizer.encode("a good film").ids]
    with torch.no_grad():
        made = model.generate(torch.tensor([ids]), max_new_tokens=6, do_sample=False, eos_token_id=None)[0, len(ids) :]
    expected = tokenizer.decode(made.tolist()) + "\n"
    clear = generate("--model", tmp_path, *PROMPT, "--engine", "clear")
    assert "NOT PRIVATE" in clear.stderr
    assert told(clear) == expected
    private = generate("--model", tmp_path, *PROMPT)
    assert told(private) == expected
    assert re.search(r"tokens +6 in [\d.]+ s, 5 steps, [\d.]+ MB and \d+ rounds per token", private.stderr)


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
        (("--model", tmp_path / "model", "--prompt", "a", "--max-new-tokens", 80), "The model has positions for 64."),
        (("--model", tmp_path / "model", "--prompt", "a", "--stop", ""), "--stop is empty"),
    ):
        ended = generate(*words)
        assert ended.exit_code == 2
        assert message in ended.output


def test_a_draft_of_another_vocabulary_is_refused(tmp_path: Path) -> None:
    save_decoder(tmp_path / "model", "llama", "causal_lm")
    shutil.copytree(tmp_path / "model", tmp_path / "draft")
    file = tmp_path / "draft" / "tokenizer.json"
    file.write_text(file.read_text("utf-8").replace('"!"', '"\u2047"'), "utf-8")
    ended = generate("--model", tmp_path / "model", *PROMPT, "--engine", "clear", "--draft", tmp_path / "draft")
    assert ended.exit_code == 2
    assert "draft has another vocabulary than model" in ended.output
