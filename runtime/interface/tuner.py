"""What `secfwt-tune` does, from Python: files in, a run's folder out, and the classifier that it makes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console

from ..data.presets import PresetName
from ..progress import PlainDisplay
from ..run_folder import Json, new_folder
from ..tuning.options import TuneOptions, resumed_options
from ..tuning.run_folder import TuningRun
from ..tuning.session import load_splits, own_options, tune_splits
from .classifier import PromptClassifier
from .parameters import defaults, deployments, given_options, signed

PARAMETERS = defaults(
    sequence_length=None, budget=None, k_shot=None, test_limit=None, preset=None, callbacks=(), verbose=True
)


class PromptTuner:
    """A run on files. Parameters are all options of `secfwt-tune`; `preset`, `callbacks` and `verbose` as in
    `PromptClassifier`.

        tuner = PromptTuner(model="model", data="train.jsonl", budget=400)
        classifier = tuner.tune("runs/first")
        print(classifier.result_["test_tuned"])

    Raises SecfwtError, whose message says what would be accepted.
    """

    @signed(PARAMETERS)
    def __init__(self, **parameters: Any) -> None:
        for name, value in parameters.items():
            setattr(self, name, value)
        self._given = {name: value for name, value in parameters.items() if value != PARAMETERS[name]}

    def tune(self, run: str | Path | None = None) -> PromptClassifier:
        """A new run in a folder, by default `runs/<time>`. Interrupted, it ends its parties; `resume` goes on."""
        folder = Path(run) if run is not None else new_folder()
        given = given_options(self._given, folder)
        preset: PresetName = self._given.get("preset") or ("standard" if given.get("data") else "demo")
        return self._go(own_options(given, preset)[0], folder, resume=False)

    def resume(self, run: str | Path, **changed: Any) -> PromptClassifier:
        """Go on with a run, with the options it began with; `changed`: those that may differ, as `budget`."""
        path = Path(run)
        if "deployment" in changed:
            changed["deployment"] = deployments(changed["deployment"], path)
        return self._go(resumed_options(TuningRun.read_options(path)[0], changed), path, resume=True)

    def _go(self, chosen: TuneOptions, folder: Path | None, resume: bool) -> PromptClassifier:
        where: list[Path] = []
        display = PlainDisplay(Console(quiet=not getattr(self, "verbose"), highlight=False))  # noqa: B009
        tune_splits(
            chosen, load_splits(chosen), folder, display, resume=resume, begun=where.append, watch=self._watch
        )  # fmt: skip
        return PromptClassifier.load(where[0])

    def _watch(self, line: Json) -> None:
        for callback in getattr(self, "callbacks"):  # noqa: B009
            callback(line)
