"""GGUF files are read as the Hugging Face folders that they were made of, and what is not read is named."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sentencepiece
from gguf import GGMLQuantizationType, GGUFWriter
from gguf.constants import GGML_QUANT_SIZES
from helpers.places import ROOT
from helpers.toy_decoders import HEAD_OPTIONS, save_decoder
from helpers.toy_gguf import save_gguf
from secfwt.codegen.commandline.problems import ProblemsFound
from secfwt.codegen.hub.gguf import GgufFile
from secfwt.codegen.hub.gguf_tokenizer import gguf_tokenizer
from secfwt.codegen.hub.tokenizer import continued_ids, following_ids, load_tokenizer
from secfwt.codegen.model.checkpoint import load_checkpoint
from secfwt.codegen.model.hf import read_model
from secfwt.codegen.model.options import GenOptions

OPTIONS = GenOptions(attention="softmax", sequence_length=40, **HEAD_OPTIONS["causal_lm"])
ERRORS = {"F32": 0.0, "F16": 1e-3, "BF16": 5e-3, "Q8_0": 1e-2, "Q4_0": 0.15, "Q4_1": 0.1}
"""By format: how far its numbers may be from the checkpoint's, whose largest are about 0.9."""


@pytest.mark.parametrize(
    ("family", "architecture"),
    [("llama", "llama"), ("llama-biased-untied", "llama"), ("qwen2", "qwen2"), ("qwen3", "qwen3"), ("gpt2", "gpt2")],
)
def test_a_file_is_the_folder_that_it_was_made_of(family: str, architecture: str, tmp_path: Path) -> None:
    save_decoder(tmp_path / "hf", family, "causal_lm", **({"mlp_bias": False} if "biased" in family else {}))
    path = tmp_path / "toy.gguf"
    save_gguf(tmp_path / "hf", path, architecture)
    folder, file = (read_model(each, OPTIONS) for each in (tmp_path / "hf", path))
    assert (file.rope, file.biased, file.tied, file.norm) == (folder.rope, folder.biased, folder.tied, folder.norm)
    assert file.layer_norm_eps == pytest.approx(folder.layer_norm_eps)
    expected, weights = (load_checkpoint(*each, [4, 5]) for each in ((tmp_path / "hf", folder), (path, file)))
    assert expected.keys() == weights.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(weights[name], value, err_msg=name)
    text = "a good <|im_end|> film, 23 of them"
    assert load_tokenizer(path).encode(text).ids == load_tokenizer(tmp_path / "hf").encode(text).ids


@pytest.mark.parametrize("matrices", ERRORS)
def test_formats_that_checkpoints_are_written_in(matrices: str, tmp_path: Path) -> None:
    save_decoder(tmp_path / "hf", "llama", "causal_lm", intermediate_size=64)
    save_gguf(tmp_path / "hf", tmp_path / "toy.gguf", "llama", matrices)
    spec = read_model(tmp_path / "toy.gguf", OPTIONS)
    expected, weights = (load_checkpoint(each, spec, [4, 5]) for each in (tmp_path / "hf", tmp_path / "toy.gguf"))
    error = max(float(np.abs(weights[name] - value).max()) for name, value in expected.items())
    assert error <= ERRORS[matrices]
    assert (error > 0) == (matrices != "F32")


def one_tensor(path: Path, kind: str, blocks: int = 2) -> tuple[GgufFile, np.ndarray]:
    """A tensor `[2, ·]` of random blocks, whose scales are numbers, and its bytes `[2 · blocks, ·]`."""
    writer = GGUFWriter(path, "llama")
    size, count = GGML_QUANT_SIZES[GGMLQuantizationType[kind]]
    rng = np.random.default_rng(0)
    each = rng.integers(0, 256, (2 * blocks, count), np.uint8)
    halves = rng.normal(size=(2 * blocks, 2)).astype(np.float16).view(np.uint8)
    if kind == "Q4_K":
        each[:, :4] = halves
    elif kind == "Q6_K":
        each[:, -2:] = halves[:, :2]
    data = each.reshape(2, blocks * count)
    writer.add_tensor("blk.0.ffn_up.weight", data, raw_dtype=GGMLQuantizationType[kind])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    file = GgufFile(path)
    assert file.shape("layers.0.mlp.up_proj.weight") == (2, blocks * size)
    return file, each


def half(block: np.ndarray, at: int) -> float:
    return float(block[at : at + 2].view(np.float16)[0])


