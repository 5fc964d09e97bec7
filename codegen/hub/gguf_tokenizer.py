"""Tokenizers of GGUF files: the vocabulary and merges are there, the steps before them by name alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, normalizers, pre_tokenizers, processors
from tokenizers.models import BPE

from .gguf import GgufFile

CONTROL, USER_DEFINED = 3, 4
"""Kinds of tokens that texts are searched for before they are split."""
UNKNOWN = 2
MODELS = ("gpt2 (byte-level BPE)", "llama (SentencePiece's BPE)")
SPACE = "\u2581"
"""SentencePiece's."""
_QWEN2 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_LLAMA3 = _QWEN2.replace(r"|\p{N}|", r"|\p{N}{1,3}|")


def _bytes(regex: bool) -> Any:
    return pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=regex)


def _split(pattern: str) -> Any:
    return pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(pattern), "isolated"), _bytes(False)])


SPLITTING: dict[str, Callable[[], Any]] = {
    "gpt-2": lambda: _bytes(True),
    "smollm": lambda: pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), _bytes(True)]),
    "qwen2": lambda: _split(_QWEN2),
    "llama-bpe": lambda: _split(_LLAMA3),
}
"""By `tokenizer.ggml.pre`: how texts are split before merges, as the models' own tokenizer.json has it."""


def gguf_tokenizer(file: GgufFile) -> Tokenizer:
    """The tokenizer of a file. Raises ValueError naming what is not understood."""
    kind, pre = file.setting("tokenizer.ggml.model"), file.setting("tokenizer.ggml.pre", "gpt-2")
    texts: list[str] = file.setting("tokenizer.ggml.tokens")
    kinds: list[int] = file.setting("tokenizer.ggml.token_type", [1] * len(texts))
    if kind == "llama":
        tokenizer = _sentencepiece(file, texts, kinds)
    elif kind != "gpt2":
        raise ValueError(f"{file.name}: tokenizer.ggml.model is {kind!r}; accepted: {', '.join(MODELS)}")
    elif pre not in SPLITTING:
        raise ValueError(f"{file.name}: tokenizer.ggml.pre is {pre!r}; accepted: {', '.join(SPLITTING)}")
    else:
        tokenizer = _byte_level(file, texts, pre)
    tokenizer.add_tokens([
        AddedToken(text, special=of == CONTROL, normalized=False)
        for text, of in zip(texts, kinds, strict=True) if of in (CONTROL, USER_DEFINED)
    ])  # fmt: skip
    first = file.setting("tokenizer.ggml.bos_token_id")
    if file.setting("tokenizer.ggml.add_bos_token", kind == "llama" or pre == "llama-bpe") and first is not None:
        token = texts[first]
        tokenizer.post_processor = processors.TemplateProcessing(
            single=[token, "$A"], pair=[token, "$A", "$B"], special_tokens=[(token, first)]
        )
    return tokenizer


def _byte_level(file: GgufFile, texts: list[str], pre: str) -> Tokenizer:
    merges = [tuple(pair.split(" ", 1)) for pair in file.setting("tokenizer.ggml.merges")]
    tokenizer = Tokenizer(BPE({text: i for i, text in enumerate(texts)}, merges))
    if pre == "qwen2":
        tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = SPLITTING[pre]()
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def _sentencepiece(file: GgufFile, texts: list[str], kinds: list[int]) -> Tokenizer:
    """SentencePiece's BPE: neighbours whose piece has the best score become one, and what is in no piece is its bytes.
    Raises ValueError where the file normalises texts before that."""
    if file.setting("tokenizer.ggml.precompiled_charsmap"):
        raise ValueError(f"{file.name}: tokenizer.ggml.precompiled_charsmap is there; accepted: none")
    scores: list[float] = file.setting("tokenizer.ggml.scores")
    if scores is None:
        raise ValueError(f"{file.name}: tokenizer.ggml.scores is missing")
    vocabulary = {text: i for i, text in enumerate(texts)}
    unknown = next((text for text, kind in zip(texts, kinds, strict=True) if kind == UNKNOWN), None)
    model = BPE(vocabulary, _merges(vocabulary, scores), unk_token=unknown, fuse_unk=True, byte_fallback=True)
    tokenizer = Tokenizer(model)
    steps = [normalizers.Prepend(SPACE)] if file.setting("tokenizer.ggml.add_space_prefix", True) else []
    tokenizer.normalizer = normalizers.Sequence([*steps, normalizers.Replace(" ", SPACE)])
    tokenizer.decoder = decoders.Sequence([decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse()])
    return tokenizer


def _merges(vocabulary: dict[str, int], scores: list[float]) -> list[tuple[str, str]]:
    """Every pair of pieces that are one piece, the best of these first; of one piece's, the pair whose parts are."""
    pairs = [
        (-scores[i], vocabulary[left], vocabulary[right], left, right)
        for text, i in vocabulary.items()
        for left, right in ((text[:at], text[at:]) for at in range(1, len(text)))
        if left in vocabulary and right in vocabulary
    ]
    return [(left, right) for *_, left, right in sorted(pairs)]
