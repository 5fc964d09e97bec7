"""What the user of the generator chooses; names and defaults are those of Black-Box Tuning (Sun et al. 2022)."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal, get_args

from ..commandline.options import ATTENTION, GENERATION, LABELS, MODEL, SEARCH, Option, check, flag
from ..commandline.problems import Report
from ..series.names import ActivationName

AdaptedActivation = Literal["", ActivationName]
RoundsChoice = Literal["default", "few"]
AttentionChoice = Literal["auto", "softmax", "rfa"]
WeightsChoice = Literal["auto", "private", "base", "public"]
LoraProducts = Literal["auto", "merged", "factored"]
FeatureVariant = Literal["folded", "paper", "relu2"]
"""Feature maps φ of attention in linear order."""
PLACEHOLDERS = ("{text}", "{text_b}", "{mask}", "{label}")
"""What stands in a template for a text, for the second of a pair, for the tokenizer's mask, and for a label word that
a decoder is asked for."""
Place = Literal["start", "end", "template"]
"""Of a prompt: ahead of the text, behind it (of an encoder: behind row 0), or in a decoder template's end."""
INITIAL_PROMPT = Option(
    "Prompt of PEFT's prompt tuning that the search begins from, with --prompt-at start.", MODEL, metavar="DIR",
    path=True, default="separators",
)  # fmt: skip
TEMPLATE = Option(
    "How texts become model input, with {text}, {text_b}, {mask}; for a decoder, {label} may end it: where the label "
    "word stands.",
    LABELS, default="the tokenizer's own form",
)  # fmt: skip
LORA = Option(
    "LoRA adapter of PEFT's: the model owner's secret. What it is an adapter of is public (--weights says otherwise).",
    MODEL, metavar="DIR", path=True,
)  # fmt: skip
SHOTS = Option(
    "Most weight that the mean row of a label's shots may have beside the label's text, which has 1, or beside its "
    "word; a run chooses by its losses. 0: texts or words alone. Above 0: not with MP-SPDZ.",
    LABELS, at_least=0, at_most=64,
)  # fmt: skip
LEAST_NOISE = 1e-6
"""Standard deviation, if any; roundings of a loss err by more."""
MOST_NOISE = 64.0
"""Standard deviation: no loss that is clipped is larger."""
LORA_PRODUCTS = Option(
    "How rows meet what --lora changes of a public base: merged with it, as a secret matrix; or factored, the public "
    "matrix and beside it B·A, whose rank is public then: less memory, more rounds. auto: the quicker by the cost "
    "model. Embedded engine only.",
    MODEL,
)  # fmt: skip
HeadChoice = Literal["auto", "classification", "masked_lm", "causal_lm", "tokens", "prototypes"]


