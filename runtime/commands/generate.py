"""`secfwt-generate`: text of a decoder by private inference."""

from __future__ import annotations

from collections.abc import Sequence

from ...codegen.commandline.command import Command, Typed
from ...codegen.commandline.ending import exit_codes
from ..generation.options import GenerateOptions

COMMAND = Command(
    "secfwt-generate",
    (GenerateOptions,),
    "Continue a text with a decoder, by private inference: neither the text nor the model is shown to anyone.\n\n"
    "Opened to the data owner: what each row says of the next token. The parties see how many tokens there are.",
    'secfwt-generate --model SmolLM2.gguf --chat --prompt "What is a secret share?" --max-new-tokens 40',
)


def generate_command(typed: Typed) -> None:
    """Continue a text."""
    with exit_codes():
        options = typed.make(GenerateOptions)

        from rich.console import Console

        from ..generation.session import generate

        def tell(text: str) -> None:
            print(text, end="", flush=True)

        generate(options, Console(stderr=True, highlight=False), tell)
        print()


def main(words: Sequence[str] | None = None) -> None:
    """Run the command."""
    COMMAND.run(generate_command, words)
