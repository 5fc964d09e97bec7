"""What a run on one's own data takes where nothing is said: the rules, by the data and how much time one has."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from .examples import Example

PresetName = Literal["demo", "quick", "standard", "thorough"]
CHOSEN = ("sequence_length", "k_shot", "budget", "test_limit")
"""Options that a preset chooses where they are not given."""
HELD = 95
"""Percent of the texts that the length holds whole."""


@dataclass(frozen=True)
class Preset:
    """How much a run may take."""

    shots: int
    """Training examples per class, where there are as many."""
    per_dimension: float
    """Evaluations per coordinate of z. The standard is what docs/accuracy.md measures: twice as many gained little."""
    test: int
    """Most test examples."""
    length: int = 0
    """Tokens of a text; 0: by the rule."""

    def budget(self, dim: int, popsize: int) -> int:
        """Evaluations, in whole generations."""
        return popsize * max(1, round(self.per_dimension * dim / popsize))


DEMO = Preset(4, 2.5, 100, 21)
"""For the examples that ship with the project: less than a minute on two cores."""
PRESETS: dict[PresetName, Preset] = {
    "demo": DEMO,
    "quick": Preset(8, 2.5, 200),
    "standard": Preset(16, 12.5, 1000),
    "thorough": Preset(32, 25.0, 1000),
}


def shots(preset: Preset, train: Sequence[Example], has_dev: bool, has_test: bool) -> int:
    """The preset's, or as many as the smallest class has where train, and the sets without a file, each take as many;
    at least 1."""
    smallest = min(Counter(e.label for e in train).values())
    return max(1, min(preset.shots, smallest // (1 + (not has_dev) + (not has_test))))


def length(counts: Sequence[int], most: int) -> int:
    """The smallest length that holds 95 % of texts of so many tokens, at most the model's and at least 2."""
    return max(2, min(most, int(np.percentile(counts, HELD, method="inverted_cdf"))))


def of_decoder(layers: int, template_rows: int) -> dict[str, Any]:
    """A prompt of a decoder of so many layers: on the last rows of the template's end, of so many, where it has one;
    two fifths up, where less is a candidate's and docs/accuracy.md found more; and steps a third of an encoder's."""
    place = {"prompt_at": "template", "n_prompt_tokens": min(3, template_rows)} if template_rows else {}
    return {**place, "prompt_layer": 2 * layers // 5, "alpha": 1.0}


def described(name: PresetName, chosen: Mapping[str, Any]) -> str:
    """A line on what a preset has chosen; options that were given are not in it."""
    rule = ", which hold 95 % of the texts or all the model takes"
    parts = {
        "sequence_length": "{} tokens" + rule * (not PRESETS[name].length) + " (--sequence-length)",
        "k_shot": "{} shots (--k-shot)",
        "budget": f"{{}} evaluations, {PRESETS[name].per_dimension:g} per dimension (--budget)",
        "test_limit": "up to {} test examples (--test-limit)",
        "prompt_at": "a prompt at the {} (--prompt-at)",
        "n_prompt_tokens": "{} rows of it (--n-prompt-tokens)",
        "prompt_layer": "at layer {} (--prompt-layer)",
        "alpha": "scale {:g} (--alpha)",
    }
    return f"{name}: " + ", ".join(text.format(chosen[key]) for key, text in parts.items() if key in chosen)
