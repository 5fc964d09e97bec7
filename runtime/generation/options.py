"""The choices of a generation."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from ...codegen.commandline.options import DATA, ENGINE, GENERATION, MODEL, RUN, Option, check
from ...codegen.model.options import LORA, LORA_PRODUCTS, LoraProducts, WeightsChoice
from ..split.options import Encryption


@dataclass(frozen=True)
class GenerateOptions:
    """Options of `secfwt-generate`."""

    run: Annotated[
        Path | None, Option("Folder of a finished run of a decoder: continue under its prompt.", RUN, metavar="DIR")
    ] = None
    model: Annotated[
        str, Option("Model directory or GGUF file.", MODEL, metavar="DIR", path=True, default="the run's")
    ] = ""
    lora: Annotated[str, LORA] = ""
    bundle: Annotated[
        str, Option("Bundle of secfwt-gen --head tokens, with --deployment.", MODEL, metavar="DIR", path=True)
    ] = ""
    prompt: Annotated[
        str, Option("The text to continue.", DATA, metavar="TEXT", default="standard input, all of it")
    ] = ""
    template: Annotated[
        str, Option("How the text becomes input, with {text}.", DATA, default="the run's; without one, as it is")
    ] = ""
    chat: Annotated[bool, Option("Ask as a message of the user's, in the model's chat template.", DATA)] = False
    sequence_length: Annotated[
        int,
        Option(
            "Tokens that the program has room for in the text: the parties see these, not the text's own.", MODEL,
            at_least=0, default="as many as the text has, rounded up to a multiple of 8",
        ),
    ] = 0  # fmt: skip
    frozen_layers: Annotated[
        int, Option("Lowest layers that are public: the data owner runs them in the clear.", MODEL, at_least=0)
    ] = 0
    weights: Annotated[
        WeightsChoice,
        Option("What is public: nothing; base, all but what --lora changes. auto: base with --lora.", MODEL),
    ] = "auto"
    lora_products: Annotated[LoraProducts, LORA_PRODUCTS] = "auto"
    max_new_tokens: Annotated[
        int,
        Option(
            "Tokens at most, that which ends the text included.", GENERATION, at_least=0,
            default="64; of a bundle what it was generated for",
        ),
    ] = 0  # fmt: skip
    temperature: Annotated[
        float, Option("What logits are divided by; 0: always the likeliest token.", GENERATION, at_least=0)
    ] = 0.0
    top_k: Annotated[int, Option("Draw among so many likeliest tokens; 0: among all.", GENERATION, at_least=0)] = 0
    top_p: Annotated[
        float, Option("Draw among the likeliest that have this probability together.", GENERATION, above=0, at_most=1)
    ] = 1.0
    seed: Annotated[
        int, Option("Of what is drawn.", GENERATION, at_least=-1, default="the operating system's choice")
    ] = -1
    stop: Annotated[tuple[str, ...], Option("End before this text; repeat for more.", GENERATION, metavar="TEXT")] = ()
    draft: Annotated[
        str,
        Option(
            "Public model of the same vocabulary, directory or GGUF file, that drafts in the clear what the parties "
            "check.",
            GENERATION, metavar="DIR", path=True,
        ),
    ] = ""  # fmt: skip
    draft_tokens: Annotated[
        int, Option("Tokens that are drafted for each step.", GENERATION, at_least=1, at_most=63)
    ] = 4
    engine: Annotated[
        Literal["embedded", "split", "clear"],
        Option(
            "Who computes. split: no parties; the base runs here, what --lora adds is asked of its owner's server, and "
            "NOTHING keeps an asker from solving for it. clear: no privacy, for tests.",
            ENGINE,
        ),
    ] = "embedded"
    he: Encryption = "ahead"
    deployment: Annotated[
        str, Option("TOML file of parties that run elsewhere.", ENGINE, metavar="FILE", path=True)
    ] = ""

    def __post_init__(self) -> None:
        report = check(self)
        if not (self.run or self.model or self.bundle):
            report.error("no model is given", "Give --run DIR, --model DIR, or --bundle DIR with --deployment FILE.")
        if self.engine == "split":
            if self.run or self.bundle or not self.model:
                report.error(
                    "--engine split without --model", "The base runs here: give --model, and no run or bundle."
                )
            if bool(self.deployment) == bool(self.lora):
                report.error(
                    "--engine split needs --lora or --deployment, and not both",
                    "The adapter is here, for a trial, or at the server that --deployment names.",
                )
        elif self.he != "ahead":
            report.error(f"--he is {self.he}", f"It is for --engine split; the engine is {self.engine}.")
        if self.bundle and not self.deployment:
            report.error("--bundle is given without --deployment", "Its weights are at parties that run elsewhere.")
        if self.deployment and not self.bundle and self.engine != "split":
            report.error("--deployment is given without --bundle", "Give the bundle whose program these parties run.")
        if self.bundle and self.model:
            report.error("--model and --bundle are given", "Choose one.")
        for name in ("lora", "template", "chat", "sequence_length", "frozen_layers"):
            if self.bundle and getattr(self, name):
                report.error(f"--{name.replace('_', '-')} is given with --bundle", "Its program has settled that.")
        for name in ("lora", "template", "chat", "frozen_layers"):
            if self.run and getattr(self, name):
                report.error(f"--{name.replace('_', '-')} is given with --run", "The run has settled that.")
        for name in ("weights", "lora_products"):
            if (self.bundle or self.run) and (value := getattr(self, name)) != "auto":
                report.error(f"--{name.replace('_', '-')} is {value}", "The bundle, or the run, has settled that.")
        if self.engine != "embedded" and self.lora_products == "factored":
            report.error("--lora-products is factored", f"It is for --engine embedded; the engine is {self.engine}.")
        if self.template and "{text}" not in self.template:
            report.error(f"--template is {self.template!r}", "It must hold {text}.")
        if "" in self.stop:
            report.error("--stop is empty", "Every text begins with it.")
        report.check()
