"""The choices of a data owner who takes part in a search that another runs."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any

from ...codegen.commandline.options import DATA, ENGINE, MODEL, RUN, Option, check
from ..data.presets import PRESETS
from ..tuning.options import DELTA, OWNER, DataOptions


@dataclass(frozen=True, kw_only=True)
class JoinOptions(DataOptions):
    """Options of `secfwt-join`."""

    deployment: Annotated[
        str,
        Option("TOML file that describes the parties and names the data owners.", ENGINE, metavar="FILE", path=True),
    ]
    bundle: Annotated[
        str,
        Option(
            "Bundle that secfwt-gen --min-owners wrote: its public and data_owner folders.", MODEL, metavar="DIR",
            path=True,
        ),
    ]  # fmt: skip
    data: Annotated[
        str,
        Option("Training file: .jsonl, .csv or .tsv.", DATA, metavar="FILE", path=True, default="none: give one"),
    ] = ""  # fmt: skip
    k_shot: int = PRESETS["standard"].shots
    test_limit: int = PRESETS["standard"].test
    owner: Annotated[str, OWNER] = ""
    delta: Annotated[float, DELTA] = 1e-5
    run: Annotated[
        Path | None,
        Option(
            "Folder for what was opened, the tuned prompt and its accuracy; one that is there: join again.", RUN,
            metavar="DIR", default="runs/join-<time>",
        ),
    ] = None  # fmt: skip

    def __post_init__(self) -> None:
        report = check(self)
        if not self.data:
            report.error("--data is missing", "A data owner without examples has nothing to join with.")
        report.check()

    @property
    def given(self) -> dict[str, Any]:
        """What they are of a tuning run's options."""
        return {field.name: getattr(self, field.name) for field in fields(self) if field.name != "run"}
