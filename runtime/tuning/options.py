"""The choices of a tuning run: one dataclass, kept in the run folder as options.json."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Annotated, Any, Literal

from ...codegen.commandline.options import (
    DATA,
    ENGINE,
    LABELS,
    MODEL,
    SEARCH,
    Option,
    check,
    flag,
    options_of,
    read_back,
)  # fmt: skip
from ...codegen.commandline.problems import Problem, ProblemsFound
from ...codegen.model.options import (
    INITIAL_PROMPT,
    LORA,
    SHOTS,
    TEMPLATE,
    AttentionChoice,
    GenOptions,
    ProgramOptions,
    WeightsChoice,
)
from ...codegen.mpspdz.options import MpSpdzOptions, RoundNearest
from ...codegen.mpspdz.protocols import ProtocolName
from ..data.presets import DEMO
from ..errors import RunFolderError
from ..split.options import Encryption

MpSpdzFolder = Annotated[
    str,
    Option(
        "Folder of MP-SPDZ.", ENGINE, metavar="DIR", path=True, resumable=True,
        default="$MP_SPDZ_HOME, else ~/MP-SPDZ, else /opt/MP-SPDZ",
    ),
]  # fmt: skip
Deployments = Annotated[
    tuple[str, ...],
    Option(
        "TOML file of parties that run elsewhere. Repeat it for more groups of parties, which share the work.", ENGINE,
        metavar="FILE", path=True, resumable=True, default="three local parties",
    ),
]  # fmt: skip
PER_LABEL = "label=text"
OWNER = Option(
    "Where the deployment names several data owners: which one this is.", ENGINE, metavar="NAME", resumable=True,
    default="the one whose key is here",
)  # fmt: skip
DELTA = Option("With --noise: δ of the (ε, δ) that the run tells.", SEARCH, above=0, at_most=0.1, resumable=True)


@dataclass(frozen=True)
class SearchOptions:
    """The search's own options; names and meaning as in Black-Box Tuning."""

    dim: int
    """Length of z: the intrinsic dimension, times the number of prompts."""
    prompts: int
    """Prompts that z holds; more than one: they are searched in turn."""
    popsize: int
    budget: int
    """Evaluations in all: candidates whose loss on the training set is opened."""
    sigma: float
    bound: float
    """Largest magnitude of a coordinate of z; 0: none."""
    eval_every: int
    """Generations between evaluations on dev."""
    seed: int
    keep_beyond: float = 0.0
    """Standard errors by which the kept prompt's dev loss is lower than none's; 0: lower is enough."""

    @property
    def generations(self) -> int:
        """Whole generations the budget pays for."""
        return self.budget // self.popsize

    def evaluates_dev(self, generation: int) -> bool:
        """Whether a generation, counted from 1, is followed by an evaluation on dev."""
        return generation % self.eval_every == 0 or generation == self.generations


@dataclass(frozen=True)
class DataOptions:
    """A data owner's files, and what is drawn from them."""

    data: Annotated[
        str,
        Option(
            "Training file: .jsonl, .csv or .tsv.", DATA, metavar="FILE", path=True,
            default="the topics in examples/",
        ),
    ] = ""  # fmt: skip
    dev: Annotated[
        str, Option("Dev file, used whole.", DATA, metavar="FILE", path=True, default="drawn from --data")
    ] = ""
    test: Annotated[str, Option("Test file.", DATA, metavar="FILE", path=True, default="what remains of --data")] = ""
    text_column: Annotated[str, Option("Column with the text.", DATA)] = "text"
    label_column: Annotated[str, Option("Column with the class.", DATA)] = "label"
    k_shot: Annotated[
        int, Option("Training examples per class (and dev, where it is drawn); 0: all.", DATA, at_least=0)
    ] = DEMO.shots
    test_limit: Annotated[int, Option("Most test examples to measure; 0: all.", DATA, at_least=0)] = DEMO.test
    strict: Annotated[bool, Option("Refuse texts that are too long instead of cutting them.", DATA)] = False
    seed: Annotated[int, Option("Seed of sets, projection and search.", SEARCH, at_least=0, below=1 << 32)] = 1


