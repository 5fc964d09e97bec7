"""A tuned prompt in PEFT's layout, for whoever holds the model in the clear."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from ...codegen.owners.peft import as_words, check_place, written
from ..errors import InputError, RunFolderError
from ..run_folder import private_file, private_folder
from ..tuning.model import default_model
from .tuned import TunedRun


def export_peft(tuned: TunedRun, folder: Path) -> list[str]:
    """Write `adapter_config.json` and `adapter_model.safetensors`; returns their names.

    `PeftModel.from_pretrained(model, folder)` then has the rows that the run's program has, to float32. Files are their
    owner's alone. Raises ProblemsFound where the program's prompt stands elsewhere, InputError where the run does not
    know the prompt's rows, RunFolderError where the folder holds something.
    """
    model = tuned.model()
    check_place(model.spec, tuned.options.program())
    with np.load(tuned.path / "prompt.npz") as arrays:
        rows = np.asarray(arrays["p"][0], np.float64) if "p" in arrays else None
    if rows is None:
        raise InputError(
            f"{tuned.path} has no rows of its prompt: with --bundle they are known to the parties' shares only"
        )
    if folder.exists() and any(folder.iterdir()):
        raise RunFolderError(f"{folder} is not empty: choose another folder")
    base = tuned.options.model or str(default_model())
    files = written(as_words(rows, model.embedder.tables, model.spec), model.spec, base)
    try:
        private_folder(folder)
        for name, content in files.items():
            with private_file(folder / name, os.O_EXCL) as file:
                file.write(content)
    except OSError as error:
        raise RunFolderError(f"cannot write {folder}: {error.strerror}") from None
    return list(files)
