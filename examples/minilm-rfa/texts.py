#!/usr/bin/env python
"""Public texts that the adapter was trained on beside AG News, MRPC and SST-2, one a line, in four files.

    pip download --no-deps vaderSentiment==0.5 gensim==4.4.0    # an archive of sources, a wheel: neither is installed
    apt install wordnet-base
    python texts.py vaderSentiment-0.5.zip gensim-4.4.0-*.whl /usr/share/wordnet OUT

`nyt.txt` and `amazon.txt`: sentences of New York Times editorials and of Amazon reviews (Hutto and Gilbert 2014; the
film reviews there are SST-2's, test rows included, and are left out). `lee.txt`: news of the Australian Broadcasting
Corporation, two sentences a line (Lee, Pincombe and Welsh 2005). `wordnet.txt`: every other example of five words or
more in WordNet 3.0.
"""

from __future__ import annotations

import argparse
import io
import re
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

VADER = "vaderSentiment-0.5/additional_resources/hutto_ICWSM_2014.tar.gz"
LEE = ("lee_background.cor", "lee.cor")


def rated(archive: zipfile.ZipFile, name: str) -> Iterator[str]:
    """Snippets of three words or more: number, rating, text."""
    with tarfile.open(fileobj=io.BytesIO(archive.read(VADER))) as inner:
        member = inner.extractfile(f"hutto_ICWSM_2014/{name}Snippets_GroundTruth.txt")
        assert member is not None
        for line in member.read().decode("latin-1").splitlines():
            words = line.split("\t")[2].split() if line.count("\t") > 1 else []
            if len(words) > 2:
                yield " ".join(words)


def news(archive: zipfile.ZipFile) -> Iterator[str]:
    """An article a line; two sentences at a time."""
    for name in LEE:
        for article in archive.read(f"gensim/test/test_data/{name}").decode(errors="replace").splitlines():
            sentences = re.split(r"(?<=[.!?]) +", article.strip())
            yield from (" ".join(sentences[i : i + 2]) for i in range(0, len(sentences), 2))


def examples(wordnet: Path) -> Iterator[str]:
    """Quoted parts of the glosses."""
    for part in ("adj", "adv", "noun", "verb"):
        for line in (wordnet / f"data.{part}").read_text("latin-1").splitlines():
            if not line.startswith("  ") and "|" in line:
                quoted = re.findall(r'"([^"]+)"', line.split("|", 1)[1])
                yield from (text for text in quoted if len(text.split()) >= 5)


def main() -> None:
    """Read the three sources, write the four files; exit code 2: a source that is not what it should be."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("vader", "gensim", "wordnet", "out"):
        parser.add_argument(name, type=Path)
    given = parser.parse_args()
    try:
        with zipfile.ZipFile(given.vader) as sources, zipfile.ZipFile(given.gensim) as wheel:
            texts = {
                "nyt": list(rated(sources, "nytEditorial")), "amazon": list(rated(sources, "amazonReview")),
                "lee": list(news(wheel)), "wordnet": list(examples(given.wordnet))[::2],
            }  # fmt: skip
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        parser.error(f"cannot read the sources: {error}; --help says which are needed")
    given.out.mkdir(parents=True, exist_ok=True)
    for name, lines in texts.items():
        (given.out / f"{name}.txt").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        print(f"{name}.txt: {len(lines)} texts")


if __name__ == "__main__":
    main()
