"""The choices of a tuning run: one dataclass, kept in the run folder as options.json."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from ...codegen.model.options import GenOptions
from ...codegen.mpspdz.options import PROTOCOLS, MpSpdzOptions, Protocol
from ..errors import RunFolderError, SecfwtError
from .loop import SearchOptions

MAY_CHANGE = ("budget", "deployment", "mp_spdz")
"""Options that a resumed run may set anew: neither changes a generation that is already done."""
OF_PROGRAM = (
    "sequence_length", "n_prompt_tokens", "prompt_layer", "intrinsic_dim", "loss", "margin", "reveal", "attention",
    "deep", "frozen_layers", "weights",
)  # fmt: skip
"""Options that a bundle has settled."""


class OptionError(SecfwtError):
    """Options that are out of range or exclude each other."""


@dataclass(frozen=True)
class TuneOptions:
    """Options of `tune.py`; the names are Black-Box Tuning's (Sun et al. 2022) where it has them.

    Paths are empty where the default applies. The defaults tune a six-layer MiniLM in less than a minute on two cores.
    """

    model: str = ""
    adapter: str = ""
    data: str = ""
    dev: str = ""
    test: str = ""
    text_column: str = "text"
    label_column: str = "label"
    k_shot: int = 4
    test_limit: int = 100
    strict: bool = False
    sequence_length: int = 21
    n_prompt_tokens: int = 4
    prompt_layer: int = 5
    deep: bool = False
    frozen_layers: int = 0
    weights: Literal["private", "public"] = "private"
    intrinsic_dim: int = 32
    popsize: int = 8
    budget: int = 80
    sigma: float = 0.5
    alpha: float = 3.0
    bound: float = 0.0
    seed: int = 1
    loss: Literal["ce", "hinge"] = "ce"
    margin: float = 2.0
    reveal: Literal["losses", "logits"] = "losses"
    eval_every: int = 2
    template: str = ""
    label_texts: tuple[str, ...] = ()
    label_words: tuple[str, ...] = ()
    attention: Literal["rfa", "softmax"] = "rfa"
    engine: Literal["embedded", "mp-spdz", "clear"] = "embedded"
    protocol: Protocol = "ring"
    mp_spdz: str = ""
    round_nearest: bool = False
    deployment: str = ""
    bundle: str = ""

    def check(self) -> None:
        """Raise OptionError with everything that is out of range."""
        at_least = {
            "k_shot": 0, "test_limit": 0, "sequence_length": 2, "n_prompt_tokens": 1, "prompt_layer": 0,
            "frozen_layers": 0, "intrinsic_dim": 1, "popsize": 4, "seed": 0, "eval_every": 1, "bound": 0,
        }  # fmt: skip
        found = [
            f"{flag(name)} is {getattr(self, name)}: it must be at least {low}"
            for name, low in at_least.items()
            if not getattr(self, name) >= low
        ]
        found += [
            f"{flag(name)} is {getattr(self, name)}: it must be positive"
            for name in ("sigma", "alpha", "margin")
            if not 0 < getattr(self, name) < float("inf")
        ]
        found += [
            f"{flag(name)} is {getattr(self, name)!r}: accepted are {', '.join(accepted)}"
            for name, accepted in (
                ("loss", ("ce", "hinge")), ("reveal", ("losses", "logits")), ("attention", ("rfa", "softmax")),
                ("weights", ("private", "public")),
                ("engine", ("embedded", "mp-spdz", "clear")), ("protocol", tuple(PROTOCOLS)),
            )
            if getattr(self, name) not in accepted
        ]  # fmt: skip
        if self.seed >= 1 << 32:
            found.append(f"--seed is {self.seed}: it must be below 2^32")
        if self.budget < self.popsize:
            found.append(f"--budget is {self.budget}: it must pay for one generation of --popsize {self.popsize}")
        if self.attention == "softmax" and self.engine != "clear":
            found.append("--attention is softmax: only --engine clear (not private) has it")
        if self.engine != "mp-spdz" and (self.protocol != "ring" or self.mp_spdz or self.round_nearest):
            found.append(f"--protocol, --mp-spdz, --round-nearest are for --engine mp-spdz, it is {self.engine}")
        if bool(self.deployment) != bool(self.bundle):
            found.append("--deployment and --bundle belong together: give both, or neither for three local parties")
        if self.deployment and self.engine == "clear":
            found.append("--deployment is given with --engine clear, which has no parties")
        if self.deployment and self.mp_spdz:
            found.append("--mp-spdz is given with --deployment: MP-SPDZ is where the parties are")
        if self.bundle and (self.model or self.adapter or self.label_texts or self.label_words or self.template):
            found.append("--bundle is given: model, adapter, labels' texts and template are already in it")
        if found:
            raise OptionError("\n".join(found))

    def search(self, dim: int) -> SearchOptions:
        """The part that the tuning loop needs, for a z of that length."""
        return SearchOptions(
            dim=dim, prompts=dim // self.intrinsic_dim, popsize=self.popsize, budget=self.budget, sigma=self.sigma,
            bound=self.bound, eval_every=self.eval_every, seed=self.seed,
        )  # fmt: skip

    def to_json(self) -> dict[str, Any]:
        """As options.json holds them."""
        return asdict(self)


def resumed_options(stored: Mapping[str, Any], given: Mapping[str, Any]) -> TuneOptions:
    """The options of an earlier run, with what `given` (options set on the command line) may change.

    Raises RunFolderError naming every option that differs and may not.
    """
    try:
        values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in stored.items()}
        options = TuneOptions(**values)
    except TypeError as error:
        raise RunFolderError(f"options.json is of another version: {error}") from None
    differing = [k for k, v in given.items() if v != getattr(options, k) and k not in MAY_CHANGE]
    if differing:
        said = "; ".join(f"{flag(k)} is {given[k]}, the run began with {getattr(options, k)}" for k in differing)
        raise RunFolderError(f"cannot resume with other options: {said}")
    return TuneOptions(**{**options.__dict__, **{k: v for k, v in given.items() if k in MAY_CHANGE}})


def bundle_options(given: Mapping[str, Any], program: GenOptions, mp_spdz: MpSpdzOptions | None = None) -> TuneOptions:
    """Options of a run on a bundle: what its program has settled, and `given` for the rest.

    `mp_spdz`: those of its MP-SPDZ program, where that is what runs. Raises OptionError naming every option that the
    program contradicts.
    """
    settled = {name: getattr(program, name) for name in OF_PROGRAM}
    if mp_spdz:
        settled |= {"protocol": mp_spdz.protocol, "round_nearest": mp_spdz.round_nearest}
    wrong = [
        f"{flag(k)} is {given[k]}: the bundle was generated with {v}"
        for k, v in settled.items()
        if k in given and given[k] != v
    ]
    if wrong:
        raise OptionError("\n".join(wrong))
    return TuneOptions(**{**given, **settled})


def flag(name: str) -> str:
    """The command line's spelling of an option."""
    return "--" + name.replace("_", "-")
