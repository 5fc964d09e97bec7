"""`secfwt-gen`: a Hugging Face model in, a program bundle out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from .commandline.command import Command, Typed
from .commandline.options import ATTENTION, ENGINE, MODEL, RUN, Option
from .commandline.problems import Problem, ProblemsFound
from .model.options import INITIAL_PROMPT, LORA, AttentionChoice, GenOptions, WeightsChoice
from .mpspdz.options import MpSpdzOptions
from .plan.graph import UNION_WEIGHT


@dataclass(frozen=True)
class Generation:
    """What is read and written."""

    model: Annotated[
        Path,
        Option("config.json, a directory with config.json, weights and tokenizer, or a GGUF file.", MODEL, ("MODEL",)),
    ]
    output: Annotated[Path, Option("Bundle directory.", RUN, ("--output", "-o"), metavar="DIR")] = Path(
        "bundles/bundle"
    )
    target: Annotated[Literal["all", "embedded", "mp-spdz"], Option("Which programs to write.", ENGINE)] = "all"
    adapter: Annotated[Path | None, Option("Random-feature adapter (a directory).", ATTENTION, metavar="DIR")] = None
    lora: Annotated[Path | None, LORA] = None
    calibration_text: Annotated[
        Path | None,
        Option("Public text, one per line, to calibrate intervals with.", MODEL, metavar="FILE"),
    ] = None
    initial_prompt: Annotated[Path | None, INITIAL_PROMPT] = None


@dataclass(frozen=True)
class ProgramChoices(GenOptions):
    """The generator's options with the command line's defaults: the attention that the model is fit for, and a public
    base where there is an adapter of it."""

    attention: AttentionChoice = "auto"
    weights: WeightsChoice = "auto"


COMMAND = Command(
    "secfwt-gen",
    (Generation, MpSpdzOptions, ProgramChoices),
    "Compile a Hugging Face model into a private prompt-tuning program.",
    "secfwt-gen MODEL --label-texts 'sports|business' --prompt-layer 4 -o bundle",
)


def generate_command(typed: Typed) -> None:
    """Write the bundle, then say what a generation costs."""
    from .bundle import generate
    from .estimate import attention_line, placement_line, show
    from .model.compatibility import bare_label_texts

    choices, mp_spdz, options = typed.make(Generation, MpSpdzOptions, ProgramChoices)
    compiled = generate(
        choices.model, options, choices.output, adapter=choices.adapter,
        calibration=_lines(choices.calibration_text), prompt=choices.initial_prompt, lora=choices.lora,
        target=choices.target, mp_spdz=mp_spdz, command=typed.line(leave_out=("output",)),
    )  # fmt: skip
    for problem in bare_label_texts(options.label_texts):
        print(problem)
    if compiled.spec.head.kind != "tokens":
        print(f"attention  {attention_line(compiled, mp_spdz.examples)}")
        if placement := placement_line(compiled, mp_spdz.examples):
            print(f"prompt     {placement}")
    show(compiled, mp_spdz.examples)
    if (clipped := compiled.covered.clipped) is not None:
        low, high = clipped
        what = f"sum of losses, in which an example's weighs {UNION_WEIGHT:g}" if options.min_owners else "loss"
        print(
            f"noise      {options.noise:g} by each party on every {what}; an example's is from {low:.3g} to {high:.3g}"
        )
    if compiled.weights is None:
        print("no weights: norms and ranges are assumed, and the bundle has its public part only")
    if options.limited and choices.target == "all":
        print("no program.mpc: MP-SPDZ's parties count neither what they open nor owners, and add no noise to it")
    print(f"wrote {choices.output}")


def _lines(path: Path | None) -> list[str] | None:
    if path is None:
        return None
    try:
        lines = [line for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as e:
        raise _input_error(f"--calibration-text is {path}: {e}") from None
    if not lines:
        raise _input_error(f"--calibration-text is {path}: it has no text; one per line is expected")
    return lines


def _input_error(message: str) -> ProblemsFound:
    return ProblemsFound([Problem("error", message)])


def main(words: Sequence[str] | None = None) -> None:
    """Entry point."""
    COMMAND.run(generate_command, words)


if __name__ == "__main__":
    main()
