"""Which events ``recserve evaluate`` looks at, how they are split, and at which cut-offs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from recserve.cli.common import State, show_problems
from recserve.errors import ConfigError, DataError

if TYPE_CHECKING:
    import pyarrow as pa

    from recserve.data.arrays import Int64Array
    from recserve.data.catalogue import Catalogue
    from recserve.data.columns.named_vectors import NamedVectors
    from recserve.data.dataset import Dataset
    from recserve.evaluation import LeakCheck, Split

Build = Callable[["Catalogue", "pa.Table", "pa.Table | None"], "Dataset"]
"""Makes a data set of a catalogue, events and what users wrote; encodes texts if a model needs it."""


class SplitName(StrEnum):
    """Names of the splits that the command makes itself."""

    TEMPORAL = "temporal"
    LEAVE_ONE_OUT = "leave-one-out"


def parse_ks(text: str) -> tuple[int, ...]:
    """Cut-offs such as ``5,10,20``, sorted and distinct.

    Raises:
        ConfigError: Something is not a whole number from 1 to 10,000.
    """
    try:
        values = sorted({int(part) for part in text.split(",")})
    except ValueError:
        values = []
    if not values or not 1 <= values[0] <= values[-1] <= 10_000:
        raise ConfigError(f"--k {text!r} must be whole numbers from 1 to 10000, such as 5,10,20")
    return tuple(values)


@dataclass(frozen=True)
class Source:
    """Where events come from and how they are split, as given on the command line."""

    name: SplitName | None
    train: Path | None
    test: Path | None
    items: Path | None
    queries_per_user: int | None
    repeats: bool = False

    def check(self) -> None:
        """Refuse options that contradict each other.

        Raises:
            ConfigError: Names the options.
        """
        if self.train is None and (self.test is not None or self.items is not None):
            option = "--test" if self.test is not None else "--items"
            raise ConfigError(f"{option} needs --train: without --train the store is evaluated")
        if self.train is not None and (self.test is None) == (self.name is None):
            raise ConfigError("--train needs either --test FILE, or --split to split the one file")
        if self.queries_per_user is not None and (
            self.test is not None or self.name is SplitName.LEAVE_ONE_OUT
        ):
            raise ConfigError("--queries-per-user is for the temporal split: others ask once a user")
        if self.repeats and (self.test is not None or self.name is SplitName.LEAVE_ONE_OUT):
            raise ConfigError("--repeats is for the temporal split: others ask for new items only")

    def split(self, state: State, build: Build) -> tuple[Split, list[LeakCheck]]:
        """Read the data, split them and look for leaks.

        Raises:
            DataError: A file cannot be read, nothing is left to train or to test on, or the split leaks.
        """
        from recserve import evaluation

        test_events = None
        if self.train is None:
            tables = state.store.snapshot()
            state.store.close()
            if not tables.events.num_rows:
                raise DataError(f"the store in {state.home} holds no events: run 'recserve import' first")
            data = build(_catalogue(tables.items, (), tables.vectors), tables.events, tables.texts)
        else:
            train_events = self._events(self.train, state)
            known, vectors = (None, {}) if self.items is None else self._items(self.items, state)
            catalogue = _catalogue(known, train_events["item_id"].unique().to_pylist(), vectors)
            data = build(catalogue, train_events, None)
            if self.test is not None:
                test_events = self._events(self.test, state)
        make = self._maker(state, test_events, shuffled=False)
        split = make(data)
        checks = [
            *evaluation.check_leaks(split),
            evaluation.check_attributes(split),
            evaluation.check_shuffled(
                data,
                self._maker(state, test_events, shuffled=True),
                answered=None if test_events is None else _events_of_items(test_events, data.catalogue),
            ),
        ]
        return split, checks

    def _maker(
        self, state: State, test_events: pa.Table | None, *, shuffled: bool
    ) -> Callable[[Dataset], Split]:
        """What splits a data set; ``shuffled`` deals out the items of given test events anew as well."""
        from recserve import evaluation

        types, history = state.config.event_types, state.config.server.history
        if test_events is not None:
            if shuffled:
                mixed = _dealt_out(test_events)
                return lambda data: evaluation.given(data, _of_users(mixed, data), types, history=history)
            return lambda data: evaluation.given(data, test_events, types, history=history)
        if self.name is SplitName.LEAVE_ONE_OUT:
            return lambda data: evaluation.leave_one_out(data, history=history)
        window, cap = state.config.train.test_window, self.queries_per_user
        return lambda data: evaluation.temporal(
            data, window, history=history, queries_per_user=cap, repeats=self.repeats
        )

    def _events(self, path: Path, state: State) -> pa.Table:
        from recserve.store.ingest import read_events

        timed = self.test is None and self.name is SplitName.TEMPORAL
        table, report = read_events(path, state.config.event_types, strict=False, require_timestamp=timed)
        show_problems([report])
        if not table.num_rows:
            raise DataError(f"{path} holds no usable event")
        return table

    def _items(self, path: Path, state: State) -> tuple[pa.Table, Mapping[str, NamedVectors]]:
        from recserve.store.ingest import VectorCells, read_items

        vectors = VectorCells(state.config.space_dimensions)
        table, report = read_items(path, strict=False, vectors=vectors)
        show_problems([report])
        return table, vectors.found


def _dealt_out(events: pa.Table) -> pa.Table:
    """The same events with their items dealt out to them at random."""
    import numpy as np

    order = np.random.default_rng(0).permutation(events.num_rows)
    place = events.schema.get_field_index("item_id")
    return events.set_column(place, "item_id", events["item_id"].take(order))


def _events_of_items(events: pa.Table, catalogue: Catalogue) -> Int64Array:
    """How many of the events each item of the catalogue has, int64, shape (n_items,)."""
    import numpy as np

    rows = catalogue.ids.rows(events["item_id"].to_pylist())
    return np.bincount(rows[rows >= 0], minlength=len(catalogue)).astype(np.int64)


def _of_users(events: pa.Table, data: Dataset) -> pa.Table:
    """The events of users who have training events."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    known = pa.array([data.user_ids.ids[user] for user in np.unique(data.users)], pa.string())
    return events.filter(pc.is_in(events["user_id"], value_set=known))


def _catalogue(items: pa.Table | None, more: Iterable[str], vectors: Mapping[str, NamedVectors]) -> Catalogue:
    """The items of a table and those that only events name, in the order of their ids."""
    from recserve.data.catalogue import Catalogue

    attributes = {item_id: "{}" for item_id in more if item_id}
    if items is not None:
        attributes.update(zip(items["item_id"].to_pylist(), items["attributes"].to_pylist(), strict=True))
    ids = sorted(attributes)
    return Catalogue(ids, [attributes[item_id] for item_id in ids]).with_named(vectors)