@dataclass(frozen=True)
class TuneOptions(DataOptions, ProgramOptions):
    """Options of `tune.py`; the names are Black-Box Tuning's (Sun et al. 2022) where it has them.

    Paths are empty where the default applies. The defaults are those of the preset `demo`.
    """

    sequence_length: int = DEMO.length
    prompt_layer: int = 5
    intrinsic_dim: int = 32
    popsize: int = 8
    attention: AttentionChoice = "auto"
    weights: WeightsChoice = "auto"
    prototype_shots: Annotated[
        float | None, replace(SHOTS, default="4 for label texts, but 0 with MP-SPDZ, --noise or --prompt-at start")
    ] = None
    model: Annotated[
        str,
        Option(
            "Model directory: config.json, weights, tokenizer; or a GGUF file.", MODEL, metavar="DIR", path=True,
            default="MiniLM, with the adapter in examples/",
        ),
    ] = ""  # fmt: skip
    adapter: Annotated[
        str, Option("Attention adapter of the model (see secfwt-convert).", MODEL, metavar="DIR", path=True)
    ] = ""
    lora: Annotated[str, LORA] = ""
    initial_prompt: Annotated[str, INITIAL_PROMPT] = ""
    budget: Annotated[int, Option("Evaluations in all.", SEARCH, resumable=True)] = DEMO.budget(32, 8)
    sigma: Annotated[float, Option("First step size.", SEARCH, above=0, at_most=1_000_000)] = 0.5
    alpha: Annotated[
        float, Option("Prompt scale: p = p0 + alpha A z; 1 for decoders.", SEARCH, above=0, at_most=1_000_000)
    ] = 3.0
    bound: Annotated[
        float, Option("Largest magnitude of a coordinate of z; 0: none.", SEARCH, at_least=0, at_most=1_000_000)
    ] = 0.0
    canaries: Annotated[
        int,
        Option(
            "One canary for so many candidates of a step, at least one: a candidate whose loss is known, to notice "
            "wrong results (embedded engine); 0: none.",
            SEARCH, at_least=0, resumable=True,
        ),
    ] = 16  # fmt: skip
    delta: Annotated[float, DELTA] = 1e-5
    eval_every: Annotated[int, Option("Generations between dev evaluations.", SEARCH, at_least=1)] = 2
    keep_beyond: Annotated[
        float,
        Option(
            "Keep no prompt unless its dev loss is lower than without one by so many standard errors of the "
            "difference; dev's logits under both are opened for that. 0: lower is enough.",
            SEARCH, at_least=0, at_most=100,
        ),
    ] = 0.0  # fmt: skip
    template: Annotated[str, TEMPLATE] = ""
    label_texts: Annotated[
        tuple[str, ...],
        Option(
            "What describes a label; repeat for each.", LABELS, ("--label-text",), metavar=PER_LABEL,
            default="the label itself",
        ),
    ] = ()  # fmt: skip
    label_words: Annotated[
        tuple[str, ...],
        Option(
            "Word of a label for a language model's head; repeat for each.",
            LABELS,
            metavar="label=word",
            default="of a decoder: the label itself",
        ),
    ] = ()
    engine: Annotated[
        Literal["embedded", "mp-spdz", "split", "clear"],
        Option(
            "Who computes. split: no parties; the base is public and runs here, what --lora adds is asked of its "
            "owner's server, and NOTHING keeps an asker from solving for it. clear is NOT PRIVATE, for experiments.",
            ENGINE,
        ),
    ] = "embedded"
    he: Encryption = "ahead"
    protocol: Annotated[ProtocolName, Option("Protocol of MP-SPDZ.", ENGINE)] = "ring"
    mp_spdz: MpSpdzFolder = ""
    round_nearest: RoundNearest = False
    deployment: Deployments = ()
    bundle: Annotated[
        str,
        Option(
            "Bundle of the program that those parties run: its public and data_owner folders.", ENGINE,
            metavar="DIR", path=True,
        ),
    ] = ""  # fmt: skip
    owner: Annotated[str, OWNER] = ""
    owners: Annotated[
        tuple[str, ...],
        Option(
            "Where the deployment names several data owners: those whose examples the search is on, separated by "
            "commas.",
            ENGINE, separator=",", default="all of them",
        ),
    ] = ()  # fmt: skip

    def __post_init__(self) -> None:
        report = check(self)
        if self.n_prompt_tokens < 1:
            report.error(f"--n-prompt-tokens is {self.n_prompt_tokens}", "It must be at least 1.")
        if 2 <= self.popsize < 4:
            report.error(f"--popsize is {self.popsize}", "CMA-ES needs at least 4.")
        if self.budget < self.popsize:
            report.error(f"--budget is {self.budget}", f"It must pay for one generation of --popsize {self.popsize}.")
        if self.health and self.engine == "mp-spdz":
            report.error("--health is given", "It is for --engine embedded; MP-SPDZ's programs do not open it.")
        if self.prototype_shots and self.engine == "mp-spdz":
            report.error(
                f"--prototype-shots is {self.prototype_shots:g}, --engine mp-spdz",
                "MP-SPDZ's programs keep nothing from step to step: give --engine embedded, or 0.",
            )
        if self.noise and self.engine != "embedded":
            report.error(
                f"--noise is {self.noise:g}, --engine {self.engine}",
                "Parties of the embedded engine add it, and nobody else: give --engine embedded, or 0.",
            )
        if self.noise and self.keep_beyond:
            report.error(
                f"--keep-beyond is {self.keep_beyond:g}, --noise {self.noise:g}",
                "It opens logits of dev, which have no noise: leave one of them out.",
            )
        for limit in ("max_evaluations", "max_logit_rows"):
            if self.engine != "embedded" and (value := getattr(self, limit)):
                report.error(
                    f"{flag(TuneOptions, limit)} is {value}",
                    f"It is for --engine embedded; nobody counts with --engine {self.engine}.",
                )
        if self.engine != "embedded" and self.lora_products == "factored":
            report.error(
                "--lora-products is factored",
                f"It is for --engine embedded; --engine {self.engine} has no such products.",
            )
        if self.engine != "mp-spdz":
            for name, given in (
                ("--protocol", self.protocol != "ring"), ("--mp-spdz", self.mp_spdz),
                ("--round-nearest", self.round_nearest),
            ):  # fmt: skip
                if given:
                    report.error(f"{name} is given", f"It is for --engine mp-spdz; the engine is {self.engine}.")
        if self.engine == "split":
            if bool(self.deployment) == bool(self.lora):
                report.error(
                    "--engine split needs --lora or --deployment, and not both",
                    "The adapter is here, for a trial, or at the server that --deployment names.",
                )
            for name in ("bundle", "health", "adapter"):
                if getattr(self, name):
                    report.error(f"--{name} is given", "With --engine split the base runs here, from --model.")
            if self.weights not in ("auto", "base") or self.frozen_layers:
                report.error("--weights or --frozen-layers is given", "With --engine split the base is public.")
        elif self.he != "ahead":
            report.error(f"--he is {self.he}", f"It is for --engine split; the engine is {self.engine}.")
        if self.engine != "split" and bool(self.deployment) != bool(self.bundle):
            given, missing = ("--deployment", "--bundle") if self.deployment else ("--bundle", "--deployment")
            report.error(
                f"{given} is given without {missing}",
                "They belong together: give both, or neither for three local parties.",
            )
        if len(self.deployment) > 1 and self.engine == "split":
            report.error(f"--deployment is given {len(self.deployment)} times", "An adapter has one server.")
        if twice := sorted({path for path in self.deployment if self.deployment.count(path) > 1}):
            report.error(f"--deployment is {twice[0]} twice", "A group does its part once.")
        if self.deployment and self.engine == "clear":
            report.error("--deployment is given", "--engine clear has no parties.")
        for name in ("owner", "owners"):
            if getattr(self, name) and not self.deployment:
                report.error(f"--{name} is given without --deployment", "Its file names several data owners.")
        if self.deployment and self.mp_spdz:
            report.error("--mp-spdz is given with --deployment", "MP-SPDZ is where the parties are.")
        if self.bundle:
            for name in ("model", "adapter", "lora", "initial_prompt", "label_texts", "label_words", "template"):
                if getattr(self, name):
                    report.error(f"{flag(TuneOptions, name)} is given with --bundle", "It is in the bundle already.")
        report.check()

    def search(self, dim: int) -> SearchOptions:
        """The part that the tuning loop needs, for a z of that length."""
        return SearchOptions(
            dim=dim, prompts=dim // self.intrinsic_dim, popsize=self.popsize, budget=self.budget, sigma=self.sigma,
            bound=self.bound, eval_every=self.eval_every, seed=self.seed, keep_beyond=self.keep_beyond,
        )  # fmt: skip

    def program(self, **others: Any) -> GenOptions:
        """Options of the run's program: what both have, and `others` of the generator's."""
        shared = {field.name: getattr(self, field.name) for field in fields(ProgramOptions)}
        return GenOptions(**shared, template=self.template, seed=self.seed, **others)

    def to_json(self) -> dict[str, Any]:
        """As options.json holds them."""
        return asdict(self)


