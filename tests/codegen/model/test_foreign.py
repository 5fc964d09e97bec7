"""What libraries in Rust say of files that the system refuses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file
from secfwt.codegen.model.foreign import system_errors
from tokenizers import Tokenizer
from tokenizers.models import WordLevel


def test_a_refusal_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), system_errors():
        save_file({"a": np.zeros(1)}, tmp_path / "none" / "file")
    with pytest.raises(FileNotFoundError), system_errors():
        Tokenizer(WordLevel({}, unk_token="?")).save(str(tmp_path / "none" / "file"))


def test_other_errors_pass() -> None:
    with pytest.raises(ValueError, match="other"), system_errors():
        raise ValueError("other")
    with pytest.raises(PermissionError, match="a/b"), system_errors():
        raise PermissionError(1, "refused", "a/b")
