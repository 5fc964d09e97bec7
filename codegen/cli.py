"""`secfwt-gen`: a Hugging Face model in, a program bundle out."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console
from rich.table import Table

from .bundle import Compiled, compile_model, write_bundle
from .cost import Cost, generation_cost, site_costs
from .options import GenOptions
from .problems import ProblemsFound

Target = Literal["all", "embedded", "mp-spdz"]
_D = GenOptions()


def generate_command(
    model: Annotated[Path, typer.Argument(help="config.json, or a directory with config.json, weights and tokenizer.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Bundle directory.")] = Path("bundles/bundle"),
    target: Annotated[Target, typer.Option(help="Which programs to write.")] = "all",
    adapter: Annotated[Path | None, typer.Option(help="Random-feature adapter (a directory).")] = None,
    calibration_text: Annotated[
        Path | None, typer.Option(help="Public text, a line each, to calibrate intervals with.")
    ] = None,
    examples: Annotated[int, typer.Option(min=1, help="Examples a generation, for the estimate.")] = 32,
    sequence_length: Annotated[
        int, typer.Option(help="Tokens of an example, special ones included.")
    ] = _D.sequence_length,
    n_prompt_tokens: Annotated[int, typer.Option(help="Prompt rows; 0: plain inference.")] = _D.n_prompt_tokens,
    prompt_layer: Annotated[int, typer.Option(help="Layer whose input gets the prompt.")] = _D.prompt_layer,
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
            sequence_length=sequence_length, n_prompt_tokens=n_prompt_tokens, prompt_layer=prompt_layer,
            intrinsic_dim=intrinsic_dim, popsize=popsize, loss=loss, margin=margin, reveal=reveal,
            rfa_features=rfa_features, rfa_variant=rfa, rfa_floor=rfa_floor, head=head,
            label_words=_split(label_words, ","), label_texts=_split(label_texts, "|"), template=template,
            temperature=temperature, seed=seed,
        )  # fmt: skip
        compiled = compile_model(model, options, adapter, _lines(calibration_text))
        write_bundle(compiled, output, target=target, command=_command_line())
    except ProblemsFound as found:
        print(found, file=sys.stderr)
        raise typer.Exit(2) from None
    console.print(cost_table(compiled, examples))
    if compiled.weights is None:
        console.print("no weights there: norms and ranges are assumed, and the bundle has its public part only")
    console.print(f"wrote {output}")


def cost_table(compiled: Compiled, examples: int) -> Table:
    """Layers, parameters and what a generation costs, from the same numbers as the program."""
    candidates = compiled.options.popsize
    table = Table(
        title=f"one generation: {candidates} candidates × {examples} examples × {compiled.options.sequence_length} tokens"
    )
    for column in ("part", "secret parameters", "MB", "rounds", "10⁹ multiply-accumulates"):
        table.add_column(column, justify="left" if column == "part" else "right")
    total = Cost()
    parameters = 0
    for site, (count, cost) in site_costs(compiled.ring, compiled.program.fits, candidates, examples).items():
        table.add_row(site, f"{count:,}", *_cells(cost))
        total, parameters = total + cost, parameters + count
    exact = generation_cost(compiled.ring, compiled.program.fits, candidates, examples)
    table.add_section()
    table.add_row("all", f"{parameters:,}", *_cells(Cost(total.bytes, exact.rounds, total.macs)))
    table.caption = "bytes and multiply-accumulates over all three parties; parts share rounds; evaluated in one tile; parts without cost run once an example"
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
    from .problems import Problem

    return ProblemsFound([Problem("error", message)])


def _command_line() -> str:
    """The command as typed, without directories, so that the same input gives the same bytes anywhere."""
    return " ".join(["secfwt-gen", *(Path(a).name if "/" in a else a for a in sys.argv[1:])])


def main() -> None:
    """Entry point."""
    typer.run(generate_command)


if __name__ == "__main__":
    main()
