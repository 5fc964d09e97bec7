"""Where a model folder keeps its parts, and what sentence-transformers does to texts before the tokenizer."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..commandline.problems import Report
from .files import optional_json, read_json

MODULES = "modules.json"
_SETTINGS = tuple(
    f"sentence_{name}_config.json" for name in ("bert", "roberta", "distilbert", "camembert", "xlm-roberta")
)
"""Where sentence-transformers has kept its settings of a transformer; the first that is there counts."""


@dataclass(frozen=True)
class Module:
    """One step of a sentence-transformers model: its class, without the package where it is theirs, and its folder."""

    name: str
    folder: Path


def transformer_folder(model: Path) -> Path:
    """The folder with config.json, weights and tokenizer: the model's own, or the one that modules.json names
    (`0_Transformer` of older sentence-transformers). `model`: a model folder or any file in it.

    What is wrong with modules.json is reported by whoever reads the modules.
    """
    folder = model if model.is_dir() else model.parent
    if not (folder / MODULES).is_file() or model.is_file():
        return folder
    return next((m.folder for m in sentence_modules(folder, Report()) if m.name == "Transformer"), folder)


def sentence_modules(folder: Path, report: Report) -> list[Module]:
    """The modules of a sentence-transformers folder in order; none where there is no modules.json."""
    if not (folder / MODULES).is_file():
        return []
    modules = []
    for entry in read_json(folder / MODULES, list, report) or []:
        kind, path = (entry.get("type"), entry.get("path", "")) if isinstance(entry, dict) else (None, None)
        if not isinstance(kind, str) or not isinstance(path, str):
            report.error(f"{MODULES} holds {json.dumps(entry)[:60]}", "Each module has a type and a path.")
        elif Path(path).is_absolute() or ".." in Path(path).parts:
            report.error(f"{MODULES} names a folder elsewhere: {path}")
        else:
            own = kind.startswith("sentence_transformers.")
            modules.append(Module(kind.rsplit(".", 1)[-1] if own else kind, folder / path))
    return modules


@dataclass(frozen=True)
class TextSettings:
    """What sentence-transformers does otherwise than the tokenizer's own files say."""

    lowers: bool
    """Whether texts are lowered before the tokenizer sees them."""
    overrides: dict[str, Any]
    """Settings of the tokenizer that count before tokenizer_config.json's."""


def text_settings(model: Path, report: Report) -> TextSettings:
    """What sentence_bert_config.json, or one of its former names, says of texts."""
    folder = transformer_folder(model)
    path = next((folder / name for name in _SETTINGS if (folder / name).is_file()), None)
    settings = optional_json(path, report) if path and (model / MODULES).is_file() else {}
    overrides = settings.get("processor_kwargs") or settings.get("tokenizer_args") or {}
    if not isinstance(overrides, dict):
        report.error(f"{path and path.name}: the tokenizer's settings are {overrides!r}", "They must be an object.")
        overrides = {}
    return TextSettings(bool(settings.get("do_lower_case")), overrides)


def default_prompt(folder: Path, report: Report) -> str:
    """What sentence-transformers puts before every text where nobody names a prompt; mostly nothing."""
    if not (folder / MODULES).is_file():
        return ""
    config = optional_json(folder / "config_sentence_transformers.json", report)
    name, prompts = config.get("default_prompt_name"), config.get("prompts")
    if name is None:
        return ""
    prompt = prompts.get(name) if isinstance(prompts, dict) else None
    if not isinstance(prompt, str):
        report.error(
            f"config_sentence_transformers.json: default_prompt_name is {name!r}", "prompts has no text of that name."
        )
        return ""
    return prompt
