"""What the pages' command lines name, as toys in a folder: models, data, a finished run; and lines made small for them.

A line runs as it stands, but that names of models stand for toys, and that options which make work have small values.
"""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable, Mapping
from itertools import pairwise
from pathlib import Path

from helpers.commands import Ended, run
from helpers.doc_commands import BLOCK, NAMED, lines, split
from helpers.toy_decoders import save_decoder
from helpers.toys import save_sentence_transformer, save_toy
from secfwt.codegen.cli import main as gen
from secfwt.runtime.commands import certs, compare, doctor, evaluate, export, generate, predict, tune

MAINS: Mapping[str, Callable[..., None]] = {
    "secfwt-gen": gen, "secfwt-tune": tune.main, "secfwt-predict": predict.main, "secfwt-evaluate": evaluate.main,
    "secfwt-generate": generate.main, "secfwt-export": export.main, "secfwt-compare": compare.main,
    "secfwt-certs": certs.main, "secfwt-doctor": doctor.main,
}  # fmt: skip
ELSEWHERE = {
    "smollm2": "tests/codegen/plan/test_decoder_parity.py",
    "--lora": "tests/runtime/commands/test_lora.py",
    "--engine split": "tests/runtime/split/test_runs.py",
    "secfwt-adapter": "tests/runtime/split/test_runs.py",
    "--deployment": "tests/vm/test_service.py",
    "--noise": "tests/vm/test_tune.py",
    "--engine mp-spdz": "tests/mpspdz/test_party.py",
    "secfwt-convert": "tests/runtime/commands/test_convert.py",
    "--adapter": "tests/codegen/model/test_adapter.py",
    "--program": "tests/vm/test_describe.py",
}
"""What a line has that cannot run here, or takes too long: parties elsewhere, an installation, training; and what tests
that."""
STANDING_IN = {
    "MODEL_DIR": "encoder", "MODEL": "encoder", "DIR": "encoder", "SENTENCE_ENCODER": "encoder", "MASKED_LM": "masked",
    "TUNED_DIR": "decoder", "BASE_DIR": "decoder", "SmolLM2.gguf": "decoder", "RUN": "runs/first",
    "runs/…": "runs/first", "…": "the film",
}  # fmt: skip
DECODER = {"MODEL_DIR": "decoder", "MODEL": "decoder"}
SHAPES = {"MODEL_DIR": "config.json", "MODEL": "config.json"}
"""A comparison needs no weights."""
CHOSEN: Mapping[str, Mapping[str, str]] = {
    "secfwt-tune": {
        "--engine": "clear", "--attention": "softmax", "--prompt-layer": "0", "--sequence-length": "16",
        "--budget": "4", "--popsize": "4", "--intrinsic-dim": "4", "--k-shot": "2", "--n-prompt-tokens": "2",
    },
    "secfwt-gen": {
        "--prompt-layer": "0", "--sequence-length": "8", "--intrinsic-dim": "4", "--n-prompt-tokens": "2",
        "--max-new-tokens": "4", "--attention": "softmax", "--calibration-text": "public.txt",
    },
    "secfwt-generate": {"--engine": "clear", "--sequence-length": "40", "--max-new-tokens": "4"},
    "secfwt-compare": {
        "--protocols": "embedded", "--layers": "1", "--tokens": "4", "--candidates": "1", "--examples": "1",
        "--runs": "1", "--attention": "softmax",
    },
}  # fmt: skip
"""Options that are small here, or say how a toy runs."""
RESUMED = {"--budget": "8"}
WORDS = ("great", "terrible", "astronomy", "cooking", "gardening", "sailing")
"""Of the pages' labels, in the place of letters: a toy would know none of them."""
CHAT = "{% for m in messages %}<|im_start|>{{ m['content'] }}<|im_end|>{% endfor %}"
WRITTEN = ("-o", "--out", "--run")
"""Options behind which a line names what it writes."""


