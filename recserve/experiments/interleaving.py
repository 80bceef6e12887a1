"""Interleaving: two ranked lists are drafted into a page, and clicks say which list people prefer.

Each user judges both lists on a page, so that neither differences between users nor the items that both lists
agree on add noise: far fewer impressions decide than an A/B test needs (Chapelle, Joachims, Radlinski & Yue
2012).
"""

from __future__ import annotations

import random
from collections.abc import Hashable, Iterator, Sequence
from typing import Generic, NamedTuple, TypeVar

from recserve.data.arrays import Float64Array
from recserve.errors import DataError
from recserve.outcomes.intervals import RatioSample

FIRST, SECOND = 0, 1
SHARED = -1
"""Team of an item that both lists stand for; its clicks count for neither."""

_Item = TypeVar("_Item", bound=Hashable)


class Drafted(NamedTuple, Generic[_Item]):
    """An item of an interleaved page.

    Attributes:
        item: The item.
        team: Whose pick it is: :data:`FIRST`, :data:`SECOND` or :data:`SHARED`.
    """

    item: _Item
    team: int


def draft(
    first: Sequence[_Item], second: Sequence[_Item], length: int, generator: random.Random
) -> list[Drafted[_Item]]:
    """Draft two ranked lists into a page by teams (Radlinski, Kurup & Joachims 2008).

    In each round a coin decides which list picks first; each picks its best item that is not on the page
    yet. Where both would pick the same item at the start of a round, and where the other list has nothing
    left, the item is
    shared: it says nothing about which list is better. So two equal lists give a page without teams, and in
        every
    prefix of a page the sizes of the teams differ by at most one.

    Args:
        first: Items of the first list, best first.
        second: Items of the second list, best first.
        length: Items of the page; fewer if the lists have fewer.
        generator: Tosses the coins.
    """
    if length < 0:
        raise DataError(f"a page has at least 0 items, not {length}")
    page: list[Drafted[_Item]] = []
    seen: set[_Item] = set()
    lists = (_Unseen(first, seen), _Unseen(second, seen))
    sizes = [0, 0]
    while len(page) < length:
        left = [ranking.head() for ranking in lists]
        offered = [head for head in left if head is not None]
        if not offered:
            break
        if len(offered) == 1 or (left[FIRST] == left[SECOND] and sizes[FIRST] == sizes[SECOND]):
            team, item = SHARED, offered[0]
        else:
            behind = sizes[SECOND] - sizes[FIRST]
            team = (FIRST if behind > 0 else SECOND) if behind else generator.getrandbits(1)
            item = offered[team]
            sizes[team] += 1
        page.append(Drafted(item, team))
        seen.add(item)
    return page


def preference(first: Float64Array, second: Float64Array) -> RatioSample:
    """How much people prefer the second list: its clicks minus the first's, by the clicks of both, -1 to 1.

    Its estimate goes into an always-valid interval; equally good lists have a preference of zero.

    Args:
        first: float64, shape (N,); clicks of each unit on items that the first list picked.
        second: float64, shape (N,); on those of the second.
    """
    if first.shape != second.shape:
        raise DataError("clicks of both lists must have one entry a unit")
    credited = first + second
    judges = credited > 0
    return RatioSample((second - first)[judges], credited[judges])


class _Unseen(Generic[_Item]):
    """A ranked list of which only what is not on the page yet counts."""

    def __init__(self, ranking: Sequence[_Item], seen: set[_Item]) -> None:
        self._rest: Iterator[_Item] = iter(ranking)
        self._seen = seen
        self._head: _Item | None = next(self._rest, None)

    def head(self) -> _Item | None:
        """The best item that is left; None if there is none."""
        while self._head is not None and self._head in self._seen:
            self._head = next(self._rest, None)
        return self._head
