"""What becomes of a run in which something dies, stops, fills up, is cut off or slow: all of it, at every moment.

    python benchmarks/faults.py
    python benchmarks/run.py faults --engine embedded --role "party 1" --fault SIGTERM SIGSTOP
    python benchmarks/run.py faults --cells 20 --seed 7

Every cell of processes x phases x faults is a run of its own: three parties, the model owner and the data owner, each
a process with a disk and a network of its own; of several data owners (--engine owners) two and their coordinator. It
must go on or end as docs/deployment.md says, within the seconds it says, leave nothing behind, and give the run with
`--resume`. Cells that results/faults.csv has are not run again: remove the file to begin anew. As root: disks are
mounted. MP-SPDZ's cells need an installation.
"""

from __future__ import annotations

import argparse
import csv
import random
import shutil
import sys
from dataclasses import asdict, fields
from pathlib import Path
from tempfile import TemporaryDirectory

from secfwt.codegen.commandline.command import exit_codes
from secfwt.runtime.tuning.model import default_model

from processes.federation import COORDINATOR
from processes.service import ENGINES, ROLES
from rows import RESULTS, commit
from survival.cells import NoDiskError, Row, run_cell, undisturbed
from survival.documented import PHASES, Cell, matrix
from survival.faults import FAULTS
from survival.prepare import prepare
from survival.table import table


def add_options(parser: argparse.ArgumentParser, command: str) -> None:
    """Which cells."""
    parser.add_argument("--engine", nargs="+", choices=ENGINES, default=ENGINES)
    parser.add_argument("--role", nargs="+", choices=(*ROLES, COORDINATOR), default=(*ROLES, COORDINATOR))
    parser.add_argument("--phase", nargs="+", choices=PHASES, default=PHASES)
    parser.add_argument("--fault", nargs="+", choices=FAULTS, default=FAULTS)
    parser.add_argument("--cells", type=int, help="only so many of these, by chance")
    parser.add_argument("--seed", type=int, default=1, help="of that choice (default: 1)")
    parser.add_argument("--model", type=Path, help="a sentence encoder (default: the demo's MiniLM; a toy is quicker)")
    parser.add_argument("--table", action="store_true", help="only print the rows as docs/deployment.md has them")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of faults.csv")


def main(options: argparse.Namespace) -> None:
    """Run the cells, one row each as soon as it is known; exit code 1 where one is not as documented."""
    results = options.results / "faults.csv"
    if options.table:
        print(table(read(results)), end="")
        return
    known = {(row.engine, row.process, row.phase, row.fault) for row in read(results)}
    chosen = [
        cell
        for cell in matrix()
        if cell.engine in options.engine and cell.role in options.role
        if cell.phase in options.phase and cell.fault in options.fault
        if (cell.engine, cell.role, cell.phase, cell.fault) not in known
    ]
    if options.cells is not None:
        chosen = random.Random(options.seed).sample(chosen, min(options.cells, len(chosen)))
    wrong = sum(_run([cell for cell in chosen if cell.engine == engine], options.model, results) for engine in ENGINES)
    if wrong:
        sys.exit(1)


def _run(cells: list[Cell], model: Path | None, results: Path) -> int:
    """Cells of one engine; how many were wrong."""
    if not cells:
        return 0
    wrong = 0
    with TemporaryDirectory(prefix="secfwt-faults-") as name:
        folder = Path(name)
        prepared = prepare(cells[0].engine, model or default_model(), folder)
        expected = undisturbed(prepared, folder / "undisturbed")
        for number, cell in enumerate(cells):
            try:
                row = run_cell(cell, prepared, folder / str(number), expected, commit())
            except NoDiskError as why:
                print(f"skipped  {cell}: {why}", flush=True)
                continue
            print(row, flush=True)
            write(results, row)
            wrong += row.verdict != "as documented"
            shutil.rmtree(folder / str(number), ignore_errors=True)
    return wrong


def write(path: Path, row: Row) -> None:
    """Append a row."""
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, [each.name for each in fields(Row)])
        if new:
            writer.writeheader()
        writer.writerow(asdict(row) | {"seconds": f"{row.seconds:.1f}"})


def read(path: Path) -> list[Row]:
    """All rows of a file; none where there is no such file."""
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return [Row(**line | {"seconds": float(line["seconds"])}) for line in csv.DictReader(file)]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser, "faults")
    with exit_codes():
        main(parser.parse_args())
