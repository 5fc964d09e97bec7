"""What the files of a folder say of its tokenizer: its class, that class's settings, its special and added tokens.

The order in which files overrule each other is that of `transformers` 5: `tokenizer_class` of tokenizer_config.json,
then of config.json, then the class of the model type; `added_tokens_decoder` of tokenizer_config.json, or, where that
is missing, special_tokens_map.json, added_tokens.json and the added tokens of tokenizer.json.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tokenizers import AddedToken

from ..commandline.problems import Report
from .files import optional_json

NAMED = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
"""Special tokens with a part to play, in the order in which those that the vocabulary lacks are numbered."""
WHOLE = "PreTrainedTokenizerFast"
"""The class that takes tokenizer.json as it is."""
_OF_MODEL = {
    "bert": "BertTokenizer",
    "distilbert": "BertTokenizer",
    "electra": "BertTokenizer",
    "ernie": "BertTokenizer",
    "roberta": "RobertaTokenizer",
    "data2vec-text": "RobertaTokenizer",
    "xlm-roberta": "XLMRobertaTokenizer",
    "camembert": "CamembertTokenizer",
    "gpt2": "GPT2Tokenizer",
    "llama": "LlamaTokenizer",
    "mistral": "LlamaTokenizer",
    "qwen2": "Qwen2Tokenizer",
    "qwen3": "Qwen2Tokenizer",
}
_FLAGS = ("single_word", "lstrip", "rstrip", "normalized", "special")


@dataclass(frozen=True)
class Recipe:
    """How to make a tokenizer."""

    name: str
    """Its class."""
    source: str
    """The file that says so."""
    settings: Mapping[str, Any]
    """tokenizer_config.json."""
    named: Mapping[str, Any] = field(default_factory=dict)
    """Special tokens by their part; None: there shall be none."""
    extra: tuple[Any, ...] = ()
    """Special tokens without a part."""
    numbered: Mapping[int, Any] = field(default_factory=dict)
    """Added tokens by the number that they must get."""

    def special(self, part: str, default: str = "") -> Any:
        """The special token of a part: its text, or an `AddedToken`; None where the folder says that there is none."""
        return self.named.get(part, default or None)


def read_recipe(folder: Path, overrides: Mapping[str, Any], report: Report) -> Recipe | None:
    """The recipe of a folder, `overrides` counting before its settings; None, with the problems reported, where it asks
    for code that is not here."""
    settings, config = (optional_json(folder / name, report) for name in ("tokenizer_config.json", "config.json"))
    settings |= overrides
    source = "tokenizer_config.json" if settings.get("tokenizer_class") else "config.json"
    of_model = _OF_MODEL.get(str(config.get("model_type")), WHOLE)
    name = settings.get("tokenizer_class") or config.get("tokenizer_class") or of_model
    remote = settings.get("auto_map") or {}
    if isinstance(remote, list) or "AutoTokenizer" in remote:
        report.error(
            f"tokenizer_config.json: auto_map is {remote!r}", "The tokenizer is code of its own, which is never run."
        )
    if settings.get("split_special_tokens"):
        report.error("tokenizer_config.json: split_special_tokens is true", "Accepted: false.")
    if report.failed:
        return None
    extra = settings.get("extra_special_tokens") or settings.get("additional_special_tokens") or []
    numbered: dict[int, Any] = {}
    try:
        named: dict[str, Any] = {
            key: _token(value)
            for key, value in settings.items()
            if key in NAMED or (key.endswith("_token") and isinstance(value, str | dict))
        }
        if "added_tokens_decoder" in settings:
            numbered = {int(number): _token(token) for number, token in settings["added_tokens_decoder"].items()}
        else:
            for key, value in optional_json(folder / "special_tokens_map.json", report).items():
                if key in ("additional_special_tokens", "extra_special_tokens"):
                    extra = value
                else:
                    named[key] = _token(value, special=True)
            special = {str(token) for token in (*named.values(), *map(_text, extra)) if token is not None}
            for text, number in optional_json(folder / "added_tokens.json", report).items():
                numbered[int(number)] = AddedToken(text, normalized=text not in special, special=text in special)
            for token in optional_json(folder / "tokenizer.json", report).get("added_tokens") or []:
                numbered[int(token["id"])] = _token(token)
        if isinstance(extra, dict):
            named |= {key: _token(value) for key, value in extra.items()}
            extra = []
        known = {str(token): token for token in numbered.values()}
        named = {key: known.get(str(token), token) for key, token in named.items()}
        return Recipe(
            str(name), source, settings, named,
            tuple(_token(token, special=True) for token in extra), numbered,
        )  # fmt: skip
    except (TypeError, ValueError, KeyError, AttributeError) as e:
        report.error(f"cannot read the added tokens in {folder}: {e}")
        return None


def _token(value: Any, special: bool = False) -> Any:
    """A token as the files write it: a text, which stays one, or an object with its flags."""
    if not isinstance(value, dict):
        return value
    flags = {name: bool(value[name]) for name in _FLAGS if name in value}
    return AddedToken(value["content"], **(flags | ({"special": True} if special else {})))


def _text(token: Any) -> str:
    return str(token["content"] if isinstance(token, dict) else token)
