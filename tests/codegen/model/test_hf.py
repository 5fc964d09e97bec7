"""Configurations: what is accepted, and that everything that is not is said in one report."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from secfwt.codegen.commandline.problems import ProblemsFound
from secfwt.codegen.model.hf import read_model
from secfwt.codegen.model.options import GenOptions
from secfwt.codegen.model.spec import HeadSpec

BERT = {
    "model_type": "bert", "architectures": ["BertForSequenceClassification"], "hidden_size": 32, "num_hidden_layers": 2,
    "num_attention_heads": 4, "intermediate_size": 48, "vocab_size": 100, "max_position_embeddings": 64,
}  # fmt: skip
SENTENCE = "sentence_transformers.models."


def config(directory: Path, **changes: Any) -> Path:
    path = directory / "config.json"
    path.write_text(json.dumps(BERT | changes))
    return path


def problems(path: Path, **options: Any) -> str:
    with pytest.raises(ProblemsFound) as found:
        read_model(path, GenOptions(**options))
    return str(found.value)


def test_a_config_file_and_its_directory_are_the_same_model(tmp_path: Path) -> None:
    path = config(tmp_path)
    spec = read_model(path, GenOptions())
    assert spec == read_model(tmp_path, GenOptions())
    assert spec.head == HeadSpec("classification", "first", ("LABEL_0", "LABEL_1"), dense_act="tanh")
    assert (spec.head_dim, spec.position_offset, spec.token_types) == (8, 0, 2)


def test_labels_come_from_the_checkpoint_unless_the_user_renames_them(tmp_path: Path) -> None:
    path = config(tmp_path, id2label={"1": "good", "0": "bad"})
    assert read_model(path, GenOptions()).head.labels == ("bad", "good")
    assert read_model(path, GenOptions(labels=("0", "1"))).head.labels == ("0", "1")
    assert "--labels names 3 labels, the checkpoint has 2" in problems(path, labels=("a", "b", "c"))


def test_label_texts_choose_prototypes_on_any_model(tmp_path: Path) -> None:
    head = read_model(config(tmp_path), GenOptions(label_texts=("x", "y"))).head
    assert head == HeadSpec("prototypes", "mean", ("x", "y"))


def test_all_problems_come_in_one_report(tmp_path: Path) -> None:
    path = config(
        tmp_path, hidden_act="gelu_new", position_embedding_type="relative_key", is_decoder=True, num_attention_heads=5,
        problem_type="regression",
    )  # fmt: skip
    report = problems(path, sequence_length=65, prompt_layer=2, label_words=("a", "b"))
    for part in (
        "activation is 'gelu_new'", "Accepted: gelu, relu.", "'relative_key'", "decoder", "num_attention_heads 5",
        "'regression'", "--sequence-length is 65, the model has positions", "--prompt-layer is 2, the model has 2",
        "--label-words is given",
    ):  # fmt: skip
        assert part in report


def test_a_padding_id_beyond_the_vocabulary(tmp_path: Path) -> None:
    assert "pad_token_id is 100, vocab_size is 100" in problems(config(tmp_path, pad_token_id=100))


def test_missing_and_wrong_fields_are_named(tmp_path: Path) -> None:
    report = problems(config(tmp_path, hidden_size="wide", vocab_size=None, num_hidden_layers=0))
    for part in ("hidden_size is 'wide'", "vocab_size is missing", "num_hidden_layers is 0"):
        assert part in report


@pytest.mark.parametrize("model_type", ["bloom", None])
def test_other_models_are_refused(model_type: str | None, tmp_path: Path) -> None:
    report = problems(config(tmp_path, model_type=model_type))
    assert f"model_type is {model_type!r}" in report
    assert "Accepted: bert, ernie, electra, roberta, xlm-roberta, camembert, data2vec-text, distilbert, " in report
    assert "gpt2, llama, mistral, qwen2, qwen3." in report


def test_unreadable_files(tmp_path: Path) -> None:
    assert "Models are not downloaded: fetch one first" in problems(Path("bert-base-uncased"))
    assert "cannot read" in problems(tmp_path)
    (tmp_path / "config.json").write_text("{")
    assert "config.json is not JSON" in problems(tmp_path)
    (tmp_path / "config.json").write_text("[]")
    assert "config.json is not a JSON object" in problems(tmp_path)


def test_roberta_positions_start_behind_the_padding_id(tmp_path: Path) -> None:
    path = config(tmp_path, model_type="roberta", pad_token_id=1, type_vocab_size=1, max_position_embeddings=66)
    assert read_model(path, GenOptions(sequence_length=64)).position_offset == 2
    assert "has positions for 64 tokens" in problems(path, sequence_length=65)


def test_a_masked_lm_head_needs_words_and_a_template(tmp_path: Path) -> None:
    path = config(tmp_path, architectures=["BertForMaskedLM"])
    report = problems(path)
    assert "--label-words is missing" in report
    assert "--template is ''" in report
    assert "It has: masked_lm, prototypes." in problems(path, head="classification")


def test_sentence_transformers_modules(tmp_path: Path) -> None:
    config(tmp_path, architectures=["BertModel"])
    modules = [
        {"path": "1_Pooling", "type": SENTENCE + "Pooling"},
        {"path": "2_Dense", "type": SENTENCE + "Dense"},
    ]
    (tmp_path / "modules.json").write_text(json.dumps(modules))
    (tmp_path / "1_Pooling").mkdir()
    (tmp_path / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode_max_tokens": True}))
    report = problems(tmp_path, label_texts=("x", "y"))
    assert "pooled by 'max'" in report
    assert "module 'Dense'" in report
    (tmp_path / "modules.json").write_text(json.dumps(modules[:1]))
    (tmp_path / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode": "cls"}))
    assert read_model(tmp_path, GenOptions(label_texts=("x", "y"))).head.rows == "first"


def test_options_name_their_flags() -> None:
    with pytest.raises(ProblemsFound) as found:
        GenOptions(popsize=1, loss="mse", rfa_floor=float("nan"), label_words=("a", "a"))  # type: ignore[arg-type]
    for part in ("--popsize is 1", "--loss is 'mse'", "--rfa-floor is nan", "--label-words is a, a"):
        assert part in str(found.value)


@pytest.mark.parametrize("model_type", ["camembert", "data2vec-text", "xlm-roberta"])
def test_families_under_a_new_name(model_type: str, tmp_path: Path) -> None:
    architectures = ["XForSequenceClassification"]
    spec = read_model(
        config(tmp_path, model_type=model_type, pad_token_id=1, architectures=architectures), GenOptions()
    )
    expected = config(tmp_path, model_type="roberta", pad_token_id=1, architectures=architectures)
    assert spec == read_model(expected, GenOptions())
    assert spec.position_offset == 2


def test_embeddings_that_differ_from_their_family(tmp_path: Path) -> None:
    texts = {"label_texts": ("x", "y")}
    assert "embedding_size is 128" in problems(config(tmp_path, model_type="electra"), **texts)
    path = config(tmp_path, model_type="electra", embedding_size=32)
    assert read_model(path, GenOptions(**texts)).head.kind == "prototypes"
    assert "It has: prototypes." in problems(path, head="classification")
    assert "use_task_id is True" in problems(config(tmp_path, model_type="ernie", use_task_id=True), **texts)


def test_models_near_these_are_refused_with_the_reason(tmp_path: Path) -> None:
    assert "normalised before attention" in problems(config(tmp_path, model_type="xlm-roberta-xl"))
    assert "relative positions" in problems(config(tmp_path, model_type="mpnet"))


def test_remote_code_is_refused_before_anything_else(tmp_path: Path) -> None:
    code = {"AutoConfig": "configuration_bert.BertConfig", "AutoModelForMaskedLM": "bert_layers.BertForMaskedLM"}
    report = problems(config(tmp_path, auto_map=code, hidden_size="wide", hidden_act="swiglu", alibi_starting_size=512))
    assert report.startswith("error: config.json: auto_map takes AutoConfig, AutoModelForMaskedLM from code of the")
    assert report.count("error:") == 1
    assert "alibi_starting_size is 512" in problems(config(tmp_path, alibi_starting_size=512))
    assert read_model(config(tmp_path, auto_map={"AutoTokenizer": ["x.Y", None]}), GenOptions()).token_types == 2


def sentence_folder(directory: Path, inner: str = "", **prompts: Any) -> Path:
    modules = [
        {"path": inner, "type": "sentence_transformers.models.Transformer"},
        {"path": "1_Pooling", "type": SENTENCE + "Pooling"},
    ]
    (directory / "modules.json").write_text(json.dumps(modules))
    (directory / "1_Pooling").mkdir()
    pooling = {"pooling_mode_mean_tokens": True, "include_prompt": prompts.pop("include_prompt", True)}
    (directory / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    (directory / "config_sentence_transformers.json").write_text(json.dumps(prompts))
    (directory / inner).mkdir(exist_ok=True)
    config(directory / inner, architectures=["BertModel"])
    return directory


def test_an_older_sentence_transformers_folder(tmp_path: Path) -> None:
    folder = sentence_folder(tmp_path, "0_Transformer")
    (folder / "config.json").write_text('{"__version__": "0.2.0"}')
    spec = read_model(folder, GenOptions(label_texts=("x", "y")))
    assert (spec.head.rows, spec.hidden_size) == ("mean", 32)


def test_a_default_prompt(tmp_path: Path) -> None:
    folder = sentence_folder(tmp_path, prompts={"query": "news : "}, default_prompt_name="query")
    texts: dict[str, Any] = {"label_texts": ("x", "y")}
    assert read_model(folder, GenOptions(**texts)).prompt == "news : "
    assert read_model(folder, GenOptions(**texts, template="{text}")).prompt == ""
    name = folder / "config_sentence_transformers.json"
    name.write_text(json.dumps({"prompts": {"query": "news : "}}))
    assert read_model(folder, GenOptions(**texts)).prompt == ""
    name.write_text(json.dumps({"prompts": {}, "default_prompt_name": "query"}))
    assert "default_prompt_name is 'query'" in problems(folder, **texts)


def test_a_prompt_that_is_not_pooled(tmp_path: Path) -> None:
    folder = sentence_folder(tmp_path, prompts={"q": "x"}, default_prompt_name="q", include_prompt=False)
    assert "include_prompt is false" in problems(folder, label_texts=("x", "y"))


def test_modules_of_other_packages_are_refused(tmp_path: Path) -> None:
    folder = sentence_folder(tmp_path)
    (folder / "modules.json").write_text('[{"type": "custom_st.Transformer", "path": ""}]')
    assert "module 'custom_st.Transformer'" in problems(folder, label_texts=("x", "y"))


@pytest.mark.parametrize(
    "content",
    [
        '["sentence_transformers.models.Transformer"]',
        '[{"type": "sentence_transformers.models.Transformer", "path": "../other"}]',
        "{}",
        "[",
    ],
)
def test_modules_that_cannot_be_read(content: str, tmp_path: Path) -> None:
    config(tmp_path)
    (tmp_path / "modules.json").write_text(content)
    assert "modules.json" in problems(tmp_path, label_texts=("x", "y"))
