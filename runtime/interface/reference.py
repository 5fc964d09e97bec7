"""docs/classes.md from docstrings and signatures: `python -m secfwt.runtime.interface.reference > docs/classes.md`."""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from ...codegen.commandline.command import default_text
from ...codegen.commandline.options import options_of
from ...codegen.commandline.problems import ProblemsFound
from .. import errors
from ..data.records import DataError
from ..errors import SecfwtError
from ..evaluation.metrics import ClassMetrics, Evaluation, Interval
from ..generation.options import GenerateOptions
from ..parties.deployment import Deployment, PartyAddress
from ..tuning.options import TuneOptions
from . import callbacks
from .callbacks import TensorBoard
from .classifier import PromptClassifier
from .generator import TextGenerator
from .tuner import PromptTuner

COLUMNS = 100
CLASSES: Mapping[type, type | None] = {
    PromptClassifier: TuneOptions, PromptTuner: TuneOptions, TextGenerator: GenerateOptions, Deployment: None,
    PartyAddress: None, TensorBoard: None, Evaluation: None, ClassMetrics: None, Interval: None,
}  # fmt: skip
"""What a user of the package meets, and the options that are its parameters."""
HEAD = """\
# Python classes

This page is made from docstrings and signatures in the code (`python -m
secfwt.runtime.interface.reference`). [Python](python.md) shows the classes in use.
"""


def page() -> str:
    """The whole page."""
    told = ["## Callbacks", "", *_prose(callbacks.__doc__), "## Errors", "", *_prose(SecfwtError.__doc__), *_errors()]
    return "\n".join([HEAD, *(line for cls in CLASSES for line in _section(cls)), *told])


def _section(cls: type) -> Iterator[str]:
    yield f"## `{cls.__name__}`"
    yield ""
    yield from _prose(cls.__doc__)
    if options := CLASSES[cls]:
        yield from _parameters(cls, options)
    elif fields := list(_fields(cls)):
        yield from _table(("field", "type", "", "default"), fields)
    else:
        yield from (f"    {cls.__name__}{_signature(cls)}", "")
    for name, member in vars(cls).items():
        yield from _member(cls, name, member)


def _parameters(cls: type, options: type) -> Iterator[str]:
    """The parameters that are options, as `docs/options.md` has them."""
    declared = {each.name: each for each in options_of(options)}
    rows = []
    for name, parameter in inspect.signature(cls).parameters.items():
        if each := declared.get(name):
            given = default_text(each) if parameter.default == each.default else repr(parameter.default)
            rows.append((name, each.option.help, "by preset" if given == "None" else given))
    yield from _table(("parameter", "", "default"), rows)


def _fields(cls: type) -> Iterator[tuple[str, str, str, str]]:
    """Public fields of a data class: type, what stands below them in the source, default."""
    body = ast.parse(textwrap.dedent(inspect.getsource(cls))).body[0]
    assert isinstance(body, ast.ClassDef)
    made = getattr(cls, "model_fields", {})
    for each, below in zip(body.body, [*body.body[1:], ast.Pass()], strict=True):
        if not (isinstance(each, ast.AnnAssign) and isinstance(each.target, ast.Name)):
            continue
        name, said = each.target.id, below.value if isinstance(below, ast.Expr) else None
        text = str(said.value) if isinstance(said, ast.Constant) else ""
        default = "" if each.value is None else repr(made[name].default)
        yield name, f"`{_plain(each.annotation)}`", " ".join(text.split()), default


def _plain(annotation: ast.expr) -> str:
    """A type without what `Annotated` says beside it."""
    for part in ast.walk(annotation):
        if isinstance(part, ast.Subscript) and ast.unparse(part.value) == "Annotated":
            assert isinstance(part.slice, ast.Tuple)
            return ast.unparse(annotation).replace(ast.unparse(part), ast.unparse(part.slice.elts[0]))
    return ast.unparse(annotation)


def _member(cls: type, name: str, member: Any) -> Iterator[str]:
    """A public method or property that says something of itself."""
    function = getattr(member, "fget", None) or getattr(member, "__func__", None) or member
    if not inspect.isfunction(function) or name.startswith("_") or not function.__doc__:
        return
    shown = name
    if isinstance(member, classmethod):
        shown = f"{cls.__name__}.{name}{_signature(getattr(cls, name))}"
    elif not isinstance(member, property):
        shown += _signature(function)
    yield f"### `{shown}`"
    yield ""
    yield from _prose(function.__doc__)


def _signature(function: Callable[..., Any]) -> str:
    """As it stands in the source, without `self`."""
    found = inspect.signature(function)
    shown = [each for each in found.parameters.values() if each.name != "self"]
    return str(found.replace(parameters=shown)).replace("'", "")  # annotations are strings, which are shown quoted


def _errors() -> Iterator[str]:
    kinds = [ProblemsFound, DataError, *(e for e in vars(errors).values() if inspect.isclass(e))]
    rows = [(e.__name__, " ".join((e.__doc__ or "").split())) for e in kinds if e is not SecfwtError]
    yield from _table(("error", ""), rows)


def _prose(text: str | None) -> Iterator[str]:
    """A docstring as the page has it: paragraphs and lists filled to its width, what is indented as it is."""
    linked = re.sub(r"\bdocs/(\w+)\.md", r"[\1](\1.md)", inspect.cleandoc(text or ""))
    for paragraph in linked.split("\n\n"):
        if paragraph.startswith("    "):
            yield paragraph
        else:
            for item in re.split(r"\n(?=\* )", paragraph):
                behind = "  " if item.startswith("* ") else ""
                yield textwrap.fill(
                    item, COLUMNS, subsequent_indent=behind, break_long_words=False, break_on_hyphens=False
                )
        yield ""


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """Rows whose first cell is a name."""
    yield f"| {' | '.join(head)} |".replace("|  |", "| |")
    yield "|---" * len(head) + "|"
    for name, *cells in rows:
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in (f"`{name}`", *cells)) + " |"
    yield ""


if __name__ == "__main__":
    print(page(), end="")
