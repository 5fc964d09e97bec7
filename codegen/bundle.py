"""From a model to a bundle on disk: the steps of `secfwt-gen` in order, and the one function that writes files.

DIR/public/       program.txt, plan.json (and program.mpc): everyone may see them
DIR/model_owner/  weights.safetensors: folded, in ring elements, not yet shared (mode 0600); mp-spdz.safetensors: what
                  program.mpc takes, as the checkpoint has it
DIR/data_owner/   tokenizer, embedding tables, settings
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from safetensors.numpy import save_file

from . import VERSION
from .commandline.problems import Problem, ProblemsFound, Report
from .lowering.program import Program, lower
from .model.adapter import find_adapter
from .model.hf import read_model
from .model.options import GenOptions
from .model.spec import ModelSpec
from .model.weights import Weights, Widened
from .mpspdz.calls import translate
from .mpspdz.options import MpSpdzOptions
from .mpspdz.text import render
from .owners.calibration import calibrate
from .owners.embed import Embedder
from .owners.prepare import prepare_weights
from .plan.build import build_plan
from .plan.graph import Plan
from .ring.cost import generation_cost
from .ring.encoding import encode
from .ring.schedule import schedule
from .ring.text import program_text
from .series.ranges import Ranges

CALIBRATION_TEXTS = 48
PARTS = {"public", "model_owner", "data_owner"}
Target = Literal["all", "embedded", "mp-spdz"]


@dataclass(frozen=True)
class Compiled:
    """Everything that follows from a model and options; `weights` and `embedder` are None for a bare config.json."""

    spec: ModelSpec
    options: GenOptions
    plan: Plan
    program: Program
    ring: Plan
    weights: Weights | None
    embedder: Embedder | None

    @property
    def text(self) -> str:
        """The ring program."""
        return program_text(self.ring, self.program.fits)


def compile_model(
    source: Path, options: GenOptions, adapter: Path | None = None, calibration: list[str] | None = None
) -> Compiled:
    """Read a model and lower it.

    `source`: a config.json (program only, ranges and norms assumed) or a model directory. `calibration`: public texts
    that the intervals of the non-linearities are taken from; without them the adapter's own record, or seeded random
    words.
    Raises `ProblemsFound` with all problems of the step that found any.
    """
    report = Report()
    given = find_adapter(source, adapter)
    if given is not None:
        options = given.options(options)
    spec = read_model(source, options)
    plan = build_plan(spec, options)
    if source.is_file() or not has_checkpoint(source):
        for name, value in (("--adapter", adapter), ("--calibration-text", calibration)):
            if value is not None:
                report.error(f"{name} is given, but {source} holds no weights", "Give a model directory.")
        report.check()
        program = lower(plan, None, Ranges())
        return Compiled(spec, options, plan, program, schedule(program.plan), None, None)
    weights, embedder = prepare_weights(source, spec, options, given)
    sites = calibrate(plan, weights, [_calibration_inputs(plan, spec, options, embedder, calibration)])
    if given is not None and calibration is None:
        sites |= given.description.calibration
    plan.meta["calibration"] = sites
    program = lower(plan, Widened(weights), Ranges(sites))
    return Compiled(spec, options, plan, program, schedule(program.plan), weights, embedder)


def has_checkpoint(directory: Path) -> bool:
    """Whether a directory holds weights in any format (those that cannot be read are reported when they are)."""
    return any(any(directory.glob(pattern)) for pattern in ("*.safetensors*", "pytorch_model*", "*.bin"))


def _calibration_inputs(
    plan: Plan, spec: ModelSpec, options: GenOptions, embedder: Embedder, texts: list[str] | None
) -> dict[str, Any]:
    """Example and candidate inputs that calibration runs on."""
    rng = np.random.default_rng(options.seed)
    inputs: dict[str, Any] = {}
    if texts is not None:
        inputs |= embedder.encode(texts)[0]
        inputs["labels"] = np.eye(spec.head.num_labels)[rng.integers(spec.head.num_labels, size=len(texts))]
    else:
        first, *last = embedder.tokenizer.encode("").ids
        room = options.sequence_length - 1 - len(last)
        lengths = rng.integers(min(3, room), room + 1, CALIBRATION_TEXTS)
        words = [[first, *rng.integers(spec.vocab_size, size=n).tolist(), *last] for n in lengths]
        inputs |= embedder.embed(words, [[0] * len(w) for w in words])
        if "select" in inputs and spec.head.rows == "select":
            inputs["select"] = np.eye(options.sequence_length)[np.full(len(words), 1)]
        inputs["labels"] = np.eye(spec.head.num_labels)[rng.integers(spec.head.num_labels, size=len(words))]
        inputs["example_weight"] = np.full((len(words), 1), 1 / len(words))
    for v in plan.inputs("candidate"):
        inputs[v.attrs["name"]] = np.concatenate([np.zeros((1, v.size)), rng.normal(size=(2, v.size))])
    return inputs


def encoded_weights(compiled: Compiled) -> dict[str, Any]:
    """The model owner's folded weights in ring elements (int64), by name."""
    assert compiled.weights is not None
    wide = Widened(compiled.weights)
    return {f.name: encode(np.asarray(f.make(wide)), f.scale) for f in compiled.program.folds.values()}


