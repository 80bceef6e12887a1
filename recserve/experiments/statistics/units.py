"""Sums over an experiment's units: users, and answers to nobody in particular."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recserve.data.arrays import BoolArray, Float64Array, Int64Array
from recserve.data.columns.codes import encoded
from recserve.outcomes.intervals import total


@dataclass(frozen=True, eq=False)
class Units:
    """What N units did.

    Attributes:
        users: int64, shape (N,); hash of each user, 0 of an anonymous answer. Those of users ascend, and
            come first.
        known: bool, shape (N,); whether the unit is a user.
        arms: int64, shape (N,); number of the arm that the unit saw first.
        sums: float64, shape (N, W).
        crossed: How many users saw another arm as well; what they did there is left out.
    """

    users: Int64Array
    known: BoolArray
    arms: Int64Array
    sums: Float64Array
    crossed: int


class _Sums(NamedTuple):
    """Sums by unit and arm; each pair comes once."""

    units: Int64Array
    arms: Int64Array
    first: Int64Array
    sums: Float64Array


class UnitSums:
    """Adds up impressions by unit, a table at a time.

    Args:
        width: Number of columns W that are added up.
    """

    def __init__(self, width: int) -> None:
        nothing = np.empty(0, np.int64)
        self._users = [_Sums(nothing, nothing, nothing, np.empty((0, width)))]
        self._anonymous = list(self._users)

    def add(self, shown: pa.Table, arms: Int64Array, columns: Float64Array) -> None:
        """Add impressions. All rows of an answer must be in one table.

        Args:
            shown: R impressions, see :func:`recserve.outcomes.join.impressions`.
            arms: int64, shape (R,); number of the arm of each.
            columns: float64, shape (R, W); what is added up.
        """
        moments = shown["timestamp"].to_numpy()
        known = pc.is_valid(shown["user_hash"]).to_numpy()
        hashes = shown["user_hash"].drop_null().to_numpy()
        self._users.append(_summed(hashes, arms[known], moments[known], columns[known]))
        _, answers = encoded(shown["recommendation_id"].filter(pa.array(~known)))
        codes = answers.astype(np.int64)
        self._anonymous.append(_summed(codes, arms[~known], moments[~known], columns[~known]))

    def units(self) -> Units:
        """The units of all that was added."""
        users = _summed(*(np.concatenate(parts) for parts in zip(*self._users, strict=True)))
        order = np.lexsort((users.first, users.units))
        hashes, first, arms_seen = np.unique(users.units[order], return_index=True, return_counts=True)
        chosen = order[first]
        _, arms, _, sums = (np.concatenate(parts) for parts in zip(*self._anonymous, strict=True))
        known = np.arange(len(hashes) + len(arms)) < len(hashes)
        return Units(
            np.concatenate([hashes, np.zeros(len(arms), np.int64)]),
            known,
            np.concatenate([users.arms[chosen], arms]),
            np.concatenate([users.sums[chosen], sums]),
            int((arms_seen > 1).sum()),
        )


def _summed(units: Int64Array, arms: Int64Array, moments: Int64Array, columns: Float64Array) -> _Sums:
    distinct, codes = np.unique(units, return_inverse=True)
    kinds = int(arms.max(initial=0)) + 1
    pairs, places = np.unique(codes * kinds + arms, return_inverse=True)
    first = np.full(len(pairs), np.iinfo(np.int64).max)
    np.minimum.at(first, places, moments)
    sums = np.empty((len(pairs), columns.shape[1]))
    for number, column in enumerate(columns.T):
        sums[:, number] = total(places, column, len(pairs))
    return _Sums(distinct[pairs // kinds], pairs % kinds, first, sums)


class EarlierSums:
    """Adds up what the users of an experiment did before it, a table at a time.

    Args:
        units: The experiment's units.
        width: Number of columns W that are added up.
    """

    def __init__(self, units: Units, width: int) -> None:
        self._users = units.users[units.known]
        self.sums = np.zeros((len(units.users), width))
        """float64, shape (N, W); zeros for who was not there."""

    def add(self, shown: pa.Table, columns: Float64Array) -> None:
        """Add impressions.

        Args:
            shown: R impressions.
            columns: float64, shape (R, W); what is added up.
        """
        if not len(self._users):
            return
        known = pc.is_valid(shown["user_hash"]).to_numpy()
        hashes = shown["user_hash"].drop_null().to_numpy()
        places = np.minimum(np.searchsorted(self._users, hashes), len(self._users) - 1)
        there = self._users[places] == hashes
        for number, column in enumerate(columns[known][there].T):
            self.sums[:, number] += total(places[there], column, len(self.sums))
