"""What a server makes of a LoRA's folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from helpers.encryption import MODULUS
from helpers.toy_decoders import save_decoder
from helpers.toy_lora import save_lora
from helpers.toys import save_sentence_transformer
from secfwt.codegen.commandline.problems import ProblemsFound
from secfwt.runtime.split.adapters import served

pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")  # by peft


def test_modules_that_read_the_same_rows_are_one_call(tmp_path: Path) -> None:
    targets = {"target_modules": ["query", "value", "output.dense"]}
    save_lora(tmp_path / "lora", save_sentence_transformer(tmp_path / "model", "bert"), **targets)
    what = served(tmp_path / "model", tmp_path / "lora", 7, MODULUS)
    calls = [adapter.shape.modules for adapter in what.adapters]
    assert calls[:3] == [("layers.0.q", "layers.0.v"), ("layers.0.o",), ("layers.0.ffn_out",)]
    assert len(calls) == 6
    assert what.most_rows == 7
    shape = what.adapters[0].shape
    assert (shape.inputs, shape.widths, shape.ranks) == (32, (32, 32), (3, 3))
    assert shape.reach in {2.0**bits for bits in range(8)}


def test_the_base_is_known_by_its_weights(tmp_path: Path) -> None:
    for name in ("one", "two"):
        model = save_decoder(tmp_path / f"{name}-model", "llama", "causal_lm")
        save_lora(tmp_path / name, model, target_modules=["q_proj"])
    first, second = (served(tmp_path / f"{name}-model", tmp_path / name, 0, MODULUS) for name in ("one", "two"))
    assert first.base == second.base
    other = tmp_path / "one-model" / "model.safetensors"
    content = bytearray(other.read_bytes())
    content[-2] ^= 1
    other.write_bytes(content)
    assert served(tmp_path / "one-model", tmp_path / "one", 0, MODULUS).base != first.base


def test_what_was_trained_whole_is_refused(tmp_path: Path) -> None:
    whole = {"target_modules": ["query"], "bias": "lora_only"}
    save_lora(tmp_path / "lora", save_sentence_transformer(tmp_path / "model", "bert"), **whole)
    with pytest.raises(ProblemsFound, match=r"were trained whole: layers\.0\.q\.bias"):
        served(tmp_path / "model", tmp_path / "lora", 0, MODULUS)


def test_factors_are_as_the_adapter_says(tmp_path: Path) -> None:
    model = save_decoder(tmp_path / "model", "llama", "causal_lm")
    wrapped = save_lora(tmp_path / "lora", model, target_modules=["up_proj"])
    (adapter, *_) = served(tmp_path / "model", tmp_path / "lora", 0, MODULUS).adapters
    (module,) = (m for n, m in wrapped.named_modules() if n.endswith("layers.0.mlp.up_proj"))
    dense = module.get_delta_weight("default").detach().numpy()
    (columns,), bits = adapter.bases, adapter.shape.scales[0] - adapter.shape.fraction
    np.testing.assert_allclose(columns @ np.ldexp(adapter.matrix, -bits), dense, atol=1e-3 * np.abs(dense).max())
