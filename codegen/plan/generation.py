"""A decoder's plan for generation: a text's rows once, then rows of the tokens behind it, some in each step.

The text (with its prompt and the template's end) is an example. Its keys and values in all layers stay from step to
step, and its last row is the output `first`. A step takes n rows, attends to all before them, and is remembered
(`recall`); their rows are the output `next`. What is opened says which token comes next: rows γ∘x̂ + β where the output
layer is the table of embeddings, which the data owner has, and logits of all tokens else.
"""

from __future__ import annotations

from ..model.options import GenOptions
from ..model.spec import ModelSpec
from .decoder import Decoder, final_norm
from .graph import Output, Plan, Stage, Visibility
from .inputs import affine


def add_generation(plan: Plan, spec: ModelSpec, options: GenOptions) -> None:
    """Put the program of `--head tokens` into an empty plan.

    Inputs: `x` [R, h] the text's rows, `mask` [R] and, with a prompt, `z` an example; `rows` [n, h] a candidate.
    """
    decoder = Decoder(plan, spec, options, prompt=True)
    parts, last = decoder.parts, spec.num_hidden_layers - 1
    rows = plan.add(
        "candidate", shape=(options.step_rows, spec.hidden_size), stage=Stage.CANDIDATE, visibility=Visibility.DATA,
        name="rows",
    )  # fmt: skip
    for layer in range(options.clear_layers, spec.num_hidden_layers):
        parts = decoder.prompted(layer, parts)
        shape = (options.remembered_rows, spec.hidden_size)
        recalled = plan.add("recall", (rows,), shape=shape, stage=Stage.PAIR, name=f"layers.{layer}")
        rows = decoder.rows_behind(layer, rows, (*parts, recalled))
        parts = decoder.last_row(layer, parts) if layer == last else decoder.layer(layer, parts)
    first = plan.add("first_row", parts, shape=(spec.hidden_size,))
    plan.outputs += [
        Output("first", _opened(plan, spec, first), None, options.max_prompts or None),
        Output("next", _opened(plan, spec, rows), 1, options.max_tokens // options.step_rows or None),
    ]


def add_rows_behind(plan: Plan, spec: ModelSpec, options: GenOptions, layers: int) -> None:
    """Put a program into an empty plan that takes steps behind a text as `add_generation` does, without a prompt, and
    whose output `rows` is theirs as they enter layer `layers`."""
    decoder = Decoder(plan, spec, options, prompt=False)
    parts, shape = decoder.parts, (1, spec.hidden_size)
    rows = plan.add("candidate", shape=shape, stage=Stage.CANDIDATE, visibility=Visibility.DATA, name="rows")
    for layer in range(layers):
        recalled = plan.add("recall", (rows,), shape=shape, stage=Stage.PAIR, name=f"layers.{layer}")
        rows = decoder.rows_behind(layer, rows, (*parts, recalled))
        parts = decoder.layer(layer, parts)
    plan.outputs.append(Output("rows", rows))


def _opened(plan: Plan, spec: ModelSpec, rows: int) -> int:
    """What the data owner gets of rows behind the last layer."""
    x = final_norm(plan, spec, rows)
    if spec.tied:
        weights = {part: f"final_norm.{part}" for part in ("gamma", "beta")}
        return plan.add("opened_row", (x,), shape=plan[x].shape, weights=weights)
    return plan.add(
        "dense", (affine(plan, x, "final_norm"),), shape=(*plan[x].shape[:-1], spec.vocab_size),
        weights={part: f"head.out.{part}" for part in ("weight", "bias")}, act="none",
    )  # fmt: skip
