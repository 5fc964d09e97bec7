"""What is told of every generation: any function of one dictionary, and a writer for TensorBoard.

The dictionary is the generation's line of `history.jsonl`, with the lowest losses so far:

    {"generation": 3, "evaluations": 24, "losses": […], "sigma": 0.4, "dev": […], "seconds": 1.2,
     "cost": {"seconds": …, "bytes_sent": …, "rounds": …, "peak_bytes": …, "steps": …},
     "best_train": 0.61, "best_dev": 0.58}
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np

from ..closing import Closing
from ..errors import SecfwtError
from ..run_folder import Json

WRITERS = ("torch.utils.tensorboard", "tensorboardX")


class TensorBoard(Closing):
    """Losses and cost as scalars, by generation. Raises SecfwtError where no package can write them."""

    def __init__(self, folder: str) -> None:
        for name in WRITERS:
            try:
                self._writer: Any = import_module(name).SummaryWriter(folder)
                return
            except ImportError:
                continue
        raise SecfwtError("nothing here writes for TensorBoard: pip install tensorboard (with torch), or tensorboardX")

    def __call__(self, line: Json) -> None:
        """Write one generation."""
        step = line["generation"]
        values = {"loss/best": line["best_train"], "dev/best": line["best_dev"], "search/sigma": line["sigma"]}
        if losses := [v for v in line["losses"] if v is not None]:
            values |= {"loss/mean": float(np.mean(losses)), "loss/lowest": min(losses)}
        values |= {f"cost/{name}": value for name, value in line["cost"].items()}
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        """Write what is left."""
        self._writer.close()
