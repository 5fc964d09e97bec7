"""Public text as a plan's inputs, for calibration: as long as what will run, under candidates as the search begins."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..model.options import GenOptions
from ..model.spec import ModelSpec
from ..plan.graph import Plan
from .embed import Embedder, Settings, Text, shares

Inputs = dict[str, NDArray[np.floating[Any]]]
RANDOM_TEXTS = 48
DECODER_ROWS = 10_000
"""Rows that a decoder is calibrated on: they show its log-sum-exps as well as more do, and take two minutes for 135
million parameters."""
NEURON_ROWS = 5_000
"""Of which the reach of neurons is taken where an adapter's record has all the rest: MiniLM's neurons exceed the
intervals that follow from 4,000 at one of 10^5 further values or less, four seconds."""
UNKNOWN = 0.1
"""Share of unknown tokens from which on a text does not show what will run: a toy's few words, another script. Random
words do, and cost a trained model exactness: MiniLM's scores spread over 123 units with them, over 87 without."""


def fitting_texts(sentences: Sequence[str], options: GenOptions) -> list[Text]:
    """The sentences, every other one with those that follow it, so that some texts are as long as texts may be; as
    pairs where the template asks for two."""
    joined = [
        sentence if i % 2 == 0 else _filled(sentences[i : i + options.sequence_length], options.sequence_length)
        for i, sentence in enumerate(sentences)
    ]  # fmt: skip
    if "{text_b}" not in options.template:
        return list(joined)
    return list(zip(joined, [*joined[1:], joined[0]], strict=True))


def fewer_texts(texts: Sequence[Text], options: GenOptions, rows: int) -> list[Text]:
    """Every n-th of the texts, n odd, so that long and short ones remain: about so many rows."""
    return list(texts[:: max(1, len(texts) * options.sequence_length // rows) | 1])


def _filled(sentences: Sequence[str], words: int) -> str:
    """The first sentences, of so many words in all."""
    text: list[str] = []
    for sentence in sentences:
        text += sentence.split()
        if len(text) >= words:
            break
    return " ".join(text)


def reads(embedder: Embedder, texts: Sequence[Text]) -> bool:
    """Whether a tokenizer knows all but a few of the words."""
    tokenizer = embedder.tokenizer
    unknown = tokenizer.token_to_id(str(getattr(tokenizer.model, "unk_token", "")))
    ids = [i for text in texts for i in tokenizer.encode(*([text] if isinstance(text, str) else text)).ids]
    return sum(i == unknown for i in ids) <= UNKNOWN * len(ids)


def of_texts(plan: Plan, spec: ModelSpec, options: GenOptions, embedder: Embedder, texts: Sequence[Text]) -> Inputs:
    """Inputs of texts with random labels, under the first prompt and two drawn ones."""
    rng = np.random.default_rng(options.seed)
    inputs: Inputs = dict(embedder.encode(texts)[0])
    return inputs | _labels(spec, embedder.settings, len(texts), rng) | _candidates(plan, rng)


def of_random_words(plan: Plan, spec: ModelSpec, options: GenOptions, embedder: Embedder) -> Inputs:
    """The same of words drawn from the whole vocabulary."""
    rng = np.random.default_rng(options.seed)
    if embedder.settings.layout is None:
        first, last = embedder.tokenizer.encode("").ids[:1], embedder.tokenizer.encode("").ids[1:]
    else:
        first, last = [], embedder.tokens(("", "")).ids
    room = options.sequence_length - len(first) - len(last)
    lengths = rng.integers(min(3, room), room + 1, RANDOM_TEXTS)
    words = [[*first, *rng.integers(spec.vocab_size, size=n).tolist(), *last] for n in lengths]
    inputs: Inputs = dict(embedder.embed(words, [[0] * len(w) for w in words]))
    if "select" in inputs and spec.head.rows == "select":
        inputs["select"] = np.eye(options.sequence_length)[np.full(len(words), 1)]
    inputs["example_weight"] = np.full((len(words), 1), 1 / len(words))
    return inputs | _labels(spec, embedder.settings, len(words), rng) | _candidates(plan, rng)


def _labels(spec: ModelSpec, settings: Settings, count: int, rng: np.random.Generator) -> Inputs:
    labels = np.eye(spec.head.num_labels)[rng.integers(spec.head.num_labels, size=count)]
    return {"labels": labels} | ({"share": shares(labels)} if settings.shots else {})


def _candidates(plan: Plan, rng: np.random.Generator) -> Inputs:
    drawn = {
        v.attrs["name"]: np.concatenate([np.zeros((1, v.size)), rng.normal(size=(2, v.size))])
        for v in plan.inputs("candidate")
    }
    for v in plan.inputs("kept"):  # means of embeddings, each nearer to its label's text than to the others
        drawn[v.attrs["name"]] = rng.normal(size=v.shape) / np.sqrt(2 * v.shape[-1])
    if "shots" in drawn:
        drawn["shots"] = np.abs(drawn["shots"]).clip(max=plan.meta["options"]["prototype_shots"])
        drawn["shots"][:, 1:] = drawn["shots"][:, :1] > 0
    return drawn
