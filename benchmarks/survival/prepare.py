"""What all cells of an engine share: certificates, and a bundle of one private layer on top of public ones."""

from __future__ import annotations

import json
from pathlib import Path

from secfwt.codegen.bundle import generate
from secfwt.codegen.compile import EXAMPLES
from secfwt.codegen.model.options import GenOptions
from secfwt.codegen.mpspdz.options import MpSpdzOptions
from secfwt.runtime.parties.certificates import make_certificates

from processes.service import EngineName, Prepared
from survival.cells import GENERATIONS

CANDIDATES = 4
LABELS = ("astronomy", "cooking", "gardening", "sailing")
LABEL_TEXTS = ("world news", "good", "a film", "sport")
"""Any that a small tokenizer tells apart: what is learned does not matter."""


def prepare(engine: EngineName, model: Path, folder: Path) -> Prepared:
    """Make them in that folder, of a sentence encoder; topics are what is tuned on."""
    top = json.loads((model / "config.json").read_text())["num_hidden_layers"] - 1
    options = GenOptions(
        sequence_length=16, n_prompt_tokens=2, prompt_layer=top, frozen_layers=top, intrinsic_dim=6,
        popsize=CANDIDATES, labels=LABELS, label_texts=LABEL_TEXTS,
    )  # fmt: skip
    target = "embedded" if engine == "embedded" else "mp-spdz"
    generate(model, options, folder / "bundle", target=target, mp_spdz=MpSpdzOptions(examples=8, tile=4))
    make_certificates(folder / "certificates")
    return Prepared(engine, folder / "bundle", folder / "certificates", tuned_on(EXAMPLES / "topics"))


def tuned_on(folder: Path) -> list[str]:
    """Options of `tune.py`: a run of as many generations as a cell takes, on the files of a folder."""
    files = {"--data": "train", "--dev": "dev", "--test": "test"}
    numbers = {"--k-shot": 1, "--popsize": CANDIDATES, "--eval-every": 1, "--test-limit": 4}
    words = {option: folder / f"{name}.jsonl" for option, name in files.items()}
    budget = {"--budget": CANDIDATES * GENERATIONS}
    return [str(word) for pair in {**words, **numbers, **budget}.items() for word in pair]
