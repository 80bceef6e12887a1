"""The protocol of the comparison: what everybody learns from, and later events in the order they came.

The temporal split of `recserve evaluate`: one moment divides all data. Everybody is trained on the events
before it. Then each server is told the later events of a user as they happened, and asked just before each
that is on an item the user had not had (at most so many a user, evenly spread). The whole catalogue is ranked
but for what the user had; a list is as good as the place of the item that came next.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from benchmarks.datasets import Data
from recserve import Catalogue, Dataset, Queries
from recserve.config import Config
from recserve.data.arrays import Int32Array
from recserve.evaluation import Interval, Report, Split, evaluate, temporal

K = 20
"""Items of a list that are judged."""


@dataclass(frozen=True)
class Asked:
    """A question of the protocol.

    Attributes:
        user: Who is asked for.
        told: Events since the user's last question, oldest first, as ``POST /v1/events`` takes them.
        history: All items that the user has had, those of ``told`` last.
        untold: How many of the history are not in training.
    """

    user: str
    told: Sequence[Mapping[str, Any]]
    history: Sequence[str]
    untold: int


@dataclass(frozen=True)
class Protocol:
    """One data set, divided.

    Attributes:
        data: As read.
        split: The division.
        users: Ids of users by row.
        ids: Ids of items by row.
    """

    data: Data
    split: Split
    users: Sequence[str]
    ids: Sequence[str]

    @classmethod
    def of(cls, data: Data, queries_per_user: int | None) -> Protocol:
        """Divide a data set as recserve does with its defaults.

        Args:
            data: With times.
            queries_per_user: At most this many questions for a user; None for all.
        """
        assert data.items is not None
        config = Config()
        attributes = dict(
            zip(data.items["item_id"].to_pylist(), data.items["attributes"].to_pylist(), strict=True)
        )
        ids = sorted(attributes)
        catalogue = Catalogue(ids, [attributes[item] for item in ids])
        dataset = Dataset.from_tables(catalogue, data.events, config.event_types)
        split = temporal(
            dataset,
            config.train.test_window,
            history=config.server.history,
            queries_per_user=queries_per_user,
        )
        return cls(data, split, list(dataset.user_ids), ids)

    @property
    def past(self) -> pa.Table:
        """Events before the division, oldest first."""
        events = self.data.events.sort_by("timestamp")
        newest = int(self.split.training.timestamps[-1])
        return events.filter(pc.less_equal(events["timestamp"], newest))

    def write(self, folder: Path) -> None:
        """``events.parquet`` and ``events.csv`` of the past, and ``items.parquet``."""
        folder.mkdir(parents=True, exist_ok=True)
        past = self.past
        pq.write_table(past, folder / "events.parquet")
        pq.write_table(self.data.items, folder / "items.parquet")
        with (folder / "events.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(("user_id", "item_id", "timestamp"))
            writer.writerows(zip(*(past[name].to_pylist() for name in _COLUMNS), strict=True))

    def histories(self) -> dict[str, list[str]]:
        """Distinct items of each user of the past, oldest first."""
        past, found = self.past, dict[str, dict[str, None]]()
        for user, item in zip(past["user_id"].to_pylist(), past["item_id"].to_pylist(), strict=True):
            found.setdefault(user, {})[item] = None
        return {user: list(items) for user, items in found.items()}

    def questions(self) -> Iterator[Asked]:
        """The questions in the order of the split: users one after another, each by time."""
        split, ids = self.split, self.ids
        learnt = np.bincount(split.training.users, minlength=len(self.users))
        known = self._events()
        last, since = -1, 0
        for row, start, end in zip(split.rows, split.starts, split.ends, strict=True):
            place = int(start + learnt[row])
            since = since if row == last else place
            items = [ids[item] for item in split.timeline.items[start:end]]
            user = self.users[row]
            told = [known[user, item] for item in items[since - start :]]
            yield Asked(user, told, items, int(end - place))
            last, since = row, end

    def _events(self) -> dict[tuple[str, str], dict[str, Any]]:
        """Events by user and item, the newest where there are several."""
        columns = ("user_id", "item_id", "event", "value", "timestamp")
        rows = self.data.events.sort_by("timestamp").select(columns).to_pylist()
        return {(row["user_id"], row["item_id"]): row for row in rows}

    def report(self, name: str, lists: Sequence[Sequence[str]]) -> Report:
        """Judge lists by the code of `recserve evaluate`, which refuses items that the user had.

        Args:
            name: Whose they are.
            lists: One for each question, in order.
        """
        return evaluate(Given.of(lists, self.split), self.split, (10, K), name=name)


@dataclass
class Given:
    """A recommender whose lists are known, handed out in the order of the questions.

    Attributes:
        lists: int32, shape (Q, K), -1 pads.
        place: How many have been handed out.
    """

    lists: Int32Array
    place: int = field(default=0)

    @classmethod
    def of(cls, lists: Sequence[Sequence[str]], split: Split) -> Given:
        """Lists of item ids; an id that is not in the catalogue takes its place in vain.

        Raises:
            ValueError: There is not one list for each question.
        """
        if len(lists) != len(split):
            raise ValueError(f"{len(lists)} lists for {len(split)} questions")
        rows = np.full((len(lists), K), -1, dtype=np.int32)
        for row, items in zip(rows, lists, strict=True):
            found = split.training.catalogue.ids.rows(list(items)[:K])
            row[: len(found)] = found
        return cls(rows)

    def recommend(self, queries: Queries, k: int) -> Int32Array:
        """The next lists; see :class:`recserve.evaluation.Recommender`."""
        start, self.place = self.place, self.place + len(queries.times)
        return self.lists[start : self.place, :k]


def mean(report: Report, metric: str) -> Interval:
    """Mean of a metric over users with its interval."""
    found = report.metrics[metric]
    assert isinstance(found, Interval)
    return found


_COLUMNS = ("user_id", "item_id", "timestamp")
