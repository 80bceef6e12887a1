"""Settings by which a cross-encoder of two tiny layers learns a small data set in seconds."""

from __future__ import annotations

from typing import Any

TINY_SETTINGS: dict[str, Any] = {
    "tune_layers": None,
    "learning_rate": 0.003,
    "examples": 300,
    "epochs": 2,
    "batch_examples": 16,
    "history": 3,
    "history_tokens": 4,
    "item_tokens": 4,
}
