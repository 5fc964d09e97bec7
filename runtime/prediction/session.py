"""A prediction, and an evaluation, from options to files."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from rich.console import Console

from ...codegen.commandline.texts import lone_surrogate
from ..data.examples import Example, Text, read_examples, read_texts, text_columns_of
from ..data.records import DataError
from ..engine import Floats
from ..errors import InputError, RunFolderError
from ..evaluation.report import gain_line, table
from ..evaluation.results import FIGURE, JSON_FILE, TUNED, UNTUNED, Measured, files, gain_of, measure
from ..progress import make_display
from ..run_folder import RunFolder
from ..tuning.session import data_fingerprint, load_splits
from .options import EvaluateOptions, PredictOptions
from .output import as_text, predictions, write_whole
from .predictor import Predictor
from .tuned import TunedRun


def predict(options: PredictOptions, console: Console) -> None:
    """Label texts. Raises DataError, ProblemsFound, RunFolderError, and as the engine does."""
    tuned = TunedRun.open(options.run, options.changed)
    column = options.text_column or tuned.options.text_column
    display = make_display(console)
    if options.output:
        _check_folder(options.output)
    texts = _texts(options, column)
    with Predictor(tuned, display, options.batch_size) as predictor:
        logits = predictor.logits(texts, options.prompt == TUNED)
        possible = _possible(predictor, logits, display.note)
        columns = text_columns_of(column, options.data or "") if options.data else ["text"]
        records = list(predictions(texts, logits, possible, predictor.classes, columns))
    lines_of_json = bool(options.output) and str(options.output).lower().endswith(".jsonl")
    if options.output:
        write_whole(options.output, as_text(records, lines_of_json))
        display.note(f"files    {options.output}: {len(records)} texts")
    else:
        print(as_text(records, lines_of_json), end="")


def evaluate(options: EvaluateOptions, console: Console) -> None:
    """Measure a run's prompt on labelled texts. Raises as `predict` does."""
    tuned = TunedRun.open(options.run, options.changed)
    display = make_display(console)
    examples = _labelled(options, tuned)
    prompts = (UNTUNED, TUNED) if options.prompt == "both" else (options.prompt,)
    with Predictor(tuned, display, options.batch_size) as predictor:
        index = {name: i for i, name in enumerate(predictor.classes)}
        labels = np.array([index[each.label] for each in examples])
        found: dict[str, Measured] = {}
        for name in prompts:
            logits = predictor.logits([each.text for each in examples], name == TUNED)
            _possible(predictor, logits, display.note)
            if not np.isfinite(logits).all():
                raise InputError(f"logits under prompt {name} are not all finite: nothing can be measured")
            found[name] = measure(logits, labels, predictor.classes)
    folder = options.output or (options.run / options.data.stem if options.data else options.run)
    content, figure = files(found)
    kept = RunFolder(folder)
    try:
        kept.write_json(JSON_FILE, content)
        kept.replace(FIGURE, figure)
    finally:
        kept.close()
    for name, measured in found.items():
        display.note(f"prompt       {name}\n{table(measured.evaluation)}")
    if gained := gain_of(found):
        display.note(f"gain         {gain_line(gained)}")
    display.note(f"files        {folder}: {JSON_FILE}, {FIGURE}")


def _texts(options: PredictOptions, column: str) -> list[Text]:
    if options.data:
        return read_texts(options.data, column)
    lines = options.text or tuple(line.strip() for line in sys.stdin)
    texts: list[Text] = [line for line in lines if line.strip()]
    where = "--text" if options.text else "standard input"
    if broken := [i for i, text in enumerate(texts, 1) if lone_surrogate(str(text)) is not None]:
        raise DataError(where, [f"text {i} is not UTF-8" for i in broken])
    if not texts:
        raise DataError(where, ["no texts: give --data FILE, --text TEXT, or a text per line"])
    return texts


def _labelled(options: EvaluateOptions, tuned: TunedRun) -> list[Example]:
    """The file's examples, or the run's own test set, drawn again."""
    if options.data:
        columns = options.text_column or tuned.options.text_column, options.label_column or tuned.options.label_column
        return read_examples(options.data, *columns, tuned.labels)
    splits = load_splits(tuned.options)
    if data_fingerprint(splits) != tuned.fingerprints["data"]:
        raise RunFolderError(f"the test set of {tuned.path} is not what it was: its files have changed; give --data")
    if not splits.test:
        raise RunFolderError(f"{tuned.path} has no test set: give --data")
    return splits.test


def _possible(predictor: Predictor, logits: Floats, note: Callable[[str], None]) -> list[bool]:
    """Which rows can be logits of this program; says where some cannot."""
    possible = predictor.limits.admits_logits(logits)
    if wrong := [str(i) for i in np.flatnonzero(~possible) + 1]:
        named = ", ".join(wrong[:8]) + (" …" if len(wrong) > 8 else "")
        note(
            f"warning  logits of {len(wrong)} of {len(logits)} texts are beyond ±{predictor.limits.logit:.4g} and mean "
            f"nothing: text {named}"
        )
    return [bool(each) for each in possible]


def _check_folder(path: Path) -> None:
    """Raise OSError, before anything is opened, where a file could not be written."""
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not path.absolute().parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path.absolute().parent))
