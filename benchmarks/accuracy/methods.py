"""The methods that are compared, and one run of one of them: draw the shots, find a prompt, test it."""

from __future__ import annotations

import hashlib
import time
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import numpy as np
import torch
from rich.console import Console
from secfwt.codegen.plan.build import build_plan
from secfwt.runtime.data.splits import Splits
from secfwt.runtime.engine import Engine, Floats
from secfwt.runtime.progress import PlainDisplay
from secfwt.runtime.tuning.engines import local_engine
from secfwt.runtime.tuning.loop import loss_without_prompt, tune, weight_of_shots
from secfwt.runtime.tuning.model import EXAMPLES, Model, load_model
from secfwt.runtime.tuning.objective import LabelledSet, Objective, PromptSpace
from secfwt.runtime.tuning.options import TuneOptions
from secfwt.runtime.tuning.run_folder import TuningRun
from secfwt.runtime.tuning.session import asdict_sets, embed, limits_of

import rows as common
from accuracy.clear import TorchEngine
from accuracy.decoder import TorchDecoder
from accuracy.fixed import FixedPointEngine
from accuracy.table import AccuracyRow, f1
from accuracy.tasks import Task, draw

SILENT = PlainDisplay(Console(quiet=True))
STEPS, RATE = 40, 0.2
"""Of gradient tuning: Adam on z, the step with the lowest dev loss is kept."""
MOST_SHOTS = 4.0
"""Most weight of shots in prototypes."""


@dataclass(frozen=True)
class Method:
    """How a prompt is found, and by which engine."""

    search: Literal["none", "gradient", "evolution"]
    attention: Literal["softmax", "rfa"]
    engine: Literal["clear", "oracle", "parties"] = "clear"
    shots: bool = False
    """Whether shots take part in the head."""

    @property
    def shots_alone(self) -> bool:
        """Whether nothing else does."""
        return self.shots and self.search == "none"


METHODS = {
    "zero-shot": Method("none", "softmax"),
    "zero-shot, RFA": Method("none", "rfa"),
    "gradient prompt tuning": Method("gradient", "softmax"),
    "Black-Box Tuning, softmax": Method("evolution", "softmax"),
    "Black-Box Tuning, RFA": Method("evolution", "rfa"),
    "private, fixed-point oracle": Method("evolution", "rfa", "oracle"),
    "private softmax, fixed-point oracle": Method("evolution", "softmax", "oracle"),
    "prototypes of shots, softmax": Method("none", "softmax", shots=True),
    "prototypes of shots, RFA": Method("none", "rfa", shots=True),
    "private prototypes of shots, fixed-point oracle": Method("none", "rfa", "oracle", shots=True),
    "private, three parties over TLS": Method("evolution", "rfa", "parties"),
    "private shots, softmax, three parties over TLS": Method("none", "softmax", "parties", shots=True),
    "Black-Box Tuning with shots, softmax": Method("evolution", "softmax", shots=True),
    "private shots, softmax, fixed-point oracle": Method("none", "softmax", "oracle", shots=True),
}


@dataclass(frozen=True)
class Found:
    """What a search came to: its prompt (and, behind it, the shots' weight) and the losses without it and with it."""

    z: Floats
    start_loss: float = float("nan")
    best_loss: float = float("nan")
    start_dev: float = float("nan")
    best_dev: float = float("nan")
    evaluations: int = 0
    megabytes: float = 0.0


def measure(task: Task, name: str, seed: int, settings: dict[str, object], data: Path) -> AccuracyRow:
    """One row: draw the shots, find a prompt, test it."""
    began, method = time.monotonic(), METHODS[name]
    options = run_options(task, method, seed, settings)
    if method.shots_alone:
        return shots_row(task, name, options, settings, data)
    splits = draw(task, data, options.k_shot, seed)
    model = load_model(options, splits.labels)
    if method.search == "none":
        model = without_prompt(model)
    with TemporaryDirectory(prefix="secfwt-accuracy-") as folder, opened(method, model, Path(folder)) as engine:
        sets = embedded_sets(splits, model, options)
        found = search(method, engine, model, options, sets, Path(folder) / "run")
        engine.load_examples("test", sets["test"].batch)
        z = found.z if method.search == "none" else PromptSpace(model.plan, options.alpha).coordinates(found.z)
        scores = scored(task, engine.logits("test", z), sets["test"])
    return AccuracyRow(
        task=task.name, method=name, seed=seed, settings=described(task, settings), adapter=adapter_hash(method),
        shots=options.k_shot, evaluations=found.evaluations, start_loss=found.start_loss, best_loss=found.best_loss,
        start_dev=found.start_dev, best_dev=found.best_dev, **scores,
        seconds=time.monotonic() - began, megabytes=found.megabytes, commit=common.commit(), command=common.command(),
    )  # fmt: skip


