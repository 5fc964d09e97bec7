"""The tokenizer of a model folder, as the `tokenizers` library has it: the one place that decides what it is.

Token ids are those of `transformers` 5 (and of sentence-transformers, where the folder is one of its); what that would
take more than these files to make is refused by name.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Tokenizer, normalizers

from ..commandline.problems import Problem, ProblemsFound, Report, note
from .classes import TokenizerClass, accepted, class_of
from .files import pointer_problem
from .gguf import gguf_file, open_gguf
from .gguf_tokenizer import gguf_tokenizer
from .layout import text_settings, transformer_folder
from .recipe import Recipe, read_recipe

MASKS = ("[MASK]", "<mask>")
UNKNOWN = "ꙮ"
"""A letter that hardly any vocabulary has: without a token for unknown words the library fails on it."""


def load_tokenizer(model: Path) -> Tokenizer:
    """The tokenizer of a model folder, or of a GGUF file. It neither pads nor truncates.

    Raises `ProblemsFound` when there is none, or one that is not understood.
    """
    if (file := gguf_file(model)) is not None:
        try:
            return _bare(gguf_tokenizer(open_gguf(file)))
        except Exception as e:  # the library raises plain Exception
            raise _unreadable(file, e) from None
    report = Report()
    folder = transformer_folder(model)
    sentences = text_settings(model, report)
    recipe = read_recipe(folder, sentences.overrides, report)
    report.check()
    assert recipe is not None
    kind = class_of(recipe)
    if kind is None:
        report.error(
            f"{recipe.source}: tokenizer_class is {recipe.name!r}",
            f"Accepted: {accepted()} (the last takes tokenizer.json as it is).",
        )
        report.check()
    assert kind is not None
    try:
        tokenizer = kind.build(folder, recipe)
        _add_tokens(tokenizer, recipe, kind)
        if kind.around is not None:
            _check_special(tokenizer, recipe, kind)
            tokenizer.post_processor = kind.around(tokenizer, recipe)
        tokenizer.encode(UNKNOWN)
    except Exception as e:  # the library raises plain Exception
        raise _unreadable(folder, e) from None
    if sentences.lowers:
        steps = [normalizers.Lowercase(), *([tokenizer.normalizer] if tokenizer.normalizer else [])]
        tokenizer.normalizer = normalizers.Sequence(steps)
    if not recipe.settings.get("model_input_names", ["token_type_ids"] * kind.token_types).count("token_type_ids"):
        tokenizer = _without_types(tokenizer)
    return _bare(tokenizer)


def saved_tokenizer(folder: Path) -> Tokenizer:
    """The tokenizer that `load_tokenizer` gave, from the tokenizer.json it was saved in. Raises `ProblemsFound`."""
    if not (folder / "tokenizer.json").is_file():
        raise _unreadable(folder, "there is no tokenizer.json")
    try:
        return _bare(Tokenizer.from_file(str(folder / "tokenizer.json")))
    except Exception as e:  # the library raises plain Exception
        raise _unreadable(folder, e) from None


def mask_token(tokenizer: Tokenizer) -> str | None:
    """The token that stands for a masked word."""
    return next((mask for mask in MASKS if tokenizer.token_to_id(mask) is not None), None)


def label_token_ids(tokenizer: Tokenizer, words: Sequence[str]) -> list[int]:
    """The token of every label word as it stands inside a sentence. Raises `ProblemsFound` for words of several."""
    report = Report()
    ids = []
    for word in words:
        encoding = tokenizer.encode(f" {word}", add_special_tokens=False)
        exact = tokenizer.token_to_id(word)
        if len(encoding.ids) == 1:
            ids.append(encoding.ids[0])
        elif exact is not None:
            ids.append(exact)
        else:
            report.error(
                f"label word {word!r} is {len(encoding.ids)} tokens: {', '.join(encoding.tokens)}", "It must be one."
            )
    if not report.failed and len(set(ids)) != len(ids):
        report.error(f"label words {', '.join(words)} are not different tokens")
    report.check()
    return ids


def following_ids(tokenizer: Tokenizer, words: Sequence[str], space: str = " ") -> list[int]:
    """The first token of every label word as it follows other text, which a decoder's label words are told apart by;
    `space`: what stands between. Raises `ProblemsFound` for words that begin alike."""
    report, firsts = Report(), []
    for word in words:
        ids = continued_ids(tokenizer, f"{space}{word}")
        if not ids:
            report.error(f"label word {word!r} has no token")
            continue
        firsts.append(ids[0])
        if len(ids) > 1:
            first = tokenizer.id_to_token(ids[0])
            note(f"label word {word!r} is {len(ids)} tokens: the first, {first!r}, stands for it")
    if not report.failed and len(set(firsts)) != len(firsts):
        tokens = ", ".join(f"{word}: {tokenizer.id_to_token(i)}" for word, i in zip(words, firsts, strict=True))
        report.error("label words begin with the same token", f"{tokens}. Give words that differ from the first on.")
    report.check()
    return firsts


def begins_with_space(tokenizer: Tokenizer) -> bool:
    """Whether a tokenizer puts a space before every text, as LLaMA's does."""
    return any(token.startswith("\u2581") for token in tokenizer.encode("a", add_special_tokens=False).tokens[:1])


