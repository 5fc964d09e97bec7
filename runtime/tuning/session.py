"""One tuning run from options to result: read data, prepare the model, start an engine, tune, report."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from ...codegen.commandline.problems import Problem, ProblemsFound
from ...codegen.compile import EXAMPLES
from ...codegen.estimate import attention_line, placement_line
from ...codegen.mpspdz.options import MpSpdzOptions
from ..data.examples import Example, read_examples
from ..data.labels import as_labelled, class_names
from ..data.presets import CHOSEN, PRESETS, PresetName, described, length, shots
from ..data.splits import Splits, draw_splits
from ..engine import Batch
from ..evaluation.results import TUNED, measure
from ..privacy import Mechanism
from ..progress import Display, make_display
from ..reporting.page import Reached
from ..run_folder import Json
from .budget import at_a_time, expected
from .engines import open_engine
from .limits import Canaries, Limits, limits, mpspdz_width
from .loop import Watch, tune
from .model import Model, PublicModel, decoder_settings, model_of, token_counts
from .objective import SHOTS, LabelledSet, Objective, PromptSpace
from .opened import Opened
from .options import DataOptions, TuneOptions
from .report import facts_of, page_of_what_is_there, summary, write_page, write_report
from .run_folder import TuningRun


def run_session(
    options: TuneOptions, folder: Path | None, resume: bool, console: Console, begun: Callable[[Path], None]
) -> Json:
    """`tune_splits` on the files that the options name. Raises DataError, and as that does."""
    return tune_splits(options, load_splits(options), folder, make_display(console), resume=resume, begun=begun)


def tune_splits(
    options: TuneOptions,
    splits: Splits,
    folder: Path | None,
    display: Display,
    *,
    resume: bool = False,
    begun: Callable[[Path], None] = lambda folder: None,
    watch: Watch = lambda line: None,
) -> Json:
    """Run, or continue the run in `folder`; returns what `result.json` holds.

    `begun` is told the run's folder as soon as there is one: what a message about an interrupted run needs. `watch` is
    told of every generation (`loop.tune`).
    Raises ProblemsFound, RunFolderError, SearchError, and ServiceError when a party fails.
    """
    began = time.monotonic()
    sizes = {name: len(examples) for name, examples in asdict_sets(splits).items()}
    display.note(f"data     {_counts(sizes)}; labels {', '.join(splits.labels)}")
    model = model_of(options, splits.labels, splits.places)
    display.note(f"model    {model.name}: {model.described}")
    names, warnings = class_names(splits.places, model.spec.head.labels)
    for problem in [*model.warnings, *warnings]:
        display.note(f"warning  {problem.header}\n         {problem.detail}")
    if any(label != name for label, name in names.items()):
        display.note(f"classes  {', '.join(f'{label} is {name}' for label, name in names.items())}")
    if model.compiled is not None and model.compiled.ring.inputs("candidate"):
        display.note(f"attention {attention_line(model.compiled, len(splits.train))}")
        if placement := placement_line(model.compiled, len(splits.train)):
            display.note(f"prompt    {placement}")
    prints = {"data": data_fingerprint(splits), **model.fingerprints}
    named = asdict_sets(splits.renamed(names))
    if model.options.prototype_shots and splits.test and not splits.alike:
        named[SHOTS] = named["train"] + named["dev"]
    sets = {name: embed(name, e, model, options, display) for name, e in named.items() if e}
    with ExitStack() as stack:
        run = stack.enter_context(opened_run(folder, options, prints, resume, display))
        begun(run.path)
        weights = {name: float(each.batch.inputs["example_weight"].max()) for name, each in sets.items()}
        mechanism = mechanism_of(options, model, weights) if options.noise else None
        space = PromptSpace(model.plan, options.alpha)
        canaries = Canaries(options.canaries if options.engine == "embedded" else 0, noise=options.noise)
        counts = {name: len(each.labels) for name, each in sets.items()}
        if model.compiled is not None and (
            line := expected(model.compiled, counts, options.search(space.dim), canaries)
        ):
            display.note(f"expect   {line}")
        engine = stack.enter_context(open_engine(options, model, run.path / "parties", display, list(counts.values())))
        display.note(f"engine   {engine.name}")
        display.note("keeps    the prompt with the lowest dev loss; none (z = 0) is among them")
        objective = Objective(
            engine, space, options.reveal, options.loss, options.margin, sets, limits_of(options, model), canaries,
            at_a_time(model.compiled, counts) if model.compiled is not None else 0,
        )  # fmt: skip
        if options.noise:
            objective.mechanism, objective.asking = mechanism, run.note_asked
        facts = facts_of(run, options, model, engine, (splits.labels, sizes))
        with page_of_what_is_there(run, facts):
            outcome = tune(objective, options.search(space.dim), run, display, watch)
        prompt = None
        if model.weights is not None:
            prompt = space.rows(outcome.best_z, model.weights)
        measured = {}
        classes = as_labelled(names, model.spec.head.labels)
        for name, logits in outcome.test_logits.items():
            z = outcome.best_z if name == TUNED else np.zeros_like(outcome.best_z)
            Opened(run, prints, z, outcome.shots * (name == TUNED)).keep([e.text for e in splits.test], logits)
            if np.isfinite(logits).all():
                measured[name] = measure(logits, sets["test"].labels, classes)
        context = {
            "model": model.name, "labels": splits.labels, "examples": sizes, "options": options.to_json(),
            "wall_seconds": round(time.monotonic() - began, 1),
        }  # fmt: skip
        if model.options.prototype_shots:
            run.write_shots(splits.train + splits.dev)
        result = write_report(run, outcome, engine, context, prompt, measured)
        write_page(run, facts, Reached.of(result), bool(measured))
    display.note(summary(result))
    display.note(
        f"files        {run.path}: report.html, result.json, history.jsonl, prompt.npz, loss.png"
        + ", evaluation.json, evaluation.png" * bool(measured)
    )
    return result


@contextmanager
def opened_run(
    folder: Path | None, options: TuneOptions, prints: dict[str, str], resume: bool, display: Display
) -> Iterator[TuningRun]:
    """A new run's folder, which is gone again if the run is refused, or that of a run to go on with; said."""
    with ExitStack() as stack:
        if resume and folder is not None:
            run = TuningRun.resume(folder, prints)
        else:
            run = TuningRun.create(folder, options.to_json(), prints)
        stack.callback(run.close)
        if not resume:
            stack.push(run.undo_if_refused)
        display.note(f"run      {run.path}")
        if run.unlocked:
            display.note(f"warning  no lock there ({run.unlocked}): keep other runs out of this folder")
        yield run


