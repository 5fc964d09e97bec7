"""The script that gathers the shipped adapter's public texts, on archives of the same layout."""

from __future__ import annotations

import io
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

from helpers.places import ROOT

SCRIPT = ROOT / "examples" / "minilm-rfa" / "texts.py"
RATED = {
    "nytEditorial": "1_1\t0.4\tA  holiday celebration .\n1_2\t0.1\tToo short\nno rating\n",
    "amazonReview": "1_1\t-0.9\tno picture at all\n",
    "movieReview": "1\t2.2\tA film of SST-2\n",
}


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, SCRIPT, *map(str, arguments)], capture_output=True, text=True, check=False)


def test_four_files_are_written(tmp_path: Path) -> None:
    inner = io.BytesIO()
    with tarfile.open(fileobj=inner, mode="w:gz") as tar:
        for name, text in RATED.items():
            info = tarfile.TarInfo(f"hutto_ICWSM_2014/{name}Snippets_GroundTruth.txt")
            info.size = len(text)
            tar.addfile(info, io.BytesIO(text.encode()))
    vader, gensim, wordnet, out = (tmp_path / name for name in ("vader.zip", "gensim.whl", "wordnet", "out"))
    with zipfile.ZipFile(vader, "w") as archive:
        archive.writestr("vaderSentiment-0.5/additional_resources/hutto_ICWSM_2014.tar.gz", inner.getvalue())
    with zipfile.ZipFile(gensim, "w") as archive:
        for name, text in (("lee_background", "One. Two! Three?\n"), ("lee", "Four.\n")):
            archive.writestr(f"gensim/test/test_data/{name}.cor", text)
    wordnet.mkdir()
    for part in ("adj", "adv", "noun", "verb"):
        gloss = f'00001 00 s 01 | of {part}; "five words and an {part}"; "too short"; "this one is passed over"'
        (wordnet / f"data.{part}").write_text(f"  1 a licence | in front\n{gloss}\n")

    done = run(vader, gensim, wordnet, out)
    assert done.returncode == 0, done.stderr
    found = {path.stem: path.read_text().splitlines() for path in out.iterdir()}
    assert found == {
        "nyt": ["A holiday celebration ."],
        "amazon": ["no picture at all"],
        "lee": ["One. Two!", "Three?", "Four."],
        "wordnet": [f"five words and an {part}" for part in ("adj", "adv", "noun", "verb")],
    }


def test_sources_that_are_not_there_are_named(tmp_path: Path) -> None:
    done = run(tmp_path / "vader.zip", tmp_path / "gensim.whl", tmp_path, tmp_path / "out")
    assert done.returncode == 2
    assert f"No such file or directory: '{tmp_path / 'vader.zip'}'" in done.stderr
    assert not (tmp_path / "out").exists()
    assert "pip download" in run("--help").stdout