@dataclass(frozen=True)
class ProgramOptions:
    """What decides what a program computes, whoever asks for it: the generator, or a tuning run for itself.

    A bundle has settled these options for the runs that use it, except where one says otherwise.
    """

    sequence_length: Annotated[
        int, Option("Tokens per example, special ones included, prompt rows not.", MODEL, at_least=2)
    ] = 32
    n_prompt_tokens: Annotated[
        int, Option("Prompt rows, inserted behind row 0; 0: plain inference.", MODEL, at_least=0)
    ] = 4
    prompt_at: Annotated[
        Place,
        Option(
            "Of a decoder: prompt rows of their own ahead of the text, which then depends on them in all layers; or "
            "behind it, before the template's end; or the last rows of that end, which the prompt is added to. Of an "
            "encoder: start is before the text, as PEFT's prompt tuning has them (--prompt-layer 0); end is behind row "
            "0.",
            MODEL,
        ),
    ] = "end"
    chat: Annotated[
        bool, Option("Of a decoder: put the template into its chat template, as a message of the user's.", MODEL)
    ] = False
    prompt_layer: Annotated[int, Option("Layer whose input gets the prompt; 0: the embeddings.", MODEL, at_least=0)] = 0
    deep: Annotated[
        bool,
        Option("A prompt for every layer from --prompt-layer on, each replacing the one before (BBTv2).", MODEL),
    ] = False
    frozen_layers: Annotated[
        int,
        Option(
            "Lowest layers that are public: the data owner gets them and runs them in the clear.", MODEL, at_least=0
        ),
    ] = 0
    weights: Annotated[
        WeightsChoice,
        Option(
            "public: an open model; the data owner runs all layers below the prompt in the clear. base: all is open "
            "but what --lora changes, and the data owner runs the layers below that. auto: base with --lora, else "
            "private.",
            MODEL,
        ),
    ] = "private"
    lora_products: Annotated[LoraProducts, LORA_PRODUCTS] = "auto"
    intrinsic_dim: Annotated[
        int,
        Option(
            "Length of the vector z that is searched; with --deep, of each prompt's.",
            SEARCH,
            at_least=1,
            at_most=1 << 14,
        ),
    ] = 64
    popsize: Annotated[
        int, Option("Candidates per generation.", SEARCH, at_least=2, at_most=1 << 20, settled=False)
    ] = 20
    loss: Annotated[
        Literal["ce", "hinge"],
        Option("Cross entropy, or the sum over wrong labels of max(0, margin + logit - right logit).", SEARCH),
    ] = "ce"
    prototype_shots: Annotated[float | None, SHOTS] = 0.0
    """None: as the head and the engine have it (`model.compatibility.choose_shots`)."""
    margin: Annotated[float, Option("Margin of the hinge loss.", SEARCH, above=0, at_most=1_000_000)] = 2.0
    reveal: Annotated[
        Literal["losses", "logits"],
        Option("What a step opens to the data owner for every candidate: one number, or all logits.", SEARCH),
    ] = "losses"
    max_evaluations: Annotated[
        int,
        Option(
            "Losses that the parties open in all, one per candidate and set, before they want new weights; 0: any "
            "number (embedded engine only).",
            SEARCH, at_least=0,
        ),
    ] = 0  # fmt: skip
    max_logit_rows: Annotated[
        int,
        Option(
            "Examples' logits that they open in all, one row per candidate and example; 0: any number (embedded engine "
            "only).",
            SEARCH, at_least=0,
        ),
    ] = 0  # fmt: skip
    health: Annotated[
        bool,
        Option(
            "Open, behind each candidate's loss, how many rows came out wrong: values have left the calibrated ranges "
            "(embedded engine only).",
            SEARCH,
        ),
    ] = False
    noise: Annotated[
        float,
        Option(
            "Standard deviation of the noise that each of the three parties adds to every loss before it is opened; of "
            "several data owners, to their sum, in which an example weighs 1/16. 0: none (embedded engine only).",
            SEARCH, at_least=0, at_most=MOST_NOISE,
        ),
    ] = 0.0  # fmt: skip
    clip_loss: Annotated[
        float,
        Option(
            "With --noise: the most that an example's loss counts, which bounds what one example changes.",
            SEARCH, at_least=0.25, at_most=64,
        ),
    ] = 4.0  # fmt: skip
    attention: Annotated[
        AttentionChoice,
        Option(
            "softmax, which the model was trained with; or rfa, random features. auto: rfa where the model has an "
            "adapter or was converted, else softmax.",
            ATTENTION,
        ),
    ] = "rfa"

    @property
    def limited(self) -> bool:
        """Whether the parties are to count what they open, or to add noise to it, which MP-SPDZ's do not."""
        return bool(self.max_evaluations or self.max_logit_rows or self.noise)


