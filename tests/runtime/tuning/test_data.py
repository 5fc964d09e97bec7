"""Reading labelled files: every way a file can be wrong, and the drawing of sets."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from secfwt.runtime.tuning.data import DataError, Example, draw_splits, read_examples

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


def test_numeric_labels_of_json_are_names(tmp_path: Path) -> None:
    path = write(tmp_path, "n.jsonl", '{"text": "x", "label": 0}\n{"text": "y", "label": 1}\n')
    assert [e.label for e in read_examples(path)] == ["0", "1"]


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.txt", "x", ["unknown extension '.txt': expected one of .jsonl, .csv, .tsv"]),
        ("a.csv", "", ["the file is empty"]),
        ("a.csv", "text,label\n", ["no examples in the file"]),
        ("a.csv", "text,topic\nx,a\n", ["line 1: no column 'label': found 'text', 'topic'"]),
        ("a.csv", "text,text,label\nx,y,a\n", ["line 1: a column name occurs twice in 'text', 'text', 'label'"]),
        ("a.jsonl", '{"text": "x"}\n', ["line 1: no column 'label': found 'text'"]),
        ("a.jsonl", '{"text": "x", "label": "a"}\n[1]\n{"text"\n', [
            "line 2: expected a JSON object, found list",
            "line 3: not JSON: Expecting ':' delimiter at column 8",
        ]),
        ("a.jsonl", '{"text": 3, "label": true}\n', [
            "line 1: 'text' is 3, expected a string", "line 1: 'label' is true, expected a class name or number",
        ]),
        ("a.csv", "text,label\n ,a\nx,\ny,b,c\n", [
            "line 4: 3 fields, the header has 2", "line 2: 'text' is empty",
            'line 3: \'label\' is "", expected a class name or number',
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


def examples(**counts: int) -> list[Example]:
    return [Example(f"{label} {i}", label) for label, n in counts.items() for i in range(n)]


def test_splits_are_disjoint_stratified_and_seeded() -> None:
    pool = examples(a=20, b=40)
    splits = draw_splits(pool, None, None, k_shot=4, test_limit=9, seed=3)
    assert Counter(e.label for e in splits.train) == Counter(e.label for e in splits.dev) == {"a": 4, "b": 4}
    assert Counter(e.label for e in splits.test) == {"a": 2, "b": 7}
    assert len({e.text for e in [*splits.train, *splits.dev, *splits.test]}) == 25
    assert splits == draw_splits(pool, None, None, k_shot=4, test_limit=9, seed=3)
    assert splits != draw_splits(pool, None, None, k_shot=4, test_limit=9, seed=4)
    assert splits.labels == ["a", "b"]


def test_given_files_are_kept_apart() -> None:
    train, dev, test = examples(a=9, b=9), [Example("d", "a"), Example("e", "b")], [Example("t", "a")]
    splits = draw_splits(train, dev, test, k_shot=1, seed=0)
    assert len(splits.train) == 2
    assert {e.text for e in splits.dev} == {"d", "e"}
    assert splits.test == test
    assert len(draw_splits(train, dev, None, k_shot=1, seed=0).test) == 16
    assert draw_splits(train, dev, None, k_shot=0, seed=0).test == []


def test_all_examples_without_k_shot() -> None:
    splits = draw_splits(examples(a=10, b=2), None, None, k_shot=0, seed=0)
    assert Counter(e.label for e in splits.train) == {"a": 8, "b": 1}
    assert Counter(e.label for e in splits.dev) == {"a": 2, "b": 1}
    assert splits.test == []


def test_too_few_examples_names_every_class() -> None:
    with pytest.raises(DataError) as caught:
        draw_splits(examples(a=3, b=9, c=1), None, None, k_shot=4, seed=0)
    assert [p.split(":")[0] for p in caught.value.problems] == [
        "class 'a' has 3 examples, 8 are needed for train and dev",
        "class 'c' has 1 examples, 8 are needed for train and dev",
    ]


def test_pairs_of_texts(tmp_path: Path) -> None:
    path = write(tmp_path, "p.tsv", "a\tb\tlabel\nx\ty\t1\nz\tw\t0\n")
    assert read_examples(path, "a,b")[0] == Example(("x", "y"), "1")
    assert problems(path, text_column="a,c") == ["line 1: no column 'c': found 'a', 'b', 'label'"]
    assert problems(path, text_column="a,b,c")[0].startswith("--text-column is 'a,b,c'")
