"""How many random features each layer needs: by a short training at several counts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch

from .corpus import Corpus
from .features import Recipe
from .fidelity import relative_error
from .forward import attend, encode
from .student import Architecture, Parameters, linear
from .training import Training

COUNTS = (16, 24, 32, 48, 64)
PROBE_STEPS = 200


def chosen_counts(
    training: Corpus, unseen: Corpus, shape: Architecture, recipe: Recipe, target: float, note: Callable[[str], None]
) -> tuple[int, ...]:
    """For each layer the fewest of `COUNTS` features whose error on unseen text is at most `target`, else the most.

    The error is that of the attention's output on the original's input, after `PROBE_STEPS` steps of stage 1, without
    a unit; `note` is told every one of them.
    """
    recipe = replace(recipe, layer_steps=min(PROBE_STEPS, recipe.layer_steps))
    chosen: dict[int, int] = {}
    for count in reversed(COUNTS):
        tried = replace(shape, features=(count,) * shape.layers)
        state = Training(training, tried, recipe, lambda _: {}, lambda _: None).run(stages=1)
        errors = layer_errors(unseen, {**training.teacher, **state.parameters}, tried)
        note(f"{count} features: error {', '.join(f'{error:.2f}' for error in errors)}")
        chosen |= {layer: count for layer, error in enumerate(errors) if error <= target}
    if missed := [str(layer) for layer in range(shape.layers) if layer not in chosen]:
        note(f"layers {', '.join(missed)}: no count reaches --feature-error {target:g}, {COUNTS[-1]} are taken")
    return tuple(chosen.get(layer, COUNTS[-1]) for layer in range(shape.layers))


@torch.no_grad()
def layer_errors(corpus: Corpus, weights: Parameters, shape: Architecture) -> list[float]:
    """Relative error of every layer's attention output on the original's input."""
    errors = []
    for x, rows in corpus.all():
        traces = encode(x, rows, corpus.teacher, shape, adapted=False)[0]
        contexts = [attend(t.sites["hidden"], rows, weights, i, shape)[0] for i, t in enumerate(traces)]
        outputs = [linear(context, weights, f"layers.{i}.o") for i, context in enumerate(contexts)]
        errors.append([relative_error(y, t.attention) for y, t in zip(outputs, traces, strict=True)])
    return [float(error) for error in np.mean(errors, 0)]
