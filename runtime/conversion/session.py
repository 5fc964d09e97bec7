"""One conversion from texts to files: read, train, calibrate, measure, write; resumable from its run folder."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...codegen.model.adapter import is_converted, merge_changes, stored_sites
from ...codegen.model.checkpoint import load_checkpoint, stored_names
from ...codegen.model.hf import read_model
from ...codegen.model.options import GenOptions
from ...codegen.model.spec import ModelSpec
from ...codegen.model.weights import Weights
from ...codegen.owners.check import check_embedder, fitting_tokenizer
from ...codegen.owners.embed import Embedder, Settings, embedding_tables
from ...codegen.owners.first_token import first_token
from ...codegen.owners.prepare import PROBES
from ...codegen.owners.sequences import bare_ids
from ...codegen.series.ranges import Ranges
from ..adaptation.corpus import Corpus, DecoderCorpus
from ..adaptation.feature_counts import chosen_counts
from ..adaptation.features import Recipe, initial_features
from ..adaptation.fidelity import calibrated, fidelity, outside
from ..adaptation.fitted import fitted_forms
from ..adaptation.merging import check_merging
from ..adaptation.options import ConversionError, ConvertOptions
from ..adaptation.student import Architecture, Parameters
from ..adaptation.training import Progress, Training, TrainingState
from ..run_folder import Json
from .display import ConversionDisplay
from .output import check_output, write_merged, write_output
from .public_text import read_texts
from .report import figure_png, loss_png, markdown
from .run_folder import ConversionRun

MIN_TEXTS = 64
MAX_TOKENS = 64
LEAST_ROWS, MAX_ROWS = 24, 96
"""Of sequences that a decoder's texts are padded to."""
HELD_OUT = 20
"""One text in that many is measured on where no --held-out is given."""
CALIBRATION_TEXTS = 1000


@dataclass(frozen=True)
class Material:
    """What a conversion works on: token ids, and the original in torch on the device that trains."""

    texts: list[list[int]]
    held_out: list[list[int]]
    embedder: Embedder
    spec: ModelSpec
    shape: Architecture
    teacher: dict[str, Tensor]

    def corpus(self, texts: Sequence[list[int]], **options: Any) -> Corpus:
        """Some of the texts as batches."""
        if self.shape.decoder:
            return DecoderCorpus(texts, self.embedder, self.teacher, padded=(LEAST_ROWS, MAX_ROWS), **options)
        return Corpus(texts, self.embedder, self.teacher, **options)

    def fingerprint(self) -> str:
        """Of weights and texts: a resumed conversion must see the same."""
        digest = hashlib.sha256(json.dumps([self.texts, self.held_out]).encode())
        for name, tensor in sorted(self.teacher.items()):
            digest.update(name.encode() + tensor.cpu().numpy().tobytes())
        return digest.hexdigest()


def convert(material: Material, options: ConvertOptions, run: ConversionRun, display: ConversionDisplay) -> Json:
    """Train on, from wherever the run stands, write everything and close the run; returns the fidelity report."""
    with closing(run):
        return _convert(material, options, run, display)


