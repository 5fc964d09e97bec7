"""The tokenizer classes that are understood: each a vocabulary from a folder's files, and the steps around it.

A class decides on normalisation, splitting and special tokens itself, as in `transformers` 5: tokenizer.json, where
there is one, gives its vocabulary. Only `PreTrainedTokenizerFast` and decoders' classes, whose models are trained with
the steps that their file has, take tokenizer.json as it is.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Tokenizer, decoders, normalizers, pre_tokenizers, processors
from tokenizers.models import BPE, Unigram, WordPiece

from .files import pointer_problem
from .recipe import NAMED, WHOLE, Recipe
from .sentencepiece import CONTROL, USER_DEFINED, read_sentencepiece
from .steps import charsmap_of, check_steps, tidies_spaces

BRACKETS = {f"{part}_token": f"[{part.upper()}]" for part in ("unk", "sep", "pad", "cls", "mask")}
ANGLES = {
    "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "sep_token": "</s>", "pad_token": "<pad>",
    "cls_token": "<s>", "mask_token": "<mask>",
}  # fmt: skip


@dataclass(frozen=True)
class TokenizerClass:
    """How a class reads a folder."""

    build: Callable[[Path, Recipe], Tokenizer]
    """The tokenizer without special tokens. Raises ValueError naming what it misses."""
    special: dict[str, str]
    """Its own special tokens, where the files name no others."""
    around: Callable[[Tokenizer, Recipe], Any] | None = None
    """What puts special tokens around texts; None: as tokenizer.json has it."""
    token_types: bool = True
    """Whether the second of a pair gets token type 1."""


def class_of(recipe: Recipe) -> TokenizerClass | None:
    """The class that a recipe names; None: it is not understood."""
    return _CLASSES.get(recipe.name) or _CLASSES.get(recipe.name.removesuffix("Fast"))


def accepted() -> str:
    """The names of all classes, the one for tokenizer.json last."""
    return ", ".join(name for name, kind in _CLASSES.items() if kind is not _WHOLE) + f", {WHOLE}"


def _wordpiece(folder: Path, recipe: Recipe) -> Tokenizer:
    stored = _stored(folder, "WordPiece", recipe)
    vocabulary = stored["model"]["vocab"] if stored else WordPiece.read_file(str(_file(folder, recipe, "vocab.txt")))
    if not any(token.startswith("##") for token in vocabulary) and any(token.startswith("▁") for token in vocabulary):
        raise ValueError("the vocabulary is SentencePiece's (▁ before words), not WordPiece's (## inside words)")
    tokenizer = Tokenizer(WordPiece(vocabulary, unk_token=str(recipe.special("unk_token", "[UNK]"))))
    settings = recipe.settings
    tokenizer.normalizer = normalizers.BertNormalizer(
        lowercase=bool(settings.get("do_lower_case", True)), strip_accents=settings.get("strip_accents"),
        handle_chinese_chars=bool(settings.get("tokenize_chinese_chars", True)),
    )  # fmt: skip
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    check_steps(stored, recipe, {"normalizer": ["BertNormalizer"], "pre_tokenizer": ["BertPreTokenizer"]})
    return tokenizer


def _byte_level(folder: Path, recipe: Recipe) -> Tokenizer:
    stored = _stored(folder, "BPE", recipe)
    if stored:
        vocabulary, merges = stored["model"]["vocab"], [tuple(pair) for pair in stored["model"]["merges"]]
    else:
        files = (str(_file(folder, recipe, name)) for name in ("vocab.json", "merges.txt"))
        vocabulary, merges = BPE.read_file(*files)
    tokenizer = Tokenizer(BPE(vocabulary, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=_prefix_space(recipe, default=False))
    tokenizer.decoder = decoders.ByteLevel()
    check_steps(stored, recipe, {"normalizer": [], "pre_tokenizer": ["ByteLevel"]})
    mask = recipe.special("mask_token", "<mask>")
    if isinstance(mask, str) and tokenizer.token_to_id(mask) is not None:
        # It takes the space before it, as words do: so it was in pre-training, and is in transformers 4, not 5.
        tokenizer.add_tokens([AddedToken(mask, lstrip=True, special=True)])
    return tokenizer


def _unigram(folder: Path, recipe: Recipe, first: tuple[tuple[str, float], ...], skipped: int) -> Tokenizer:
    """Pieces behind fairseq's own `first` ones, which stand for the `skipped` first of the SentencePiece model."""
    special: list[AddedToken] = []
    if stored := _stored(folder, "Unigram", recipe):
        vocabulary = [(text, score) for text, score in stored["model"]["vocab"]]
        charsmap = base64.b64decode(charsmap_of(stored["normalizer"]))
        own = {"normalizer": ["Precompiled"] if charsmap else [], "pre_tokenizer": ["Metaspace"]}
        check_steps(stored, recipe, own, aside=tidies_spaces)
    else:
        model = read_sentencepiece(_file(folder, recipe, "sentencepiece.bpe.model"))
        pieces = [(piece.text, piece.score) for piece in model.pieces[skipped:]]
        vocabulary = [*first, *pieces, (str(recipe.special("mask_token", "<mask>")), 0.0)]
        charsmap = model.charsmap
        special = [
            AddedToken(piece.text, normalized=False, special=piece.kind == CONTROL)
            for piece in model.pieces
            if piece.kind in (CONTROL, USER_DEFINED)
        ]
    unknown = str(recipe.special("unk_token", "<unk>"))
    texts = [text for text, _ in vocabulary]
    if unknown not in texts:
        raise ValueError(f"the vocabulary lacks {unknown}")
    tokenizer = Tokenizer(Unigram(vocabulary, unk_id=texts.index(unknown), byte_fallback=False))
    if charsmap:
        tokenizer.normalizer = normalizers.Precompiled(charsmap)
    scheme = "always" if _prefix_space(recipe, default=True) else "never"
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(replacement="▁", prepend_scheme=scheme)
    ])  # fmt: skip
    tokenizer.decoder = decoders.Metaspace(replacement="▁", prepend_scheme=scheme)
    tokenizer.add_tokens(special)
    return tokenizer