def block_commands(page: Path) -> list[str]:
    """The command lines of a page's code blocks, indented ones included."""
    text = page.read_text("utf-8")
    found = [line for language, block in BLOCK.findall(text) if language in ("sh", "bash") for line in lines(block)]
    joined = BLOCK.sub("", text).replace("\\\n", " ")
    found += [line.strip() for line in joined.splitlines() if line.startswith("    ")]
    return [line for line in found if line.split()[0] in NAMED and " …" not in line]


def why_not(line: str) -> str:
    """The test that runs what a line asks for, where it cannot run here."""
    return next((test for words, test in ELSEWHERE.items() if words in line), "")


class World:
    """A folder with all that lines read."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        save_sentence_transformer(folder / "encoder", "bert")
        save_toy(folder / "masked", "bert", "masked_lm")
        save_decoder(folder / "decoder", "llama", "causal_lm")
        for name in ("encoder", "masked"):
            words = folder / name / "vocab.txt"
            known = words.read_text().splitlines()
            words.write_text("\n".join([*known[: -len(WORDS)], *WORDS]) + "\n")
        (folder / "decoder" / "chat_template.jinja").write_text(CHAT)
        for name in ("config.json", "model.json"):
            shutil.copy(folder / "encoder" / "config.json", folder / name)
        rows = [(f"a {('good', 'bad')[i % 2]} film {'very ' * (i // 2)}", ("good", "bad")[i % 2]) for i in range(16)]
        for name in ("train", "dev", "test", "new"):
            for ending, mark in (("csv", ","), ("tsv", "\t")):
                with (folder / f"{name}.{ending}").open("w", newline="") as file:
                    csv.writer(file, delimiter=mark).writerows([("text", "label"), *rows])
        jsonl = "".join(f'{{"text": "{text}", "label": "{label}"}}\n' for text, label in rows)
        (folder / "train.jsonl").write_text(jsonl)
        (folder / "public.txt").write_text("".join(f"{text} was it the news.\n" for text, _ in rows))
        first = "secfwt-tune --model DIR --data train.csv --dev dev.csv --test test.csv --run runs/first"
        ended = self.run(first)
        assert ended.exit_code == 0, ended.output

    def run(self, line: str) -> Ended:
        """Run a line; what it writes is not there before, and is behind it."""
        command, words = split(line)
        words = self._small(command.name, words)
        resumes = "--resume" in words
        written = [Path(b) for a, b in pairwise(words) if a in WRITTEN]
        if command.name != "secfwt-tune" and "--run" in words:
            written.remove(Path(words[words.index("--run") + 1]))
        for path in written if not resumes else []:
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        ended = run(MAINS[command.name], *words)
        missing = [str(path) for path in written if ended.exit_code == 0 and not path.exists()]
        assert not missing, f"{line}\nwrites no {', '.join(missing)}"
        return ended

    def _small(self, name: str, words: list[str]) -> list[str]:
        decodes = name == "secfwt-generate" or "tokens" in words
        names = STANDING_IN | (DECODER if decodes else SHAPES if name == "secfwt-compare" else {})
        result = []
        for before, word in zip(["", *words], words, strict=False):
            head, slash, tail = word.partition("/")
            stands = "decoder" if word.startswith("$(") else names.get(word, names.get(head, head) + slash + tail)
            result.append(word if before in ("-o", "--out") else stands)
        options = dict(RESUMED if "--resume" in result else CHOSEN.get(name, {}))
        if name == "secfwt-tune" and "--resume" not in result:
            options["--model"] = result[result.index("--model") + 1] if "--model" in result else "encoder"
            options |= {"--sequence-length": "40"} if options["--model"] == "decoder" else {}
        if result[:1] == ["encoder/config.json"]:
            options.pop("--calibration-text")  # of a shape nothing is calibrated
        known = {flag for each in NAMED[name].options for flag in each.names}
        for flag, value in options.items():
            if flag in result:
                result[result.index(flag) + 1] = value
            elif flag in known and (flag != "--max-new-tokens" or decodes):
                result += [flag, value]
        if name == "secfwt-tune" and not {"--resume", "--prompt-at"} & set(result):
            result += ["--prompt-at", "start"]  # what PEFT takes
        return result
