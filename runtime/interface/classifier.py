"""A classifier of texts that is tuned, and asked, privately.

from secfwt import PromptClassifier

classifier = PromptClassifier(model="model", label_texts={"good": "It was great.", "bad": "It was terrible."})
classifier.fit(texts, labels)
classifier.predict(["A film to see twice."])
"""

from __future__ import annotations

import json
import shutil
import weakref
from collections.abc import Callable, Iterable
from pathlib import Path
from tempfile import mkdtemp
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from ...codegen.commandline.texts import parse_json
from ..data.examples import Example, Text, examples_of, texts_of
from ..data.records import DataError
from ..data.splits import draw_splits
from ..engine import Floats
from ..errors import RunFolderError
from ..evaluation.metrics import Evaluation, evaluate, probabilities
from ..prediction.export import export_peft
from ..prediction.predictor import Predictor
from ..prediction.tuned import TunedRun
from ..progress import Display, PlainDisplay
from ..run_folder import Json, private_file, private_folder
from ..tuning.run_folder import SHOTS_FILE
from ..tuning.session import fill, tune_splits
from .estimator import BaseEstimator, ClassifierMixin
from .parameters import FILES, defaults, deployments, given_options, signed

PARAMETERS = defaults(
    FILES, sequence_length=None, budget=None, k_shot=0, preset="standard", run=None, callbacks=(), batch_size=64,
    verbose=False,
)  # fmt: skip
"""`k_shot` 0: all texts, a fifth of which is dev where none is given."""
CLASSES = "classes.json"
"""Labels as `fit` was given them, by their names."""
KEPT = (
    "options.json", "report.html", "result.json", "prompt.npz", "history.jsonl", "loss.png", "evaluation.json",
    "evaluation.png", "opened.jsonl", "asked.jsonl", SHOTS_FILE, CLASSES,
)  # fmt: skip
"""What makes a run's folder that `load` and `secfwt-predict` read."""


class PromptClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Labels of texts, or of pairs of texts, by a model that is frozen and a prompt that is tuned.

    Parameters are the options of `secfwt-tune` (docs/options.md) but those about files, and

    * `run`: folder of the run; default: a private one that is removed with this object (`save` keeps it);
    * `callbacks`: functions that are told of every generation (docs/classes.md);
    * `preset`: what `sequence_length` and `budget` are where they are None (docs/running.md);
    * `batch_size`: texts that the parties hold at a time in a prediction;
    * `verbose`: whether progress is printed.

    With the embedded engine, parties are three processes of this machine, or where `deployment` says (a list of several
    is of groups that share the work). They are there while a method needs them. In a `with` block they stay between
    calls:

        with classifier:
            classifier.predict(first)
            classifier.predict(second)

    However a method or block ends, also by an interrupt, parties of this machine are ended. `fit` opens losses to this
    process, `predict`, `predict_proba` and `score` one row of logits per new text (docs/security.md). Methods raise
    SecfwtError, whose message says what would be accepted.
    """

    @signed(PARAMETERS)
    def __init__(self, **parameters: Any) -> None:
        for name, value in parameters.items():
            setattr(self, name, value)

    def fit(self, texts: Any, labels: Any = None, dev: tuple[Any, Any] | None = None) -> Self:
        """Tune a prompt on labelled texts: lists, arrays, columns of pandas, or of a `datasets.Dataset`.

        `labels`: strings, whole numbers or booleans; None: `texts` is a Dataset with columns `text` and `label`.
        `dev`: texts and labels that choose among prompts; default: drawn from the training texts.
        """
        self.close()
        self.__dict__.pop("_tuned", None)
        given, named = _labelled(texts, labels)
        original = {str(_name(label)): label for label in named}
        train = examples_of(given, [_name(label) for label in named], "training data")
        other = self._examples(dev, sorted({e.label for e in train}))
        folder = self._new_folder()
        given_params = given_options(self.get_params(deep=False), folder)
        chosen, line = fill(given_params, self.preset, (train, other, None))
        splits = draw_splits(train, other, [], k_shot=chosen.k_shot, seed=chosen.seed)
        self._display().note(f"preset   {line}")
        self.result_: Json = tune_splits(chosen, splits, folder, self._display(), watch=self._watch)
        with private_file(folder / CLASSES) as file:
            file.write(json.dumps(original).encode())
        self._open(folder)
        return self

    def predict(self, texts: Any) -> NDArray[Any]:
        """The label of every text, `[E]`."""
        best = self.decision_function(texts).argmax(axis=-1)
        labels: NDArray[Any] = self.classes_[best]
        return labels

    def predict_proba(self, texts: Any) -> Floats:
        """Probabilities `[E, L]` of the labels in `classes_`. Raises DataError where logits cannot be the program's."""
        return probabilities(self.decision_function(texts))

    def decision_function(self, texts: Any) -> Floats:
        """Logits `[E, L]` of the labels in `classes_`."""
        return self._asked(_listed(texts), tuned=True)

    def score(self, texts: Any, labels: Any = None, sample_weight: Any = None) -> float:
        """Share of texts whose label is predicted."""
        given, named = _labelled(texts, labels)
        said = self.predict(given).tolist()
        right = [str(_name(label)) == str(_name(each)) for label, each in zip(named, said, strict=True)]
        return float(np.average(right, weights=sample_weight))

    def evaluate(self, texts: Any, labels: Any = None, *, tuned: bool = True) -> Evaluation:
        """All metrics with intervals, under the prompt or (`tuned=False`) without one."""
        given, named = _labelled(texts, labels)
        classes = [str(_name(label)) for label in self.classes_.tolist()]
        examples = examples_of(given, [_name(label) for label in named], "test data", classes)
        index = {name: i for i, name in enumerate(classes)}
        logits = self._asked([e.text for e in examples], tuned)
        return evaluate(logits, np.array([index[e.label] for e in examples]), classes)

    def save(self, folder: str | Path) -> None:
        """Copy the run to a folder, for `load` and `secfwt-predict --run`; it has what the run opened, and the labelled
        texts where they take part in the head."""
        path = Path(folder)
        source = self._run().path
        if (path / "options.json").exists():
            raise RunFolderError(f"{path} already holds a run: choose another folder")
        private_folder(path)
        for file in [*map(source.joinpath, KEPT), *source.glob("deployment*.toml")]:
            if file.exists():
                shutil.copy(file, path / file.name)

    def export_peft(self, folder: str | Path) -> None:
        """Write the prompt in the layout of PEFT's prompt tuning; of a run with `prompt_at="start"`."""
        export_peft(self._run(), Path(folder))

    @classmethod
    def load(cls, folder: str | Path, **changed: Any) -> Self:
        """The classifier of a finished run, of `save`, `PromptTuner` or `secfwt-tune`.

        Labels are what `fit` was given, or strings, as the files of another run have them. `changed`: `deployment` and
        `mp_spdz` may differ from the run's; `batch_size`, `callbacks` and `verbose` may be chosen.
        """
        own: dict[str, Any] = {
            name: changed.pop(name) for name in ("batch_size", "verbose", "callbacks") if name in changed
        }
        path = Path(folder).absolute()
        if "deployment" in changed:
            changed["deployment"] = deployments(changed["deployment"], path)
        tuned = TunedRun.open(path, changed)
        of_run = {name: getattr(tuned.options, name) for name in PARAMETERS if hasattr(tuned.options, name)}
        parameters: dict[str, Any] = {**of_run, **own, "run": str(path)}
        classifier = cls(**parameters)
        classifier.result_ = parse_json((path / "result.json").read_text("utf-8"))
        classifier._open(path, tuned)
        return classifier

    def __enter__(self) -> Self:
        self._held = self._predictor()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End parties that were kept for further calls."""
        if held := self.__dict__.pop("_held", None):
            held.close()

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "_tuned")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.string, tags.input_tags.two_d_array, tags.input_tags.one_d_array = True, False, True
        tags.no_validation = True
        return tags

    def _examples(self, dev: tuple[Any, Any] | None, known: list[str]) -> list[Example] | None:
        if dev is None:
            return None
        texts, labels = _labelled(*dev)
        return examples_of(texts, [_name(label) for label in labels], "dev data", known)

    def _new_folder(self) -> Path:
        if self.run is not None:
            return Path(self.run)
        folder = mkdtemp(prefix="secfwt-")  # mode 0700
        if before := self.__dict__.get("_removal"):
            before()
        self._removal = weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        return Path(folder)

    def _open(self, folder: Path, tuned: TunedRun | None = None) -> None:
        self._tuned = tuned or TunedRun.open(folder, {})
        classes = folder / CLASSES
        original = parse_json(classes.read_text("utf-8")) if classes.exists() else {}
        names = self._tuned.labels
        self.classes_: NDArray[Any] = np.unique([original.get(name, name) for name in names])

    def _run(self) -> TunedRun:
        if not hasattr(self, "_tuned"):
            raise RunFolderError("this classifier has no prompt yet: call fit, or load a finished run")
        return self._tuned

    def _predictor(self) -> Predictor:
        return Predictor(self._run(), self._display(), self.batch_size)

    def _asked(self, texts: list[Any], tuned: bool) -> Floats:
        """Logits of the labels in `classes_`."""
        asked: list[Text] = texts_of(texts, "texts")
        held = self.__dict__.get("_held")
        predictor = held or self._predictor()
        try:
            logits = predictor.logits(asked, tuned)
        except BaseException:  # of an interrupted cell nothing is left
            self.close()
            raise
        finally:
            if held is None:
                predictor.close()
        if wrong := np.flatnonzero(~predictor.limits.admits_logits(logits)).tolist():
            limit = f"±{predictor.limits.logit:.4g}"
            raise DataError("texts", [f"text {i + 1}: its logits are beyond {limit} and mean nothing" for i in wrong])
        columns = [predictor.classes.index(str(_name(label))) for label in self.classes_.tolist()]
        return logits[:, columns]

    def _display(self) -> Display:
        return PlainDisplay(Console(quiet=not self.verbose, highlight=False))

    def _watch(self, line: Json) -> None:
        callbacks: Iterable[Callable[[Json], None]] = self.callbacks
        for callback in callbacks:
            callback(line)


def _listed(values: Any) -> list[Any]:
    """A list of plain values: of a list, an array, a column of pandas or of a Dataset."""
    if isinstance(values, str):
        raise DataError("texts", ["one string is given: give a list of texts"])
    return [value.item() if isinstance(value, np.generic) else value for value in values]


def _labelled(texts: Any, labels: Any) -> tuple[list[Any], list[Any]]:
    """Texts and labels; `labels` None: the columns `text` and `label` of a Dataset."""
    if labels is None:
        columns = getattr(texts, "column_names", ())
        if not {"text", "label"} <= set(columns):
            raise DataError("texts", ["labels are missing: give them, or a Dataset with columns 'text' and 'label'"])
        texts, labels = texts["text"], texts["label"]
    return _listed(texts), _listed(labels)


def _name(label: Any) -> Any:
    """A label as data files have it: of a boolean the word."""
    return str(label).lower() if isinstance(label, bool | np.bool_) else label
