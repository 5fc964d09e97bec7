"""Private inference under a run's prompt: every text's logits are opened once, batch by batch, and kept."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np

from ...codegen.commandline.problems import Problem, ProblemsFound
from ...codegen.owners.embed import Tokenised
from ..closing import Closing
from ..data.examples import Text
from ..data.labels import class_names
from ..engine import Batch, Engine, Floats, Left
from ..errors import BudgetSpentError
from ..progress import Display
from ..tuning.budget import shown
from ..tuning.engines import open_engine
from ..tuning.limits import Limits
from ..tuning.objective import SHOTS, PromptSpace
from ..tuning.opened import Opened
from ..tuning.run_folder import TuningRun
from ..tuning.session import limits_of
from .tuned import TunedRun


@dataclass(frozen=True)
class Advance:
    """So many of the texts are done."""

    generation: int
    generations: int
    texts: int
    bytes_sent: int
    left: str

    def text(self, seconds: float, since_start: int) -> str:
        """One line."""
        rate = seconds / max(since_start, 1)
        parts = [f"batch {self.generation}/{self.generations}", f"{self.texts} texts", self.left]
        parts += [f"{self.bytes_sent / 1e6:.1f} MB"] if self.bytes_sent else []
        parts.append(f"{rate * (self.generations - self.generation):.0f} s left")
        return "  ".join(part for part in parts if part)


class Predictor(Closing):
    """As a context manager: parties of this machine start when the first text is asked for, and end with it.

    Raises RunFolderError, where another process writes to the run's folder too, and as the engine does.
    """

    def __init__(self, tuned: TunedRun, display: Display, batch_size: int = 64) -> None:
        self.tuned, self._display, self._size = tuned, display, batch_size
        self.model = tuned.model()
        self.classes = tuned.said(self.model)
        """The columns of the logits, by the names that the run's data has for them."""
        self.limits: Limits = limits_of(tuned.options, self.model)
        self._space = PromptSpace(self.model.plan, tuned.options.alpha)
        self._space.shots = tuned.shots
        self._exits = ExitStack()
        self._engine: Engine | None = None
        self._run = TuningRun(tuned.path)
        self._exits.callback(self._run.close)

    def close(self) -> None:
        """End the session, and parties that were started for it. Safe to call twice."""
        self._engine = None
        self._exits.close()

    def logits(self, texts: Sequence[Text], tuned: bool = True) -> Floats:
        """Logits `[E, L]` of texts, under the run's prompt or under none, z = 0.

        Opens to the data owner one row for each different text that the run's folder has no row of, counted against
        the program's limits. Raises BudgetSpentError, before any is opened, where that is too much, and ProblemsFound
        for texts that cannot be input.
        """
        z = self.tuned.z if tuned else np.zeros_like(self.tuned.z)
        opened = Opened(self._run, self.tuned.fingerprints, z, self.tuned.shots * tuned)
        known = opened.find(texts)
        new = [text for text in dict.fromkeys(texts) if text not in known]
        if known:
            self._display.note(f"opened   {len(known)} texts before; their logits are in {self.tuned.path}")
        tokenised = self._tokenised(new)
        if new:
            self._open(new, tokenised, self._space.coordinates(z if tuned else self._space.untuned), opened)
            known = opened.find(texts)
        return np.array([known[text] for text in texts], np.float64).reshape(len(texts), len(self.classes))

    def _tokenised(self, texts: Sequence[Text]) -> list[Tokenised]:
        tokenised, warnings = self.model.embedder.tokenise(texts)
        if warnings and self.tuned.options.strict:
            raise ProblemsFound([Problem("error", warning.header, warning.detail) for warning in warnings])
        for warning in warnings:
            self._display.note(f"warning  {warning.header}")
        return tokenised

    def _open(self, texts: Sequence[Text], tokenised: Sequence[Tokenised], sent: Floats, opened: Opened) -> None:
        engine = self._started(min(self._size, len(texts)))
        self._check_budget(engine.allowance(), len(texts))
        batches = [slice(start, start + self._size) for start in range(0, len(texts), self._size)]
        self._display.start(0, len(batches), "batch")
        try:
            for number, part in enumerate(batches, 1):
                inputs = self.model.embedder.inputs(tokenised[part])
                batch = Batch({name: np.asarray(values, np.float64) for name, values in inputs.items()})
                engine.load_examples("asked", batch)
                opened.keep(texts[part], engine.logits("asked", sent))
                done, cost = min(part.stop, len(texts)), engine.cost()
                left = shown(engine.allowance())
                self._display.update(Advance(number, len(batches), done, cost.bytes_sent, left))
        finally:
            self._display.stop()

    def _started(self, size: int) -> Engine:
        """The engine; `size`: of the largest set, where the first call decides on it."""
        if self._engine is None:
            folder = self.tuned.path / "parties"
            began = time.monotonic()
            self._engine = self._exits.enter_context(
                open_engine(self.tuned.options, self.model, folder, self._display, [size])
            )
            if self._space.most_shots:
                self._keep_shots(self._engine)
            self._display.note(f"engine   {self._engine.name}, ready in {time.monotonic() - began:.1f} s")
        return self._engine

    def _keep_shots(self, engine: Engine) -> None:
        """Make the means of the run's shots again: parties keep no more of a run than its last session has left."""
        names, _ = class_names(dict.fromkeys(self.tuned.labels, str(self.tuned.path)), self.model.spec.head.labels)
        examples = self._run.shots()
        inputs, _ = self.model.embedder.encode([e.text for e in examples], [names[e.label] for e in examples])
        batch = Batch({name: np.asarray(values, np.float64) for name, values in inputs.items()})
        engine.load_examples(SHOTS, batch)
        engine.keep(SHOTS, self._space.means())

    def _check_budget(self, left: Left, rows: int) -> None:
        if left.logit_rows is None:
            return
        line = f"this opens {rows} rows of logits; with these weights the parties open {left.logit_rows} more"
        if rows > left.logit_rows:
            advice = f"ask for {left.logit_rows} texts" if left.logit_rows else "the model owner may send weights again"
            raise BudgetSpentError(f"{line}: {advice}")
        self._display.note(f"limits   {line}")
