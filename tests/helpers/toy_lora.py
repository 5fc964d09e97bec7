"""Random LoRA adapters of toy models, written by PEFT."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

peft = pytest.importorskip("peft", reason="peft is not installed")


def save_lora(folder: Path, model: Any, **config: Any) -> Any:
    """Wrap a model, give every trained tensor random numbers, save the adapter; returns PEFT's model."""
    wrapped = peft.get_peft_model(model, peft.LoraConfig(**{"r": 3, "lora_alpha": 6, **config})).eval()
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in wrapped.parameters():
            if parameter.requires_grad:
                parameter.add_(0.2 * torch.randn_like(parameter))
    wrapped.save_pretrained(folder)
    return wrapped
