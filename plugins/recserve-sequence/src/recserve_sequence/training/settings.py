"""Parameters with every automatic choice made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from recserve import Int64Array
from recserve_sequence.parameters import SequenceParams

LARGE = 200_000
"""Positive events from which a wider network pays."""
STEPS = 1200
"""Steps of the optimiser over which the learning rate falls to nothing, as whole epochs within EPOCHS."""
EPOCHS = (12, 40)
WINDOWS = (50, 200)
"""Least and greatest window that is chosen; between them, the length of an active user's history."""


def schedule(params: SequenceParams, batches: int, previous: Mapping[str, Any] | None) -> int:
    """Epochs over which the learning rate falls to nothing.

    Args:
        params: What the user asked for; None leaves the choice to us.
        batches: Of one epoch.
        previous: Facts of an earlier fit, whose schedule is to be kept.
    """
    if params.epochs is not None:
        return params.epochs
    return int((previous or {}).get("schedule", np.clip(round(STEPS / max(batches, 1)), *EPOCHS)))


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings of a fit.

    Attributes:
        width: Length of item vectors and user states.
        window: Newest events of a user that are read.
        negatives: Draws of the sampler for each batch; 0 for the full softmax.
        in_batch: Targets of the batch that join them.
        bce: Binary cross-entropy instead of the softmax.
    """

    width: int
    window: int
    negatives: int
    in_batch: int
    bce: bool

    @classmethod
    def choose(
        cls,
        params: SequenceParams,
        n_events: int,
        lengths: Int64Array,
        n_items: int,
        previous: Mapping[str, Any] | None,
    ) -> Settings:
        """Decide by the size of the data, or as an earlier fit decided.

        Args:
            params: What the user asked for; None leaves the choice to us.
            n_events: Positive events to learn from.
            lengths: int64; events of each user.
            n_items: Items with at least one positive event.
            previous: Facts of the earlier fit whose width and window are to be kept.
        """
        previous = previous or {}
        width = params.width or int(previous.get("width", 128 if n_events >= LARGE else 64))
        active = int(np.quantile(lengths, 0.9)) if len(lengths) else 0
        window = params.window or int(previous.get("window", np.clip(active, *WINDOWS)))
        full = params.loss == "full_softmax" or n_items <= params.negatives + params.in_batch
        return cls(
            width=width,
            window=window,
            negatives=0 if full else params.negatives,
            in_batch=0 if full else params.in_batch,
            bce=params.loss == "bce",
        )
