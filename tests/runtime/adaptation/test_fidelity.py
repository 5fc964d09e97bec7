"""What a conversion says about itself: distances to the original, shares outside intervals, the report."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers.toy_encoder import write_model, write_texts
from secfwt.codegen.series.ranges import Ranges
from secfwt.runtime.adaptation.options import ConvertOptions

torch = pytest.importorskip("torch")
from secfwt.runtime.adaptation.feature_counts import layer_errors  # noqa: E402
from secfwt.runtime.adaptation.features import Recipe, initial_features  # noqa: E402
from secfwt.runtime.adaptation.fidelity import calibrated, fidelity, outside  # noqa: E402
from secfwt.runtime.adaptation.neighbours import nearest_tokens  # noqa: E402
from secfwt.runtime.adaptation.student import EXACT, Architecture, Parameters  # noqa: E402
from secfwt.runtime.conversion.report import figure_png, markdown  # noqa: E402
from secfwt.runtime.conversion.session import Material, read_material  # noqa: E402


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Material:
    folder = tmp_path_factory.mktemp("material")
    texts = write_texts(folder / "texts.txt")
    return read_material(ConvertOptions(str(write_model(folder)), str(folder / "out"), (str(texts),)))


def student(material: Material, features: int, variant: str = "folded") -> tuple[Parameters, Architecture]:
    shape = replace(material.shape, features=(features,) * 2, variant=variant)
    corpus = material.corpus(material.held_out)
    return {**material.teacher, **initial_features(corpus, shape, Recipe(learned=False))}, shape


def test_more_random_features_are_not_further_from_softmax(material: Material) -> None:
    corpus = material.corpus(material.held_out)
    few, many = (fidelity(corpus, *student(material, count)) for count in (2, 512))
    for report in (few, many):
        assert report["cosine_q0.05"] <= report["cosine_mean"] <= 1.0
    for coarse, fine in zip(few["layers"], many["layers"], strict=True):
        assert fine["attention_distance"] < coarse["attention_distance"]


def test_the_share_outside_is_counted(material: Material) -> None:
    corpus = material.corpus(material.held_out)
    weights, shape = student(material, 32)
    sites = calibrated(corpus, weights, shape)
    assert all(share == 0 for share in outside(corpus, weights, shape, Ranges(sites), EXACT).values())
    site = sites["layers.1.output_var"]
    middle = (site["min"] + site["max"]) / 2
    narrow = sites | {"layers.1.output_var": site | {"min": middle * 2, "max": middle}}  # an interval of nothing but 2x
    left = outside(corpus, weights, shape, Ranges(narrow), EXACT)
    assert left["layers.1.output_var"] > 0.2
    assert left["layers.0.output_var"] == 0


def test_more_random_features_lower_the_error_that_counts_are_chosen_by(material: Material) -> None:
    corpus = material.corpus(material.held_out)
    few, many = (layer_errors(corpus, *student(material, count)) for count in (2, 512))
    assert len(few) == len(many) == 2
    assert all(0 < fine < coarse for coarse, fine in zip(few, many, strict=True))


def test_the_report_names_what_leaves_its_interval(tmp_path: Path) -> None:
    layers = [{"attention_distance": 0.5, "attention_error": 0.25, "hidden_error": 0.125}]
    cosines = {"cosine_mean": 0.9, "cosine_q0.05": 0.8, "prompted_mean": 0.7, "prompted_q0.05": 0.6}
    run = {"texts": 7, **cosines, "layers": layers}
    report = {"before": run, "after": run, "outside": {"layers.0.gelu": 0.002, "layers.0.den": 0.0}}
    text = markdown(report)
    assert "On 7 texts" in text
    assert "| layers.0.gelu | 2.0e-03 |" in text
    assert "| 1 other sites | 0 |" in text
    assert "| 0 | 0.500 → 0.500 | 0.250 → 0.250 | 0.125 → 0.125 |" in text
    (tmp_path / "fidelity.png").write_bytes(figure_png(report))
    assert (tmp_path / "fidelity.png").stat().st_size > 1000


def test_a_batch_follows_from_its_seed_alone(material: Material) -> None:
    corpus = material.corpus(material.texts, batch_rows=64, splice=0.5)
    first, again, other = (corpus.draw(np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert torch.equal(first[0], again[0])
    assert first[0].shape != other[0].shape or not torch.equal(first[0], other[0])
    assert 8 <= len(first[0]) <= 64 + 16


def test_exchanged_tokens_are_near_ones(material: Material) -> None:
    table = material.teacher["embeddings.word"]
    nearest = torch.from_numpy(nearest_tokens(table, material.embedder.tokenizer))
    words = material.embedder.tokenizer.get_vocab()
    special = [number for word, number in words.items() if word.startswith("[") and len(word) > 1]
    own = torch.arange(len(table))[:, None]
    assert torch.equal(nearest[special], own[special].expand(-1, nearest.shape[1])), "special tokens stay"
    assert not np.isin(np.delete(nearest.numpy(), special, axis=0), special).any(), "nor do they stand for others"
    text, unit = material.texts[0], torch.nn.functional.normalize(table, dim=-1)
    ordinary = next(token for token in text if token not in special)
    likeness = unit @ unit[ordinary]
    likeness[[*special, ordinary]] = -2
    assert int(nearest[ordinary][0]) == int(likeness.argmax())

    batches = [
        [
            material.corpus(material.texts, batch_rows=64, exchange=share).draw(np.random.default_rng(seed))[0]
            for seed in range(8)
        ]
        for share in (0.0, 1.0)
    ]
    changed = [float((plain != other).any(1).float().mean()) for plain, other in zip(*batches, strict=True)]
    assert 0.2 < np.mean(changed) < 0.6, "half the texts, all but their special tokens"


def test_long_texts_are_drawn_more_often(material: Material) -> None:
    corpus = material.corpus(material.texts, batch_rows=8)
    drawn = [int(corpus.draw(np.random.default_rng(seed))[1].mask.sum(1).max()) for seed in range(200)]
    assert np.mean(drawn) > np.mean([len(text) for text in material.texts]) + 0.5
