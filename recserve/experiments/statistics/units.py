"""Totals of an experiment's units: users, and answers to nobody in particular."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recserve.data.arrays import BoolArray, Float64Array, Int64Array
from recserve.outcomes.intervals import total

FACTS = ("clicked", "converted", "value")
"""Columns that are added up, beside the impressions themselves."""


@dataclass(frozen=True, eq=False)
class UnitTotals:
    """What N units were shown and did.

    Attributes:
        users: int64, shape (N,); hash of each user, 0 of an anonymous answer.
        known: bool, shape (N,); whether the unit is a user.
        arms: int64, shape (N,); number of the arm that the unit saw first.
        answers: float64, shape (N,).
        impressions: float64, shape (N,).
        facts: float64, shape (N, 3); sums of :data:`FACTS`.
        crossed: How many users saw another arm as well; what they did there is left out.
    """

    users: Int64Array
    known: BoolArray
    arms: Int64Array
    answers: Float64Array
    impressions: Float64Array
    facts: Float64Array
    crossed: int

    @classmethod
    def of(cls, shown: pa.Table, names: Sequence[str]) -> Self:
        """Add up the impressions of some arms.

        Args:
            shown: Impressions, see :func:`recserve.outcomes.join.impressions`.
            names: Names of the arms, in the order that numbers them.
        """
        found = pc.index_in(_text(shown["arm"]), value_set=pa.array(names, pa.string()))
        shown = shown.filter(pc.is_valid(found))
        arms = found.drop_null().to_numpy().astype(np.int64)
        users, known, units = units_of(shown)
        order = np.argsort(shown["timestamp"].to_numpy(), kind="stable")
        _, first = np.unique(units[order], return_index=True)
        seen_first = arms[order[first]]
        own = arms == seen_first[units]
        crossed = len(np.unique(units[~own]))

        def summed(column: Float64Array | BoolArray) -> Float64Array:
            return total(units[own], column[own].astype(np.float64), len(users))

        return cls(
            users,
            known,
            seen_first,
            summed(shown["position"].to_numpy() == 0),
            summed(np.ones(len(units))),
            np.column_stack([summed(_numbers(shown[name])) for name in FACTS]),
            crossed,
        )

    def before(self, earlier: pa.Table) -> Float64Array:
        """What each unit was shown and did before: float64, shape (N, 4), zeros for who was not there.

        Args:
            earlier: Impressions of the time before the experiment.
        """
        earlier = earlier.filter(pc.is_valid(earlier["user_hash"]))
        hashes, rows = np.unique(earlier["user_hash"].to_numpy(), return_inverse=True)
        if not len(hashes):
            return np.zeros((len(self.users), 1 + len(FACTS)))
        columns = [np.ones(len(rows)), *(_numbers(earlier[name]) for name in FACTS)]
        sums = np.column_stack([total(rows, column) for column in columns])
        places = np.minimum(np.searchsorted(hashes, self.users), len(hashes) - 1)
        there = self.known & (hashes[places] == self.users)
        return np.where(there[:, None], sums[places], 0.0)


def units_of(shown: pa.Table) -> tuple[Int64Array, BoolArray, Int64Array]:
    """Hash of each unit, whether it is a user, and the unit of each row."""
    known = pc.is_valid(shown["user_hash"]).to_numpy()
    hashes, of_users = np.unique(shown["user_hash"].drop_null().to_numpy(), return_inverse=True)
    answers = _text(shown["recommendation_id"].filter(pa.array(~known)))
    codes = answers.combine_chunks().dictionary_encode().indices.to_numpy()
    units = np.empty(len(known), dtype=np.int64)
    units[known] = of_users
    units[~known] = len(hashes) + codes
    anonymous = int(codes.max(initial=-1)) + 1
    return (
        np.concatenate([hashes, np.zeros(anonymous, dtype=np.int64)]).astype(np.int64),
        np.arange(len(hashes) + anonymous) < len(hashes),
        units,
    )


def _text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return column.cast(pa.string())


def _numbers(column: pa.ChunkedArray) -> Float64Array:
    numbers: Float64Array = column.cast(pa.float64()).to_numpy()
    return numbers
