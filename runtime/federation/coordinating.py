"""The coordinator's run from options to result: wait for the owners, search on their sum, tell them the prompt."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from ...codegen.commandline.problems import Problem, ProblemsFound
from ...codegen.ring.header import ProgramHeader
from ..embedded.running import elsewhere
from ..errors import BundleError, DeploymentError, ServiceError
from ..parties.deployment import Deployment
from ..prediction.options import EvaluateOptions
from ..prediction.session import evaluate
from ..progress import Display, make_display
from ..reporting.page import Reached
from ..run_folder import Json
from ..tuning.limits import Canaries
from ..tuning.loop import tune
from ..tuning.model import PublicModel
from ..tuning.objective import Objective, PromptSpace
from ..tuning.options import TuneOptions
from ..tuning.report import facts_of, page_of_what_is_there, summary, write_page, write_report
from ..tuning.run_folder import TuningRun
from ..tuning.session import limits_of, load_splits, opened_run
from .joining import Shared, announce, log
from .member import SETS, Member, Opening
from .privacy import union_mechanism
from .union import UnionEngine, gathered


def coordinates(options: TuneOptions) -> bool:
    """Whether a run's deployment names several data owners, so that it is a coordinator's. Raises DeploymentError."""
    if options.engine != "embedded":
        return False
    named = [path for path in options.deployment if Deployment.load(Path(path)).data_owners]
    if named and len(options.deployment) > 1:
        raise DeploymentError(
            f"deployment {named[0]} names several data owners: their examples are with one group of parties, and "
            f"--deployment is given {len(options.deployment)} times"
        )
    return bool(named)


def coordinate(
    options: TuneOptions, folder: Path | None, resume: bool, console: Console, begun: Callable[[Path], None]
) -> Json:
    """Run, or continue the run in `folder`; returns what `result.json` holds. Where the coordinator is one of the data
    owners, it shares its own examples first, as the others do.

    Raises as `tune_splits` does, and BundleError where bundle and deployment do not belong together.
    """
    began = time.monotonic()
    display = make_display(console)
    model = PublicModel.open_public(Path(options.bundle), "embedded")
    assert model.program is not None
    deployment, header = elsewhere(Path(options.deployment[0]), model.program)
    owners = _owners(options, deployment, model)
    display.note(f"model    {model.name}: {model.described}")
    with ExitStack() as stack:
        prints = model.fingerprints
        own = None
        if deployment.coordinator in owners:
            options = replace(options, owner=deployment.coordinator)
            own = Shared(options, load_splits(options), display)
            prints = own.fingerprints
            member = stack.enter_context(_joined(own, deployment, header, display))
        engine = stack.enter_context(
            gathered(deployment, header, owners, display, deployment.coordinator if own else None)
        )
        display.note(f"data     {_counts(engine)}")
        prints = prints | {"owners": _fingerprint(engine)}
        run = stack.enter_context(opened_run(folder, options, prints, resume, display))
        begun(run.path)
        if own:
            stack.enter_context(_logged(member, run, deployment.coordinator))
        display.note(f"engine   {engine.name}")
        space = PromptSpace(model.plan, options.alpha)
        noise = options.noise / engine.weighed(min(engine.sizes.values()))
        objective = Objective(
            engine, space, "losses", options.loss, options.margin, {}, limits_of(options, model, noise),
            Canaries(options.canaries, noise=noise),
        )  # fmt: skip
        if options.noise:
            counts = {name: dict(zip(SETS, each, strict=True)) for name, each in engine.counts.items()}
            objective.mechanism, objective.asking = union_mechanism(options, model, counts), run.note_asked
        labels, sizes = model.spec.head.labels, {**engine.sizes, "test": 0}
        facts = facts_of(run, options, model, engine, (labels, sizes))
        with page_of_what_is_there(run, facts):
            outcome = tune(objective, options.search(space.dim), run, display)
        context = {
            "model": model.name, "labels": labels, "examples": sizes, "owners": engine.counts,
            "options": options.to_json(), "wall_seconds": round(time.monotonic() - began, 1),
        }  # fmt: skip
        result = write_report(run, outcome, engine, context, None)
        write_page(run, facts, Reached.of(result))
        engine.tell(space.coordinates(outcome.best_z))
    display.note(summary(result))
    display.note(f"files        {run.path}: report.html, result.json, history.jsonl, prompt.npz, loss.png")
    if own and own.splits.test:
        evaluate(EvaluateOptions(run=run.path, prompt="both"), console)
    return result


def _owners(options: TuneOptions, deployment: Deployment, model: PublicModel) -> Sequence[str]:
    """Whose examples the search is on, in the deployment's order. Raises ProblemsFound, BundleError."""
    least = model.options.min_owners
    if not least:
        raise BundleError(
            f"bundle {options.bundle} opens losses of one data owner, the deployment names several: generate it with "
            "secfwt-gen --min-owners"
        )
    named = deployment.data_owners
    owners = [name for name in named if name in (options.owners or named)]
    others = [name for name in owners if name != deployment.coordinator]
    problems = [
        Problem("error", f"--owners names {name}", f"The deployment names {', '.join(named)}.")
        for name in options.owners
        if name not in named
    ]
    if not problems and len(others) < least:
        problems.append(
            Problem(
                "error",
                f"the sum is over {', '.join(others) or 'nobody'} besides the coordinator",
                f"The program opens sums over {least} such data owners or more.",
            )
        )
    if bool(options.data) != (deployment.coordinator in owners):
        given = "is given" if options.data else "is missing"
        who = "no data owner" if options.data else "a data owner of this search"
        problems.append(Problem("error", f"--data {given}", f"The coordinator, {deployment.coordinator}, is {who}."))
    if options.keep_beyond:
        problems.append(
            Problem(
                "error",
                f"--keep-beyond is {options.keep_beyond:g}",
                "It needs logits of the dev set, and those of several data owners are not opened: give 0.",
            )
        )
    if problems:
        raise ProblemsFound(problems)
    return owners


@contextmanager
def _joined(own: Shared, deployment: Deployment, header: ProgramHeader, display: Display) -> Iterator[Member]:
    """The coordinator's own examples, shared."""
    member = Member(deployment, header, deployment.coordinator, progress=display.part)
    try:
        announce(member, display)
        member.join(own.sets)
        display.note(f"joined   as {deployment.coordinator}, who coordinates")
        yield member
    finally:
        member.leave()


@contextmanager
def _logged(member: Member, run: TuningRun, coordinator: str) -> Iterator[None]:
    """The coordinator's own log of openings: read all the time, since parties let go of an owner that does not."""

    def listen() -> None:
        try:
            while isinstance(heard := member.listen(), Opening):
                log(run, heard, coordinator)
        except ServiceError:  # the search hears of it as well
            return

    thread = threading.Thread(target=listen, daemon=True)
    thread.start()
    yield
    member.leave()
    thread.join()


def _fingerprint(engine: UnionEngine) -> str:
    """Of who takes part with how many examples: what must not change while a run goes on."""
    return hashlib.sha256(json.dumps(engine.counts, sort_keys=True).encode()).hexdigest()


def _counts(engine: UnionEngine) -> str:
    each = ", ".join(f"{name} {train} + {dev}" for name, (train, dev) in engine.counts.items())
    return f"{engine.sizes['train']} train, {engine.sizes['dev']} dev of {len(engine.counts)} data owners: {each}"
