"""What a feature does: count on training events what is known of all users, compute columns of candidates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from recserve import Float64Array, FloatArray
from recserve_features.inputs.events import Asked, CountedEvents


class Computed(Protocol):
    """A declared feature that can be counted and computed."""

    @property
    def categorical(self) -> bool:
        """Whether the values are numbers of categories, in no order."""
        ...

    def names(self, name: str) -> Sequence[str]:
        """Names of its columns.

        Args:
            name: Its own.
        """
        ...

    def count(self, events: CountedEvents) -> Float64Array:
        """What it has to know of all users' events, any shape; empty if nothing."""
        ...

    def compute(self, asked: Asked, table: Float64Array) -> Sequence[FloatArray]:
        """Its columns for some candidates.

        Args:
            asked: The candidates; features read nothing but them and ``table``, so that training and serving
                cannot differ.
            table: What :meth:`count` returned.

        Returns:
            As many as :meth:`names` says, float32, shape (B, K), NaN where nothing is known.
        """
        ...


class Plain:
    """Base of features with one column that count nothing."""

    @property
    def categorical(self) -> bool:
        """The values are numbers."""
        return False

    def names(self, name: str) -> Sequence[str]:
        """The feature's own name."""
        return (name,)

    def count(self, events: CountedEvents) -> Float64Array:
        """Nothing."""
        return np.empty(0)
