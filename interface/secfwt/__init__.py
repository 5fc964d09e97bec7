"""Private prompt tuning from Python: `from secfwt import PromptClassifier`. Names are imported when they are used."""

from importlib import import_module
from typing import Any

_PLACES = {
    "Deployment": "parties.deployment",
    "PromptClassifier": "interface.classifier",
    "PromptTuner": "interface.tuner",
    "TensorBoard": "interface.callbacks",
    "TextGenerator": "interface.generator",
}
__all__ = ["Deployment", "PromptClassifier", "PromptTuner", "TensorBoard", "TextGenerator"]


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"secfwt.runtime.{_PLACES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
