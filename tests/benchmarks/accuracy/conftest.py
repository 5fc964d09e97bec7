"""The toy model of all accuracy tests."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers.toys import save_sentence_transformer


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model")
    save_sentence_transformer(path, "bert")
    return path
