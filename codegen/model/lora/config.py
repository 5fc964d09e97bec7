"""What `adapter_config.json` says of a LoRA adapter (Hu et al. 2022), as PEFT writes it; pydantic checks the fields."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, PositiveInt, ValidationError, model_validator

from ...commandline.problems import Report
from ...hub.files import read_json

CONFIG = "adapter_config.json"
T = TypeVar("T")
_WITHOUT_EFFECT = {
    "auto_mapping", "base_model_name_or_path", "corda_config", "ensure_weight_tying",
    "eva_config", "exclude_modules", "fan_in_fan_out", "inference_mode", "layers_pattern", "layers_to_transform",
    "loftq_config", "lora_dropout", "lora_ga_config", "megatron_core", "modules_to_save", "peft_version",
    "qalora_group_size", "revision", "runtime_config", "target_modules", "task_type",
}  # fmt: skip
"""Of training, or said by the tensors themselves: which modules there are, and how their base lies in memory."""
_BEGINNINGS = (True, False, "gaussian", "eva", "orthogonal")
"""Ways to begin that leave the base as it is; the others (PiSSA, OLoRA, LoftQ …) take a part of it away."""


class LoraConfig(BaseModel):
    """A plain LoRA adapter: of a matrix W it makes W + s·B·A."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    peft_type: Literal["LORA"]
    r: PositiveInt = 8
    lora_alpha: float = 8
    use_rslora: bool = False
    rank_pattern: dict[str, PositiveInt] = {}
    alpha_pattern: dict[str, float] = {}
    bias: Literal["none", "all", "lora_only"] = "none"
    init_lora_weights: bool | str = True

    @model_validator(mode="before")
    @classmethod
    def _plain(cls, raw: dict[str, Any]) -> dict[str, Any]:
        """Without what has no effect on the result, and what is off."""
        return {
            name: value
            for name, value in raw.items()
            if name in cls.model_fields or not (name in _WITHOUT_EFFECT or value in (None, False, {}, []))
        }

    def rank(self, module: str) -> int:
        """The rank r of a module's change."""
        return _by_pattern(self.rank_pattern, module, self.r)

    def scale(self, module: str) -> float:
        """The factor s of a module's change: alpha/r, with rank-stabilised LoRA (Kalajdzievski 2023) alpha/√r."""
        alpha, rank = _by_pattern(self.alpha_pattern, module, self.lora_alpha), self.rank(module)
        return alpha / math.sqrt(rank) if self.use_rslora else alpha / rank


def read_config(folder: Path, report: Report) -> LoraConfig | None:
    """The configuration of an adapter's folder; None, with every problem reported, where it is no plain LoRA."""
    raw = read_json(folder / CONFIG, dict, report, "Give a folder that PEFT's save_pretrained wrote.")
    if raw is None:
        return None
    kind = raw.get("peft_type")
    if kind != "LORA":
        report.error(f"--lora is {folder}: it holds an adapter of type {kind}", "Accepted: LORA.")
        return None
    try:
        config = LoraConfig.model_validate(raw)
        for pattern in (*config.rank_pattern, *config.alpha_pattern):
            re.compile(pattern)
    except ValidationError as error:
        for found in error.errors():
            field = ".".join(str(part) for part in found["loc"])
            plain = "Plain LoRA has no such part." if found["type"] == "extra_forbidden" else found["msg"]
            report.error(f"{CONFIG}: {field} is {json.dumps(found['input'])}", plain)
        return None
    except re.error as error:
        report.error(f"{CONFIG}: a pattern cannot be read: {error}")
        return None
    if config.init_lora_weights not in _BEGINNINGS:
        report.error(
            f"{CONFIG}: init_lora_weights is {config.init_lora_weights!r}",
            "Such an adapter changes its base as well. Convert it first: PEFT's save_pretrained with "
            "path_initial_model_for_weight_conversion.",
        )
    return config


def _by_pattern(patterns: dict[str, T], module: str, otherwise: T) -> T:
    """As PEFT's `get_pattern_key`: the first pattern that is the module's name, or its end behind a dot."""
    return next((value for key, value in patterns.items() if re.match(rf"(.*\.)?({key})$", module)), otherwise)
