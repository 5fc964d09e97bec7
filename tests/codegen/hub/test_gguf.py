"""GGUF files are read as the Hugging Face folders that they were made of, and what is not read is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gguf import GGMLQuantizationType, GGUFWriter
from gguf.constants import GGML_QUANT_SIZES
from helpers.toy_decoders import HEAD_OPTIONS, save_decoder
from helpers.toy_gguf import save_gguf
from secfwt.codegen.commandline.problems import ProblemsFound
from secfwt.codegen.hub.gguf import FORMATS, GgufFile
from secfwt.codegen.hub.tokenizer import load_tokenizer
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


def one_tensor(path: Path, kind: str) -> GgufFile:
    writer = GGUFWriter(path, "llama")
    size, count = GGML_QUANT_SIZES[GGMLQuantizationType[kind]]
    data = np.zeros((2, count), np.uint8)
    writer.add_tensor("blk.0.ffn_up.weight", data, raw_dtype=GGMLQuantizationType[kind])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    file = GgufFile(path)
    assert file.shape("layers.0.mlp.up_proj.weight") == (2, size)
    return file


@pytest.mark.parametrize("kind", [kind for kind in FORMATS if kind.endswith("_K")])
def test_formats_of_256_numbers(kind: str, tmp_path: Path) -> None:
    value = one_tensor(tmp_path / "toy.gguf", kind).read("layers.0.mlp.up_proj.weight")
    assert value.dtype == np.float32
    assert not value.any()


def test_another_format_is_refused_with_the_tensors_name(tmp_path: Path) -> None:
    file = one_tensor(tmp_path / "toy.gguf", "IQ4_NL")
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
