"""A data owner's part from options to result: share, stay, log every opening, measure the tuned prompt."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict
from io import BytesIO
from pathlib import Path

import numpy as np
from rich.console import Console

from ...codegen.bundle import program_options
from ..data.labels import class_names
from ..data.splits import Splits
from ..embedded.running import elsewhere
from ..errors import BundleError
from ..parties.deployment import Deployment
from ..prediction.options import EvaluateOptions
from ..prediction.session import evaluate
from ..progress import Display, make_display
from ..run_folder import new_folder
from ..tuning.model import Model
from ..tuning.options import TuneOptions, bundle_options
from ..tuning.run_folder import TuningRun
from ..tuning.session import asdict_sets, data_fingerprint, embed, load_splits
from .member import SETS, Member, Opening, Prompt
from .options import JoinOptions

OPENINGS = "openings.jsonl"
"""A line for every step that this owner's examples took part in."""


def own_owner(deployment: Deployment, path: str, owner: str = "") -> str:
    """Which of a deployment's data owners this host is. Raises DeploymentError, BundleError."""
    if not deployment.data_owners:
        raise BundleError(f"deployment {path} names one data owner: it runs the search itself, with tune.py")
    if owner and owner not in deployment.data_owners:
        raise BundleError(f"--owner is {owner}: deployment {path} names {', '.join(deployment.data_owners)}")
    return owner or deployment.own_client


def run_options(options: JoinOptions, owner: str) -> TuneOptions:
    """What the owner's folder keeps, for whoever uses the prompt: `alpha` is 1, the vector is told as parties get it.
    Raises ProblemsFound."""
    given = options.given | {"deployment": (options.deployment,), "owner": owner, "alpha": 1.0}
    return bundle_options(given, program_options(Path(options.bundle)))


class Shared:
    """An owner's examples as they are shared, and what makes them the same again."""

    def __init__(self, options: TuneOptions, splits: Splits, display: Display) -> None:
        self.splits = splits
        self.model = Model.open(Path(options.bundle), "embedded")
        names, warnings = class_names(splits.places, self.model.spec.head.labels)
        for problem in warnings:
            display.note(f"warning  {problem.header}\n         {problem.detail}")
        named = asdict_sets(splits.renamed(names))
        self.sets = {name: embed(name, named[name], self.model, options, display).batch for name in SETS}
        self.fingerprints = {"data": data_fingerprint(splits), **self.model.fingerprints}


def join(options: JoinOptions, console: Console) -> None:
    """Take part until the coordinator's search is over, or until this is interrupted, which withdraws the examples.

    Raises DataError, ProblemsFound, BundleError, DeploymentError, RunFolderError, and ServiceError when a party is gone
    or the weights change: then joining again is a new decision.
    """
    display = make_display(console)
    program = Path(options.bundle) / "public" / "program.txt"
    deployment, header = elsewhere(Path(options.deployment), program)
    owner = own_owner(deployment, options.deployment, options.owner)
    kept = run_options(options, owner)
    shared = Shared(kept, load_splits(kept), display)
    run = _folder(options.run, kept, shared)
    display.note(f"log      {run.path / OPENINGS}")
    try:
        member = Member(deployment, header, owner, shared.sets, progress=display.part)
        sizes = ", ".join(f"{len(shared.sets[name])} {name}" for name in SETS)
        display.note(f"joined   as {owner} with {sizes} examples; stays until the search is over, Ctrl-C withdraws")
        keep_prompt(run, _listen(member, run, deployment.coordinator, display), shared.splits.labels)
        display.note(f"over     the search is; its prompt is in {run.path}, for secfwt-predict and secfwt-evaluate")
    except KeyboardInterrupt:
        display.note(
            "withdrawn: the parties have let go of these examples. What was opened stays known: if the same weights "
            "are sent again and the others go on, the difference to their sum is what these examples add"
        )
        return
    finally:
        run.close()
    if shared.splits.test:
        evaluate(EvaluateOptions(run=run.path, prompt="both"), console)


def _folder(path: Path | None, options: TuneOptions, shared: Shared) -> TuningRun:
    """A new folder, or one of an earlier time if its examples are the same: of others the coordinator would learn the
    difference."""
    if path is not None and (path / "options.json").exists():
        return TuningRun.resume(path, shared.fingerprints)
    return TuningRun.create(path or new_folder("join-"), options.to_json(), shared.fingerprints)


def _listen(member: Member, run: TuningRun, coordinator: str, display: Display) -> Prompt:
    """Log openings until the search is over, and leave."""
    try:
        while isinstance(heard := member.listen(), Opening):
            log(run, heard, coordinator)
            display.note(
                f"opened   to {coordinator}: {heard.candidates} x {heard.output} of {heard.set}, each the sum over "
                f"{heard.examples} examples of {len(heard.owners)} owners; {heard.opened} so far"
            )
    finally:
        member.leave()
    return heard


def keep_prompt(run: TuningRun, prompt: Prompt, labels: Sequence[str]) -> None:
    """What `secfwt-predict` and `secfwt-evaluate` read of a finished run."""
    file = BytesIO()
    np.savez(file, z=prompt.coordinates, shots=np.array(0.0))
    run.write_json("result.json", {"labels": list(labels)})
    with run.writing("prompt.npz"):
        run.replace("prompt.npz", file.getvalue())


def log(run: TuningRun, opening: Opening, coordinator: str) -> None:
    """One line, synced."""
    line = {"time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "to": coordinator, **asdict(opening)}
    with run.writing(OPENINGS):
        run.append(OPENINGS, line)