def resumed_options(stored: Mapping[str, Any], given: Mapping[str, Any]) -> TuneOptions:
    """The options of an earlier run, with what `given` (options set on the command line) may change.

    Raises RunFolderError naming every option that differs and may not.
    """
    try:
        options = read_back(TuneOptions, stored)
    except TypeError as error:
        raise RunFolderError(f"options.json is of another version: {error}") from None
    may_change = {each.name for each in options_of(TuneOptions) if each.option.resumable}
    differing = [k for k, v in given.items() if v != getattr(options, k) and k not in may_change]
    if differing:
        said = "; ".join(
            f"{flag(TuneOptions, k)} is {given[k]}, the run began with {getattr(options, k)}" for k in differing
        )
        raise RunFolderError(f"cannot resume with other options: {said}")
    return TuneOptions(**{**options.__dict__, **{k: v for k, v in given.items() if k in may_change}})


def bundle_options(given: Mapping[str, Any], program: GenOptions, mp_spdz: MpSpdzOptions | None = None) -> TuneOptions:
    """Options of a run on a bundle: what its program has settled, and `given` for the rest.

    `mp_spdz`: those of its MP-SPDZ program, where that is what runs. Raises ProblemsFound naming every option that the
    program contradicts.
    """
    settled = {each.name: getattr(program, each.name) for each in options_of(ProgramOptions) if each.option.settled}
    if mp_spdz:
        settled |= {"protocol": mp_spdz.protocol, "round_nearest": mp_spdz.round_nearest}
    wrong = [
        Problem("error", f"{flag(TuneOptions, k)} is {given[k]}", f"The bundle was generated with {v}.")
        for k, v in settled.items()
        if k in given and given[k] not in (v, "auto")
    ]
    if wrong:
        raise ProblemsFound(wrong)
    return TuneOptions(**{**given, **settled})
