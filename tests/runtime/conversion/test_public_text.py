"""Texts that a conversion reads."""

from pathlib import Path

import pytest
from secfwt.runtime.conversion.public_text import TextError, read_texts


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.txt", "one\n\n two \n", ["one", "two"]),
        ("a.tsv", 'text\tlabel\nsay "hi\tx\n', ['say "hi']),
        ("a.csv", 'sentence,label\n"one, two",x\n', ["one, two"]),
        ("a.tsv", "sentence1\tsentence2\none\ttwo\nthree\t\n", ["one", "two", "three"]),
        ("a.jsonl", '\ufeff{"text": "one", "label": "x"}\n', ["one"]),
        ("a.jsonl", '{"text": "one\u2028two"}\r\n', ["one\u2028two"]),
        ("a.csv", f'text\n"{"x" * 200_000}"\n"one\ntwo"\n', ["x" * 200_000, "one\ntwo"]),
    ],
)
def test_texts_are_read_from_every_format(tmp_path: Path, name: str, content: str, expected: list[str]) -> None:
    (tmp_path / name).write_text(content, "utf-8", newline="")
    assert read_texts(str(tmp_path / name)) == expected


def test_a_colon_limits_the_records(tmp_path: Path) -> None:
    path = tmp_path / "pairs.tsv"
    path.write_text("sentence1\tsentence2\n" + "".join(f"a{i}\tb{i}\n" for i in range(9)))
    assert read_texts(f"{path}:2") == ["a0", "b0", "a1", "b1"]
    assert read_texts(f"{path}:3-4") == ["a2", "b2", "a3", "b3"]
    assert read_texts(f"{path}:9-20") == ["a8", "b8"]
    with pytest.raises(TextError, match=r"pairs\.tsv:10-20: no records there; accepted: FILE, FILE:N, FILE:M-N"):
        read_texts(f"{path}:10-20")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.pdf", "x", r"unknown extension '\.pdf'; accepted: \.txt"),
        (
            "a.tsv",
            "words\tlabel\nx\ty\n",
            "none of the columns text, sentence, sentence1, sentence2: found 'words', 'label'",
        ),
        ("a.jsonl", '{"text": "one"}\n{"text"\n', "line 2: not JSON"),
        ("a.jsonl", '{"text": "one"}\n{"label": "x"}\n', "line 2: no text in column 'text'"),
        (
            "a.jsonl",
            '{"text": "one"}\n{"text": "so good \\ud83d"}\n',
            "line 2: 'text' has half a character at position 9",
        ),
        ("a.jsonl", "[" * 100_000, "line 1: it is nested too deeply"),
        ("a.jsonl", '{"text": "x", "n": ' + "1" * 5000 + "}", "line 1: it has a number of more than 4300 digits"),
        ("a.csv", "", "no records"),
    ],
)
def test_unusable_text_files_are_named(tmp_path: Path, name: str, content: str, message: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(TextError, match=message):
        read_texts(str(tmp_path / name))


def test_a_file_that_is_not_text_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"ab\xff")
    with pytest.raises(TextError, match="byte 2 is not UTF-8"):
        read_texts(str(tmp_path / "a.txt"))
