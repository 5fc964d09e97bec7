"""Which attention a program has: as asked for, or as the model and its adapter allow."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers.places import ROOT
from secfwt.codegen.commandline.problems import ProblemsFound
from secfwt.codegen.model.adapter import choose_attention
from secfwt.codegen.model.options import GenOptions

ADAPTER = ROOT / "examples" / "minilm-rfa"


def test_auto_takes_random_features_where_there_is_an_adapter(tmp_path: Path) -> None:
    options, adapter = choose_attention(tmp_path, ADAPTER, GenOptions(attention="auto"))
    assert adapter is not None
    assert options.attention == "rfa"
    assert options.rfa_layer_features == adapter.features
    options, adapter = choose_attention(tmp_path, None, GenOptions(attention="auto"))
    assert (options.attention, adapter) == ("softmax", None)


def test_a_converted_model_has_its_own(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"rfa": {"features": 8, "floor": 0.1}}')
    with pytest.raises(ProblemsFound, match=r"model\.safetensors"):  # its tensors are asked for
        choose_attention(tmp_path, None, GenOptions(attention="auto"))
    options, adapter = choose_attention(tmp_path, None, GenOptions(attention="softmax"))
    assert (options.attention, adapter) == ("softmax", None)


def test_what_was_asked_for_is_kept(tmp_path: Path) -> None:
    options, adapter = choose_attention(tmp_path, None, GenOptions(attention="rfa"))
    assert (options, adapter) == (GenOptions(attention="rfa"), None)
    with pytest.raises(ProblemsFound, match="--adapter is given, --attention is softmax"):
        choose_attention(tmp_path, ADAPTER, GenOptions(attention="softmax"))