@dataclass(frozen=True)
class GenOptions(ProgramOptions):
    """Choices that shape the generated program; all of them are public."""

    min_owners: Annotated[
        int,
        Option(
            "For several data owners: losses are opened of the sum over so many owners' examples at least, the "
            "coordinator's own not counted, and never of one's alone; 2 or more. 0: for one data owner (embedded "
            "engine only).",
            SEARCH, at_least=0, at_most=64,
        ),
    ] = 0  # fmt: skip
    rfa_features: Annotated[
        int,
        Option(
            "Random features (phases) per head; each gives a cosine and a sine.", ATTENTION, at_least=1, at_most=1 << 14
        ),
    ] = 32
    rfa_layer_features: tuple[int, ...] = ()
    """The same for every layer on its own, where an adapter has chosen them; empty: `rfa_features` in all."""
    rfa_variant: Annotated[
        FeatureVariant,
        Option(
            "Cosines and sines of phases straight from hidden rows, or from q and k of unit length (paper: Peng et al. "
            "2021), or squared ReLUs of projections of hidden rows.",
            ATTENTION,
            ("--rfa",),
        ),
    ] = "folded"
    rfa_floor: Annotated[
        float,
        Option(
            "The attention denominator, per feature and row, is never taken below this.",
            ATTENTION,
            above=0,
            at_most=1_000_000,
        ),
    ] = 0.02
    private_tensors: tuple[str, ...] = ()
    """With `weights` base: canonical tensors that a LoRA adapter changes, the only ones that are secret."""
    private_ranks: tuple[int, ...] = ()
    """Ranks of what it adds to them, 0 where it stands in their place; empty: their changes are merged."""
    brought_labels: int = 0
    """Labels of a classifier that a LoRA adapter was trained with, and the base does not have; 0: it brings none."""
    activation: AdaptedActivation = ""
    """The feed-forward network's, where an adapter changed it; empty: the model's own."""
    activation_harmonics: int = 0
    """Harmonics of its fit on the embedded VM; 0: as many as an error of 2e-3 takes."""
    template_rows: int = 0
    """Of a decoder: tokens that the template has behind the text, as the model's tokenizer cuts it."""
    prompt_bits: int = 0
    """Of a decoder: what a prompt adds to a row are 2^this times normalised rows."""
    rounds: Annotated[
        RoundsChoice,
        Option("few sends more bytes in fewer rounds: for few texts, or distant parties. Embedded VM only.", MODEL),
    ] = "default"
    head: Annotated[
        HeadChoice,
        Option("How logits are read off; auto asks the checkpoint's architecture. tokens: to generate text.", LABELS),
    ] = "auto"
    labels: Annotated[
        tuple[str, ...],
        Option(
            "Label names as they stand in the data, separated by commas.", LABELS, separator=",",
            default="the checkpoint's, else label words or texts",
        ),
    ] = ()  # fmt: skip
    label_words: Annotated[
        tuple[str, ...],
        Option(
            "Language models' heads: one word per label, separated by commas. It must be a single token; of a "
            "decoder's label word the first token counts.",
            LABELS, separator=",",
        ),
    ] = ()  # fmt: skip
    label_texts: Annotated[
        tuple[str, ...], Option("Prototype head: one text per label, separated by '|'.", LABELS, separator="|")
    ] = ()
    template: Annotated[str, TEMPLATE] = ""
    temperature: Annotated[
        float,
        Option(
            "Factor on cosines: with prototypes, and of what shots add to label words.",
            LABELS,
            at_least=1e-6,
            at_most=1_000_000,
        ),
    ] = 20.0
    seed: Annotated[
        int, Option("Of everything public and random: features, the projection from z.", SEARCH, at_least=0)
    ] = 1
    max_new_tokens: Annotated[
        int, Option("With --head tokens: tokens that a text is continued by, at most.", GENERATION, at_least=1)
    ] = 64
    step_rows: Annotated[
        int,
        Option(
            "With --head tokens: rows of a step. One continues a text by a token; more check as many drafted ones, but "
            "one.",
            GENERATION, at_least=1, at_most=64,
        ),
    ] = 1  # fmt: skip
    max_prompts: Annotated[
        int,
        Option(
            "With --head tokens: texts that the parties begin to continue in all, before they want new weights; 0: any "
            "number.",
            GENERATION, at_least=0,
        ),
    ] = 0  # fmt: skip
    max_tokens: Annotated[
        int,
        Option(
            "With --head tokens: rows that they open in all behind these texts; a step opens --step-rows. 0: any "
            "number.",
            GENERATION, at_least=0,
        ),
    ] = 0  # fmt: skip

    @property
    def limited(self) -> bool:
        """Whether the parties are to count what they open, or owners, which MP-SPDZ's do not."""
        return super().limited or bool(self.min_owners)

    @property
    def remembered_rows(self) -> int:
        """Rows of steps that there is room for: the last step may begin with the last token."""
        return self.max_new_tokens + self.step_rows - 1

    def __post_init__(self) -> None:
        report = check(self)
        if self.frozen_layers and self.prompt_layer < self.frozen_layers and self.n_prompt_tokens:
            report.error(
                f"--prompt-layer is {self.prompt_layer}, below the {self.frozen_layers} frozen layers",
                f"A prompt enters at layer {self.frozen_layers} or above.",
            )
        if self.weights == "public" and self.frozen_layers:
            report.error(
                f"--frozen-layers is {self.frozen_layers}, --weights is public",
                "Public weights freeze all below the prompt.",
            )
        if self.weights == "public" and not self.n_prompt_tokens:
            report.error(
                "--weights is public, without a prompt",
                "The data owner can run the whole model itself: nothing is left to hide.",
            )
        if self.prototype_shots and not self.n_prompt_tokens:
            report.error(
                f"--prototype-shots is {self.prototype_shots:g}, without a prompt",
                "A program without candidates has nothing that shots' weight could be chosen by.",
            )
        if self.health and not self.n_prompt_tokens and self.head != "tokens":
            report.error("--health is given, without a prompt", "It is opened behind losses, which need candidates.")
        if self.health and self.reveal == "logits":
            report.error("--health is given, --reveal is logits", "It is opened behind losses: give --reveal losses.")
        if self.noise:
            self._check_noise(report)
        if self.min_owners:
            self._check_owners(report)
        if 0 < self.max_tokens < self.step_rows:
            report.error(
                f"--max-tokens is {self.max_tokens}, --step-rows {self.step_rows}", "One step would open more."
            )
        if any(count < 1 for count in self.rfa_layer_features):
            report.error(f"the adapter's features are {self.rfa_layer_features}", "Each must be at least 1.")
        if self.activation not in (accepted := get_args(AdaptedActivation)):
            report.error(f"the adapter's activation is {self.activation!r}", f"Accepted: {', '.join(accepted[1:])}.")
        if self.activation_harmonics < 0:
            report.error(f"the adapter's harmonics are {self.activation_harmonics}", "They must be at least 0.")
        self._check_template(report)
        for name in ("labels", "label_words", "label_texts"):
            given = getattr(self, name)
            if len(given) == 1 or len(set(given)) != len(given):
                report.error(f"{flag(GenOptions, name)} is {', '.join(given)}", "Give at least two, all different.")
        report.check()

    def _check_noise(self, report: Report) -> None:
        """Whatever else is opened of the examples has no noise."""
        header = f"--noise is {self.noise:g}"
        if self.noise < LEAST_NOISE:
            report.error(header, f"It must be at least {LEAST_NOISE:g}: roundings are larger.")
        if self.reveal == "logits":
            report.error(f"{header}, --reveal is logits", "Losses alone get noise: give --reveal losses.")
        if self.health:
            report.error(f"{header}, --health is given", "Numbers of wrong rows get no noise: leave one of them out.")
        if self.prototype_shots:
            report.error(
                f"{header}, --prototype-shots is {self.prototype_shots:g}",
                "A shot takes part in every example's loss, so that no bound on one loss bounds what it changes.",
            )
        if self.head == "tokens":
            report.error(f"{header}, --head is tokens", "A program that generates opens no losses.")
        elif not self.n_prompt_tokens:
            report.error(f"{header}, without a prompt", "A program without candidates opens no losses.")

    def _check_owners(self, report: Report) -> None:
        header = f"--min-owners is {self.min_owners}"
        if self.min_owners == 1:
            report.error(header, "What is opened of one owner's examples is no sum: give 2 or more, or 0.")
        others = {
            "--n-prompt-tokens is 0": not self.n_prompt_tokens, "--head is tokens": self.head == "tokens",
            "--reveal is logits": self.reveal == "logits",
            f"--prototype-shots is {self.prototype_shots:g}": bool(self.prototype_shots),
        }  # fmt: skip
        for other in (text for text, given in others.items() if given):
            report.error(f"{header}, {other}", "Several data owners share one loss, a sum over candidates' losses.")
        if self.noise and not self.max_evaluations:
            report.error(
                f"{header}, --noise is {self.noise:g}, --max-evaluations is 0",
                "Each loss that is opened takes from what noise hides, and owners need not trust the coordinator to "
                "count: give the number that the parties are to hold it to.",
            )

    def _check_template(self, report: Report) -> None:
        placeholders = re.findall(r"\{\w+\}", self.template)
        header = f"--template is {self.template!r}"
        if unknown := sorted(set(placeholders).difference(PLACEHOLDERS)):
            report.error(f"{header}: {', '.join(unknown)} stands for nothing", f"Accepted: {', '.join(PLACEHOLDERS)}.")
        elif self.template and "{text}" not in placeholders:
            report.error(header, "It must hold {text}: every example would be the same.")
        elif placeholders.count("{mask}") > 1:
            report.error(f"{header}: it holds {{mask}} more than once", "One masked word decides on the label.")
        elif "{label}" in self.template.removesuffix("{label}"):
            report.error(f"{header}: {{label}} is not its end", "No label word is told from what stands behind it.")
        elif "{label}" in placeholders and self.chat:
            report.error(f"{header}, --chat is given", "The answer follows the user's message: leave {label} out.")

    def in_the_clear(self, **changed: Any) -> GenOptions:
        """Those of a pass through the model's layers in the clear: without a prompt, losses, limits and secrets."""
        return replace(
            self, n_prompt_tokens=0, max_evaluations=0, max_logit_rows=0, health=False, noise=0.0, min_owners=0,
            weights="private", frozen_layers=0, private_tensors=(), private_ranks=(), prototype_shots=0.0,
            attention="softmax", **changed,
        )  # fmt: skip

    def features_of(self, layer: int) -> int:
        """Random features per head of a layer."""
        return self.rfa_layer_features[layer] if self.rfa_layer_features else self.rfa_features

    @property
    def own_rows(self) -> int:
        """Rows of a decoder's sequence that are a prompt's alone."""
        return 0 if self.prompt_at == "template" else self.n_prompt_tokens

    @property
    def rows_before(self) -> int:
        """Rows of a prompt that stand before the text and move its positions."""
        return self.n_prompt_tokens if self.prompt_at == "start" else 0

    @property
    def clear_layers(self) -> int:
        """Lowest layers that the data owner runs in the clear."""
        return self.prompt_layer if self.weights == "public" else self.frozen_layers
