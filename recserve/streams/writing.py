"""Writing of messages into the store: what can be is, what cannot is told from it message by message."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar

from recserve.data.entities import Event, Item, now_ms
from recserve.errors import ConflictError, InvalidRequestError, RecserveError
from recserve.serving.state.trials import items_clicked
from recserve.store import AuditEntry, Store
from recserve.streams.messages import Content, Decoder, Message

_POSITION = re.compile(r"events\[(\d+)\]")

T = TypeVar("T")


class Refusal(NamedTuple):
    """A message that was not written, or of which a part was not.

    Attributes:
        message: The message.
        error: Why.
    """

    message: Message
    error: RecserveError


@dataclass
class Written:
    """What became of some messages.

    Attributes:
        counts: How much of each kind was stored, duplicate, written or deleted.
        refused: Messages at fault, each once.
    """

    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    refused: list[Refusal] = field(default_factory=list)


class _Part(NamedTuple):
    """A part of a message that is written with those of others."""

    message: Message
    content: Any


class MessageWriter:
    """Writer of messages into a store.

    Writing messages again stores events once, by their ids; items and profiles are replaced by themselves.

    Args:
        store: The store.
        decoder: Reads the messages.
        actor: Who deletes, as the audit log names it.
    """

    def __init__(self, store: Store, decoder: Decoder, actor: str) -> None:
        self._store = store
        self._decoder = decoder
        self._actor = actor

    def write(self, messages: Sequence[Message]) -> Written:
        """Write messages, those of one partition in their order; durable when this returns.

        Items come before what people do with them, and deletions last: between topics there is no order.

        Raises:
            StoreError: The database failed; what was written is written again without harm.
        """
        written = Written()
        refused: dict[tuple[str, int, int], Refusal] = {}

        def refuse(message: Message, error: RecserveError) -> None:
            refused.setdefault((message.topic, message.partition, message.offset), Refusal(message, error))

        contents = list(self._decoded(messages, refuse))
        self._write_items(contents, written, refuse)
        users = [_Part(message, user) for message, content in contents for user in content.users]
        _in_parts(users, lambda part: self._count(written, "users", self._store.upsert_users(part)), refuse)
        self._write_events(contents, written, refuse)
        gone = [_Part(message, name) for message, content in contents for name in content.deleted_users]
        for part in gone:
            _in_parts([part], lambda names: self._delete_user(names[0], written), refuse)
        written.refused = list(refused.values())
        return written

    def _decoded(
        self, messages: Sequence[Message], refuse: Callable[[Message, RecserveError], None]
    ) -> Iterable[tuple[Message, Content]]:
        for message in messages:
            try:
                yield message, self._decoder.decode(message)
            except RecserveError as error:
                refuse(message, error)

    def _count(self, written: Written, kind: str, number: int, outcome: str = "written") -> None:
        written.counts[kind, outcome] += number

    def _write_items(
        self,
        contents: Sequence[tuple[Message, Content]],
        written: Written,
        refuse: Callable[[Message, RecserveError], None],
    ) -> None:
        """What the last message on each item says: it replaces all that came before."""
        last: dict[str, tuple[Message, Item | None]] = {}
        for message, content in contents:
            last.update((item.item_id, (message, item)) for item in content.items)
            last.update((name, (message, None)) for name in content.deleted_items)
        kept = [_Part(message, item) for message, item in last.values() if item is not None]
        _in_parts(kept, lambda items: self._count(written, "items", self._store.upsert_items(items)), refuse)
        gone = [_Part(message, name) for name, (message, item) in last.items() if item is None]
        _in_parts(gone, lambda names: self._delete_items(names, written), refuse)

    def _write_events(
        self,
        contents: Sequence[tuple[Message, Content]],
        written: Written,
        refuse: Callable[[Message, RecserveError], None],
    ) -> None:
        parts = [
            _Part(message, (place, event))
            for message, content in contents
            for place, event in enumerate(content.events)
        ]

        def add(placed: Sequence[tuple[int, Event]], messages: Sequence[Message]) -> None:
            events = [event for _, event in placed]
            added = self._store.import_events(events)
            written.counts["events", "stored"] += added.stored
            written.counts["events", "duplicate"] += len(events) - added.stored - len(added.refused)
            written.counts["events", "refused"] += len(added.refused)
            for error, index in zip(added.refused, added.refused_places, strict=True):
                refuse(messages[index], _in_its_message(error, placed[index][0]))
            if added.stored == len(events):
                self._count_clicks(events)

        _in_parts(parts, add, refuse, with_messages=True)

    def _count_clicks(self, events: Sequence[Event]) -> None:
        """Count outcomes of new items under exploration, as the server does with what comes over HTTP."""
        clicks = Counter(items_clicked(events, self._decoder.settings.event_types))
        if clicks:
            # Only new items have been counted as shown.
            under_trial = self._store.trials(list(clicks))
            self._store.add_trials({}, {name: clicks[name] for name in under_trial})

    def _delete_items(self, names: Sequence[str], written: Written) -> None:
        deleted = self._store.delete_items(names)
        self._count(written, "items", deleted, "deleted")
        if deleted:
            self._audit("item.delete", f"{len(names)} items", {"deleted": deleted})

    def _delete_user(self, user_id: str, written: Written) -> None:
        receipt = self._store.delete_user(user_id)
        self._count(written, "users", 1, "deleted")
        counts = {"events": receipt.events, "exposures": receipt.exposures, "profiles": receipt.profiles}
        # The log must not be what keeps the person's id.
        self._audit("user.delete", receipt.receipt_id, counts)

    def _audit(self, action: str, target: str, detail: Mapping[str, Any]) -> None:
        self._store.add_audit(AuditEntry(now_ms(), self._actor, action, target, detail))


def _in_parts(
    parts: Sequence[_Part],
    write: Callable[..., None],
    refuse: Callable[[Message, RecserveError], None],
    *,
    with_messages: bool = False,
) -> None:
    """Write parts of messages together; if some cannot be stored, those by themselves, found by halving.

    Args:
        parts: The parts.
        write: Given the contents, and the messages where that is asked for.
        refuse: Called for each message that cannot be stored.
        with_messages: Whether ``write`` gets the messages.
    """
    if not parts:
        return
    contents = [part.content for part in parts]
    try:
        if with_messages:
            write(contents, [part.message for part in parts])
        else:
            write(contents)
    except InvalidRequestError as error:
        if len(parts) == 1:
            refuse(parts[0].message, error)
            return
        middle = len(parts) // 2
        for half in (parts[:middle], parts[middle:]):
            _in_parts(half, write, refuse, with_messages=with_messages)


def _in_its_message(error: ConflictError, place: int) -> ConflictError:
    """A refusal that names the place of an event in its own message."""
    return type(error)(_POSITION.sub(f"events[{place}]", error.message, count=1), field=error.field)