def own_options(given: Mapping[str, Any], name: PresetName) -> tuple[TuneOptions, str]:
    """Options of a run on one's own files: what is not `given` is a preset's; and a line on that.

    Raises DataError and ProblemsFound.
    """
    return fill(given, name, read_files(TuneOptions(**given)))


def fill(given: Mapping[str, Any], name: PresetName, files: Sequence[list[Example] | None]) -> tuple[TuneOptions, str]:
    """As `own_options`, for the examples of `read_files`."""
    options, preset, (train, dev, test) = TuneOptions(**given), PRESETS[name], files
    assert train is not None
    wanted = set(CHOSEN) - given.keys()
    labels = sorted({e.label for e in train})
    chosen: dict[str, Any] = {}
    if not any(given.get(name) for name in ("prompt_at", "bundle", "initial_prompt")):
        chosen = {k: v for k, v in decoder_settings(options, labels).items() if k not in given}
        options = replace(options, **chosen)
    if "k_shot" in wanted:
        chosen["k_shot"] = shots(preset, train, dev is not None, test is not None)
    if "budget" in wanted:
        chosen["budget"] = preset.budget(options.intrinsic_dim, options.popsize)
    if "test_limit" in wanted:
        chosen["test_limit"] = preset.test
    if "sequence_length" in wanted and preset.length:
        chosen["sequence_length"] = preset.length
    elif "sequence_length" in wanted:
        texts = [e.text for part in files if part for e in part]
        chosen["sequence_length"] = length(*token_counts(options, labels, texts))
    return TuneOptions(**{**given, **chosen}), described(name, chosen) if chosen else ""


