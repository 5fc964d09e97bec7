"""The accuracy benchmark's tasks: where their files are, how labels are described, which rows are whose."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from secfwt.runtime.data.examples import Example, read_examples
from secfwt.runtime.data.splits import Splits, draw_splits

DATA = Path(__file__).parents[2].parent / "shared" / "data"
"""Where data sets are looked for: beside the checkout, a folder a task."""


@dataclass(frozen=True)
class Task:
    """A data set and how it is put to a sentence encoder."""

    name: str
    folder: str
    first_row: int
    """Shots come from this row of the training file on: rows below were public text that the adapter was trained on."""
    tested: int
    """Rows of the dev file, the first, that every method is tested on; the adapter was trained on none of them."""
    sequence_length: int
    label_texts: dict[str, str]


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
TASKS = {task.folder: task for task in (AG_NEWS, SST_2)}


def draw(task: Task, data: Path, shots: int, seed: int) -> Splits:
    """`shots` a class for training, as many for dev, from rows that nothing was trained on; test: the dev file's."""
    train = pool(task, data)
    test = read_examples(data / task.folder / "dev.tsv", known_labels=sorted(task.label_texts))
    drawn = draw_splits(train, None, None, k_shot=shots, seed=seed)
    return Splits(drawn.train, drawn.dev, test[: task.tested])


def draw_held_out(task: Task, data: Path, shots: int, seed: int, limit: int) -> Splits:
    """The same shots, tested on the rest of the rows they come from: for choosing settings without the test file."""
    return draw_splits(pool(task, data), None, None, k_shot=shots, test_limit=limit, seed=seed)


def pool(task: Task, data: Path) -> list[Example]:
    """The rows that shots are drawn from."""
    return read_examples(data / task.folder / "train.tsv")[task.first_row :]
