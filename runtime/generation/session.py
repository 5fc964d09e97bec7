"""A generation from options to text."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from rich.console import Console

from ...codegen.commandline.problems import Problem, ProblemsFound, note
from ...codegen.commandline.texts import lone_surrogate
from ...codegen.model.options import GenOptions
from ..data.records import DataError
from ..engine import Cost
from ..errors import BudgetSpentError, RunFolderError
from ..prediction.tuned import TunedRun
from ..progress import make_display
from .drafting import Drafter, check_draft
from .engines import ClearText, PrivateText, TextEngine, open_engine
from .generator import Counts, Generator
from .model import TextModel, load_text_model, open_text_bundle, options_of_run
from .options import GenerateOptions
from .sampling import Sampling
from .streaming import Stream


def generate(options: GenerateOptions, console: Console, tell: Callable[[str], None]) -> str:
    """Continue a text, telling it piece by piece; returns all of it. Raises DataError, ProblemsFound, RunFolderError,
    BudgetSpentError, and as the engine does."""
    prompt = _prompt(options)
    display = make_display(console)
    tuned = TunedRun.open(options.run, {}) if options.run else None
    model = _model(options, tuned, prompt)
    text, ids, warnings = model.text(prompt)
    for warning in warnings:
        display.note(f"warning  {warning.header}")
    inputs = dict(text.inputs)
    if tuned is not None:
        inputs["z"] = np.asarray(model.prompt(tuned.z, tuned.options.alpha), np.float32)
    drafter = _drafter(options, model, prompt, ids)
    seed = None if options.seed < 0 else options.seed
    sampling = Sampling(options.temperature, options.top_k, options.top_p)
    stream = Stream(model.embedder.tokenizer, ids, options.stop)
    layout = model.embedder.settings.layout
    with (
        TemporaryDirectory(prefix="secfwt-generate-") as folder,
        open_engine(options.engine, model, options.deployment, Path(folder) / "parties", display) as parties,
    ):
        engine: TextEngine = ClearText(model) if parties is None else PrivateText(parties)
        if parties is None:
            display.note("warning  NOT PRIVATE: the clear engine sees weights and text as they are")
        most = _allowed(engine, options.max_new_tokens or model.options.max_new_tokens, model.options, display.note)
        generator = Generator(model, engine, sampling, np.random.default_rng(seed), drafter)
        began, count = time.monotonic(), 0
        for token in generator.tokens(text, inputs, most, layout.end_ids if layout else ()):
            count += 1
            tell(stream.add(token))
            if stream.stopped:
                break
        tell(stream.end())
        seconds = time.monotonic() - began
        display.note(f"\ntokens   {count} in {seconds:.1f} s{_shown(generator.counts, engine.cost(), count)}")
    return stream.text


def _prompt(options: GenerateOptions) -> str:
    prompt, where = (options.prompt, "--prompt") if options.prompt else (sys.stdin.read(), "standard input")
    if lone_surrogate(prompt) is not None:
        raise DataError(where, ["the text is not UTF-8"])
    if not prompt.strip():
        raise DataError(where, ["no text: give --prompt TEXT, or a text on standard input"])
    return prompt if options.prompt else prompt.removesuffix("\n")


def _model(options: GenerateOptions, tuned: TunedRun | None, prompt: str) -> TextModel:
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
    return load_text_model(path, chosen, prompt, length=options.sequence_length, private=options.engine == "embedded")


def _plain(options: GenerateOptions) -> GenOptions:
    return GenOptions(
        head="tokens", attention="softmax", n_prompt_tokens=0, frozen_layers=options.frozen_layers,
        template=options.template, chat=options.chat,
    )  # fmt: skip


def _drafter(options: GenerateOptions, model: TextModel, prompt: str, ids: list[int]) -> Drafter | None:
    if not options.draft:
        return None
    chosen = GenOptions(
        head="tokens", attention="softmax", n_prompt_tokens=0, max_new_tokens=model.options.max_new_tokens,
        step_rows=model.options.step_rows, sequence_length=model.options.sequence_length,
    )  # fmt: skip
    length = model.options.sequence_length
    draft = load_text_model(Path(options.draft), chosen, prompt, length=length, private=False)
    check_draft(draft, model)
    return Drafter(draft, ids)


def _allowed(engine: TextEngine, most: int, options: GenOptions, say: Callable[[str], None]) -> int:
    """Tokens that the program's limits leave, at most `most`. Raises BudgetSpentError where they leave none."""
    texts, steps = engine.left()
    if texts == 0:
        raise BudgetSpentError(
            "the program's limit on texts is reached: the model owner may send the weights again, which starts a new "
            "count"
        )
    if steps is None:
        return most
    allowed = min(most, steps + 1)
    say(f"limits   with these weights the parties open {steps * options.step_rows} more rows behind texts")
    if allowed < most:
        note(f"--max-new-tokens is {most}, the program's limits leave {allowed}")
    return allowed


def _shown(counts: Counts, cost: Cost, tokens: int) -> str:
    """Steps, traffic and the draft's success."""
    parts = [f"{counts.steps} steps"]
    if counts.drafted:
        parts.append(f"{counts.kept} of {counts.drafted} drafted tokens kept")
    if cost.bytes_sent:
        parts.append(f"{cost.bytes_sent / 1e6 / tokens:.2f} MB and {cost.rounds / tokens:.0f} rounds per token")
    return "".join(f", {part}" for part in parts)
