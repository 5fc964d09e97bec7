"""Which weights are whose, with a LoRA adapter and without one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ...commandline.problems import Problem, ProblemsFound
from ..adapter import Adapter
from ..options import GenOptions
from ..spec import ModelSpec
from .changes import Lora
from .reading import read_lora


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
        return (replace(options, weights="private") if options.weights == "auto" else options), None
    if given is not None:
        advice = "These were learned without the adapter: give --attention softmax, or convert the merged model."
        raise _problem("--lora is given, the model has random features of its own", advice)
    lora = read_lora(folder, spec)
    lowest = lora.lowest_layer(spec)
    if options.weights in ("private", "public"):
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
    return replace(options, weights="base", frozen_layers=frozen, private_tensors=lora.names), lora


def _problem(header: str, detail: str) -> ProblemsFound:
    return ProblemsFound([Problem("error", header, detail)])