def _xlm_roberta(folder: Path, recipe: Recipe) -> Tokenizer:
    parts = ("bos_token", "pad_token", "eos_token", "unk_token")
    return _unigram(folder, recipe, tuple((str(recipe.special(part, ANGLES[part])), 0.0) for part in parts), 3)


def _camembert(folder: Path, recipe: Recipe) -> Tokenizer:
    pad, unknown = (str(recipe.special(part, ANGLES[part])) for part in ("pad_token", "unk_token"))
    unused = (("<s>NOTUSED", 0.0), (pad, 0.0), ("</s>NOTUSED", 0.0), (unknown, 0.0), ("<unk>NOTUSED", -100.0))
    return _unigram(folder, recipe, unused, 1)


def _whole(folder: Path, recipe: Recipe) -> Tokenizer:
    return Tokenizer.from_file(str(_file(folder, recipe, "tokenizer.json")))


def _around_bert(tokenizer: Tokenizer, recipe: Recipe) -> Any:
    first, last = (str(recipe.special(part, BRACKETS[part])) for part in ("cls_token", "sep_token"))
    return processors.TemplateProcessing(
        single=f"{first}:0 $A:0 {last}:0", pair=f"{first}:0 $A:0 {last}:0 $B:1 {last}:1",
        special_tokens=[(token, tokenizer.token_to_id(token)) for token in (first, last)],
    )  # fmt: skip


def _around_roberta(tokenizer: Tokenizer, recipe: Recipe) -> Any:
    last, first = (str(recipe.special(part, ANGLES[part])) for part in ("sep_token", "cls_token"))
    numbers = tokenizer.get_vocab()
    return processors.RobertaProcessing(
        (last, numbers[last]), (first, numbers[first]),
        bool(recipe.settings.get("trim_offsets", True)), _prefix_space(recipe, default=False),
    )  # fmt: skip


def _around_unigram(tokenizer: Tokenizer, recipe: Recipe) -> Any:
    first, last = (str(recipe.special(part, ANGLES[part])) for part in ("bos_token", "eos_token"))
    return processors.TemplateProcessing(
        single=[first, "$A", last], pair=[first, "$A", last, last, "$B", last],
        special_tokens=[(token, tokenizer.token_to_id(token)) for token in (first, last)],
    )  # fmt: skip


def _prefix_space(recipe: Recipe, default: bool) -> bool:
    return bool(recipe.settings.get("add_prefix_space", default))


def _file(folder: Path, recipe: Recipe, name: str) -> Path:
    """A file that the class reads. Raises ValueError where there is none."""
    path = folder / name
    if problem := pointer_problem(path):
        raise ValueError(problem)
    if not path.is_file():
        files = " or ".join(dict.fromkeys((name, "tokenizer.json")))
        raise ValueError(f"{recipe.name} ({recipe.source}) needs {files}")
    return path


def _stored(folder: Path, model: str, recipe: Recipe) -> dict[str, Any] | None:
    """The content of tokenizer.json, whose model must be the class's; None where there is no such file."""
    if not (folder / "tokenizer.json").is_file():
        return None
    stored: dict[str, Any] = json.loads(_whole(folder, recipe).to_str())
    if (kind := stored["model"]["type"]) != model:
        raise ValueError(f"tokenizer.json holds a {kind} model, {recipe.name} ({recipe.source}) is {model}")
    return stored


_WORDPIECE = TokenizerClass(_wordpiece, BRACKETS, _around_bert)
_WITHOUT_TYPES = TokenizerClass(_wordpiece, BRACKETS, _around_bert, token_types=False)
_BYTE_LEVEL = TokenizerClass(_byte_level, ANGLES, _around_roberta)
_WHOLE = TokenizerClass(_whole, {})
_CLASSES = {
    "BertTokenizer": _WORDPIECE,
    "DistilBertTokenizer": _WITHOUT_TYPES,
    "ElectraTokenizer": _WORDPIECE,
    "RobertaTokenizer": _BYTE_LEVEL,
    "XLMRobertaTokenizer": TokenizerClass(_xlm_roberta, ANGLES, _around_unigram),
    "CamembertTokenizer": TokenizerClass(_camembert, ANGLES, _around_unigram),
    "GPT2Tokenizer": _WHOLE,
    "LlamaTokenizer": _WHOLE,
    "Qwen2Tokenizer": _WHOLE,
    WHOLE: _WHOLE,
    "PreTrainedTokenizer": _WHOLE,
    "TokenizersBackend": _WHOLE,
}
assert {name for kind in _CLASSES.values() for name in kind.special} <= set(NAMED)