def q4_k(block: np.ndarray) -> list[float]:
    """256 numbers of 4 bits, every 32 with a scale and a minimum of 6 bits: llama.cpp's loops, number by number."""
    d, least, q = half(block, 0), half(block, 2), [int(byte) for byte in block[4:16]]
    numbers = []
    for i in range(8):
        low = (q[i] & 63, q[i + 4] & 63) if i < 4 else (
            q[i + 4] & 15 | q[i - 4] >> 6 << 4, q[i + 4] >> 4 | q[i] >> 6 << 4
        )  # fmt: skip
        for byte in block[16 + 32 * (i // 2) :][:32]:
            numbers.append(d * low[0] * (int(byte) >> 4 * (i % 2) & 15) - least * low[1])
    return numbers


def q6_k(block: np.ndarray) -> list[float]:
    """256 numbers of 4 and 2 bits, every 16 with a scale of 8."""
    low, high, scales, d = block[:128], block[128:192], block[192:208].view(np.int8), half(block, 208)
    numbers = []
    for i in range(256):
        part, place = divmod(i, 128)
        quarter, j = divmod(place, 32)
        four = int(low[64 * part + 32 * (quarter % 2) + j]) >> 4 * (quarter // 2) & 15
        two = int(high[32 * part + j]) >> 2 * quarter & 3
        numbers.append(d * int(scales[i // 16]) * ((four | two << 4) - 32))
    return numbers


@pytest.mark.parametrize(("kind", "numbers"), [("Q4_K", q4_k), ("Q6_K", q6_k)])
def test_formats_of_256_numbers(kind: str, numbers: Callable[[np.ndarray], list[float]], tmp_path: Path) -> None:
    file, blocks = one_tensor(tmp_path / "toy.gguf", kind)
    value = file.read("layers.0.mlp.up_proj.weight")
    assert value.dtype == np.float32
    expected = np.array([numbers(block) for block in blocks]).reshape(2, -1)
    np.testing.assert_allclose(value, expected, rtol=1e-6, atol=1e-6 * np.abs(expected).max())


def test_another_format_is_refused_with_the_tensors_name(tmp_path: Path) -> None:
    file, _ = one_tensor(tmp_path / "toy.gguf", "IQ4_NL")
    with pytest.raises(ValueError, match=r"tensor blk\.0\.ffn_up\.weight has the type IQ4_NL; accepted: F32"):
        file.read("layers.0.mlp.up_proj.weight")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"llama__rope__scaling__type": "yarn"}, "rope_scaling is of the type 'yarn'"),
        ({"llama__rope__scaling__type": "none"}, ""),
    ],
)
def test_what_is_not_computed_is_refused(settings: dict[str, Any], said: str, tmp_path: Path) -> None:
    save_decoder(tmp_path / "hf", "llama", "causal_lm")
    save_gguf(tmp_path / "hf", tmp_path / "toy.gguf", "llama", **settings)
    if not said:
        assert read_model(tmp_path / "toy.gguf", OPTIONS).causal
        return
    with pytest.raises(ProblemsFound) as found:
        read_model(tmp_path / "toy.gguf", OPTIONS)
    assert said in str(found.value)


def test_files_that_are_none(tmp_path: Path) -> None:
    path = tmp_path / "toy.gguf"
    for content, said in ((b"GGUF\x03\0\0\0", "cannot be read"), (b"PK", "is not a GGUF file")):
        path.write_bytes(content)
        with pytest.raises(ProblemsFound) as found:
            read_model(path, OPTIONS)
        assert said in str(found.value)
    writer = GGUFWriter(tmp_path / "other.gguf", "mamba")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    with pytest.raises(ProblemsFound) as found:
        read_model(tmp_path / "other.gguf", OPTIONS)
    assert "general.architecture is 'mamba'; accepted: llama, qwen2, qwen3, gpt2" in str(found.value)


@pytest.fixture(scope="module")
def pieces(tmp_path_factory: pytest.TempPathFactory) -> tuple[sentencepiece.SentencePieceProcessor, Path]:
    """A vocabulary as LLaMA's is made, trained on the sentences that ship, and a file that has it."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(SENTENCES), model_writer=model, model_type="bpe", vocab_size=900, byte_fallback=True,
        normalization_rule_name="identity", remove_extra_whitespaces=False, minloglevel=2,
    )  # fmt: skip
    processor = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    path = tmp_path_factory.mktemp("pieces") / "toy.gguf"
    writer, ids = GGUFWriter(path, "llama"), range(processor.vocab_size())
    writer.add_tokenizer_model("llama")
    writer.add_token_list([processor.id_to_piece(i) for i in ids])
    writer.add_token_scores([processor.get_score(i) for i in ids])
    kinds = [(processor.is_unknown, 2), (processor.is_control, 3), (processor.is_byte, 6)]
    writer.add_token_types([next((kind for test, kind in kinds if test(i)), 1) for i in ids])
    writer.add_bos_token_id(processor.bos_id())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return processor, path


SENTENCES = (ROOT / "examples" / "sentences" / "sentences.txt").read_text("utf-8").splitlines()


def test_sentencepieces_vocabulary_reads_texts_as_sentencepiece_does(
    pieces: tuple[sentencepiece.SentencePieceProcessor, Path],
) -> None:
    processor, path = pieces
    tokenizer = gguf_tokenizer(GgufFile(path))
    for text in [*SENTENCES, "two  spaces,\n\ta tab", "naïve 日本語 🙂", "", "aaaaaaa the thethe", " begins with one"]:
        assert tokenizer.encode(text, add_special_tokens=False).ids == processor.encode(text), text
    assert tokenizer.encode("a").ids[0] == processor.bos_id()
    assert tokenizer.decode(tokenizer.encode("naïve 日本語").ids) == " naïve 日本語"


def test_a_text_that_follows_another_gets_no_space(pieces: tuple[sentencepiece.SentencePieceProcessor, Path]) -> None:
    processor, path = pieces
    tokenizer = gguf_tokenizer(GgufFile(path))
    whole = processor.encode("The committee met on Tuesday.\nSo it was the end")
    for end in (" on Tuesday.\nSo it was the end", "\nSo it was the end", " the end"):
        assert whole[-len(continued_ids(tokenizer, end)) :] == continued_ids(tokenizer, end)
    assert following_ids(tokenizer, ["the", "a"]) == [processor.encode(word)[0] for word in ("the", "a")]
    behind_a_line = processor.encode("\nthe")[len(processor.encode("\n")) :]
    assert following_ids(tokenizer, ["the"], space="") == behind_a_line[:1]
