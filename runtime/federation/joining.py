"""A data owner's part from options to result: share, stay, log every opening, measure the tuned prompt."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from io import BytesIO
from pathlib import Path

import numpy as np
from rich.console import Console

from ...codegen.bundle import program_options
from ...codegen.ring.header import ProgramHeader
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
from .privacy import UnionMechanism, union_mechanism

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
    sizes = {name: len(shared.sets[name]) for name in SETS}
    mechanism = union_mechanism(kept, shared.model, {owner: sizes}) if kept.noise else None
    run = _folder(options.run, kept, shared)
    display.note(f"log      {run.path / OPENINGS}")
    try:
        prompt = _stay(deployment, header, owner, shared, mechanism, run, display)
        keep_prompt(run, prompt, shared.splits.labels)
        display.note(f"over     the search is; its prompt is in {run.path}, for secfwt-predict and secfwt-evaluate")
    except KeyboardInterrupt:
        display.note(
            "withdrawn: the parties have let go of these examples. What was opened stays known: if the same weights "
            "are sent again and the others go on, the difference to their sum is what these examples add"
        )
        return
    finally:
        if mechanism and (opened := opened_sums(run)):
            display.note(f"privacy  of what the log has, {mechanism.statement(opened)}")
        run.close()
    if shared.splits.test:
        evaluate(EvaluateOptions(run=run.path, prompt="both"), console)


def _folder(path: Path | None, options: TuneOptions, shared: Shared) -> TuningRun:
    """A new folder, or one of an earlier time if its examples are the same: of others the coordinator would learn the
    difference."""
    if path is not None and (path / "options.json").exists():
        run = TuningRun.resume(path, shared.fingerprints)
        with run.writing(OPENINGS):
            run.keep_lines(OPENINGS, lambda line: True)  # a torn one is as good as none
        return run
    return TuningRun.create(path or new_folder("join-"), options.to_json(), shared.fingerprints)


def _stay(
    deployment: Deployment, header: ProgramHeader, owner: str, shared: Shared, mechanism: UnionMechanism | None,
    run: TuningRun, display: Display,
) -> Prompt:  # fmt: skip
    """Share, log openings until the search is over, and leave."""
    least = next(output.min_owners for output in header.outputs if output.min_owners)
    coordinator = deployment.coordinator
    display.note(
        f"sums     of {least} data owners or more, {coordinator} not counted, who gets them; the deployment names "
        f"{len(deployment.data_owners)}: {', '.join(deployment.data_owners)}"
    )
    member = Member(deployment, header, owner, progress=display.part)
    try:
        announce(member, display)
        if mechanism:
            display.note(f"privacy  {_promised(mechanism, member, run)}")
        member.join(shared.sets)
        sizes = ", ".join(f"{len(shared.sets[name])} {name}" for name in SETS)
        display.note(f"joined   as {owner} with {sizes} examples; stays until the search is over, Ctrl-C withdraws")
        while isinstance(heard := member.listen(), Opening):
            log(run, heard, coordinator)
            display.note(
                f"opened   to {coordinator}: {heard.candidates} x {heard.output} of {heard.set}, each the sum over "
                f"{heard.examples} examples of {len(heard.owners)} owners; {heard.opened} so far"
            )
        return heard
    finally:
        member.leave()


def announce(member: Member, display: Display) -> None:
    """Say whose place this connection takes: that of whoever has the same key."""
    if member.elsewhere:
        sizes = ", ".join(f"{count} {name}" for name, count in zip(SETS, member.elsewhere, strict=True))
        display.note(
            f"warning  this owner has joined already, on another connection, with {sizes} examples: they are "
            "withdrawn, and whoever is there is told"
        )


def _promised(mechanism: UnionMechanism, member: Member, run: TuningRun) -> str:
    """What holds of these examples whatever the coordinator asks for: the parties hold it to the program's limit. What
    was opened while this owner could not log it counts as theirs."""
    last = next((line["opened"] for line in reversed(run.lines(OPENINGS))), 0)
    left = (member.allowance().evaluations or 0) + max(0, member.opened - last)
    return f"at most {left} sums more are opened with these weights: {mechanism.promise(opened_sums(run), left)}"


def opened_sums(run: TuningRun) -> Counter[str]:
    """Sums by set that this owner's log has."""
    found: Counter[str] = Counter()
    for line in run.lines(OPENINGS):
        found[line["set"]] += line["candidates"]
    return found


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
