"""How many events can be learnt from: those of known items, of configured types."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from recserve.data.arrays import Int32Array
from recserve.data.columns.codes import blocks, encoded
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
    texts, codes = encoded(events["item_id"])
    ids = texts.to_pylist()
    there = known([item_id for item_id in ids if item_id])
    counts = dict(zip(ids, _counted(codes, len(ids)), strict=True))
    # A dictionary may hold ids that no row of a filtered table has.
    # What was done in words alone is about no item.
    strangers = sorted(
        (item for item in ids if item and counts[item] and item not in there),
        key=lambda item: (-counts[item], item),
    )
    return UnknownItems(strangers, sum(counts[item] for item in strangers), len(events))


@dataclass(frozen=True, slots=True)
class Coverage:
    """What training takes of a data set; every event is counted once.

    Attributes:
        events: All events.
        learnt: Events of known items, of configured types.
        texts: Events of words alone, such as searches: they are about no item.
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
    texts: int = 0

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
    catalogue = set(tables.items["item_id"].to_pylist())
    ids, item_codes = encoded(tables.events["item_id"])
    names, type_codes = encoded(tables.events["event"])
    types = names.to_pylist()
    names_of_items = ids.to_pylist()
    known = np.array([item_id in catalogue for item_id in names_of_items], np.bool_)
    of_words = np.array([not item_id for item_id in names_of_items], np.bool_)
    configured = np.array([name in event_types for name in types], np.bool_)
    busy = np.zeros(len(ids), np.bool_)
    others: Counter[str] = Counter()
    off_scale: Counter[str] = Counter()
    examples: dict[str, float] = {}
    learnt = texts = 0
    for block in blocks(len(item_codes)):
        items, kinds = item_codes[block], type_codes[block]
        strange = kinds[known[items] & ~configured[kinds]]
        for code in dict.fromkeys(strange.tolist()):
            others[types[code]] += int((strange == code).sum())
        taken = known[items] & configured[kinds]
        learnt += int(taken.sum())
        texts += int(of_words[items].sum())
        busy[items[taken]] = True
        values = tables.events["value"].slice(block.start, block.stop - block.start).to_numpy()
        for code, name in enumerate(types):
            kind = event_types.get(name)
            if kind is not None and kind.value_range is not None:
                odd = values[taken & (kinds == code) & kind.off_scale(values)]
                if len(odd):
                    off_scale[name] += len(odd)
                    examples.setdefault(name, float(odd[0]))
    return Coverage(
        events=len(tables.events),
        learnt=learnt,
        unknown=unknown_items(tables.events, catalogue.intersection),
        unconfigured=dict(others),
        off_scale={name: off_scale[name] for name in event_types if name in off_scale},
        example_off_scale={name: examples[name] for name in event_types if name in examples},
        items=len(catalogue),
        idle_items=len(catalogue) - int(busy.sum()),
        texts=texts,
    )


def _counted(codes: Int32Array, kinds: int) -> list[int]:
    """How often each code occurs; in blocks, as counting copies what it counts."""
    counts = np.zeros(kinds, np.int64)
    for block in blocks(len(codes)):
        counts += np.bincount(codes[block], minlength=kinds)
    return list(counts.tolist())
