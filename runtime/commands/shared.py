"""Options that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from ...codegen.commandline.options import ENGINE, MODEL, Option

DeploymentFile = Annotated[Path, Option("TOML file that describes the parties.", ENGINE, metavar="FILE")]
BundleFolder = Annotated[Path, Option("Bundle that secfwt-gen wrote.", MODEL, metavar="DIR")]
