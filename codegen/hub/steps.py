"""The steps around a vocabulary as tokenizer.json has them: normalisation and splitting, held to a class's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .recipe import Recipe


def check_steps(
    stored: dict[str, Any] | None, recipe: Recipe, own: dict[str, list[str]], aside: Callable[..., bool] | None = None
) -> None:
    """Releases of transformers disagree on a tokenizer.json with other steps than its class's: 4 takes the file's,
    5 the class's. Raises ValueError for those; `aside`: which steps make no difference."""
    for part, expected in own.items():
        steps = _steps(stored[part] if stored else None)
        if stored and [step["type"] for step in steps if not (aside and aside(step))] != expected:
            raise ValueError(
                f"tokenizer.json has the {part} {' + '.join(step['type'] for step in steps) or 'none'}, "
                f"{recipe.name} ({recipe.source}) has {' + '.join(expected) or 'none'}: "
                "if tokenizer.json is right, set tokenizer_class to PreTrainedTokenizerFast"
            )


def _steps(part: dict[str, Any] | None) -> list[dict[str, Any]]:
    """The steps of a normalizer or pre_tokenizer one by one."""
    if part is None:
        return []
    nested = part.get("normalizers", part.get("pretokenizers"))
    return [part] if nested is None else [step for inner in nested for step in _steps(inner)]


def tidies_spaces(step: dict[str, Any]) -> bool:
    """Whether a step does nothing but what splitting at spaces does anyway."""
    blank = step["type"] == "Replace" and not str(step["content"]).strip(" ▁")
    return blank or step["type"] in ("Strip", "WhitespaceSplit")


def charsmap_of(normalizer: dict[str, Any] | None) -> str:
    """The precompiled normalisation in what tokenizer.json says of it; empty: none."""
    found = (step["precompiledcharsmap_of"] for step in _steps(normalizer) if step["type"] == "Precompiled")
    return str(next(found, ""))
