"""Chat templates: where they are found, what they are given, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from helpers.toy_decoders import save_decoder
from helpers.toy_gguf import save_gguf
from secfwt.codegen.commandline.problems import ProblemsFound
from secfwt.codegen.hub.chat import asked, chat_template
from secfwt.codegen.model.hf import read_model
from secfwt.codegen.model.options import GenOptions
from secfwt.codegen.owners.prepare import settled

CHAT = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
ASKED = "<|im_start|>user\nIs {text} good?<|im_end|>\n<|im_start|>assistant\n"


def test_the_template_goes_into_the_models_own(tmp_path: Path) -> None:
    save_decoder(tmp_path / "hf", "llama", "causal_lm")
    save_gguf(tmp_path / "hf", tmp_path / "toy.gguf", "llama", tokenizer__chat_template=CHAT)
    settings = json.loads((tmp_path / "hf" / "tokenizer_config.json").read_text())
    (tmp_path / "hf" / "tokenizer_config.json").write_text(json.dumps(settings | {"chat_template": CHAT}))
    for model in (tmp_path / "hf", tmp_path / "toy.gguf"):
        options = GenOptions(
            attention="softmax", sequence_length=55, n_prompt_tokens=0, label_words=("good", "bad"),
            template="Is {text} good?", chat=True,
        )  # fmt: skip
        options = settled(model, read_model(model, options), options)
        assert (options.template, options.chat) == (ASKED, False)
        # a token of its own for each of <|im_end|>, <|im_start|> and for every byte
        assert options.template_rows == len(" good?".replace(" good", "x")) + 3 + len("assistant\n")


def test_no_chat_template_is_said(tmp_path: Path) -> None:
    save_decoder(tmp_path, "llama", "causal_lm")
    options = GenOptions(attention="softmax", n_prompt_tokens=0, label_words=("good", "bad"), chat=True)
    assert chat_template(tmp_path) == ""
    with pytest.raises(ProblemsFound, match="has no chat template"):
        settled(tmp_path, read_model(tmp_path, options), options)


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("{{ raise_exception('no system message') }}", "fails: no system message"),
        ("{{ ''.__class__.__mro__ }}", "fails: access to attribute '__class__'"),
        ("hello", "does not hold the user's message"),
    ],
)
def test_templates_that_serve_nothing(template: str, said: str) -> None:
    with pytest.raises(ProblemsFound) as found:
        asked(template, "{text}")
    assert said in str(found.value)
