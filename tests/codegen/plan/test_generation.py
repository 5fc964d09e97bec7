"""The plan that generates, in float64, against `transformers`: text once, then tokens in steps of any size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.toy_decoders import save_decoder
from secfwt.codegen.commandline.problems import ProblemsFound
from secfwt.codegen.model.hf import read_model
from secfwt.codegen.model.options import GenOptions
from secfwt.codegen.owners.continuations import Continuation
from secfwt.codegen.owners.first_token import first_token
from secfwt.codegen.owners.prepare import PROBES, prepare_weights, settled
from secfwt.codegen.plan.build import build_plan
from secfwt.codegen.plan.oracle import Session

BEHIND = [60, 33, 7, 90, 12]


@pytest.mark.parametrize("frozen", [0, 1])
@pytest.mark.parametrize("family", ["gpt2", "llama", "llama-biased-untied", "mistral", "qwen2", "qwen3"])
def test_steps_compute_what_transformers_does(family: str, frozen: int, tmp_path: Path) -> None:
    model = save_decoder(tmp_path, family, "causal_lm")
    options = GenOptions(
        head="tokens", attention="softmax", sequence_length=12, n_prompt_tokens=0, max_new_tokens=6, step_rows=2,
        frozen_layers=frozen,
    )  # fmt: skip
    spec = read_model(tmp_path, options)
    options = settled(tmp_path, spec, options)
    weights, embedder = prepare_weights(tmp_path, spec, options)
    ids = embedder.tokenise(["a good"])[0][0].ids
    text = Continuation(embedder, ids)
    session = Session(build_plan(spec, options), weights, text.inputs)

    def logits(opened: np.ndarray) -> np.ndarray:
        return opened @ weights["embeddings.word"].T if spec.tied else opened

    whole = [first_token(embedder.tokenizer, spec, weights, PROBES), *ids]
    with torch.no_grad():
        exact = model(torch.tensor([whole + BEHIND])).logits[0, len(whole) - 1 :].numpy()
    assert np.abs(logits(session.example("first")[0]) - exact[0]).max() < 1e-5
    session.step("next", text.rows([3, 4])[None], 0)  # taken back by the next
    for start, end in ((0, 1), (1, 4), (2, 5)):
        got = logits(session.step("next", text.rows(BEHIND[:end], start)[None], start)[0])
        assert np.abs(got - exact[1 + start : 1 + end]).max() < 1e-5


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    save_decoder(tmp_path, "llama", "causal_lm")
    with pytest.raises(ProblemsFound, match=r"--max-new-tokens with --step-rows takes 60 more.*positions for 64"):
        read_model(tmp_path, GenOptions(head="tokens", attention="softmax", n_prompt_tokens=0, max_new_tokens=60))
    with pytest.raises(ProblemsFound, match="--max-tokens is 3, --step-rows 4"):
        GenOptions(head="tokens", max_tokens=3, step_rows=4)
