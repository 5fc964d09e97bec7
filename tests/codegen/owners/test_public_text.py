"""Public text as what will run: as long as texts may be, in pairs where the template asks for them."""

from __future__ import annotations

from secfwt.codegen.model.options import GenOptions
from secfwt.codegen.owners.public_text import fitting_texts

SENTENCES = ["one two", "three four five", "six", "seven eight nine ten"]


def test_every_other_text_is_as_long_as_what_will_run() -> None:
    assert fitting_texts(SENTENCES, GenOptions(sequence_length=4)) == [
        "one two", "three four five six", "six", "seven eight nine ten",
    ]  # fmt: skip


def test_a_template_for_pairs_gets_pairs() -> None:
    pairs = fitting_texts(SENTENCES, GenOptions(sequence_length=4, template="{text} and {text_b}"))
    assert pairs[0] == ("one two", "three four five six")
    assert pairs[-1] == ("seven eight nine ten", "one two")
