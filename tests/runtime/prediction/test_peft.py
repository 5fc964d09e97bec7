"""Prompts that travel: PEFT gives the logits of a run's program, and a prompt of PEFT's is one to begin from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from helpers.commands import run
from helpers.toys import save_sentence_transformer, save_toy
from helpers.tune_runs import tune, write_data
from secfwt.codegen.commandline.problems import ProblemsFound
from secfwt.codegen.owners.peft import read_prompt
from secfwt.runtime.commands.export import main as export_main
from secfwt.runtime.interface.classifier import PromptClassifier

peft = pytest.importorskip("peft", reason="peft is not installed")
pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")  # by peft

TEXTS = ["a very good film", "the film was bad", "news of the world"]
SMALL = [
    "--k-shot", 2, "--popsize", 4, "--intrinsic-dim", 6, "--attention", "softmax", "--sequence-length", 12,
    "--n-prompt-tokens", 3, "--eval-every", 1, "--budget", 8, "--prompt-layer", 0, "--prompt-at", "start", "--sigma", 2,
]  # fmt: skip
WORDS = [
    "--label-words",
    "good=good",
    "--label-words",
    "bad=bad",
    "--template",
    "{text} it was {mask} .",
    "--sequence-length",
    30,
]


def tuned(folder: Path, head: str, *more: object) -> Path:
    """A run whose prompt is not z = 0."""
    model, data = folder / "model", folder / "films.jsonl"
    write_data(data, ("good", "bad"))
    if head == "mean":
        save_sentence_transformer(model, "bert")
    elif not model.exists():
        save_toy(model, "roberta", "masked_lm")
        more = (*more, *WORDS, "--sequence-length", 30)
    given = ["--model", model, "--data", data, "--engine", "clear", *SMALL, "--run", folder / "run", *more]
    done = tune(*given)
    assert done.exit_code == 0, done.output
    assert "the result is the untuned one" not in done.output or "--initial-prompt" in more
    return folder / "run"


def by_peft(model: Any, prompt: Path, classifier: PromptClassifier, texts: list[str]) -> tuple[Any, Any]:
    """Rows of PEFT's model for the run's own tokens, and the mask of those."""
    embedder = classifier._run().model().embedder
    tokenised, _ = embedder.tokenise(texts)
    longest = max(len(each.ids) for each in tokenised)
    ids = torch.tensor([each.ids + [embedder.settings.pad_token_id] * (longest - len(each.ids)) for each in tokenised])
    mask = torch.tensor([[1] * len(each.ids) + [0] * (longest - len(each.ids)) for each in tokenised])
    with torch.no_grad():
        output = peft.PeftModel.from_pretrained(model, prompt)(input_ids=ids, attention_mask=mask)
    return output, (ids, mask)


def export(run_folder: Path, to: Path) -> Path:
    done = run(export_main, "--run", run_folder, "-o", to)
    assert done.exit_code == 0, done.output
    assert done.output == f"wrote {to}: adapter_config.json, adapter_model.safetensors\n"
    return to


def test_a_sentence_encoder(tmp_path: Path) -> None:
    folder = tuned(tmp_path, "mean")
    classifier = PromptClassifier.load(folder)
    model = transformers.AutoModel.from_pretrained(tmp_path / "model", attn_implementation="eager").eval()
    output, (_, mask) = by_peft(model, export(folder, tmp_path / "prompt"), classifier, TEXTS)
    rows = output.last_hidden_state[:, 3:]
    pooled = (rows * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
    labels = transformers.AutoModel.from_pretrained(tmp_path / "model").eval()
    tokenizer = classifier._run().model().embedder.tokenizer
    texts = []
    for label in classifier.classes_.tolist():
        with torch.no_grad():
            texts.append(labels(torch.tensor([tokenizer.encode(label).ids])).last_hidden_state[0].mean(0))
    cosines = torch.nn.functional.cosine_similarity(pooled[:, None], torch.stack(texts)[None], dim=-1)
    error = np.abs(20 * cosines.numpy() - classifier.decision_function(TEXTS)).max()
    assert error < 1e-4  # of the model plan; tests/codegen/lowering has the ring program's


def test_a_masked_language_model(tmp_path: Path) -> None:
    folder = tuned(tmp_path, "mask")
    classifier = PromptClassifier.load(folder)
    model = transformers.AutoModelForMaskedLM.from_pretrained(tmp_path / "model", attn_implementation="eager").eval()
    output, (ids, _) = by_peft(model, export(folder, tmp_path / "prompt"), classifier, TEXTS)
    tokenizer = classifier._run().model().embedder.tokenizer
    at = (ids == tokenizer.token_to_id("<mask>")).int().argmax(1) + 3
    words = [tokenizer.encode(f" {label}", add_special_tokens=False).ids[0] for label in classifier.classes_.tolist()]
    logits = output.logits[torch.arange(len(ids)), at][:, words].numpy()
    assert np.abs(logits - classifier.decision_function(TEXTS)).max() < 1e-3


def test_one_begins_where_another_ended(tmp_path: Path) -> None:
    first = tuned(tmp_path, "mean")
    given = PromptClassifier.load(first).decision_function(TEXTS)
    PromptClassifier.load(first).export_peft(tmp_path / "prompt")
    (tmp_path / "again").mkdir()
    second = tuned(tmp_path / "again", "mean", "--initial-prompt", tmp_path / "prompt")
    again = PromptClassifier.load(second)
    with again._predictor() as predictor:
        logits = predictor.logits(TEXTS, tuned=False)[:, [predictor.classes.index(name) for name in again.classes_]]
    assert np.abs(logits - given).max() < 1e-4


def test_what_is_refused(tmp_path: Path) -> None:
    folder = tuned(tmp_path, "mean")
    export(folder, tmp_path / "prompt")
    assert "is not empty" in run(export_main, "--run", folder, "-o", tmp_path / "prompt").stderr
    common = ["--model", tmp_path / "model", "--data", tmp_path / "films.jsonl", "--engine", "clear", *SMALL]
    behind = tune(*common, "--prompt-at", "end", "--run", tmp_path / "behind")
    assert behind.exit_code == 0, behind.output
    refused = run(export_main, "--run", tmp_path / "behind", "-o", tmp_path / "none")
    assert refused.exit_code == 2
    assert "this program's stands behind the text's first row" in refused.stderr
    assert "--prompt-at start" in refused.stderr
    assert not (tmp_path / "none").exists()
    for more, said in (
        (["--prompt-layer", 1], "--prompt-at is start, --prompt-layer is 1"),
        (["--initial-prompt", tmp_path / "prompt", "--prompt-at", "end"], "PEFT's prompts stand before the text"),
        (["--initial-prompt", tmp_path / "prompt", "--n-prompt-tokens", 2], "Accepted: 2 x 32"),
        (["--initial-prompt", tmp_path], "it cannot be read"),
        (["--sequence-length", 38], "--prompt-at start takes 3 more, the model has positions for 40"),
    ):
        done = tune(*common, *more, "--run", tmp_path / "none")
        assert done.exit_code == 2
        assert said in done.stderr, done.stderr
    (tmp_path / "prompt" / "adapter_config.json").write_text('{"peft_type": "LORA"}')
    with pytest.raises(ProblemsFound, match="holds an adapter of type LORA"):
        read_prompt(tmp_path / "prompt", 3, 32)


def test_shots_stay_behind(tmp_path: Path) -> None:
    folder = tuned(tmp_path, "mean", "--prototype-shots", 4)
    done = run(export_main, "--run", folder, "-o", tmp_path / "prompt")
    assert done.exit_code == 0, done.output
    assert "warning: the run's shots are no part of it" in done.stderr
