"""SentencePiece models (`*.model`): the fields of the protocol buffer that a unigram tokenizer needs.

Field numbers are those of sentencepiece_model.proto: ModelProto has pieces (1), trainer_spec (2), normalizer_spec (3);
a piece has its text (1), score (2), type (3).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

UNIGRAM = 1
CONTROL, USER_DEFINED = 3, 4


@dataclass(frozen=True)
class Piece:
    """One entry of the vocabulary."""

    text: str
    score: float
    kind: int


@dataclass(frozen=True)
class SentencePieceModel:
    """A vocabulary in the order of its numbers, and the normalisation of texts as `tokenizers` takes it."""

    pieces: list[Piece]
    charsmap: bytes


def read_sentencepiece(path: Path) -> SentencePieceModel:
    """Read a unigram model. Raises ValueError for anything else, OSError."""
    pieces: list[Piece] = []
    charsmap, model_type = b"", UNIGRAM
    try:
        for number, value in _fields(path.read_bytes()):
            if number == 1:
                pieces.append(_piece(_bytes(value)))
            elif number == 2:
                model_type = _number(dict(_fields(_bytes(value))).get(3, UNIGRAM))
            elif number == 3:
                charsmap = _bytes(dict(_fields(_bytes(value))).get(2, b""))
    except (ValueError, IndexError, struct.error):
        raise ValueError(f"{path.name} is not a SentencePiece model") from None
    if not pieces:
        raise ValueError(f"{path.name} is not a SentencePiece model")
    if model_type != UNIGRAM:
        raise ValueError(f"{path.name} is not a unigram model")
    return SentencePieceModel(pieces, charsmap)


def _piece(data: bytes) -> Piece:
    fields = dict(_fields(data))
    (score,) = struct.unpack("<f", _bytes(fields.get(2, b"\0\0\0\0")))
    return Piece(_bytes(fields.get(1, b"")).decode("utf-8"), score, _number(fields.get(3, 1)))


def _bytes(value: int | bytes) -> bytes:
    if isinstance(value, int):
        raise ValueError("a number where text belongs")
    return value


def _number(value: int | bytes) -> int:
    if isinstance(value, bytes):
        raise ValueError("text where a number belongs")
    return value


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Fields of a message: varints as numbers, all else as bytes."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        wire = key & 7
        if wire == 0:
            number, at = _varint(data, at)
            yield key >> 3, number
            continue
        if wire == 2:
            length, at = _varint(data, at)
        elif wire in (1, 5):
            length = 8 if wire == 1 else 4
        else:
            raise ValueError(f"wire type {wire}")
        if at + length > len(data):
            raise ValueError("cut short")
        yield key >> 3, data[at : at + length]
        at += length


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at
