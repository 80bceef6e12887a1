"""Settings of a filter: what is configured, chosen, or constant."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from recserve_graph.parameters import GraphFilterParams

# Entries of a filter's part (float32) that a bundle holds at most: 256 MB.
MOST_ENTRIES = 2**26

NO_HALF_LIFE = 0.0


@dataclass(frozen=True, slots=True)
class Settings:
    """Every setting of a filter; see :class:`recserve_graph.parameters.GraphFilterParams`."""

    rank: int
    spectral_power: float
    linear_weight: float
    source_exponent: float
    target_exponent: float
    linear_exponent: float
    neighbours: int
    item_exponent: float
    user_exponent: float
    confidence_power: float
    half_life_events: float

    @classmethod
    def usual(cls, n_items: int, smaller_side: int) -> Settings:
        """Constants: those of the paper where it has any.

        Args:
            n_items: Of the catalogue.
            smaller_side: Users or items with an event, whichever are fewer.
        """
        rank = min(default_rank(smaller_side), affordable(n_items))
        neighbours = min(100, affordable(n_items))
        return cls(rank, 0.0, 1.0, 0.5, 0.5, 0.2, neighbours, 0.5, 0.5, 0.0, NO_HALF_LIFE)

    def with_known(self, params: GraphFilterParams, previous: Mapping[str, Any]) -> Settings:
        """The same with what is configured, or else was chosen by an earlier fit."""
        known = {name: previous[name] for name in asdict(self) if name in previous}
        known |= {name: value for name in asdict(self) if (value := getattr(params, name)) is not None}
        return self.having(known)

    def having(self, changes: Mapping[str, Any]) -> Settings:
        """The same with some settings changed."""
        return Settings(**{**asdict(self), **changes})


def default_rank(smaller_side: int) -> int:
    """The power of two nearest to twice the root of the smaller side, within 16..256."""
    power = max(round(2.0 * smaller_side**0.5), 1).bit_length() - 1
    return int(2 ** min(max(power, 4), 8))


def affordable(n_items: int) -> int:
    """Columns that a matrix with a row an item may have in a bundle."""
    return max(MOST_ENTRIES // max(n_items, 1), 16)
