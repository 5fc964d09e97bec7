"""What the user of the generator chooses; names and defaults are those of Black-Box Tuning (Sun et al. 2022)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ..commandline.problems import Report

HeadChoice = Literal["auto", "classification", "masked_lm", "prototypes"]


@dataclass(frozen=True)
class GenOptions:
    """Choices that shape the generated program; all of them are public."""

    sequence_length: int = 32
    """Tokens of one example, special tokens included, prompt tokens not."""
    n_prompt_tokens: int = 4
    """Prompt rows inserted behind row 0; 0 generates plain inference."""
    prompt_layer: int = 0
    """Encoder layer whose input gets the prompt; 0 is the embedding output."""
    frozen_layers: int = 0
    """Lowest layers that are public: the data owner runs them in the clear, with softmax attention, and shares what
    comes out (MARILL's layer freezing). Their weights go to the data owner."""
    weights: Literal["private", "public"] = "private"
    """Public: an open model. Every layer below the prompt is frozen; the data stays private."""
    deep: bool = False
    """A prompt for every layer from `prompt_layer` on, each replacing the one before (Black-Box Tuning v2)."""
    intrinsic_dim: int = 64
    """Length of the vector z that the optimiser searches; with `deep`, of each prompt's."""
    popsize: int = 20
    """Candidates a generation."""
    loss: Literal["ce", "hinge"] = "ce"
    """Cross entropy, or the sum over wrong labels of max(0, margin + logit − logit of the right label)."""
    margin: float = 2.0
    """Margin of the hinge loss."""
    reveal: Literal["losses", "logits"] = "losses"
    """What a step opens to the data owner for every candidate."""
    attention: Literal["rfa", "softmax"] = "rfa"
    """Random-feature attention; softmax exists in the float oracle only."""
    rfa_features: int = 32
    """Random features (phases) a head; each gives a cosine and a sine."""
    rfa_layer_features: tuple[int, ...] = ()
    """The same for every layer on its own, where an adapter has chosen them; empty: `rfa_features` in all."""
    rfa_variant: Literal["folded", "paper"] = "folded"
    """Phases straight from hidden rows, or from q and k scaled to unit length (Peng et al. 2021)."""
    rfa_floor: float = 0.02
    """The attention denominator, divided by features and rows, is never taken below this."""
    activation: Literal["", "gelu", "relu"] = ""
    """The feed-forward network's, where an adapter changed it; empty: the model's own."""
    activation_harmonics: int = 0
    """Harmonics of its fit on the embedded VM; 0: as many as an error of 2e-3 takes."""
    head: HeadChoice = "auto"
    """How logits are read off; auto asks the checkpoint's architecture."""
    labels: tuple[str, ...] = ()
    """Label names as they stand in the data; default: the checkpoint's, else the label words or texts themselves."""
    label_words: tuple[str, ...] = ()
    """Masked-LM head: one single-token word a label."""
    label_texts: tuple[str, ...] = ()
    """Prototype head: one text a label."""
    template: str = ""
    """How texts become model input; `{text}`, `{text_b}`, `{mask}`. Empty: the tokenizer's own single or pair form."""
    temperature: float = 20.0
    """Prototype head: factor on the cosine."""
    seed: int = 1
    """Of everything public and random: features, the projection from z."""

    def __post_init__(self) -> None:
        report = Report()
        for name, low in (
            ("sequence_length", 2), ("n_prompt_tokens", 0), ("prompt_layer", 0), ("frozen_layers", 0),
            ("intrinsic_dim", 1), ("popsize", 2), ("rfa_features", 1), ("activation_harmonics", 0), ("seed", 0),
        ):  # fmt: skip
            if getattr(self, name) < low:
                report.error(f"{_flag(name)} is {getattr(self, name)}", f"It must be at least {low}.")
        if self.frozen_layers and self.prompt_layer < self.frozen_layers and self.n_prompt_tokens:
            report.error(
                f"--prompt-layer is {self.prompt_layer}, below the {self.frozen_layers} frozen layers",
                f"A prompt enters at layer {self.frozen_layers} or above.",
            )
        for name, accepted in (
            ("loss", ("ce", "hinge")), ("reveal", ("losses", "logits")), ("attention", ("rfa", "softmax")),
            ("rfa_variant", ("folded", "paper")), ("activation", ("", "gelu", "relu")),
            ("weights", ("private", "public")), ("head", ("auto", "classification", "masked_lm", "prototypes")),
        ):  # fmt: skip
            if getattr(self, name) not in accepted:
                report.error(f"{_flag(name)} is {getattr(self, name)!r}", f"Accepted: {', '.join(accepted)}.")
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
        if any(count < 1 for count in self.rfa_layer_features):
            report.error(f"--rfa-layer-features is {self.rfa_layer_features}", "Each must be at least 1.")
        for name in ("margin", "rfa_floor", "temperature"):
            if not getattr(self, name) > 0:
                report.error(f"{_flag(name)} is {getattr(self, name)}", "It must be positive.")
        for name in ("labels", "label_words", "label_texts"):
            given = getattr(self, name)
            if len(given) == 1 or len(set(given)) != len(given):
                report.error(f"{_flag(name)} is {', '.join(given)}", "Give at least two, all different.")
        report.check()

    def features_of(self, layer: int) -> int:
        """Random features a head of a layer."""
        return self.rfa_layer_features[layer] if self.rfa_layer_features else self.rfa_features

    @property
    def clear_layers(self) -> int:
        """Lowest layers that the data owner runs in the clear."""
        return self.prompt_layer if self.weights == "public" else self.frozen_layers


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")