def _convert(material: Material, options: ConvertOptions, run: ConversionRun, display: ConversionDisplay) -> Json:
    if run.unlocked:
        display.note(f"warning: no lock on {run.path} ({run.unlocked}): keep other conversions out of this folder")
    run.check("model or texts", material.fingerprint())
    display.note(f"{len(material.texts)} texts to train on, {len(material.held_out)} held out")
    recipe = Recipe(
        layer_steps=options.layer_steps, whole_steps=options.steps, fitted_steps=options.fitted_steps,
        seed=options.seed, splice=options.splice, exchange=options.exchange, rank=options.rank,
        learned=options.feature_kind == "learned", gelu_limit=options.gelu_limit,
    )  # fmt: skip
    training = material.corpus(
        material.texts, batch_rows=recipe.batch_rows, splice=recipe.splice, exchange=recipe.exchange
    )
    unseen = material.corpus(material.held_out)
    shape = _with_counts(options, material, run, display, training, unseen, recipe)
    sample = material.corpus(material.texts[:: -(-len(material.texts) // CALIBRATION_TEXTS)])

    def calibrate(parameters: Parameters) -> dict[str, dict[str, float]]:
        display.note("calibrating: what the non-linearities see on the texts that are trained on")
        return calibrated(sample, {**material.teacher, **parameters}, shape)

    def report(progress: Progress) -> None:
        run.log(asdict(progress))
        display.update(progress)

    state = run.load_state(training.device)
    with display:
        state = Training(training, shape, recipe, calibrate, report, run.save_state).run(state)
    adapter = {name: tensor.detach() for name, tensor in state.parameters.items()}
    if shape.merged == 1:  # as they are kept
        adapter = {name: tensor.half().float() for name, tensor in adapter.items()}
    display.note("measuring on held-out texts")
    result = _measured(material, unseen, shape, recipe, adapter, state)
    write = _write_merged if shape.merged > 1 else _write_adapter
    write(options, material, shape, {name: tensor.cpu().numpy() for name, tensor in adapter.items()}, {
        "base": options.base or Path(options.model).resolve().name, "rank": recipe.rank,
        "steps": [recipe.layer_steps, recipe.whole_steps, recipe.fitted_steps], "seed": recipe.seed,
        "fidelity": {name: value for name, value in result["after"].items() if name != "layers"},
        # a decoder's intervals are taken from public text when it is compiled, as with softmax
        "calibration": {} if shape.decoder else stored_sites(state.calibration),
    })  # fmt: skip
    run.write_json("fidelity.json", result, indent=1)
    run.replace("fidelity.md", markdown(result).encode())
    run.replace("fidelity.png", figure_png(result))
    run.replace("loss.png", loss_png(run.history()))
    return result


def _write_adapter(
    options: ConvertOptions, _: Material, shape: Architecture, tensors: Weights, description: Json
) -> None:
    features = shape.features if len(set(shape.features)) > 1 else shape.features[0]
    description |= {"features": features, "variant": shape.variant, "floor": shape.floor}
    description |= {"activation": shape.student_act, "harmonics": shape.harmonics}
    description |= {"rows": MAX_ROWS} if shape.decoder else {}
    write_output(Path(options.out), options.output, Path(options.model), tensors, description)


def _write_merged(
    options: ConvertOptions, material: Material, shape: Architecture, tensors: Weights, description: Json
) -> None:
    """Intervals are taken from public text when the model is compiled, as those of any model with softmax."""
    del description["calibration"]
    merged = merge_changes({name: tensor.cpu().numpy() for name, tensor in material.teacher.items()} | tensors)
    names = stored_names(Path(options.model), material.spec)
    changed = {re.sub(r"\.(up|down)$", ".weight", name) for name in tensors}
    write_merged(
        Path(options.out), Path(options.model), {names[name]: merged[name] for name in sorted(changed)},
        shape.heads // shape.merged, description | {"per_head": shape.merged},
    )  # fmt: skip


def read_material(options: ConvertOptions) -> Material:
    """Texts and model. Raises `SecfwtError` or `ProblemsFound` with what cannot be used."""
    model = Path(options.model)
    check_output(Path(options.out), model if options.output == "model" else None)
    if is_converted(model):
        raise ConversionError(f"{model} is converted already: give the original model")
    texts = [text for argument in options.text for text in read_texts(argument)]
    held_out = [text for argument in options.held_out for text in read_texts(argument)]
    if not held_out:
        held_out, texts = texts[::HELD_OUT], [text for i, text in enumerate(texts) if i % HELD_OUT]
    if len(texts) < MIN_TEXTS:
        needed = f"at least {MIN_TEXTS} are needed, some thousands are better"
        raise ConversionError(f"--text: {len(texts)} texts to train on; {needed}")
    # the head plays no part in adaptation: any two labels will do
    chosen = GenOptions(
        sequence_length=MAX_TOKENS, n_prompt_tokens=0, attention="softmax", head="prototypes", label_texts=("yes", "no")
    )  # fmt: skip
    spec = read_model(model, chosen)
    weights = load_checkpoint(model, spec)
    embedder = Embedder(fitting_tokenizer(model, spec), embedding_tables(weights), Settings.of(spec, chosen))
    check_embedder(embedder)
    before = [first_token(embedder.tokenizer, spec, weights, PROBES)] if spec.causal else []
    if options.merge_heads > 1:
        check_merging(options, spec.num_attention_heads, spec.causal)
    elif spec.causal:
        _check_decoder(options)
    embedder.tokenizer.enable_truncation(MAX_TOKENS)
    shape = Architecture(
        layers=spec.num_hidden_layers, heads=spec.num_attention_heads, hidden=spec.hidden_size,
        eps=spec.layer_norm_eps, act=spec.hidden_act,
        student_act=options.activation, harmonics=options.harmonics, variant=options.rfa, floor=options.floor,
        merged=options.merge_heads, decoder=spec if spec.causal else None,
    )  # fmt: skip
    options.feature_counts(shape.layers)
    device = torch.device(options.device if options.device != "auto" else _best_device())
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ConversionError("--device is cuda: this PyTorch sees no CUDA device; accepted: auto, cpu")
    return Material(
        texts=_token_ids(embedder, before, texts),
        held_out=_token_ids(embedder, before, held_out),
        embedder=embedder,
        spec=spec,
        shape=shape,
        teacher={name: torch.from_numpy(np.array(value)).to(device) for name, value in weights.items()},
    )


def _token_ids(embedder: Embedder, before: list[int], texts: list[str]) -> list[list[int]]:
    """Texts as tokens, of a decoder behind its first token."""
    if not before:
        return [encoding.ids for encoding in embedder.tokenizer.encode_batch(texts)]
    return [before + bare_ids(embedder.tokenizer, text)[: MAX_TOKENS - 1] for text in texts]


def _check_decoder(options: ConvertOptions) -> None:
    """Refuse what serves encoders only."""
    if options.rfa != "relu2":
        raise ConversionError(f"--rfa is {options.rfa}, the model is a decoder: accepted: relu2")
    if options.activation or options.harmonics:
        given = f"--activation is {options.activation}" if options.activation else f"--harmonics is {options.harmonics}"
        raise ConversionError(f"{given}, the model is a decoder: its feed-forward network stays as it is")
    if options.output == "model" and not Path(options.model).is_dir():
        raise ConversionError("--output is model, the model is a GGUF file: accepted: adapter")


def _best_device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


def _with_counts(
    options: ConvertOptions, material: Material, run: ConversionRun, display: ConversionDisplay,
    training: Corpus, unseen: Corpus, recipe: Recipe,
) -> Architecture:  # fmt: skip
    """The shape with every layer's features: as given, or chosen once and kept in the run folder."""
    counts = options.feature_counts(material.shape.layers) or run.features()
    if counts is None:
        display.note("choosing features: a short training at several counts; error of each layer's attention")
        counts = chosen_counts(training, unseen, material.shape, recipe, options.feature_error, display.note)
        run.keep_features(counts)
        display.note(f"features of each layer: {', '.join(map(str, counts))}")
    return replace(material.shape, features=counts)


def _measured(
    material: Material, unseen: Corpus, shape: Architecture, recipe: Recipe, adapter: dict[str, Tensor],
    state: TrainingState,
) -> Json:  # fmt: skip
    """The fidelity report: untrained features before, the adapter through the protocol's fits after."""
    random = initial_features(unseen, shape, replace(recipe, learned=False))
    ranges = Ranges(state.calibration)
    forms = fitted_forms(shape, ranges, unseen.device)
    weights = {**material.teacher, **adapter}
    return {
        "before": fidelity(unseen, {**material.teacher, **random}, shape),
        "after": fidelity(unseen, weights, shape, forms),
        "outside": stored_sites(outside(unseen, weights, shape, ranges, forms)),
    }
