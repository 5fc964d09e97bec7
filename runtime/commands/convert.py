"""`secfwt-convert`: adapt a sentence encoder to random-feature attention, on public text, in the clear.

    secfwt-convert MODEL_DIR --text FILE... --out DIR [--features 32 --rank 16 …]
    secfwt-convert --resume runs/convert-…

The result replaces the attention's queries and keys by random features (docs/adaptation.md) and changes biases, layer
norms and, by low rank, the other matrices; it is an adapter beside the untouched model, or a model directory.
Torch is needed here and nowhere else in the package.
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from types import FrameType
from typing import Any

from rich.console import Console

from ...codegen.commandline.problems import ProblemsFound
from ..adaptation.options import ConversionError, ConvertOptions
from ..errors import SecfwtError

TORCH_MISSING = "convert needs PyTorch, which is not installed: pip install torch"


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line. Exit code 2: input that cannot be used; 3: a file that cannot be written; 130: interrupted."""
    given = _parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, _interrupt)
    folder: Path | None = given.resume
    try:
        from ..conversion.display import ConversionDisplay
        from ..conversion.run_folder import ConversionRun
        from ..conversion.session import convert, read_material

        if given.resume:
            _refuse_others(given)
            run, options = ConversionRun.open(given.resume)
            material = read_material(options)
        else:
            options = _options(given)
            material = read_material(options)
            run = ConversionRun.create(given.run, options)
        folder = run.path
        report = convert(material, options, run, ConversionDisplay(Console()))
        after = report["after"]
        cosines = f"{after['cosine_mean']:.3f} mean, {after['cosine_q0.05']:.3f} at the 5th percentile"
        print(f"cosine to the original's embedding on unseen text: {cosines}")
        print(f"wrote {options.out}; reports in {folder}")
    except ImportError as error:
        _end(TORCH_MISSING if (error.name or "").startswith("torch") else str(error), 2)
    except ProblemsFound as found:
        print(found, file=sys.stderr)
        raise SystemExit(2) from None
    except SecfwtError as error:
        _end(str(error), error.exit_code)
    except OSError as error:
        place = f"cannot write {error.filename or given.out or folder}: {error.strerror or error}"
        _end(f"{place}; continue with --resume {folder}" if folder else place, 3)
    except KeyboardInterrupt:
        _end(f"interrupted; continue with --resume {folder}", 130)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="secfwt-convert", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("model", nargs="?", type=Path, help="Hugging Face BERT-like directory")
    parser.add_argument(
        "--text", nargs="+", action="extend", metavar="FILE[:M-N]", help="public texts; only a file's records M to N"
    )
    parser.add_argument(
        "--held-out", nargs="+", action="extend", metavar="FILE[:M-N]", help="texts to measure on (default: 1 in 20)"
    )
    parser.add_argument("--out", type=Path, help="directory of the result")
    parser.add_argument("--output", choices=("adapter", "model"), help="a small adapter, or a whole model directory")
    parser.add_argument("--base", help="name of the original that adapter.json gives (default: the directory's)")
    parser.add_argument("--features", help="random features a head: N, one for each layer (N,N,…), or auto")
    parser.add_argument("--feature-error", type=float, help="auto: largest error of a layer's attention output")
    parser.add_argument("--feature-kind", choices=("learned", "random"), help="random: orthogonal, as drawn")
    parser.add_argument("--rfa", choices=("folded", "paper"), help="variant of random-feature attention")
    parser.add_argument("--floor", type=float, help="smallest denominator, see docs/program.md")
    parser.add_argument("--rank", type=int, help="of the low-rank changes; 0: none")
    parser.add_argument("--layer-steps", type=int, help="stage 1: every layer alone")
    parser.add_argument("--steps", type=int, help="stage 2: end to end")
    parser.add_argument("--fitted-steps", type=int, help="stage 3: through the protocol's fits")
    parser.add_argument("--splice", type=float, help="part of the texts that get another's tail while training")
    parser.add_argument("--exchange", type=float, help="part of half the texts' tokens that near ones stand in for")
    parser.add_argument("--gelu-limit", type=float, help="GELU inputs beyond this are penalised")
    parser.add_argument("--activation", choices=("gelu", "relu"), help="of the student (default: the original's)")
    parser.add_argument("--harmonics", type=int, help="of the activation's fit; 0: what an error of 2e-3 takes")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"))
    parser.add_argument("--seed", type=int)
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--run", type=Path, help="run folder (default: runs/convert-<time>)")
    where.add_argument("--resume", type=Path, metavar="RUN", help="continue an earlier conversion")
    defaults = ConvertOptions("", "", ())
    for action in parser._actions:
        value = getattr(defaults, action.dest, None)
        if value not in (None, "", ()) and action.help:
            action.help += f" (default: {value})"
    return parser


def _options(given: argparse.Namespace) -> ConvertOptions:
    """Options as typed, the defaults where nothing was. Raises `ConversionError`."""
    for name, value in (("MODEL_DIR", given.model), ("--text", given.text), ("--out", given.out)):
        if not value:
            raise ConversionError(f"{name} is missing")
    typed: dict[str, Any] = {n: _plain(value) for n in _names() if (value := getattr(given, n)) is not None}
    return ConvertOptions(**typed)


def _refuse_others(given: argparse.Namespace) -> None:
    typed = [name for name in _names() if getattr(given, name) is not None]
    if typed:
        option = "MODEL_DIR" if typed[0] == "model" else f"--{typed[0].replace('_', '-')}"
        raise ConversionError(f"{option} is given with --resume: a conversion goes on with the options it began with")


def _names() -> list[str]:
    return [field.name for field in fields(ConvertOptions)]


def _plain(value: object) -> object:
    if isinstance(value, Path):
        return str(value)
    return tuple(value) if isinstance(value, list) else value


def _interrupt(_: int, __: FrameType | None) -> None:
    raise KeyboardInterrupt


def _end(message: str, code: int) -> None:
    print(f"error: {message}", file=sys.stderr)
    raise SystemExit(code) from None


if __name__ == "__main__":
    main()
