"""The choices of a prediction and of an evaluation."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from ...codegen.commandline.options import DATA, ENGINE, RUN, Option, check
from ..tuning.options import MpSpdzFolder

PromptChoice = Literal["tuned", "none"]


@dataclass(frozen=True)
class InferenceOptions:
    """How rows of logits are asked for; all else is the run's."""

    run: Annotated[Path, Option("Folder of a finished run.", RUN, metavar="DIR")]
    batch_size: Annotated[
        int, Option("Texts that the parties hold at a time.", ENGINE, at_least=1, at_most=1 << 20)
    ] = 64  # fmt: skip
    deployment: Annotated[
        tuple[str, ...],
        Option(
            "TOML file of parties that run elsewhere; the run's bundle is theirs. Repeat it for more groups.", ENGINE,
            metavar="FILE", path=True, default="the run's",
        ),
    ] = ()  # fmt: skip
    mp_spdz: MpSpdzFolder = ""

    @property
    def changed(self) -> dict[str, Any]:
        """What is to differ from the run's options."""
        return {name: value for name in ("deployment", "mp_spdz") if (value := getattr(self, name))}


@dataclass(frozen=True)
class PredictOptions(InferenceOptions):
    """Options of `secfwt-predict`."""

    data: Annotated[
        Path | None,
        Option("File of texts: .jsonl, .csv or .tsv.", DATA, metavar="FILE", default="standard input, one per line"),
    ] = None  # fmt: skip
    text: Annotated[
        tuple[str, ...], Option("A text itself, in place of --data; repeat for more.", DATA, metavar="TEXT")
    ] = ()
    text_column: Annotated[str, Option("Column with the text.", DATA, default="the run's")] = ""
    output: Annotated[
        Path | None,
        Option("File of labels: .csv or .jsonl.", RUN, ("-o", "--output"), metavar="FILE", default="standard output"),
    ] = None  # fmt: skip
    prompt: Annotated[PromptChoice, Option("The run's prompt, or none: what the model says without tuning.", RUN)] = (
        "tuned"
    )

    def __post_init__(self) -> None:
        report = check(self)
        if self.data and self.text:
            report.error("--data and --text are given", "Choose one.")
        if self.output and self.output.suffix.lower() not in (".csv", ".jsonl"):
            report.error(f"-o is {self.output}", "Its name must end with .csv or .jsonl.")
        report.check()


@dataclass(frozen=True)
class ExportOptions:
    """Options of `secfwt-export`."""

    run: Annotated[Path, Option("Folder of a finished run.", RUN, metavar="DIR")]
    output: Annotated[Path, Option("Folder for the prompt; a new one.", RUN, ("-o", "--output"), metavar="DIR")]


@dataclass(frozen=True)
class EvaluateOptions(InferenceOptions):
    """Options of `secfwt-evaluate`."""

    data: Annotated[
        Path | None, Option("Labelled file: .jsonl, .csv or .tsv.", DATA, metavar="FILE", default="the run's test set")
    ] = None
    text_column: Annotated[str, Option("Column with the text.", DATA, default="the run's")] = ""
    label_column: Annotated[str, Option("Column with the class.", DATA, default="the run's")] = ""
    output: Annotated[
        Path | None,
        Option(
            "Folder for evaluation.json and evaluation.png.", RUN, ("-o", "--output"), metavar="DIR",
            default="the run's, or a folder in it that is called as the file",
        ),
    ] = None  # fmt: skip
    prompt: Annotated[
        Literal["tuned", "none", "both"], Option("Under the run's prompt, without one, or both.", RUN)
    ] = "tuned"

    def __post_init__(self) -> None:
        check(self).check()
