"""Public data sets as they are published, read into one form.

folder holds                                  data set
MicroLens-50k_pairs.tsv                       MicroLens: videos in the order of clicks, with titles
user_artists.dat, artists.dat                 HetRec 2011 Last.fm: plays without times
ratings.dat | ratings.csv | u.data            MovieLens releases of all sizes
reviews_*_5.json(.gz), *_5.json(.gz)          Amazon 5-core reviews (meta_*.json(.gz) for titles)
train.txt, test.txt                           a given split, one user a line (Gowalla as LightGCN has it)
events.csv | events.parquet                   anything that `recserve import` reads, with items.* beside it
"""

from __future__ import annotations

import ast
import csv
import gzip
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from recserve_movielens.formats import FORMATS, read_folder

from recserve.config import Config
from recserve.store.ingest import read_events, read_items

TEMPORAL = "temporal"
LEAVE_ONE_OUT = "leave-one-out"
GIVEN = "given"

_DAY_MS = 86_400_000
# Orders without moments: steps of a day, long ago.
_ORIGIN_MS = 1_000_000_000_000


@dataclass(frozen=True)
class Data:
    """One data set.

    Attributes:
        name: Of its folder.
        events: Columns ``user_id``, ``item_id``, ``event``, ``value``, ``timestamp`` (milliseconds).
        items: Columns ``item_id`` and ``attributes`` (a JSON object); None if nothing is known of items.
        test: Test events of a given split.
        timed: Whether timestamps are moments; otherwise they only order each user's events.
        note: What to keep in mind when reading its figures.
    """

    name: str
    events: pa.Table
    items: pa.Table | None = None
    test: pa.Table | None = None
    timed: bool = False
    note: str = ""

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits that these data allow."""
        if self.test is not None:
            return (GIVEN,)
        return (TEMPORAL, LEAVE_ONE_OUT) if self.timed else (LEAVE_ONE_OUT,)

    def sample(self, users: int, seed: int = 0) -> Data:
        """The same with the events of some users only."""
        names = np.array(sorted(set(self.events["user_id"].to_pylist())), dtype=object)
        if len(names) <= users:
            return self
        kept = pa.array(np.random.default_rng(seed).choice(names, users, replace=False).tolist())
        events, test = _of_users(self.events, kept), self.test
        return Data(
            self.name,
            events,
            self.items,
            None if test is None else _of_users(test, kept),
            self.timed,
            f"{users:,} of {len(names):,} users; {self.note}".removesuffix("; "),
        )


def find(folder: Path) -> Iterator[Data]:
    """Every data set in a folder and the folders directly in it."""
    for place in [folder, *sorted(path for path in folder.iterdir() if path.is_dir())]:
        data = read(place)
        if data is not None:
            yield data


def read(folder: Path) -> Data | None:
    """The data set in one folder; None if there is none that is known."""
    for form in (_microlens, _lastfm, _movielens, _amazon, _lines, _importable):
        data = form(folder)
        if data is not None:
            return data
    return None


def _microlens(folder: Path) -> Data | None:
    pairs = folder / "MicroLens-50k_pairs.tsv"
    if not pairs.exists():
        return None
    events = _ordered(line.split("\t") for line in pairs.read_text(encoding="utf-8").splitlines() if line)
    titles = folder / "MicroLens-50k_titles.csv"
    items = None
    if titles.exists():
        with titles.open(encoding="utf-8", newline="") as file:
            items = _items({row["item"]: {"title": row["title"]} for row in csv.DictReader(file)})
    return Data(folder.name, events, items, note="times are positions in the user's own order")


def _lastfm(folder: Path) -> Data | None:
    plays = folder / "user_artists.dat"
    if not plays.exists():
        return None
    with plays.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    events = _events(
        [row["userID"] for row in rows],
        [row["artistID"] for row in rows],
        "play",
        [float(row["weight"]) for row in rows],
        [_ORIGIN_MS] * len(rows),
    )
    names = folder / "artists.dat"
    items = None
    if names.exists():
        with names.open(encoding="utf-8", newline="", errors="replace") as file:
            lines = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
            items = _items({row["id"]: {"name": row["name"]} for row in lines})
    return Data(folder.name, events, items, note="no times: one artist at random is left out")


def _movielens(folder: Path) -> Data | None:
    if not any((folder / form.ratings).exists() and (folder / form.films).exists() for form in FORMATS):
        return None
    tables = read_folder(folder)
    return Data(folder.name, tables.events, tables.items, timed=True)


def _amazon(folder: Path) -> Data | None:
    reviews = _first(folder, "reviews_*_5.json", "*_5.json")
    if reviews is None:
        return None
    rows = list(_json_lines(reviews))
    events = _events(
        [row["reviewerID"] for row in rows],
        [row["asin"] for row in rows],
        "rating",
        [float(row["overall"]) for row in rows],
        [int(row["unixReviewTime"]) * 1000 for row in rows],
    )
    bought = {row["asin"] for row in rows}
    meta = _first(folder, "meta_*.json")
    items = None
    if meta is not None:
        found = {}
        for row in _json_lines(meta):
            if row.get("asin") in bought:
                known = {name: row[name] for name in ("title", "brand") if isinstance(row.get(name), str)}
                found[row["asin"]] = known
        items = _items({asin: found.get(asin, {}) for asin in sorted(bought)})
    return Data(folder.name, events, items, timed=True)


def _lines(folder: Path) -> Data | None:
    train, test = folder / "train.txt", folder / "test.txt"
    if not (train.exists() and test.exists()):
        return None

    def users(path: Path) -> pa.Table:
        split = (line.split(maxsplit=1) for line in path.read_text(encoding="utf-8").splitlines())
        return _ordered(parts for parts in split if len(parts) == 2)

    return Data(folder.name, users(train), test=users(test), note="a given split; order unknown")


def _importable(folder: Path) -> Data | None:
    path = next((path for kind in _KINDS if (path := folder / f"events.{kind}").exists()), None)
    if path is None:
        return None
    types = Config().event_types
    events, _ = read_events(path, types, require_timestamp=False)
    timed = len(set(events["timestamp"].to_pylist())) > 1
    found = next((path for kind in _KINDS if (path := folder / f"items.{kind}").exists()), None)
    items = None if found is None else read_items(found)[0]
    return Data(folder.name, events, items, timed=timed)


_KINDS = ("csv", "tsv", "parquet", "jsonl")


def _ordered(users: Iterable[list[str]]) -> pa.Table:
    """Events of (user, items in order, separated by spaces)."""
    user_ids: list[str] = []
    item_ids: list[str] = []
    times: list[int] = []
    for user, listed in users:
        items = listed.split()
        user_ids += [user] * len(items)
        item_ids += items
        times += [_ORIGIN_MS + place * _DAY_MS for place in range(len(items))]
    return _events(user_ids, item_ids, "view", [None] * len(times), times)


def _events(
    users: list[str], items: list[str], event: str, values: list[float] | list[None], times: list[int]
) -> pa.Table:
    return pa.table(
        {
            "user_id": pa.array(users, pa.string()),
            "item_id": pa.array(items, pa.string()),
            "event": pa.array([event] * len(users), pa.string()),
            "value": pa.array(values, pa.float64()),
            "timestamp": pa.array(times, pa.int64()),
        }
    )


def _items(attributes: Mapping[str, Mapping[str, Any]]) -> pa.Table:
    return pa.table(
        {
            "item_id": pa.array(list(attributes), pa.string()),
            "attributes": pa.array(
                [json.dumps(value, ensure_ascii=False) for value in attributes.values()], pa.string()
            ),
        }
    )


def _of_users(events: pa.Table, users: pa.Array) -> pa.Table:
    return events.filter(pc.is_in(events["user_id"], value_set=users))


def _first(folder: Path, *patterns: str) -> Path | None:
    """The first file of a pattern, compressed or not."""
    for pattern in patterns:
        for suffix in ("", ".gz"):
            for path in sorted(folder.glob(pattern + suffix)):
                return path
    return None


def _json_lines(path: Path) -> Iterator[dict[str, Any]]:
    """Objects of a file; early Amazon releases wrote Python literals instead of JSON."""
    parse: Callable[[str], Any] = json.loads
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt", encoding="utf-8") as file:
        for line in file:
            if not line.strip():
                continue
            try:
                yield parse(line)
            except json.JSONDecodeError:
                parse = ast.literal_eval
                yield parse(line)