def check_output(out: Path) -> None:
    """Raise `ProblemsFound` where a bundle may not be written: where anything is but an earlier bundle."""
    if not out.exists() or _is_bundle(out) or (out.is_dir() and not any(out.iterdir())):
        return
    advice = "Give a new directory, or one that secfwt-gen wrote."
    raise ProblemsFound([Problem("error", f"{out} exists and is no bundle", advice)])


def _is_bundle(folder: Path) -> bool:
    return (folder / "public" / "plan.json").is_file() and {path.name for path in folder.iterdir()} <= PARTS


def write_bundle(
    compiled: Compiled, out: Path, *, target: Target = "all", mp_spdz: MpSpdzOptions | None = None, command: str = ""
) -> None:
    """Write a bundle, whole or not at all; an earlier bundle at `out` is replaced, anything else is refused.

    `mp_spdz`: options of the MP-SPDZ program; default: its own. Raises `ProblemsFound`.
    """
    check_output(out)
    mp_spdz = mp_spdz or MpSpdzOptions()
    texts = _public_texts(compiled, target, mp_spdz, command)
    out = out.resolve()
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent) as workspace:
            new, old = Path(workspace) / "new", Path(workspace) / "old"
            (new / "public").mkdir(parents=True)
            for name, text in texts.items():
                (new / "public" / name).write_text(text, encoding="utf-8")
            _write_owners(compiled, new, target, mp_spdz)
            if out.exists():
                out.replace(old)
            new.replace(out)
    except OSError as e:
        raise ProblemsFound([Problem("error", f"cannot write {out}: {e.strerror}")]) from None


def _public_texts(compiled: Compiled, target: Target, mp_spdz: MpSpdzOptions, command: str) -> dict[str, str]:
    """The public files by name."""
    texts = {"plan.json": plan_json(compiled, command, mp_spdz)}
    if target != "mp-spdz":
        texts["program.txt"] = compiled.text
    if target != "embedded":
        source_hash = hashlib.sha256(compiled.text.encode()).hexdigest()
        texts["program.mpc"] = render(
            compiled.plan, mp_spdz, version=VERSION, source_hash=source_hash, command=command
        )  # fmt: skip
    return texts


def _write_owners(compiled: Compiled, folder: Path, target: Target, mp_spdz: MpSpdzOptions) -> None:
    """The folders of the data owner and of the model owner, where there are weights."""
    if compiled.weights is None or compiled.embedder is None:
        return
    data_owner, model_owner = folder / "data_owner", folder / "model_owner"
    data_owner.mkdir(mode=0o700)
    compiled.embedder.save(data_owner)
    model_owner.mkdir(mode=0o700)
    if target != "mp-spdz":
        _write_secret(model_owner / "weights.safetensors", encoded_weights(compiled))
    if target != "embedded":
        names = {name for container in translate(compiled.plan, mp_spdz).wire for name in container.sources}
        _write_secret(model_owner / "mp-spdz.safetensors", {name: compiled.weights[name] for name in sorted(names)})


def _write_secret(path: Path, tensors: Mapping[str, Any]) -> None:
    os.close(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_EXCL, 0o600))
    save_file({name: np.ascontiguousarray(value) for name, value in tensors.items()}, path)
    path.chmod(0o600)


def plan_json(compiled: Compiled, command: str, mp_spdz: MpSpdzOptions) -> str:
    """The model plan and what is public about the program, as JSON; deterministic."""
    per_example = generation_cost(compiled.ring, compiled.program.fits, compiled.options.popsize, 1)
    values = [
        {
            "id": v.id, "kind": v.kind, "inputs": v.inputs, "shape": v.shape, "stage": v.stage.label,
            "visibility": v.visibility.value, "attrs": v.attrs, "weights": v.weights,
        }
        for v in compiled.plan
    ]  # fmt: skip
    content = {
        "version": VERSION,
        "command": command,
        "program_sha256": hashlib.sha256(compiled.text.encode()).hexdigest(),
        "model": asdict(compiled.spec),
        "options": asdict(compiled.options),
        "mp_spdz": asdict(mp_spdz),
        "plan": {"values": values, "outputs": [asdict(o) for o in compiled.plan.outputs]},
        "estimate": {"candidates": compiled.options.popsize, "per_example": asdict(per_example)},
    }
    return json.dumps(content, indent=1, sort_keys=True) + "\n"


def generate(
    source: Path, options: GenOptions, out: Path, *, adapter: Path | None = None, calibration: list[str] | None = None,
    target: Target = "all", mp_spdz: MpSpdzOptions | None = None, command: str = "",
) -> Compiled:  # fmt: skip
    """`compile_model` and `write_bundle`; what forbids writing is found first."""
    check_output(out)
    compiled = compile_model(source, options, adapter, calibration)
    write_bundle(compiled, out, target=target, mp_spdz=mp_spdz, command=command)
    return compiled
