"""Texts, one after the other, on parties that are there while the context lasts."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Self

import numpy as np

from ...codegen.commandline.problems import Problem, ProblemsFound
from ...codegen.model.options import GenOptions
from ..closing import Closing
from ..engine import Cost
from ..errors import BudgetSpentError, RunFolderError
from ..prediction.tuned import TunedRun
from ..progress import Display
from .drafting import Drafter, check_draft
from .engines import TextEngine, open_engine
from .generator import Counts, Generator
from .model import TextModel, load_text_model, open_text_bundle, options_of_run
from .options import GenerateOptions
from .sampling import Sampling
from .streaming import Stream


class Texts(Closing):
    """Continues texts with a model, or under a run's prompt, as options say."""

    def __init__(self, options: GenerateOptions, display: Display, example: str = "") -> None:
        """`example`: a text that the program is to be long enough for, where `--sequence-length` does not say it.
        Raises ProblemsFound, RunFolderError."""
        self._options, self._display = options, display
        self._tuned = TunedRun.open(options.run, {}) if options.run else None
        self.model = model_of(options, self._tuned, example)
        if self._tuned is not None:
            # of a bundle's weights neither the run nor this process knows anything
            self._tuned.check(self.model, ("embeddings",) if self._tuned.options.bundle else ("embeddings", "layers"))
        self._draft = draft_of(options, self.model) if options.draft else None
        self._rng = np.random.default_rng(None if options.seed < 0 else options.seed)
        self._exits = ExitStack()
        self._engine: TextEngine | None = None

    def __enter__(self) -> Self:
        folder = self._exits.enter_context(TemporaryDirectory(prefix="secfwt-generate-"))
        try:
            self._engine = self._exits.enter_context(
                open_engine(self._options, self.model, Path(folder) / "parties", self._display)
            )
        except BaseException:
            self.close()
            raise
        return self

    def close(self) -> None:
        """End the session, and parties that were started for it. Safe to call twice."""
        self._engine = None
        self._exits.close()

    def continued(self, prompt: str) -> Iterator[str]:
        """What follows a text, piece by piece. Raises ProblemsFound, BudgetSpentError, and as the engine does."""
        assert self._engine is not None, "texts are continued within a context"
        model, options, engine = self.model, self._options, self._engine
        text, ids, warnings = model.text(prompt)
        for warning in warnings:
            self._display.note(f"warning  {warning.header}")
        inputs = dict(text.inputs)
        if self._tuned is not None:
            inputs["z"] = np.asarray(model.prompt(self._tuned.z, self._tuned.options.alpha), np.float32)
        layout = model.embedder.settings.layout
        sampling = Sampling(options.temperature, options.top_k, options.top_p)
        drafter = Drafter(self._draft, ids) if self._draft else None
        stream = Stream(model.embedder.tokenizer, ids, options.stop)
        generator = Generator(model, engine, sampling, self._rng, drafter)
        most = self._allowed(options.max_new_tokens or model.options.max_new_tokens)
        costs, times = [replace(engine.cost())], [time.monotonic()]
        count = 0

        def mark() -> None:
            costs.append(replace(engine.cost()))
            times.append(time.monotonic())

        for token in generator.tokens(text, inputs, most, layout.end_ids if layout else ()):
            count += 1
            if count == 1:  # what the text itself took
                mark()
            yield stream.add(token)
            if stream.stopped:
                break
        yield stream.end()
        mark()
        self._display.note(f"\n{_shown(generator.counts, costs, times, count)}")

    def _allowed(self, most: int) -> int:
        """Tokens that the program's limits leave, at most `most`. Raises BudgetSpentError where they leave none."""
        assert self._engine is not None
        texts, steps = self._engine.left()
        if texts == 0:
            raise BudgetSpentError(
                "the program's limit on texts is reached: the model owner may send the weights again, which starts a "
                "new count"
            )
        if steps is None:
            return most
        rows, allowed = steps * self.model.options.step_rows, min(most, steps + 1)
        self._display.note(f"limits   with these weights the parties open {rows} more rows behind texts")
        if allowed < most:
            self._display.note(f"limits   of {most} tokens they leave {allowed}")
        return allowed


def model_of(options: GenerateOptions, tuned: TunedRun | None, prompt: str) -> TextModel:
    """The model that is asked, for texts as long as `prompt` where no option says so. Raises ProblemsFound."""
    rows = options.draft_tokens + 1 if options.draft else 1
    if options.bundle:
        model = open_text_bundle(Path(options.bundle))
        if options.max_new_tokens > model.options.max_new_tokens:
            raise ProblemsFound([Problem(
                "error", f"--max-new-tokens is {options.max_new_tokens}",
                f"The bundle was generated for {model.options.max_new_tokens}.",
            )])  # fmt: skip
        if options.draft and model.options.step_rows == 1:
            advice = "Generate one with --step-rows: as many as tokens are drafted, and one."
            raise ProblemsFound([Problem("error", "--draft is given, the bundle's steps have one row", advice)])
        return model
    if tuned is not None and not (tuned.options.model or options.model):
        raise RunFolderError(f"{tuned.path} is a run of a bundle: give --bundle and --deployment")
    base = options_of_run(tuned.options) if tuned else _plain(options)
    most = options.max_new_tokens or base.max_new_tokens
    chosen = GenOptions(**{**base.__dict__, "max_new_tokens": most, "step_rows": rows})
    path = Path(options.model or (tuned.options.model if tuned else ""))
    lora = tuned.options.lora if tuned else options.lora
    lora = "" if options.engine == "split" else lora
    return load_text_model(
        path, chosen, prompt, lora=Path(lora) if lora else None, length=options.sequence_length, engine=options.engine
    )


def _plain(options: GenerateOptions) -> GenOptions:
    return GenOptions(
        head="tokens", attention="softmax", n_prompt_tokens=0, frozen_layers=options.frozen_layers,
        weights=options.weights, lora_products=options.lora_products, template=options.template, chat=options.chat,
    )  # fmt: skip


def draft_of(options: GenerateOptions, model: TextModel) -> TextModel:
    """The model that drafts for it. Raises ProblemsFound."""
    chosen = GenOptions(
        head="tokens", attention="softmax", n_prompt_tokens=0, max_new_tokens=model.options.max_new_tokens,
        step_rows=model.options.step_rows, sequence_length=model.options.sequence_length,
    )  # fmt: skip
    length = model.options.sequence_length
    draft = load_text_model(Path(options.draft), chosen, "", length=length, engine="clear")
    check_draft(draft, model)
    return draft


def _shown(counts: Counts, costs: Sequence[Cost], times: Sequence[float], tokens: int) -> str:
    """Time, steps, traffic and the draft's success; `costs` and `times` before the text, behind it, and at the end."""
    text, rest = costs[1].since(costs[0]), costs[2].since(costs[1])
    seconds = times[1] - times[0], times[2] - times[1]
    traffic = f", {text.bytes_sent / 1e6:.1f} MB, {text.rounds} rounds" if text.bytes_sent else ""
    lines = [f"text     {seconds[0]:.1f} s{traffic}"]
    behind = max(tokens - 1, 1)
    parts = [f"tokens   {tokens}, {seconds[1] / behind:.2f} s per token behind the first", f"{counts.steps} steps"]
    if counts.drafted:
        parts.append(f"{counts.kept} of {counts.drafted} drafted tokens kept")
    if rest.bytes_sent:
        parts.append(f"{rest.bytes_sent / 1e6 / behind:.2f} MB and {rest.rounds / behind:.0f} rounds per token")
    return "\n".join([*lines, ", ".join(parts)])
