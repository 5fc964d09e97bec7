"""The data owner's part of a model: from texts and labels to the plan's example inputs, in the clear.

The folder that it gets from the model owner (`Embedder.save`) holds `tokenizer.json`, `embeddings.safetensors` (word,
position and token type tables), `data_owner.json` (public settings) and, where layers run in the clear,
`frozen.safetensors`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file
from tokenizers import Tokenizer

from ..commandline.options import read_back
from ..commandline.problems import Problem, ProblemsFound, Report
from ..commandline.texts import parse_json
from ..hub.tokenizer import mask_token, saved_tokenizer
from ..model.options import GenOptions
from ..model.spec import ModelSpec, Rows
from ..model.tensors import TensorFile
from ..model.weights import Weights
from .frozen import FrozenLayers
from .sequences import Layout, in_template

Floats = NDArray[np.float32]
Text = str | tuple[str, str]
_TABLES = ("word", "position", "token_type")


@dataclass(frozen=True)
class Settings:
    """What the data owner must know of model and program; all of it is public."""

    sequence_length: int
    position_offset: int
    layer_norm_eps: float
    pad_token_id: int
    rows: Rows
    labels: tuple[str, ...]
    template: str
    layout: Layout | None = None
    """Of a decoder's sequences; None: an encoder's, padded on the right."""
    shots: bool = False
    """Whether examples have a `share`."""

    @classmethod
    def of(cls, spec: ModelSpec, options: GenOptions, layout: Layout | None = None) -> Settings:
        """The settings that a program was generated with."""
        return cls(
            options.sequence_length, spec.position_offset + options.rows_before, spec.layer_norm_eps,
            spec.pad_token_id, spec.head.rows, spec.head.labels,
            options.template or (spec.prompt and f"{spec.prompt}{{text}}"), layout,
            bool(options.prototype_shots),
        )  # fmt: skip


@dataclass(frozen=True)
class Tokenised:
    """A text as a model's tokens."""

    ids: list[int]
    types: list[int]


def shares(labels: NDArray[Any]) -> Floats:
    """Of each example `[E, 1]`, one in as many as have its label; 0 of one without a label."""
    return np.asarray(labels @ (1 / np.maximum(1, labels.sum(axis=0)))[:, None], np.float32)


