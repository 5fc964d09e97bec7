"""A bundle on disk: written whole or not at all, and read back.

DIR/public/       program.txt, plan.json (and program.mpc): everyone may see them; program.weights: the numbers that
                  program.txt names the hashes of, where the base of an adapter is public
DIR/model_owner/  weights.safetensors: folded, in ring elements, not yet shared (mode 0600); mp-spdz.safetensors: what
                  program.mpc takes, as the checkpoint has it
DIR/data_owner/   tokenizer, embedding tables, settings
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
from safetensors.numpy import save_file

from . import VERSION
from .commandline.options import flag, read_back
from .commandline.problems import Problem, ProblemsFound
from .commandline.texts import parse_json
from .compile import Compiled, Covered, compile_model, encoded_weights, public_numbers
from .model.foreign import system_errors
from .model.options import GenOptions
from .model.spec import ModelSpec
from .mpspdz.calls import translate
from .mpspdz.options import MpSpdzOptions
from .mpspdz.text import render
from .ring.cost import generation_cost

PARTS = {"public", "model_owner", "data_owner"}
T = TypeVar("T")
Target = Literal["all", "embedded", "mp-spdz"]


def check_output(out: Path) -> None:
    """Raise `ProblemsFound` where a bundle may not be written: where anything is but an earlier bundle."""
    if not out.exists() or _is_bundle(out) or (out.is_dir() and not any(out.iterdir())):
        return
    advice = "Give a new directory, or one that secfwt-gen wrote."
    raise ProblemsFound([Problem("error", f"{out} exists and is no bundle", advice)])


def target_of(options: GenOptions, target: Target) -> Target:
    """The programs that a bundle can have: limits on what is opened, and noise, are for the embedded engine only, so
    that a program of MP-SPDZ beside it would be a way around them. Raises ProblemsFound."""
    if options.lora_products == "factored" and target == "mp-spdz":
        advice = "MP-SPDZ's programs have merged matrices: give --target embedded."
        raise ProblemsFound([Problem("error", "--lora-products is factored, --target is mp-spdz", advice)])
    if options.limited and target == "mp-spdz":
        limits = ("noise", "max_evaluations", "max_logit_rows", "min_owners")
        given = next(flag(GenOptions, name) for name in limits if getattr(options, name))
        advice = "MP-SPDZ's parties count nothing, so that nobody would hold to it: give --target embedded."
        if options.noise:
            advice = "MP-SPDZ's parties add none to what they open: give --target embedded."
        raise ProblemsFound([Problem("error", f"{given} is given, --target is mp-spdz", advice)])
    return "embedded" if options.limited else target


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
    target = target_of(compiled.options, target)
    texts = _public_texts(compiled, target, mp_spdz, command)
    out = out.resolve()
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent) as workspace:
            new, old = Path(workspace) / "new", Path(workspace) / "old"
            (new / "public").mkdir(parents=True)
            for name, text in texts.items():
                (new / "public" / name).write_text(text, encoding="utf-8")
            if target != "mp-spdz" and compiled.weights is not None and compiled.ring.inputs("constant"):
                with (new / "public" / "program.weights").open("wb") as file:
                    file.writelines(public_numbers(compiled))
            with system_errors():
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
        names = {name for container in translate(compiled.plan, mp_spdz).wire for name in container.weights}
        _write_secret(model_owner / "mp-spdz.safetensors", {name: compiled.weights[name] for name in sorted(names)})


def _write_secret(path: Path, tensors: Mapping[str, Any]) -> None:
    os.close(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_EXCL, 0o600))
    save_file({name: np.ascontiguousarray(value) for name, value in tensors.items()}, path)
    path.chmod(0o600)


def plan_json(compiled: Compiled, command: str, mp_spdz: MpSpdzOptions) -> str:
    """The model plan and what is public about the program, as JSON; deterministic."""
    candidates = 1 if compiled.spec.head.kind == "tokens" else compiled.options.popsize
    per_example = generation_cost(compiled.ring, candidates, 1)
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
        "covered": asdict(compiled.covered),
        "plan": {"values": values, "outputs": [asdict(o) for o in compiled.plan.outputs]},
        "estimate": {"candidates": candidates, "per_example": asdict(per_example)},
    }
    return json.dumps(content, indent=1, sort_keys=True) + "\n"


def generate(
    source: Path, options: GenOptions, out: Path, *, adapter: Path | None = None, calibration: list[str] | None = None,
    prompt: Path | None = None, lora: Path | None = None, target: Target = "all",
    mp_spdz: MpSpdzOptions | None = None, command: str = "",
) -> Compiled:  # fmt: skip
    """`compile_model` and `write_bundle`; what forbids writing is found first."""
    check_output(out)
    target = target_of(options, target)
    compiled = compile_model(source, options, adapter, calibration, prompt, lora)
    write_bundle(compiled, out, target=target, mp_spdz=mp_spdz, command=command)
    return compiled


def program_spec(bundle: Path) -> ModelSpec:
    """The model that a bundle was generated from. Raises ProblemsFound."""
    return _read_part(bundle, "model", ModelSpec.from_json)


def program_options(bundle: Path) -> GenOptions:
    """The options that a bundle was generated with. Raises ProblemsFound."""
    return _read_part(bundle, "options", partial(read_back, GenOptions))


def program_mp_spdz(bundle: Path) -> MpSpdzOptions:
    """The options of a bundle's MP-SPDZ program. Raises ProblemsFound."""
    return _read_part(bundle, "mp_spdz", partial(read_back, MpSpdzOptions))


def program_covered(bundle: Path) -> Covered:
    """What the embedded program's ranges cover. Raises ProblemsFound."""
    return _read_part(bundle, "covered", partial(read_back, Covered))


def _read_part(bundle: Path, key: str, read: Callable[[Mapping[str, Any]], T]) -> T:
    fields = _read_plan_json(bundle).get(key)
    if fields is None:
        again = "Generate it again with this version's secfwt-gen."
        raise ProblemsFound([Problem("error", f"the bundle {bundle} says nothing of its {key}", again)])
    try:
        return read(fields)
    except (KeyError, TypeError) as error:
        raise unreadable(bundle, error) from None


def _read_plan_json(bundle: Path) -> dict[str, Any]:
    try:
        return dict(parse_json((bundle / "public" / "plan.json").read_text("utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise unreadable(bundle, error) from None


def unreadable(bundle: Path, error: Exception) -> ProblemsFound:
    """What to raise where a bundle cannot be read."""
    return ProblemsFound([Problem("error", f"cannot read the bundle {bundle}: {error}")])
