"""`secfwt-convert`: adapt a model to random-feature attention, or to fewer heads, on public text, in the clear.

The result replaces the attention's queries and keys by random features (docs/adaptation.md) and changes biases, layer
norms and, by low rank, the other matrices; it is an adapter beside the untouched model, or a model directory. With
`--merge-heads` it is a model with fewer heads.
Torch is needed here and nowhere else in the package.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from ...codegen.commandline.command import Command, Typed
from ...codegen.commandline.ending import exit_codes
from ...codegen.commandline.options import RUN, Option, options_of
from ..adaptation.options import ConversionError, ConvertOptions
from ..errors import SecfwtError

TORCH_MISSING = "convert needs PyTorch, which is not installed: pip install torch"


@dataclass(frozen=True)
class Run:
    """Where a conversion is kept."""

    run: Annotated[Path | None, Option("Run folder.", RUN, metavar="DIR", default="runs/convert-<time>")] = None
    resume: Annotated[Path | None, Option("Continue the conversion in this folder.", RUN, metavar="DIR")] = None


COMMAND = Command(
    "secfwt-convert",
    (ConvertOptions, Run),
    "Adapt a model to random-feature attention, or to fewer heads, on public text, in the clear.",
    "secfwt-convert MODEL --text texts.txt --out adapter --features 32",
)


class WriteError(SecfwtError):
    """A file that cannot be written; what was done before is kept."""

    exit_code = 3
    resumable = True


def convert_command(typed: Typed) -> None:
    """Convert, or continue a conversion. Exit code 3: a file that cannot be written."""
    folders: Run = typed.make(Run)
    folder = folders.resume

    def advice() -> str:
        return f"continue with: secfwt-convert --resume {folder}" if folder else ""

    with exit_codes(advice):
        if folders.resume:
            _refuse_others(typed, folders)
        options = None if folders.resume else typed.make(ConvertOptions)
        try:
            from rich.console import Console

            from ..conversion.display import ConversionDisplay
            from ..conversion.run_folder import ConversionRun
            from ..conversion.session import convert, read_material

            if folders.resume:
                run, options = ConversionRun.open(folders.resume)
                material = read_material(options)
            else:
                assert options is not None
                material = read_material(options)
                run = ConversionRun.create(folders.run, options)
            folder = run.path
            report = convert(material, options, run, ConversionDisplay(Console()))
        except ImportError as error:
            missing = (error.name or "").startswith("torch")
            raise ConversionError(TORCH_MISSING if missing else str(error)) from None
        except OSError as error:
            place = error.filename or typed.values.get("out") or folder
            raise WriteError(f"cannot write {place}: {error.strerror or error}") from None
        after = report["after"]
        cosines = f"{after['cosine_mean']:.3f} mean, {after['cosine_q0.05']:.3f} at the 5th percentile"
        print(f"cosine to the original's embedding on unseen text: {cosines}")
        print(f"wrote {options.out}; reports in {folder}")


def _refuse_others(typed: Typed, folders: Run) -> None:
    if folders.run:
        raise ConversionError("--run and --resume are given: choose one")
    if given := [each.flag for each in options_of(ConvertOptions) if each.name in typed]:
        raise ConversionError(f"{given[0]} is given with --resume: a conversion goes on with the options it began with")


def main(words: Sequence[str] | None = None) -> None:
    """Entry point of `secfwt-convert`."""
    COMMAND.run(convert_command, words)


if __name__ == "__main__":
    main()