class Embedder:
    """Tokenises, pads and embeds texts."""

    def __init__(
        self, tokenizer: Tokenizer, tables: dict[str, Floats], settings: Settings, frozen: FrozenLayers | None = None
    ) -> None:
        """`tables`: `word`, `position` and, where the model has it, `token_type`, each `[rows, h]`."""
        self.frozen = frozen
        self.settings = settings
        self.tokenizer = tokenizer
        self.tables = tables
        self.mask = mask_token(tokenizer) or ""

    @classmethod
    def open(cls, directory: Path) -> Embedder:
        """Read a data owner's folder. Raises `ProblemsFound` when something in it cannot be read."""
        tokenizer = saved_tokenizer(directory)
        try:
            settings = parse_json((directory / "data_owner.json").read_text(encoding="utf-8"))
            settings["labels"] = tuple(settings["labels"])
            settings["layout"] = (layout := settings.get("layout")) and read_back(Layout, layout)
            below = settings.pop("frozen", None)
            frozen = FrozenLayers.from_json(below, _tensors(directory / "frozen.safetensors")) if below else None
            tables = _tensors(directory / "embeddings.safetensors")
            return cls(tokenizer, tables, Settings(**settings), frozen)
        except (OSError, ValueError, TypeError, KeyError) as e:
            raise ProblemsFound([Problem("error", f"cannot read the data owner's folder {directory}: {e}")]) from None

    def save(self, directory: Path) -> None:
        """Write a data owner's folder, for `open`."""
        directory.mkdir(parents=True, exist_ok=True)
        self.tokenizer.save(str(directory / "tokenizer.json"))
        save_file(self.tables, directory / "embeddings.safetensors")
        settings = asdict(self.settings)
        if self.frozen:
            settings["frozen"] = self.frozen.to_json()
            contiguous = {n: np.ascontiguousarray(v) for n, v in self.frozen.weights.items()}
            save_file(contiguous, directory / "frozen.safetensors")
        (directory / "data_owner.json").write_text(
            json.dumps(settings, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
        )

    def encode(
        self, texts: Sequence[Text], labels: Sequence[str] | None = None
    ) -> tuple[dict[str, Floats], list[Problem]]:
        """`inputs` of E texts (or pairs of texts), and warnings about those that had to be cut.

        Raises `ProblemsFound` as `tokenise` does, and naming every label that is not one of the model's.
        """
        report = Report()
        tokenised = self._tokenised(texts, report)
        known = self.settings.labels
        for name in sorted(set(labels or ()) - set(known)):
            report.error(f"label {name!r} is not one of the model's", f"Accepted: {', '.join(known)}.")
        report.check()
        return self.inputs(tokenised, labels), report.problems

    def tokenise(self, texts: Sequence[Text]) -> tuple[list[Tokenised], list[Problem]]:
        """Texts as token ids, cut to the sequence length, and warnings about those that had to be cut.

        Raises `ProblemsFound` naming every text that cannot be input, as one without room for the mask.
        """
        report = Report()
        return self._tokenised(texts, report), report.check()

    def _tokenised(self, texts: Sequence[Text], report: Report) -> list[Tokenised]:
        encoded = [self._token_ids(text, i, report) for i, text in enumerate(texts)]
        cut = [i for i, (*_, was_cut) in enumerate(encoded) if was_cut]
        if cut:
            report.warn(
                f"{len(cut)} of {len(texts)} texts are longer than {self.settings.sequence_length} tokens and were cut",
                f"The first is number {cut[0] + 1}. A larger --sequence-length keeps more of them.",
            )
        return [Tokenised(ids, types) for ids, types, _ in encoded]

    def inputs(self, tokenised: Sequence[Tokenised], labels: Sequence[str] | None = None) -> dict[str, Floats]:
        """Example inputs of E texts: `x` [E, T, h], `mask` [E, T], `labels` [E, L] (zeros when not given),
        `example_weight` [E, 1] = 1/E; where the head needs it, `select` [E, T]; where shots take part in the head,
        `share` [E, 1]: 1 over the number of examples with the same label (0 without labels).
        Every label is one of the model's.
        """
        known = {name: i for i, name in enumerate(self.settings.labels)}
        inputs = self.embed([each.ids for each in tokenised], [each.types for each in tokenised])
        inputs["labels"] = np.zeros((len(tokenised), len(known)), np.float32)
        if labels is not None:
            inputs["labels"][np.arange(len(tokenised)), [known[name] for name in labels]] = 1
        inputs["example_weight"] = np.full((len(tokenised), 1), 1 / max(1, len(tokenised)), np.float32)
        if self.settings.shots:
            inputs["share"] = shares(inputs["labels"])
        return inputs

    def embed(self, ids: Sequence[Sequence[int]], types: Sequence[Sequence[int]]) -> dict[str, Floats]:
        """`x`, `mask` and, where the head needs it, `select` of token ids and their token types, padded with rows of
        zeros."""
        s = self.settings
        length = s.sequence_length
        if s.layout is not None:
            return self._sequences(s.layout, ids)
        padded = np.full((len(ids), length), s.pad_token_id)
        type_ids, mask = np.zeros_like(padded), np.zeros(padded.shape, np.float32)
        for i, (row, kinds) in enumerate(zip(ids, types, strict=True)):
            padded[i, : len(row)], type_ids[i, : len(row)], mask[i, : len(row)] = row, kinds, 1
        x = self.tables["word"][padded] + self.tables["position"][s.position_offset : s.position_offset + length]
        if "token_type" in self.tables:
            x += self.tables["token_type"][type_ids]
        x -= x.mean(axis=-1, keepdims=True)
        x /= np.sqrt(np.square(x).mean(axis=-1, keepdims=True) + s.layer_norm_eps)
        if self.frozen:
            x = self.frozen(x, mask)
        inputs = {"x": x * mask[..., None], "mask": mask}
        if s.rows == "mean":
            inputs["select"] = mask / np.maximum(mask.sum(axis=-1, keepdims=True), 1)
        elif s.rows == "select":
            inputs["select"] = (padded == self.tokenizer.token_to_id(self.mask)).astype(np.float32)
        return inputs

    def through_frozen(self, x: Floats, mask: Floats) -> Floats:
        """A decoder's rows `[E, R, h]` behind the layers that run in the clear, 0 where the mask is."""
        return self.frozen(x, mask) * mask[..., None] if self.frozen else x

    def _sequences(self, layout: Layout, ids: Sequence[Sequence[int]]) -> dict[str, Floats]:
        x, mask, given = layout.inputs(self.tables, ids, self.settings.sequence_length)
        inputs = {"x": self.through_frozen(x, mask), "mask": mask}
        if self.settings.rows == "mean":
            inputs["select"] = given / np.maximum(given.sum(axis=-1, keepdims=True), 1)
        return inputs

    def missing_type(self) -> str:
        """Why pairs of texts cannot be embedded as pairs; empty where they can be."""
        if self.settings.layout is not None:
            return "the model is a decoder"
        kinds = max(self.tokenizer.encode("", "").type_ids, default=0) + 1
        rows = len(self.tables.get("token_type", ()))
        return f"a pair has {kinds} token types, the checkpoint {rows}" if 0 < rows < kinds else ""

    def _token_ids(self, text: Text, index: int, report: Report) -> tuple[list[int], list[int], bool]:
        """Token ids, token types, and whether the text was cut to fit."""
        parts = [text] if isinstance(text, str) else list(text)
        if not any(part.strip() for part in parts):
            report.warn(f"text {index + 1} is empty")
        template = self.settings.template
        if template and ("{text_b}" in template) != (len(parts) == 2):
            report.error(
                f"text {index + 1} is {'one text' if len(parts) == 1 else 'a pair'}, the template is {template!r}"
            )
            return [], [], False
        if len(parts) == 2 and not template and (missing := self.missing_type()):
            report.error(f"text {index + 1} is a pair: {missing}", "Give a --template that joins both texts in one.")
            return [], [], False
        encoding = self.tokens(parts)
        whole = len(encoding.ids)
        while len(encoding.ids) > self.settings.sequence_length:
            pieces = [self.tokenizer.encode(part, add_special_tokens=False) for part in parts]
            sizes = [len(piece.ids) for piece in pieces]
            longest = sizes.index(max(sizes))
            if not sizes[longest]:
                report.error(f"--sequence-length is {self.settings.sequence_length}: special tokens alone are more")
                return [], [], False
            # The longer of a pair loses tokens until both are equally long, then each in turn.
            excess = len(encoding.ids) - self.settings.sequence_length
            excess = min(excess, max(1, sizes[longest] - min(sizes))) if len(sizes) == 2 else excess
            keep = max(0, sizes[longest] - excess)
            parts[longest] = parts[longest][: pieces[longest].offsets[keep][0]].rstrip()
            encoding = self.tokens(parts)
        if self.settings.rows == "select" and encoding.ids.count(self.tokenizer.token_to_id(self.mask)) != 1:
            report.error(f"text {index + 1} holds {self.mask}", "Only the template may place the mask.")
        return encoding.ids, encoding.type_ids, len(encoding.ids) < whole

    def tokens(self, parts: Sequence[str]) -> Any:
        """What the tokenizer makes of a text or a pair in the template, uncut."""
        template = self.settings.template
        if self.settings.layout is not None:
            return in_template(self.tokenizer, template, parts)
        if not template:
            return self.tokenizer.encode(parts[0], parts[1] if len(parts) == 2 else None)
        filled = dict(zip(("{text}", "{text_b}"), parts, strict=False)) | {"{mask}": self.mask}
        pieces = re.split(r"(\{text\}|\{text_b\}|\{mask\})", template)
        return self.tokenizer.encode("".join(filled.get(piece, piece) for piece in pieces))


def embedding_tables(weights: Weights) -> dict[str, Floats]:
    """The tables that the data owner embeds tokens with."""
    return {
        name: np.ascontiguousarray(weights[f"embeddings.{name}"], np.float32)
        for name in _TABLES
        if f"embeddings.{name}" in weights
    }


def _tensors(path: Path) -> Weights:
    file = TensorFile(path)
    return {name: file.read(name) for name in file.names()}
