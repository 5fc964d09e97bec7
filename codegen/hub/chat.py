"""Chat templates: how a model that was trained on conversations wants to be asked.

They are Jinja templates that a model brings: they run in a sandbox that can neither import nor change anything, on one
message of the user, as `transformers` runs them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jinja2 import TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from ..commandline.problems import Problem, ProblemsFound, Report
from .files import optional_json
from .gguf import gguf_file, open_gguf
from .layout import transformer_folder

FILE, SETTINGS = "chat_template.jinja", "tokenizer_config.json"


def chat_template(model: Path) -> str:
    """A model's chat template; empty: it has none. Raises `ProblemsFound`."""
    if (file := gguf_file(model)) is not None:
        return str(open_gguf(file).setting("tokenizer.chat_template", ""))
    folder, report = transformer_folder(model), Report()
    if (folder / FILE).is_file():
        return (folder / FILE).read_text("utf-8")
    found: Any = optional_json(folder / SETTINGS, report).get("chat_template") or ""
    report.check()
    if isinstance(found, list):  # several by name
        found = next((each.get("template") for each in found if each.get("name") == "default"), "")
    return str(found)


def asked(template: str, content: str) -> str:
    """A message of the user, up to where the model's answer begins. Raises `ProblemsFound`."""

    def refuse(message: str) -> None:
        raise TemplateError(message)

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
    )
    environment.globals["raise_exception"] = refuse
    try:
        # the first token of a sequence is no part of it
        text = environment.from_string(template).render(
            messages=[{"role": "user", "content": content}], add_generation_prompt=True, bos_token="", eos_token=""
        )
    except Exception as error:  # a template may do anything that its sandbox lets it
        raise ProblemsFound([Problem("error", f"the model's chat template fails: {error}", _WITHOUT)]) from None
    if content.strip() not in text:
        raise ProblemsFound([Problem("error", "the model's chat template does not hold the user's message", _WITHOUT)])
    return text


_WITHOUT = "Leave --chat out, and say with --template how texts become input."
