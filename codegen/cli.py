"""`secfwt-gen`: a Hugging Face model in, a program bundle out."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console
from rich.table import Table

from .bundle import Target, generate
from .commandline.problems import Problem, ProblemsFound
from .compile import Compiled
from .model.options import GenOptions
from .mpspdz.options import MpSpdzOptions, Protocol
from .plan.graph import Stage
from .ring.cost import Cost, generation_cost, kept_bytes, site_costs, stage_cost
from .ring.unstaged import unstaged

_D = GenOptions()


def generate_command(
    context: typer.Context,
    model: Annotated[Path, typer.Argument(help="config.json, or a directory with config.json, weights and tokenizer.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Bundle directory.")] = Path("bundles/bundle"),
    target: Annotated[Target, typer.Option(help="Which programs to write.")] = "all",
    adapter: Annotated[Path | None, typer.Option(help="Random-feature adapter (a directory).")] = None,
    calibration_text: Annotated[
        Path | None, typer.Option(help="Public text, a line each, to calibrate intervals with.")
    ] = None,
    protocol: Annotated[Protocol, typer.Option(help="Protocol of the MP-SPDZ program.")] = "ring",
    round_nearest: Annotated[
        bool, typer.Option(help="MP-SPDZ program: exact rounding in place of probabilistic truncation.")
    ] = False,
    examples: Annotated[
        int, typer.Option(min=1, help="Examples a generation: for the estimate, and most of a set under MP-SPDZ.")
    ] = 32,
    sequence_length: Annotated[
        int, typer.Option(help="Tokens of an example, special ones included.")
    ] = _D.sequence_length,
    n_prompt_tokens: Annotated[int, typer.Option(help="Prompt rows; 0: plain inference.")] = _D.n_prompt_tokens,
    prompt_layer: Annotated[int, typer.Option(help="Layer whose input gets the prompt.")] = _D.prompt_layer,
    deep: Annotated[bool, typer.Option(help="A prompt for every layer from --prompt-layer on.")] = _D.deep,
    frozen_layers: Annotated[
        int, typer.Option(help="Lowest layers that are public: the data owner runs them in the clear.")
    ] = _D.frozen_layers,
    weights: Annotated[
        Literal["private", "public"],
        typer.Option(help="public: an open model; the data owner runs all layers below the prompt in the clear."),
    ] = _D.weights,
    intrinsic_dim: Annotated[int, typer.Option(help="Length of the vector that is searched.")] = _D.intrinsic_dim,
    popsize: Annotated[int, typer.Option(help="Candidates a generation.")] = _D.popsize,
    loss: Annotated[Literal["ce", "hinge"], typer.Option(help="Loss under MPC.")] = _D.loss,
    margin: Annotated[float, typer.Option(help="Margin of the hinge loss.")] = _D.margin,
    reveal: Annotated[
        Literal["losses", "logits"], typer.Option(help="What a step opens to the data owner.")
    ] = _D.reveal,
    rfa_features: Annotated[int, typer.Option(help="Random features a head.")] = _D.rfa_features,
    rfa: Annotated[
        Literal["folded", "paper"], typer.Option(help="Variant of random-feature attention.")
    ] = _D.rfa_variant,
    rfa_floor: Annotated[float, typer.Option(help="Smallest attention denominator.")] = _D.rfa_floor,
    head: Annotated[
        Literal["auto", "classification", "masked_lm", "prototypes"], typer.Option(help="How logits are read off.")
    ] = _D.head,
    labels: Annotated[str, typer.Option(help="Names of the labels as the data has them, comma-separated.")] = "",
    label_words: Annotated[str, typer.Option(help="Masked-LM head: comma-separated words, one a label.")] = "",
    label_texts: Annotated[str, typer.Option(help="Prototype head: texts, one a label, separated by '|'.")] = "",
    template: Annotated[str, typer.Option(help="How texts become input: {text}, {text_b}, {mask}.")] = "",
    temperature: Annotated[float, typer.Option(help="Prototype head: factor on the cosine.")] = _D.temperature,
    seed: Annotated[int, typer.Option(help="Of features, projection and initial prompt.")] = _D.seed,
) -> None:
    """Compile a Hugging Face encoder into a private prompt-tuning program."""
    console = Console()
    try:
        options = GenOptions(
            sequence_length=sequence_length, n_prompt_tokens=n_prompt_tokens, prompt_layer=prompt_layer, deep=deep,
            frozen_layers=frozen_layers, weights=weights, intrinsic_dim=intrinsic_dim, popsize=popsize, loss=loss,
            margin=margin, reveal=reveal, rfa_features=rfa_features, rfa_variant=rfa, rfa_floor=rfa_floor, head=head,
            labels=_split(labels, ","), label_words=_split(label_words, ","), label_texts=_split(label_texts, "|"),
            template=template, temperature=temperature, seed=seed,
        )  # fmt: skip
        compiled = generate(
            model, options, output, adapter=adapter, calibration=_lines(calibration_text), target=target,
            mp_spdz=MpSpdzOptions(protocol=protocol, examples=examples, round_nearest=round_nearest),
            command=_command_line(context),
        )  # fmt: skip
    except ProblemsFound as found:
        print(found, file=sys.stderr)
        raise typer.Exit(2) from None
    console.print(cost_table(compiled, examples))
    if compiled.weights is None:
        console.print("no weights: norms and ranges are assumed, and the bundle has its public part only")
    console.print(f"wrote {output}")


def cost_table(compiled: Compiled, examples: int) -> Table:
    """Parts, parameters and what a generation costs, from the same numbers as the program."""
    ring, fits, candidates = compiled.ring, compiled.program.fits, compiled.options.popsize
    tokens = compiled.options.sequence_length
    table = Table(title=f"one generation: {candidates} candidates × {examples} examples × {tokens} tokens")
    for column in ("part", "secret parameters", "MB", "rounds", "10⁹ multiply-accumulates"):
        table.add_column(column, justify="left" if column == "part" else "right")
    sites = site_costs(ring, fits, candidates, examples)
    for site, (count, cost) in sites.items():
        if count or cost != Cost():
            table.add_row(site, f"{count:,}", *_cells(cost))
    table.add_section()
    parameters = sum(count for count, _ in sites.values())
    table.add_row("all", f"{parameters:,}", *_cells(generation_cost(ring, fits, candidates, examples)))
    if ring.inputs("candidate"):
        table.add_row("unstaged", "", *_cells(generation_cost(unstaged(ring), fits, candidates, examples)))
    once = stage_cost(ring, fits, Stage.SETUP, 1) + stage_cost(ring, fits, Stage.EXAMPLE, examples)
    table.add_row("before the first", "", *_cells(once))
    table.caption = (
        "bytes and multiply-accumulates over all three parties, in one tile; parts share rounds; "
        "before the first generation: what depends on weights and examples alone; unstaged: were all of it "
        "computed for every pair of candidate and example\n"
        f"between steps a party keeps shares in memory: {kept_bytes(ring, Stage.SETUP) / 1e6:,.1f} MB of the model, "
        f"{kept_bytes(ring, Stage.EXAMPLE) / 1e6:,.3f} MB of every example"
    )
    return table


def _cells(cost: Cost) -> tuple[str, str, str]:
    return f"{cost.bytes / 1e6:,.1f}", f"{cost.rounds}", f"{cost.macs / 1e9:,.2f}"


def _split(text: str, separator: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(separator) if part.strip())


def _lines(path: Path | None) -> list[str] | None:
    if path is None:
        return None
    try:
        lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as e:
        raise _input_error(f"--calibration-text is {path}: {e}") from None
    if not lines:
        raise _input_error(f"--calibration-text is {path}: it has no text; a line each is expected")
    return lines


def _input_error(message: str) -> ProblemsFound:
    return ProblemsFound([Problem("error", message)])


def _command_line(context: typer.Context) -> str:
    """What was typed, on one line, without folders and output: the same input gives the same bytes anywhere."""
    words = ["secfwt-gen"]
    for parameter in context.command.params:
        source = context.get_parameter_source(str(parameter.name))
        # By name: typer may bring its own copy of click, with its own enumeration.
        if parameter.name == "output" or source is None or source.name != "COMMANDLINE":
            continue
        value = context.params[str(parameter.name)]
        option = [] if parameter.param_type_name == "argument" else [parameter.opts[0]]
        words += [*option, value.absolute().name if isinstance(value, Path) else str(value)]
    return " ".join(shlex.join(words).splitlines())


def main() -> None:
    """Entry point."""
    typer.run(generate_command)


if __name__ == "__main__":
    main()