def read_files(options: DataOptions) -> tuple[list[Example], list[Example] | None, list[Example] | None]:
    """Train, dev and test files of a run (default: the topic examples); None: not given. Raises DataError."""
    names = {"train": options.data, "dev": options.dev, "test": options.test}
    if not options.data:
        names = {part: given or str(EXAMPLES / "topics" / f"{part}.jsonl") for part, given in names.items()}
    columns = (options.text_column, options.label_column)
    train = read_examples(Path(names["train"]), *columns)
    known = sorted({e.label for e in train})
    dev, test = (read_examples(Path(names[n]), *columns, known) if names[n] else None for n in ("dev", "test"))
    return train, dev, test


def load_splits(options: DataOptions) -> Splits:
    """Read the data files of a run and draw its sets. Raises DataError."""
    train, dev, test = read_files(options)
    return draw_splits(train, dev, test, k_shot=options.k_shot, test_limit=options.test_limit, seed=options.seed)


def embed(name: str, examples: list[Example], model: Model, options: DataOptions, display: Display) -> LabelledSet:
    """Tokenise and embed a set at the data owner. Texts that are cut are counted; with `strict` they are an error."""
    labels = [e.label for e in examples]
    inputs, warnings = model.embedder.encode([e.text for e in examples], labels)
    if warnings and options.strict:
        raise ProblemsFound([Problem("error", f"{name}: {w.header}", w.detail) for w in warnings])
    for warning in warnings:
        display.note(f"warning  {name}: {warning.header}")
    index = {label: i for i, label in enumerate(model.spec.head.labels)}
    batch = Batch({key: np.asarray(value, np.float64) for key, value in inputs.items()})
    return LabelledSet(name, batch, np.array([index[label] for label in labels]))


def limits_of(options: TuneOptions, model: PublicModel, noise: float | None = None) -> Limits:
    """What losses and logits of the run's engine can be. `noise`: standard deviation of each party's on a mean loss;
    default: the program's. Where logits are opened, and in the clear, losses have no interval of their own."""
    if options.reveal == "logits" or options.engine in ("clear", "split"):
        return limits(model.plan)
    if model.covered is None:
        return limits(model.plan, mpspdz_width(options.loss, MpSpdzOptions()))
    covered = model.covered
    return limits(
        model.plan, covered.loss_width, covered.health, covered.clipped, options.noise if noise is None else noise
    )


def mechanism_of(options: TuneOptions, model: PublicModel, weights: Mapping[str, float]) -> Mechanism:
    """How the program noises losses; `weights`: by set, the largest of an example. Raises InputError where nobody can
    say what follows."""
    assert model.covered is not None
    assert model.covered.clipped is not None
    low, high = model.covered.clipped
    return Mechanism(options.noise, high - low, options.delta, weights)


def data_fingerprint(splits: Splits) -> str:
    """A hash of all sets, texts and labels: what must not change, as the model must not, while a run goes on."""
    sets = {
        name: [{"text": e.text, "label": e.label} for e in examples] for name, examples in asdict_sets(splits).items()
    }
    return hashlib.sha256(json.dumps(sets).encode()).hexdigest()


def asdict_sets(splits: Splits) -> dict[str, list[Example]]:
    """The sets by name."""
    return {"train": splits.train, "dev": splits.dev, "test": splits.test}


def _counts(sizes: dict[str, int]) -> str:
    return ", ".join(f"{n} {name}" for name, n in sizes.items())