def shots_row(task: Task, name: str, options: TuneOptions, settings: dict[str, object], data: Path) -> AccuracyRow:
    """The row of shots without a prompt. The model and the test set are the same for every draw: a prompt's projection
    times zero."""
    began, method = time.monotonic(), METHODS[name]
    splits = draw(task, data, options.k_shot, options.seed)
    model, engine, tested = loaded(task, method, settings, data)
    given = {"train": splits.train, "dev": splits.dev}
    sets = {part: embed(part, examples, model, options, SILENT) for part, examples in given.items()}
    space = PromptSpace(model.plan, options.alpha)
    objective = objective_of(engine, model, options, space, sets)
    before = engine.cost().bytes_sent
    found = weighed(objective)
    megabytes = (engine.cost().bytes_sent - before) / 1e6
    scores = scored(task, engine.logits("test", space.coordinates(found.z)), tested)
    return AccuracyRow(
        task=task.name, method=name, seed=options.seed, settings=described(task, settings),
        adapter=adapter_hash(method), shots=options.k_shot, evaluations=0, start_loss=found.start_loss,
        best_loss=found.best_loss, start_dev=found.start_dev, best_dev=found.best_dev, **scores,
        seconds=time.monotonic() - began, megabytes=megabytes, commit=common.commit(),
        command=common.command(),
    )  # fmt: skip


def scored(task: Task, logits: Floats, tested: LabelledSet) -> dict[str, Any]:
    """What a row says of a test set's logits `[E, L]`."""
    chosen = logits.argmax(axis=-1)
    return {
        "accuracy": float(np.mean(chosen == tested.labels)), "tested": len(chosen),
        "f1": f1(tested.labels, chosen, task.labels.index(task.f1_of)) if task.f1_of else float("nan"),
    }  # fmt: skip


Loaded = tuple[Model, Engine, LabelledSet]
LAST: dict[str, Loaded] = {}
"""What was loaded last, by all that it depends on."""
OPENED = ExitStack()
"""Its engine: whoever measures closes it in the end."""


def loaded(task: Task, method: Method, settings: dict[str, object], data: Path) -> Loaded:
    """A model, its engine, and the test set there."""
    if (key := repr((task, method, settings, data))) in LAST:
        return LAST[key]
    LAST.clear()
    OPENED.close()
    options = run_options(task, method, 1, settings)
    splits = draw(task, data, options.k_shot, 1)
    model = load_model(options, splits.labels)
    tested = embed("test", splits.test, model, options, SILENT)
    folder = OPENED.enter_context(TemporaryDirectory(prefix="secfwt-accuracy-"))
    engine = OPENED.enter_context(opened(method, model, Path(folder)))
    engine.load_examples("test", tested.batch)
    LAST[key] = model, engine, tested
    return LAST[key]


def run_options(task: Task, method: Method, seed: int, settings: dict[str, object]) -> TuneOptions:
    """The options of a run, as tune.py takes them."""
    texts, words = (
        tuple(f"{label}={text}" for label, text in given.items()) for given in (task.label_texts, task.label_words)
    )
    chosen: dict[str, Any] = {"sequence_length": task.sequence_length, "model": task.model, **settings}
    return TuneOptions(
        **chosen, label_texts=texts, label_words=words, attention=method.attention,
        prototype_shots=MOST_SHOTS if method.shots else 0.0,
        engine="clear" if method.engine == "clear" else "embedded", seed=seed,
    )  # fmt: skip


def without_prompt(model: Model) -> Model:
    """The same model as a plain classifier."""
    options = replace(model.options, n_prompt_tokens=0, prototype_shots=0.0)
    return replace(model, options=options, plan=build_plan(model.spec, options))


def embedded_sets(splits: Splits, model: Model, options: TuneOptions) -> dict[str, LabelledSet]:
    """All sets as the engine takes them."""
    return {name: embed(name, examples, model, options, SILENT) for name, examples in asdict_sets(splits).items()}


