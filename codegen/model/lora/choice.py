"""Which weights are whose, with a LoRA adapter and without one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ...commandline.problems import Problem, ProblemsFound
from ..adapter import Adapter
from ..hf import has_classifier
from ..options import GenOptions
from ..spec import ModelSpec
from .changes import Lora
from .reading import brought_labels, read_lora


def choose_head(source: Path, options: GenOptions, folder: Path | None) -> GenOptions:
    """The options with the classifier of the adapter in `folder`, where nothing else is asked for and the base in
    `source` has none of its own."""
    asked = options.head not in ("auto", "classification") or options.label_texts or options.label_words
    if folder is None or asked or has_classifier(source) or not (labels := brought_labels(folder)):
        return options
    return replace(options, head="classification", brought_labels=labels)


def choose_weights(
    spec: ModelSpec, options: GenOptions, folder: Path | None, given: Adapter | None = None
) -> tuple[GenOptions, Lora | None]:
    """The options with `weights` decided, and the LoRA adapter in `folder`, read.

    `auto`: the base is public where there is an adapter, and all is private otherwise. With a public base the layers
    below the adapter, and below the prompt, are frozen. `given`: the adapter of random features. Raises
    `ProblemsFound`.
    """
    if folder is None:
        if options.weights == "base":
            raise _problem("--weights is base, without --lora", "It is the base of an adapter: give --lora DIR.")
        if options.lora_products == "factored":
            raise _problem("--lora-products is factored, without --lora", "They are an adapter's: give --lora DIR.")
        return (replace(options, weights="private") if options.weights == "auto" else options), None
    if given is not None:
        advice = "These were learned without the adapter: give --attention softmax, or convert the merged model."
        raise _problem("--lora is given, the model has random features of its own", advice)
    lora = read_lora(folder, spec)
    lowest = lora.lowest_layer(spec)
    if options.weights in ("private", "public"):
        if options.lora_products == "factored":
            raise _problem(
                f"--lora-products is factored, --weights is {options.weights}",
                "It keeps a public base out of the parties' shares. Accepted: --weights base, the default.",
            )
        if options.frozen_layers > lowest:
            raise _problem(
                f"--frozen-layers is {options.frozen_layers}, the adapter changes layer {lowest}",
                f"The data owner would get the adapter of the layers below. Accepted: 0 to {lowest}.",
            )
        return options, lora
    if options.frozen_layers:
        raise _problem(
            f"--frozen-layers is {options.frozen_layers}, --lora is given",
            f"The base is public, and the lowest {lowest} layers are frozen without it. To keep the base "
            "secret give --weights private.",
        )
    frozen = min(lowest, options.prompt_layer) if options.n_prompt_tokens else lowest
    ranks = () if options.lora_products == "merged" else lora.ranks
    return replace(
        options, weights="base", frozen_layers=frozen, private_tensors=lora.names, private_ranks=ranks
    ), lora  # fmt: skip


def _problem(header: str, detail: str) -> ProblemsFound:
    return ProblemsFound([Problem("error", header, detail)])
