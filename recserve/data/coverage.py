"""How many events can be learnt from: those of known items, of configured types."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recserve.data.dataset import Tables
from recserve.data.entities import EventType


@dataclass(frozen=True, slots=True)
class UnknownItems:
    """Items that events are about and that are not in the catalogue.

    Attributes:
        item_ids: Their ids, the one with the most events first.
        events: Events about them.
        of: All events.
    """

    item_ids: Sequence[str]
    events: int
    of: int

    def __str__(self) -> str:
        items = "an item that is" if len(self.item_ids) == 1 else f"{len(self.item_ids):,} items that are"
        return (
            f"{self.events:,} of {self.of:,} events are about {items} not in the catalogue, such as "
            f"{self.item_ids[0]!r}; they are not learnt from: import those items, or check how ids are "
            "written (`recserve import --create-items` makes bare items of them)"
        )


def unknown_items(events: pa.Table, known: Callable[[list[str]], Collection[str]]) -> UnknownItems:
    """Which items of the events are not in a catalogue.

    Args:
        events: Canonical events (see :class:`recserve.Tables`).
        known: Says which of some items are in the catalogue.
    """
    counted = pc.value_counts(events["item_id"])
    ids = counted.field("values").to_pylist()
    there = known(ids)
    counts = dict(zip(ids, counted.field("counts").to_pylist(), strict=True))
    strangers = sorted((item for item in ids if item not in there), key=lambda item: (-counts[item], item))
    return UnknownItems(strangers, sum(counts[item] for item in strangers), len(events))


@dataclass(frozen=True, slots=True)
class Coverage:
    """What training takes of a data set; every event is counted once.

    Attributes:
        events: All events.
        learnt: Events of known items, of configured types.
        unknown: Events about items that are not in the catalogue, of whatever type.
        unconfigured: Other events by type, where the type is not configured.
        off_scale: Events that are learnt from with a value off their type's scale, by type; such a value
            counts as the end of the scale.
        example_off_scale: One of those values by type.
        items: Items of the catalogue.
        idle_items: Those that no event is about.
    """

    events: int
    learnt: int
    unknown: UnknownItems
    unconfigured: Mapping[str, int] = field(default_factory=dict)
    off_scale: Mapping[str, int] = field(default_factory=dict)
    example_off_scale: Mapping[str, float] = field(default_factory=dict)
    items: int = 0
    idle_items: int = 0

    def __str__(self) -> str:
        """What is left out, in sentences; empty if nothing is."""
        parts = [str(self.unknown)] if self.unknown.events else []
        parts += [
            f"{count:,} of {self.events:,} events are of type {name!r}, which is not configured; "
            f"they are not learnt from: add events.{name} to recserve.yaml"
            for name, count in self.unconfigured.items()
        ]
        return "\n".join(parts)


def coverage(tables: Tables, event_types: Mapping[str, EventType]) -> Coverage:
    """Count what training takes of a data set and what it does not."""
    events, item_ids = tables.events, tables.items["item_id"]
    catalogue = set(item_ids.to_pylist())
    unknown = unknown_items(events, lambda ids: catalogue.intersection(ids))
    # Masks and single columns: a filtered table would copy every id.
    known = pc.is_in(events["item_id"], value_set=item_ids.combine_chunks())
    configured = pc.is_in(events["event"], value_set=pa.array(list(event_types), pa.string()))
    others = pc.value_counts(events["event"].filter(pc.and_not(known, configured)))
    learnt = pc.and_(known, configured)
    kinds = events["event"].filter(learnt)
    off_scale, examples = {}, {}
    values = events["value"].filter(learnt).to_numpy()
    for name, kind in event_types.items():
        if kind.value_range is not None:
            odd = kind.off_scale(values) & pc.equal(kinds, name).to_numpy()
            if odd.any():
                off_scale[name], examples[name] = int(odd.sum()), float(values[np.flatnonzero(odd)[0]])
    return Coverage(
        events=len(events),
        learnt=len(kinds),
        unknown=unknown,
        unconfigured={counted["values"]: counted["counts"] for counted in others.to_pylist()},
        off_scale=off_scale,
        example_off_scale=examples,
        items=len(catalogue),
        idle_items=len(catalogue) - len(events["item_id"].filter(learnt).unique()),
    )