def opened(method: Method, model: Model, folder: Path) -> AbstractContextManager[Engine]:
    """A method's engine."""
    if method.engine == "parties":
        return local_engine(model, folder / "parties", SILENT)
    if method.engine == "oracle":
        assert model.compiled is not None
        return nullcontext(FixedPointEngine(model.compiled))
    return nullcontext(TorchDecoder(model) if model.spec.causal else TorchEngine(model))


def objective_of(
    engine: Engine, model: Model, options: TuneOptions, space: PromptSpace, sets: dict[str, LabelledSet]
) -> Objective:
    """Losses as `tune.py` takes them: those that cannot be are refused."""
    limits = limits_of(options, model)
    return Objective(engine, space, options.reveal, options.loss, options.margin, sets, limits)


def search(
    method: Method, engine: Engine, model: Model, options: TuneOptions, sets: dict[str, LabelledSet], folder: Path
) -> Found:
    """Find a prompt with the training and the dev set; tune.py's own loop where the search is CMA-ES."""
    if method.search == "none":
        return Found(np.zeros(0))
    space = PromptSpace(model.plan, options.alpha)
    labelled = {name: examples for name, examples in sets.items() if name != "test"}
    objective = objective_of(engine, model, options, space, labelled)
    if isinstance(engine, TorchEngine | TorchDecoder) and method.search == "gradient":
        return descend(objective, engine)
    run = TuningRun.create(folder, options.to_json(), {})
    outcome = tune(objective, options.search(space.dim), run, SILENT)
    run.close()
    if method.shots:
        objective.keep_shots()
    return Found(
        np.append(outcome.best_z, [outcome.shots] * method.shots),
        outcome.start_loss, outcome.best_loss, outcome.start_dev, outcome.best_dev,
        outcome.evaluations, outcome.cost.bytes_sent / 1e6,
    )  # fmt: skip


def weighed(objective: Objective) -> Found:
    """No prompt: shots in prototypes with the weight that tune.py chooses; in the end all of them, dev's too. Raises
    SearchError where a loss cannot be one."""
    for name in ("train", "dev"):
        objective.load(name)
    objective.keep("train")
    weight = weight_of_shots(objective, SILENT)
    zero = np.zeros((1, objective.space.dim))
    start = loss_without_prompt(objective, "dev", zero, SILENT)
    objective.space.shots = weight
    loss, dev = (loss_without_prompt(objective, name, zero, SILENT) for name in ("train", "dev"))
    objective.keep_shots()
    return Found(np.append(zero, weight), start_dev=start, best_loss=loss, best_dev=dev)


def descend(objective: Objective, engine: TorchEngine | TorchDecoder) -> Found:
    """Gradient prompt tuning of the same z: Adam, and the step with the lowest dev loss."""
    for name in ("train", "dev"):
        objective.load(name)
    z = torch.zeros(1, objective.space.dim, requires_grad=True)
    optimiser = torch.optim.Adam([z], lr=RATE)
    losses, best = [], Found(np.zeros(objective.space.dim))
    for step in range(STEPS + 1):
        if step % 5 == 0:
            now = z.detach().double().numpy()
            dev = float(objective.losses("dev", now)[0])
            if step == 0:
                best = replace(best, start_dev=dev, best_dev=dev)
            elif dev < best.best_dev:
                best = replace(best, z=now[0].copy(), best_dev=dev)
        optimiser.zero_grad()
        loss = engine.loss("train", objective.space.alpha * z).sum()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    return replace(best, start_loss=losses[0], best_loss=min(losses), evaluations=len(losses))


def described(task: Task, settings: dict[str, object]) -> str:
    """Settings as a row holds them."""
    shown = {"sequence_length": task.sequence_length, **settings}
    if "template" in shown:
        shown["template"] = repr(shown["template"])
    return " ".join(f"{name}={value}" for name, value in shown.items())


def serves(method: Method, task: Task) -> bool:
    """Whether a method is for the task's model: random features are for MiniLM, which has an adapter."""
    return method.attention == "softmax" or (task.adapted and not task.package)


def adapter_hash(method: Method) -> str:
    """Which adapter a method runs with."""
    if method.attention == "softmax":
        return ""
    return hashlib.sha256((EXAMPLES / "minilm-rfa" / "adapter.safetensors").read_bytes()).hexdigest()[:8]
