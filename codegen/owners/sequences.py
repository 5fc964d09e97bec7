"""A decoder's sequences, as the data owner lays them out: rows of tokens that end together.

    slot 0 | padding | text | a prompt's own tokens | the template's end        (`--prompt-at end`)
    slot 0 | padding | a prompt's own tokens | text | the template's end        (`--prompt-at start`)

Slot 0, or the last of the padding, is where the public first token stands, which no row is needed for. It has position
0, whatever stands behind it is numbered from 1.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from ..hub.tokenizer import continued_ids

Floats = NDArray[np.float32]
PLACES = re.compile(r"(\{text\}|\{text_b\}|\{mask\})")


@dataclass(frozen=True)
class Layout:
    """What is public of the sequences of a program."""

    centred: bool
    """Whether rows are less their mean: all that reads them centres them (layer norm)."""
    template_rows: int
    """Tokens that the template has behind the text."""
    prompt_ids: tuple[int, ...] = ()
    """Tokens of a prompt's own rows, what a search begins with."""
    prompt_first: bool = False
    """Whether they stand ahead of the text."""
    end_ids: tuple[int, ...] = ()
    """Tokens that the model ends its texts with."""

    def inputs(
        self, tables: Mapping[str, Floats], ids: Sequence[Sequence[int]], length: int
    ) -> tuple[Floats, Floats, Floats]:
        """Rows `x` `[E, R, h]` with R = 1 + `length` + n, their mask `[E, R]`, and that of tokens of text and template
        alone."""
        rows = 1 + length + len(self.prompt_ids)
        tokens = np.zeros((len(ids), rows), np.int64)
        positions = np.zeros_like(tokens)
        mask, given = np.zeros(tokens.shape, np.float32), np.zeros(tokens.shape, np.float32)
        for i, row in enumerate(ids):
            text = 0 if self.prompt_first else len(row) - self.template_rows
            whole = [*row[:text], *self.prompt_ids, *row[text:]]
            first = rows - len(whole)
            tokens[i, first:], mask[i, first:], given[i, first:] = whole, 1, 1
            positions[i, first:] = np.arange(1, len(whole) + 1)
            given[i, first + text : first + text + len(self.prompt_ids)] = 0
        x = tables["word"][tokens]
        if "position" in tables:
            x = x + tables["position"][positions]
        if self.centred:
            x = x - x.mean(axis=-1, keepdims=True)
        return x * mask[..., None], mask, given

    def rows(self, tables: Mapping[str, Floats], ids: Sequence[int], first: int) -> Floats:
        """Rows `[n, h]` of tokens behind a text, the first at position `first`."""
        x = tables["word"][np.asarray(ids, np.int64)]
        if "position" in tables:
            x = x + tables["position"][first : first + len(ids)]
        return np.asarray(x - x.mean(axis=-1, keepdims=True) if self.centred else x)


def before_label(template: str) -> tuple[str, str]:
    """What of a template is read, and what of the text up to the label word belongs to that word's first token: a space
    as a rule, none where the template ends in a space or a line break, and what stands there where `{label}` does."""
    read, marked, _ = template.partition("{label}")
    if not marked:
        return read, "" if read[-1:].isspace() else " "
    return (read[:-1], " ") if read.endswith(" ") else (read, "")


def template_end(template: str) -> str:
    """What a template has behind the last text, as far as it is read."""
    return PLACES.split(before_label(template)[0])[-1] if template else ""


def bare_ids(tokenizer: Tokenizer, text: str) -> list[int]:
    """A text's tokens without special ones around them."""
    return list(tokenizer.encode(text, add_special_tokens=False).ids)


@dataclass(frozen=True)
class Tokens:
    """What `Encoding` has, of pieces that were tokenised one by one."""

    ids: list[int]
    type_ids: list[int]


def in_template(tokenizer: Tokenizer, template: str, parts: Sequence[str]) -> Tokens:
    """Tokens of a text or a pair in a template. Its end is tokenised by itself, so that it is the same in all."""
    end = template_end(template)
    front = before_label(template)[0].removesuffix(end)
    values = dict(zip(("{text}", "{text_b}"), parts, strict=False))
    text = "".join(values.get(piece, piece) for piece in PLACES.split(front or "{text}"))
    ids = bare_ids(tokenizer, text) + (continued_ids(tokenizer, end) if end else [])
    return Tokens(ids, [0] * len(ids))
