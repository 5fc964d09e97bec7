"""Reading labelled files: every way a file can be wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
from secfwt.runtime.data.examples import Example, read_examples
from secfwt.runtime.data.records import DataError

GOOD = [Example("the match ended two to one", "sport"), Example("shares fell on Monday", "money")]


def write(tmp_path: Path, name: str, content: str | bytes) -> Path:
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def problems(path: Path, **kwargs: object) -> list[str]:
    with pytest.raises(DataError) as caught:
        read_examples(path, **kwargs)  # type: ignore[arg-type]
    return caught.value.problems


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.jsonl", '{"text": "the match ended two to one", "label": "sport"}\n\n'
                    '{"label": "money", "text": "shares fell on Monday", "id": 7}\n'),
        ("a.csv", 'label,text\r\nsport,"the match ended two to one"\r\nmoney,shares fell on Monday\r\n'),
        ("a.tsv", "text\tlabel\nthe match ended two to one\tsport\nshares fell on Monday\tmoney"),
        ("a.TSV", b"\xef\xbb\xbftext\tlabel\nthe match ended two to one\tsport\nshares fell on Monday\tmoney"),
    ],
)  # fmt: skip
def test_formats(tmp_path: Path, name: str, content: str | bytes) -> None:
    assert read_examples(write(tmp_path, name, content)) == GOOD


def test_tsv_has_no_quoting_and_csv_has(tmp_path: Path) -> None:
    tsv = write(tmp_path, "q.tsv", 'text\tlabel\n"No," he said\ta\n"unbalanced\tb\n')
    assert [e.text for e in read_examples(tsv)] == ['"No," he said', '"unbalanced']
    csv = write(tmp_path, "q.csv", 'text,label\n"one, ""two""\nlines",a\nx,b\n')
    assert [e.text for e in read_examples(csv)] == ['one, "two"\nlines', "x"]


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ("0 1", "0 1"), ("0.0 1.0", "0 1"), ("0.00 1", "0 1"), ("-1 1e0", "-1 1"), ("false true", "false true"),
        ('"0.0" "1.0"', "0 1"), ('"1.5" "1.50"', "1.5 1.50"), ('"a=b" "0.0x"', "a=b 0.0x"),
    ],
)  # fmt: skip
def test_labels_of_json_are_names(tmp_path: Path, labels: str, expected: str) -> None:
    lines = [f'{{"text": "x", "label": {label}}}' for label in labels.split()]
    assert [e.label for e in read_examples(write(tmp_path, "n.jsonl", "\n".join(lines)))] == expected.split()


def test_whole_numbers_of_a_table(tmp_path: Path) -> None:
    path = write(tmp_path, "n.csv", "text,label\nx,0.0\ny,1.0\nz,1\n")
    assert [e.label for e in read_examples(path)] == ["0", "1", "1"]


def test_examples_know_where_they_stand(tmp_path: Path) -> None:
    path = write(tmp_path, "n.csv", 'text,label\n"x\nx",0\n\ny,1\n')
    assert [e.place for e in read_examples(path)] == [(str(path), 2), (str(path), 5)]


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.txt", "x", ["unknown extension '.txt': expected one of .jsonl, .csv, .tsv"]),
        ("a.csv", "", ["the file is empty"]),
        ("a.csv", "text,label\n", ["no examples in the file"]),
        ("a.csv", "text,topic\nx,a\n", [
            "line 1, the header: no column 'label': found 'text', 'topic'; --label-column may name 'topic'",
        ]),
        ("a.csv", "text,text,label\nx,y,a\n", ["line 1: a column name occurs twice in 'text', 'text', 'label'"]),
        ("a.jsonl", '{"text": "x"}\n', ["line 1: no column 'label': found 'text'"]),
        ("a.jsonl", '{"text": "x", "label": "a"}\n[1]\n{"text"\n', [
            "line 2: expected a JSON object, found list",
            "line 3: not JSON: Expecting ':' delimiter at column 8",
        ]),
        ("a.csv", "the film was good,1\nbad,0\n", [
            "line 1, the header: no column 'text', 'label': found 'the film was good', '1'; --text-column and "
            "--label-column may name 'the film was good' or '1'; the first line must name the columns",
        ]),
        ("a.csv", "text;label\nx;a\n", [
            "line 1, the header: no column 'text', 'label': found 'text;label'; --text-column and --label-column may "
            "name 'text;label'; in a .csv file commas separate the columns",
        ]),
        ("a.jsonl", '{"Text": "x", "label": 1}\n' * 9, [
            "line 1: no column 'text': found 'Text', 'label'; --text-column may name 'Text'",
        ]),
        ("a.jsonl", '{"text": 3, "label": null}\n', [
            "line 1: 'text' is 3, expected a string",
            "line 1: 'label' is null, expected a class name or whole number",
        ]),
        ("a.jsonl", '{"text": ["x"], "label": 0.5}\n{"text": "x", "label": {"a": 1}}\n{"text": "x", "label": NaN}', [
            "line 1: 'text' is an array, expected a string",
            "line 1: 'label' is 0.5, expected a class name or whole number",
            "line 2: 'label' is an object, expected a class name or whole number",
            "line 3: 'label' is NaN, expected a class name or whole number",
        ]),
        ("a.jsonl", '{"text": "so good \\ud83d", "label": 1}\n{"text": "x", "label": "\\ude00"}', [
            r"line 1: 'text' has half a character at position 9, \ud83d: write both halves, or neither",
            r"line 2: 'label' has half a character at position 1, \ude00: write both halves, or neither",
        ]),
        ("a.jsonl", '{"text": "x", "label": ' + "1" * 5000 + "}\n" + "[" * 100_000, [
            "line 1: it has a number of more than 4300 digits", "line 2: it is nested too deeply",
        ]),
        ("a.csv", "text,label\n ,a\nx,\ny,b,c\n", [
            "line 4: 3 fields, the header has 2", "line 2: 'text' is empty",
            "line 3: 'label' is '', expected a class name or whole number",
        ]),
        ("a.csv", "text,label\nx,a\ny,a\n", ["only one class, 'a': at least two are needed"]),
        ("a.csv", 'text,label\nx,a\n"open,b\nz,c\n', [
            "line 3: broken quotes in the record that starts here: unexpected end of data",
        ]),
        ("a.csv", 'text,label\n"x"y,a\n', [
            "line 2: broken quotes in the record that starts here: ',' expected after '\"'",
        ]),
        ("a.tsv", b"text\tlabel\nx\ta\ncaf\xe9\tb\n", ["line 3: byte 0xe9 at offset 18 is not UTF-8"]),
        ("a.tsv", "text\tlabel\n".encode("utf-16"), ["the file is UTF-16: save it as UTF-8"]),
    ],
)  # fmt: skip
def test_problems(tmp_path: Path, name: str, content: str | bytes, expected: list[str]) -> None:
    assert problems(write(tmp_path, name, content)) == expected


def test_missing_file(tmp_path: Path) -> None:
    assert problems(tmp_path / "none.csv") == ["no such file"]
    (tmp_path / "d.csv").mkdir()
    assert problems(tmp_path / "d.csv") == ["cannot be read: Is a directory"]


def test_unknown_label_in_dev(tmp_path: Path) -> None:
    path = write(tmp_path, "dev.csv", "text,label\nx,a\ny,q\n")
    assert problems(path, known_labels=["a", "b"]) == ["line 3: unknown label 'q': the training set has 'a', 'b'"]


def test_other_columns(tmp_path: Path) -> None:
    path = write(tmp_path, "c.csv", "review,stars\nx,1\ny,2\n")
    assert len(read_examples(path, "review", "stars")) == 2


def test_report_shows_ten_problems_and_counts_the_rest(tmp_path: Path) -> None:
    path = write(tmp_path, "many.csv", "text,label\n" + ",a\n" * 25)
    with pytest.raises(DataError) as caught:
        read_examples(path)
    lines = str(caught.value).splitlines()
    assert lines[0].endswith("many.csv: 25 problems")
    assert lines[1] == "  line 2: 'text' is empty"
    assert lines[-1] == "  ... and 15 more"
    assert len(lines) == 12


def test_pairs_of_texts(tmp_path: Path) -> None:
    path = write(tmp_path, "p.tsv", "a\tb\tlabel\nx\ty\t1\nz\tw\t0\n")
    assert read_examples(path, "a,b")[0] == Example(("x", "y"), "1")
    assert problems(path, text_column="a,c") == [
        "line 1, the header: no column 'c': found 'a', 'b', 'label'; --text-column may name 'b'"
    ]
    assert problems(path, text_column="a,b,c")[0].startswith("--text-column is 'a,b,c'")
