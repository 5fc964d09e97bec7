"""Private embeddings against the original's, of a toy."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from secfwt.codegen.series.ranges import Ranges

import run
from accuracy import fidelity
from accuracy.fidelity import Private, Shares


@pytest.fixture(scope="module")
def private(directory: Path) -> Private:
    return Private.of(directory, tokens=12, calibrated=12)


def test_a_row_per_kind_of_text_says_how_near_embeddings_are(directory: Path, tmp_path: Path) -> None:
    (tmp_path / "films.txt").write_text("the film was great\n\nfilm\na terrible film it was\n")
    out = tmp_path / "rows.csv"
    options = ["--model", str(directory), "--kinds", str(tmp_path / "films.txt"), "--tokens", "8", "--out", str(out)]
    for logits in ("1", "2"):
        given = run.parsed(["fidelity", *options, "--logits", logits])
        given.main(given)
    rows = list(csv.DictReader(out.read_text().splitlines()))
    assert [(row["kind"], row["texts"], row["tokens"], row["logits"]) for row in rows] == [
        ("films", "3", "8", "1"), ("films", "3", "8", "2")
    ]  # fmt: skip
    for row, aim in zip(
        rows, (0.99, 0.8), strict=True
    ):  # the toy's words are not the sentences': its estimates are rough
        least, low, mean = (float(row[f"cosine_{what}"]) for what in ("min", "p5", "mean"))
        assert aim < least <= low <= mean < 1
        assert float(row["megabytes"]) > 0
    assert all(len(row["harmonics"].split()) == 2 for row in rows)  # one number per layer


def test_batches_do_not_change_an_embedding(private: Private) -> None:
    texts = ["the film was great", "a terrible film it was", "film"]
    together = private.embeddings(private.inputs(texts))
    alone = np.concatenate([private.embeddings(private.inputs([text])) for text in texts])
    np.testing.assert_array_equal(together, alone)
    np.testing.assert_allclose(np.linalg.norm(together, axis=-1), 1, atol=0.01)


def test_a_factor_on_queries_changes_the_original_as_well(directory: Path, private: Private) -> None:
    louder = Private.of(directory, tokens=12, calibrated=12, logits=4.0)
    np.testing.assert_allclose(louder.weights["layers.0.q.weight"], 4 * private.weights["layers.0.q.weight"])
    np.testing.assert_array_equal(louder.weights["layers.0.k.weight"], private.weights["layers.0.k.weight"])


def test_values_outside_intervals_are_counted() -> None:
    site = {"min": -10.0, "max": 10.0, "q0.0001": 0.5, "q0.9999": 4.0}
    shares = Shares(Ranges({"layers.0.score": site, "layers.0.row_sum": site}))
    shares.observe("layers.0.score", np.array([-13.0, -11.0, 0.0, 2.5, 8.0]))  # the interval is [-12, 7]
    shares.observe("layers.0.row_sum", np.array([0.1, 1.0, 19.0, 21.0]))  # [0.25, 20]
    shares.observe("layers.0.hidden", np.array([100.0]))
    assert (shares.scores, shares.beyond, shares.below, shares.sums, shares.outside) == (5, 2, 2, 4, 2)


def test_texts_come_from_data_sets_and_files(tmp_path: Path) -> None:
    (tmp_path / "mrpc").mkdir()
    (tmp_path / "mrpc" / "train.tsv").write_text("sentence1\tsentence2\tlabel\none\ttwo\ta\nthree\tfour\tb\n")
    assert fidelity.texts_of("mrpc", tmp_path, 9) == ["one", "three"]
    assert fidelity.texts_of("mrpc", tmp_path, 1) == ["one"]