def continued_ids(tokenizer: Tokenizer, text: str) -> list[int]:
    """Tokens of a text that follows another, without special ones: no space is put before it."""
    ids = list(tokenizer.encode(text, add_special_tokens=False).ids)
    if not begins_with_space(tokenizer):
        return ids
    before, both = (tokenizer.encode(each, add_special_tokens=False).ids for each in ("\n", f"\n{text}"))
    return list(both[len(before) :]) if both[: len(before)] == before else ids


def _add_tokens(tokenizer: Tokenizer, recipe: Recipe, kind: TokenizerClass) -> None:
    """Add what the vocabulary or tokenizer.json lacks, in the order that numbers it as transformers does.

    Raises ValueError where a token would not get the number that the folder's files give it.
    """
    named = [token for token in (kind.special | dict(recipe.named)).values() if token is not None]
    there = {str(token): repr(token) for token in tokenizer.get_added_tokens_decoder().values()}
    new = [token for _, token in sorted(recipe.numbered.items()) if there.get(str(token)) != repr(token)]
    for token in (*named, *recipe.extra):
        if str(token) not in there and str(token) not in map(str, new):
            new.append(AddedToken(token, special=True) if isinstance(token, str) else token)
    for token in new:
        token.special = token.special or str(token) in map(str, named)
    tokenizer.add_tokens(new)
    for number, token in recipe.numbered.items():
        if (given := tokenizer.token_to_id(str(token))) != number:
            raise ValueError(f"the added token {str(token)!r} has the number {number} there, and {given} by its place")


def _check_special(tokenizer: Tokenizer, recipe: Recipe, kind: TokenizerClass) -> None:
    parts = ("bos_token", "eos_token") if "bos_token" in kind.special else ("cls_token", "sep_token")
    for part in parts:
        if recipe.special(part, kind.special[part]) is None:
            raise ValueError(f"{part} is null: {recipe.name} puts one around every text")


def _without_types(tokenizer: Tokenizer) -> Tokenizer:
    """The tokenizer with token type 0 for both texts of a pair."""

    def zeroed(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: 0 if key == "type_id" else zeroed(part) for key, part in value.items()}
        return [zeroed(part) for part in value] if isinstance(value, list) else value

    content = json.loads(tokenizer.to_str())
    content["post_processor"] = zeroed(content["post_processor"])
    return Tokenizer.from_str(json.dumps(content))


def _bare(tokenizer: Tokenizer) -> Tokenizer:
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def _unreadable(folder: Path, error: Exception | str) -> ProblemsFound:
    reason = pointer_problem(folder / "tokenizer.json") or str(error)
    hint = ""
    if (folder / "bpe.codes").is_file():
        hint = "vocab.txt and bpe.codes are fastBPE's (BERTweet, PhoBERT), which is not read."
    return ProblemsFound([Problem("error", f"cannot read the tokenizer in {folder}: {reason}", hint)])
