"""The command line of `tune.py`: options in, exit codes out."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console

from ...codegen.bundle import program_mp_spdz, program_options
from ...codegen.commandline.problems import ProblemsFound
from ...codegen.mpspdz.options import PROTOCOLS
from ..errors import RunFolderError, SecfwtError, ServiceError
from ..tuning.options import OptionError, TuneOptions, bundle_options, resumed_options
from ..tuning.run_folder import RunFolder
from ..tuning.session import Where, run_session

DEFAULT = TuneOptions()
RESUMABLE = (RunFolderError, ServiceError)
app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)

DATA, SEARCH, MODEL, RUN = "Data", "Search", "Model and program", "Run"


def _option(panel: str, text: str, *names: str) -> Any:
    return typer.Option(*names, help=text, rich_help_panel=panel)


@app.command()
def tune(
    context: typer.Context,
    data: Annotated[str, _option(DATA, "Training file: .jsonl, .csv or .tsv. Default: examples/topics.")] = "",
    dev: Annotated[str, _option(DATA, "Dev file, used whole. Default: drawn from --data.")] = "",
    test: Annotated[str, _option(DATA, "Test file. Default: what remains of --data.")] = "",
    text_column: Annotated[str, _option(DATA, "Column with the text.")] = DEFAULT.text_column,
    label_column: Annotated[str, _option(DATA, "Column with the class.")] = DEFAULT.label_column,
    k_shot: Annotated[
        int, _option(DATA, "Training examples per class (and dev, where it is drawn); 0: all.")
    ] = DEFAULT.k_shot,
    test_limit: Annotated[int, _option(DATA, "Most test examples to measure; 0: all.")] = DEFAULT.test_limit,
    strict: Annotated[bool, _option(DATA, "Refuse texts that are too long instead of cutting them.")] = False,
    model: Annotated[str, _option(MODEL, "Model directory (config.json, model.safetensors, tokenizer.json).")] = "",
    adapter: Annotated[str, _option(MODEL, "Attention adapter of the model (see secfwt-convert).")] = "",
    sequence_length: Annotated[
        int, _option(MODEL, "Tokens of one example; longer texts are cut.")
    ] = DEFAULT.sequence_length,
    n_prompt_tokens: Annotated[int, _option(MODEL, "Prompt rows.")] = DEFAULT.n_prompt_tokens,
    prompt_layer: Annotated[
        int, _option(MODEL, "Layer whose input gets the prompt; 0: the embeddings.")
    ] = DEFAULT.prompt_layer,
    deep: Annotated[bool, _option(MODEL, "A prompt for every layer from --prompt-layer on.")] = False,
    frozen_layers: Annotated[
        int, _option(MODEL, "Lowest layers that are public: the data owner runs them in the clear.")
    ] = DEFAULT.frozen_layers,
    weights: Annotated[
        str, _option(MODEL, "private, or public: an open model, whose layers below the prompt run in the clear.")
    ] = DEFAULT.weights,
    template: Annotated[str, _option(MODEL, "How a text becomes input, with {text} and {mask}.")] = "",
    label_text: Annotated[
        list[str] | None, _option(MODEL, "label=text that describes it; repeat for each. Default: the label.")
    ] = None,
    label_words: Annotated[
        list[str] | None, _option(MODEL, "label=word for a masked-LM head; repeat for each.")
    ] = None,
    attention: Annotated[str, _option(MODEL, "rfa, or softmax (clear engine only).")] = DEFAULT.attention,
    intrinsic_dim: Annotated[int, _option(SEARCH, "Dimension that CMA-ES searches.")] = DEFAULT.intrinsic_dim,
    popsize: Annotated[int, _option(SEARCH, "Candidates a generation.")] = DEFAULT.popsize,
    budget: Annotated[int, _option(SEARCH, "Evaluations in all.")] = DEFAULT.budget,
    sigma: Annotated[float, _option(SEARCH, "First step size.")] = DEFAULT.sigma,
    alpha: Annotated[float, _option(SEARCH, "Prompt scale: p = p0 + alpha A z.")] = DEFAULT.alpha,
    bound: Annotated[float, _option(SEARCH, "Largest magnitude of a coordinate of z; 0: none.")] = DEFAULT.bound,
    seed: Annotated[int, _option(SEARCH, "Seed of sets, projection and search.")] = DEFAULT.seed,
    loss: Annotated[str, _option(SEARCH, "ce or hinge.")] = DEFAULT.loss,
    margin: Annotated[float, _option(SEARCH, "Margin of the hinge loss.")] = DEFAULT.margin,
    reveal: Annotated[
        str, _option(SEARCH, "What is opened to the data owner for a candidate: losses (one number) or logits.")
    ] = DEFAULT.reveal,
    eval_every: Annotated[int, _option(SEARCH, "Generations between dev evaluations.")] = DEFAULT.eval_every,
    engine: Annotated[str, _option(RUN, "embedded, mp-spdz, or clear: NOT PRIVATE, for experiments.")] = DEFAULT.engine,
    protocol: Annotated[
        str, _option(RUN, f"Protocol of the MP-SPDZ engine: {', '.join(PROTOCOLS)}.")
    ] = DEFAULT.protocol,
    mp_spdz: Annotated[str, _option(RUN, "Folder of MP-SPDZ. Default: MP_SPDZ_HOME, ~/MP-SPDZ or /opt/MP-SPDZ.")] = "",
    round_nearest: Annotated[
        bool, _option(RUN, "MP-SPDZ rounds exactly: slower, and without what probabilistic truncation leaks.")
    ] = DEFAULT.round_nearest,
    deployment: Annotated[str, _option(RUN, "TOML of parties that run elsewhere. Default: three local ones.")] = "",
    bundle: Annotated[
        str, _option(RUN, "Bundle of the program those parties run: its public and data_owner folders.")
    ] = "",
    run: Annotated[Path | None, _option(RUN, "Run folder. Default: runs/<time>.", "--run")] = None,
    resume: Annotated[Path | None, _option(RUN, "Continue the run in this folder.")] = None,
) -> None:
    """Tune a prompt with forward passes only: neither the data nor the model is shown to anyone.

    Opened to the data owner: one loss a candidate (or its logits, --reveal), and at the end the logits of the test
    set without tuning and with the best prompt.

    Without options: MiniLM on the topic examples of the project, three local parties, less than a minute.
    """
    given: dict[str, Any] = {
        ("label_texts" if name == "label_text" else name): _stored(name, value)
        for name, value in context.params.items()
        if name not in ("run", "resume") and _on_command_line(context, name)
    }
    console = Console(highlight=False)
    where = Where()
    with _exit_codes(where):
        if resume and run:
            raise OptionError("--run and --resume are given: choose one")
        if resume:
            options = resumed_options(RunFolder.read_options(resume)[0], given)
        elif bundle:
            of_mp_spdz = program_mp_spdz(Path(bundle)) if engine == "mp-spdz" else None
            options = bundle_options(given, program_options(Path(bundle)), of_mp_spdz)
        else:
            options = TuneOptions(**given)
        options.check()
        run_session(options, resume or run, resume is not None, console, where)


def _on_command_line(context: typer.Context, name: str) -> bool:
    # By name: typer may bring its own copy of click, with its own enumeration.
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def _stored(name: str, value: object) -> object:
    """An option as options.json holds it: paths absolute, so that a run can be resumed from anywhere."""
    if name in ("data", "dev", "test", "model", "adapter", "deployment", "bundle", "mp_spdz"):
        return str(Path(str(value)).absolute())
    return tuple(value) if isinstance(value, list) else value


class Terminated(BaseException):
    """SIGTERM, so that it unwinds as Ctrl-C does."""


def _terminate(*_: object) -> None:
    raise Terminated


@contextmanager
def _exit_codes(where: Where) -> Iterator[None]:
    """2 and one message for what is wrong, 130 or 143 and how to go on for an interruption."""
    before: Any = signal.signal(signal.SIGTERM, _terminate)
    try:
        yield
    except ProblemsFound as problems:
        fail(str(problems), 2, Where())
    except SecfwtError as error:
        fail(f"error: {error}", error.exit_code, where if isinstance(error, RESUMABLE) else Where())
    except (KeyboardInterrupt, Terminated) as stop:
        # On the way out now: more of the same signals change nothing.
        before = signal.SIG_IGN
        signal.signal(signal.SIGINT, before)
        signal.signal(signal.SIGTERM, before)
        fail(*(("terminated", 143) if isinstance(stop, Terminated) else ("interrupted", 130)), where)
    finally:
        signal.signal(signal.SIGTERM, before)


def fail(message: str, code: int, where: Where) -> NoReturn:
    """Print a message, and how to continue where there is something to continue; exit."""
    print(message, file=sys.stderr)
    if where.folder is not None:
        print(f"continue with: tune.py --resume {where.folder}", file=sys.stderr)
    raise typer.Exit(code)


def run() -> None:
    """Run the command."""
    app(prog_name="tune.py" if sys.argv[0].endswith("tune.py") else None)
