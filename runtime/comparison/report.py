"""A comparison as a table, as CSV and as a figure."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from ...codegen.commandline.units import digits
from ...codegen.native.network import COUNTED, NETWORKS, Network
from .measure import Row

APART = "not told apart"
"""Of bytes of an engine that does not say which of them it sent online."""


def show(rows: Sequence[Row], console: Console) -> None:
    """Print the table, then what every protocol computes with, what failed, and how the times are counted."""
    console.print(table(rows, compact=console.is_terminal))
    for row in rows:
        _line(console, f"{row.protocol}: {row.promise.remark}; {row.numbers}")
    for row in rows:
        if row.failure:
            _line(console, f"FAILED {row.protocol}: {row.failure}")
    _line(console, f"MB: all parties, one step; preprocessing: what depends on no input. {COUNTED}")


def table(rows: Sequence[Row], *, compact: bool) -> Table:
    """One row a protocol; `compact`: of two lines, with rules between them."""
    result = Table(box=SIMPLE if compact else None, pad_edge=False, collapse_padding=compact, show_lines=compact)
    lines = "\n" if compact else ", "
    names = ["protocol", "security", "step s", "MB", "rounds", "max error", "peak MB"]
    names += [lines.join(network.parts) for network in NETWORKS]
    for i, name in enumerate(names):
        result.add_column(
            name.replace(" ", "\n") if compact and i < 7 else name,
            justify="left" if i < 2 else "right",
            overflow="fold",
        )
    for row in rows:
        result.add_row(*_cells(row, lines))
    return result


def _cells(row: Row, lines: str) -> list[str]:
    promise, step = row.promise, row.step
    security = f"{promise.security}{lines}{promise.majority} majority{lines}{promise.corruptions} of {promise.parties}"
    seconds, rounds = (step.seconds, step.rounds) if step else (None, None)
    measured = (rounds, row.max_error, row.peak_bytes and row.peak_bytes / 1e6)
    expected = [f"{_short(expected_on(row, network))} s" for network in NETWORKS]
    return [
        f"{promise.engine}{lines}{row.protocol}" if row.protocol != promise.engine else row.protocol, security,
        _short(seconds), lines.join(_megabytes(row)), *(_short(value) for value in measured),
        *(["failed"] * len(NETWORKS) if row.failure else expected),
    ]  # fmt: skip


def _megabytes(row: Row) -> list[str]:
    """Of a step in all, online and for preprocessing."""
    if row.step is None:
        return ["-"]
    total = _short(row.step.bytes_sent / 1e6)
    if row.online_bytes is None:
        return [total, APART]
    return [
        total, f"{_short(row.online_bytes / 1e6)} online",
        f"{_short(max(0.0, row.step.bytes_sent - row.online_bytes) / 1e6)} prep.",
    ]  # fmt: skip


def expected_on(row: Row, network: Network) -> float | None:
    """Seconds that the row's step should take on a network."""
    step = row.step
    return network.seconds(step.seconds, step.rounds, step.busiest_bytes) if step else None


def write_csv(rows: Sequence[Row], path: Path) -> None:
    """Every number of every row, in seconds, bytes and counts."""
    records = [_record(row) for row in rows]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(records[0]))
        writer.writeheader()
        writer.writerows(records)


def _record(row: Row) -> dict[str, object]:
    promise, load, step = row.promise, row.load, row.step
    record: dict[str, object] = {
        "engine": promise.engine, "protocol": row.protocol, "security": promise.security,
        "majority": promise.majority, "corruptions": promise.corruptions, "parties": promise.parties,
        "start_seconds": row.start_seconds,
        "load_seconds": load and load.seconds, "load_bytes": load and load.bytes_sent,
        "load_rounds": load and load.rounds,
        "runs": len(row.steps), "step_seconds": step and step.seconds, "step_bytes": step and step.bytes_sent,
        "step_busiest_bytes": step and step.busiest_bytes,
        "step_online_bytes": step and (APART if row.online_bytes is None else row.online_bytes),
        "step_rounds": step and step.rounds, "max_error": row.max_error, "peak_bytes": row.peak_bytes,
    }  # fmt: skip
    record |= {f"expected_seconds {network}": expected_on(row, network) for network in NETWORKS}
    record |= vars(row.numbers) | {"failure": row.failure}
    return {name: f"{value:.6g}" if isinstance(value, float) else value for name, value in record.items()}


def write_figure(rows: Sequence[Row], title: str, path: Path) -> None:
    """Seconds of a step, measured and expected on the networks, and what is sent; failed protocols are named."""
    from matplotlib.figure import Figure  # no pyplot: no global state, no display

    done = [(row.protocol, row, step) for row in rows if not row.failure and (step := row.step)]
    figure = Figure(figsize=(10, 1.6 + 0.7 * max(1, len(done))), layout="constrained")
    seconds, sent = figure.subplots(1, 2, sharey=True, width_ratios=(2, 1))
    places = list(range(len(done)))
    bars = [("this machine", [step.seconds for _, _, step in done])]
    bars += [(str(network), [expected_on(row, network) or 0.0 for _, row, _ in done]) for network in NETWORKS]
    height = 0.8 / len(bars)
    for i, (label, values) in enumerate(bars):
        seconds.barh([place + (i - (len(bars) - 1) / 2) * height for place in places], values, height, label=label)
    sent.barh(places, [step.bytes_sent / 1e6 for _, _, step in done], 0.5, color="gray")
    seconds.set(xlabel="seconds a step", xscale="log" if done else "linear", yticks=places)
    seconds.set_yticklabels([f"{name}\n{row.promise.security}" for name, row, _ in done])
    seconds.invert_yaxis()
    sent.set(xlabel="MB a step, all parties", xscale="log" if done else "linear")
    if done:
        figure.legend(loc="outside lower center", ncols=len(bars), fontsize="small")
    failed = ", ".join(row.protocol for row in rows if row.failure)
    figure.suptitle(title + (f"\nfailed: {failed}" if failed else ""))
    figure.savefig(path, dpi=120, metadata={"Software": None})


def _short(value: float | None) -> str:
    return "-" if value is None else digits(value)


def _line(console: Console, text: str) -> None:
    console.print(text, markup=False, highlight=False, soft_wrap=not console.is_terminal)
