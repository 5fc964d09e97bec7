"""What all cells of an engine share: certificates, and a bundle of one private layer on top of public ones."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from secfwt.codegen.bundle import generate
from secfwt.codegen.compile import EXAMPLES
from secfwt.codegen.model.options import GenOptions
from secfwt.codegen.mpspdz.options import MpSpdzOptions
from secfwt.runtime.parties.certificates import make_certificates
from secfwt.runtime.parties.roles import clients_of

from processes.federation import HOSPITALS, ITS_NAME
from processes.service import EngineName, Prepared
from survival.cells import GENERATIONS

CANDIDATES = 4
LABELS = ("astronomy", "cooking", "gardening", "sailing")
LABEL_TEXTS = ("world news", "good", "a film", "sport")
"""Any that a small tokenizer tells apart: what is learned does not matter."""


def prepare(engine: EngineName, model: Path, folder: Path) -> Prepared:
    """Make them in that folder, of a sentence encoder; topics are what is tuned on."""
    top = json.loads((model / "config.json").read_text())["num_hidden_layers"] - 1
    several = engine == "owners"
    options = GenOptions(
        sequence_length=16, n_prompt_tokens=2, prompt_layer=top, frozen_layers=top, intrinsic_dim=6,
        popsize=CANDIDATES, labels=LABELS, label_texts=LABEL_TEXTS,
        min_owners=2 if several else 0,
    )  # fmt: skip
    target = "mp-spdz" if engine == "mp-spdz" else "embedded"
    generate(model, options, folder / "bundle", target=target, mp_spdz=MpSpdzOptions(examples=8, tile=4))
    topics, certificates = EXAMPLES / "topics", folder / "certificates"
    if not several:
        make_certificates(certificates)
        return Prepared(engine, folder / "bundle", certificates, tuned_on(topics))
    make_certificates(certificates, clients=clients_of(tuple(HOSPITALS.values()), ITS_NAME))
    search = {"--popsize": CANDIDATES, "--eval-every": 1, "--budget": CANDIDATES * GENERATIONS}
    shared = {"--data": topics / "train.jsonl", "--k-shot": 1}
    return Prepared(engine, folder / "bundle", certificates, _words(search), _words(shared))


def tuned_on(folder: Path) -> list[str]:
    """Options of `tune.py`: a run of as many generations as a cell takes, on the files of a folder."""
    files = {"--data": "train", "--dev": "dev", "--test": "test"}
    numbers = {"--k-shot": 1, "--popsize": CANDIDATES, "--eval-every": 1, "--test-limit": 4}
    words = {option: folder / f"{name}.jsonl" for option, name in files.items()}
    budget = {"--budget": CANDIDATES * GENERATIONS}
    return _words({**words, **numbers, **budget})


def _words(options: Mapping[str, object]) -> list[str]:
    return [str(word) for pair in options.items() for word in pair]
