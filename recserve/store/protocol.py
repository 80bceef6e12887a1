"""Store protocols, independent of the database behind them.

One protocol a concern; :class:`Store` is all of them. All methods are synchronous and safe to call
from any number of threads; an event loop calls them through ``asyncio.to_thread``. Several processes
may share one store. What a writing method acknowledges by returning is durable.

Every failure of the database is a :class:`recserve.errors.StoreError` of one line that never shows a
password; an id or attribute that no store can hold (empty, a NUL character, half of a surrogate pair,
a value that is not finite) is an :class:`recserve.InvalidRequestError`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol, Self

import pyarrow as pa

from recserve.data.arrays import FloatArray
from recserve.data.dataset import Tables
from recserve.data.entities import Event, Item, User
from recserve.store.browsing import BrowsingStore
from recserve.store.outcomes import OutcomeStore
from recserve.store.records import (
    NO_GROUNDS,
    AddedEvents,
    ApiKey,
    AuditEntry,
    BundleRecord,
    Changes,
    Counts,
    Deletion,
    DeletionReceipt,
    ExperimentChange,
    ExperimentRecord,
    Exposure,
    Grounds,
    History,
    ItemPatch,
    ItemState,
    ItemVectors,
    Moment,
    People,
    Position,
    Promotion,
    Pulse,
    SpaceVector,
    Trials,
    UserPatch,
    Withdrawn,
)
from recserve.store.streams import StreamStore


class EventStore(Protocol):
    """What users did."""

    def add_events(self, events: Sequence[Event]) -> int:
        """Store events; they are durable when this returns, all of them or none.

        An event without ``event_id`` gets a fresh one; an ``event_id`` that is already stored with the same
        content is left as it is, so a retry does no harm. A time that the server read off its own clock
        (:attr:`Event.timed`) is no content.

        Returns:
            The number of events that were not stored before.

        Raises:
            ConflictError: An ``event_id`` stands for an event with other content, or for one that was
                removed; or the user was deleted after the event's own time. Nothing was stored.
        """
        ...

    def import_events(self, events: Sequence[Event]) -> AddedEvents:
        """Store events as :meth:`add_events` does, and leave out those that it would refuse."""
        ...

    def remove_event(self, event_id: str) -> int:
        """Take an event back; its ``event_id`` cannot be used again. Returns 0 if there is none, else 1."""
        ...

    def remove_events(self, user_id: str, item_id: str) -> int:
        """Take back all that a user did with an item; returns the number of events there were."""
        ...

    def text_vectors(self, event_ids: Sequence[str], fingerprint: str) -> dict[str, FloatArray]:
        """Vectors of the texts of events by ``event_id``; what this encoder has not encoded is left out."""
        ...

    def set_text_vectors(self, vectors: Mapping[str, FloatArray], fingerprint: str) -> int:
        """Keep vectors of the texts of events, in the place of other encoders'.

        They go when the event goes. Of an event that is gone already nothing is stored.

        Args:
            vectors: float32, shape (d,), by ``event_id``.
            fingerprint: The encoder's, see :attr:`recserve.Encoder.fingerprint`.

        Returns:
            The number of vectors stored.
        """
        ...

    def history(self, user_id: str, limit: int, before: Moment | None = None) -> list[tuple[Moment, Event]]:
        """Events of a user, newest first, each with its place in the history.

        Args:
            user_id: The user.
            limit: At most this many.
            before: Only events before this place; None for the newest.
        """
        ...

    def histories(self, user_ids: Sequence[str], limit: int) -> dict[str, list[Event]]:
        """The newest ``limit`` events of each user, oldest first, in one query for all users.

        Events of equal time keep the order in which they were stored. Users without events have an
        empty list. Everything acknowledged by :meth:`add_events` in any process is included.
        """
        ...

    def events_with(self, user_id: str, item_ids: Sequence[str]) -> list[Event]:
        """All that a user did with some items, oldest first."""
        ...

    def recent_users(self, limit: int) -> list[str]:
        """At most ``limit`` distinct users of the newest events, the most recent first."""
        ...

    def events_after(self, seq: int, limit: int) -> tuple[pa.Table, int]:
        """Events stored after number ``seq``, in the order of their numbers: an incremental export.

        A number is only given out once every lower one is visible, so no event is ever skipped.

        Returns:
            The events (columns of :class:`recserve.Tables`, and ``seq``, ``recommendation_id``) and the
            number to go on from, which is ``seq`` itself when there is nothing new.
        """
        ...

    def new_events(self, seq: int) -> int:
        """How many events there are that were stored after number ``seq``."""
        ...

    def withdrawn(self, known_removals: int = 0) -> Withdrawn:
        """What an incremental export has to remove again.

        Args:
            known_removals: :attr:`Withdrawn.removals` of an earlier call; while there are no more, their ids
                are not read.
        """
        ...


class ItemStore(Protocol):
    """The catalogue. Every change counts up :attr:`Pulse.catalogue`, once a transaction."""

    def upsert_items(
        self,
        items: Iterable[Item],
        vectors: ItemVectors | None = None,
        computed: Mapping[str, ItemVectors] | None = None,
    ) -> int:
        """Insert items or replace them; a deleted item comes back.

        Of items with equal ids in one call the last one wins. An item that is stored just so already is
        left as it is, its version included. An item whose attributes change without a new vector loses
        the one it had; the vectors of named spaces (:attr:`recserve.Item.vectors`) stay until they are
        written anew.

        Args:
            items: The items.
            vectors: Vectors of their texts.
            computed: What item encoders made of them, by named space. It never takes the place of a vector
                that was given.

        Returns:
            The number of distinct items in the call.
        """
        ...

    def patch_items(self, patches: Sequence[ItemPatch]) -> list[str]:
        """Change some fields of items, all in one transaction; unknown and deleted items are left out.

        Returns:
            Ids that are not there, in the order given.
        """
        ...

    def delete_items(self, item_ids: Sequence[str]) -> int:
        """Delete items: only id and versions are kept, so that every replica learns of it.

        Returns:
            The number of items that were there.
        """
        ...

    def items(self, item_ids: Sequence[str]) -> dict[str, Item]:
        """The known ones of these items by id; deleted ones are not known."""
        ...

    def list_items(self, after: str | None, limit: int) -> list[Item]:
        """The next items after an item id, in a fixed order that means nothing; None starts.

        Walking through all of them while others write never shows an item twice, and shows every item
        that is there all the time.
        """
        ...

    def item_changes(self, since: int, *, barred: bool = False) -> list[ItemState]:
        """Items changed after catalogue version ``since``, in the order of (changed, id).

        Args:
            since: A catalogue version; -1 for all items.
            barred: Also those changed earlier that are hidden or deleted or have an expiry.
        """
        ...

    def space_changes(self, since: int) -> list[SpaceVector]:
        """Vectors of named spaces that were written or taken away after catalogue version ``since``."""
        ...

    def unencoded_items(self, fingerprint: str, since: int, limit: int) -> list[ItemState]:
        """Items changed after ``since`` without a vector of this encoder, oldest change first."""
        ...

    def set_vectors(self, vectors: ItemVectors, changed: Mapping[str, int]) -> int:
        """Store vectors of items that have not changed since they were read.

        Args:
            vectors: The vectors.
            changed: By item id, the :attr:`ItemState.changed` that was encoded.

        Returns:
            The number of vectors stored; the others are for attributes that are gone.
        """
        ...

    def add_trials(self, shown: Mapping[str, int], clicked: Mapping[str, int]) -> None:
        """Count trials of new items in the background, like :meth:`ExposureStore.add_exposures`."""
        ...

    def trials(self, item_ids: Sequence[str]) -> dict[str, Trials]:
        """Trials of these items; those without any are left out."""
        ...


class UserStore(Protocol):
    """What is known of people beside their events, and how they are forgotten."""

    def upsert_users(self, users: Iterable[User]) -> int:
        """Insert users or replace their attributes; of equal ids in one call the last one wins.

        Returns:
            The number of distinct users in the call.
        """
        ...

    def patch_users(self, patches: Sequence[UserPatch]) -> list[str]:
        """Change some attributes of users, all in one transaction; returns ids that are not there."""
        ...

    def users(self, user_ids: Sequence[str]) -> dict[str, User]:
        """Those of these users who have a profile, by id."""
        ...

    def list_users(self, after: str | None, limit: int) -> list[User]:
        """The next users with a profile, as in :meth:`ItemStore.list_items`."""
        ...

    def merge_user(self, source: str, target: str) -> int:
        """Make the events and exposures of one user (an anonymous session) another one's.

        Attributes of ``source`` are added where ``target`` has none of that name; the profile of
        ``source`` is removed. Merging again does no harm. What was stored before the target was last deleted
        does not come back under its name: it is deleted, and the log says how much it was.

        Returns:
            The number of events that moved.
        """
        ...

    def merge_targets(self) -> frozenset[bytes]:
        """Digests of the ids that got events of others; those events were stored anew, under new numbers."""
        ...

    def delete_user(self, user_id: str) -> DeletionReceipt:
        """Remove everything that names a person: events, exposures, profile, also of merged ids.

        Before and after are told apart by the order of the store, not by clocks of hosts: exposures of
        recommendations that were made before are dropped when they arrive, and retries of removed events are
        refused, as are events whose own time lies before the deletion. What the person does afterwards is a
        new beginning. A user who is not known gets a receipt too.
        """
        ...

    def deletions(self, after: int = 0, limit: int | None = None) -> list[Deletion]:
        """Deletions whose number is higher, in order, those of merged ids (:attr:`Deletion.part_of`) too.

        Args:
            after: Number of a deletion; 0 for all.
            limit: At most this many; None for all.
        """
        ...

    def deletion(self, receipt_id: str) -> Deletion | None:
        """The deletion behind a receipt."""
        ...

    def traces(self, deletion: Deletion) -> dict[str, int]:
        """Rows of each table that still name the person, or a merged id, and are older than the deletion."""
        ...


class BundleStore(Protocol):
    """Which bundles there are and which one to serve."""

    def record_bundle(self, bundle_id: str, created_ms: int, summary: Mapping[str, Any]) -> None:
        """Remember a bundle; recording an id again replaces its time and summary."""
        ...

    def bundles(self) -> list[BundleRecord]:
        """All recorded bundles, newest first."""
        ...

    def set_current(self, bundle_id: str, grounds: Grounds = NO_GROUNDS) -> None:
        """Make a recorded bundle the one to serve; nothing is noted if it is that already.

        Args:
            bundle_id: The bundle.
            grounds: Who does so and why; kept for :meth:`promotions`.

        Raises:
            NotFoundError: No bundle of this id is recorded.
        """
        ...

    def current_bundle(self) -> str | None:
        """The bundle to serve, None before the first."""
        ...

    def promotions(self, limit: int) -> list[Promotion]:
        """The newest changes of the current bundle, newest first."""
        ...

    def bundle_history(self) -> list[str]:
        """Ids that are or were current, latest first, without repeats.

        The first is the current one; the next ones are what to fall back to, in that order.
        """
        ...


class ExposureStore(Protocol):
    """What was recommended to whom."""

    def add_exposures(self, exposures: Sequence[Exposure], counted: int = 0) -> None:
        """Log exposures in the background: returns at once, durable within about a second.

        In the same transaction the items are counted as impressions of their users, for
        :meth:`Store.people`: the moments of the newest 20 of each item.

        When the database does not keep up or fails, exposures are dropped with a warning in the
        log: they are worth less than the memory and the requests they would hold up.

        Args:
            exposures: What was shown.
            counted: Items of a user, those shown last, whose impressions are kept; 0 counts none.
        """
        ...

    def exposures(self, recommendation_id: str) -> Exposure | None:
        """Read one exposure back; None if it is unknown (or not yet written)."""
        ...

    def flush(self) -> None:
        """Wait until every exposure handed over so far is durable."""
        ...


class ExperimentStore(Protocol):
    """Which experiments there are. Every change counts up :attr:`Pulse.experiments`."""

    def add_experiment(self, record: ExperimentRecord) -> bool:
        """Store an experiment; False, and nothing is stored, if there is another one of its name."""
        ...

    def experiments(self) -> list[ExperimentRecord]:
        """All experiments, oldest first."""
        ...

    def change_experiment(self, name: str, change: ExperimentChange) -> ExperimentRecord:
        """Change what has become of an experiment; no other one changes meanwhile.

        Args:
            name: Its name.
            change: Says what becomes of it, given all experiments as they are; what it raises is raised, and
                then nothing was changed.

        Raises:
            NotFoundError: There is no such experiment.
        """
        ...


class AccessStore(Protocol):
    """API keys and the audit log."""

    def add_key(self, key: ApiKey) -> None:
        """Store a key.

        Raises:
            InvalidRequestError: A key of this id exists.
        """
        ...

    def keys(self) -> list[ApiKey]:
        """All keys, revoked ones included, oldest first."""
        ...

    def revoke_key(self, key_id: str, at: int) -> bool:
        """Revoke a key; False if there is none of this id. Revoking again changes nothing."""
        ...

    def secret(self, name: str) -> str:
        """A random secret, made once for each store and name, for what replicas sign for one another."""
        ...

    def add_audit(self, entry: AuditEntry) -> None:
        """Append to the audit log."""
        ...

    def audit(self, limit: int) -> list[AuditEntry]:
        """The newest entries, newest first."""
        ...


class Store(
    EventStore,
    ItemStore,
    UserStore,
    BundleStore,
    ExposureStore,
    ExperimentStore,
    AccessStore,
    BrowsingStore,
    OutcomeStore,
    StreamStore,
    Protocol,
):
    """All of it."""

    def pulse(self) -> Pulse:
        """The counters, in one read that is cheap enough for every batch of requests."""
        ...

    def people(
        self, user_ids: Sequence[str], limit: int, known: Mapping[str, History] | None = None
    ) -> People:
        """Histories, profiles and impressions of distinct users with the counters, all as of one moment.

        Everything acknowledged by any process before is included.

        Args:
            user_ids: The users.
            limit: Newest events of each that count.
            known: Histories of an earlier call with the same limit; only what has happened since is read.
        """
        ...

    def version(self) -> int | None:
        """A number that has changed if anything was committed by any process since it was read before.

        It is read without a transaction, in microseconds, so an event loop may ask. None where the engine
        has no such thing, or cannot be read now.
        """
        ...

    def changes(self, since: Position | None = None) -> Changes | None:
        """Whose history, profile or impressions have changed since an earlier position.

        Everything acknowledged is included.

        Args:
            since: The position; None for any.

        Returns:
            None where the engine cannot say: then everybody's may have.
        """
        ...

    def counts(self) -> Counts:
        """How much there is."""
        ...

    def snapshot(self, *, events: bool = True) -> Tables:
        """Everything at one moment as canonical Arrow tables, or the items alone.

        Items are sorted by id; events are in the order in which they were stored, without their
        ``event_id``. They are in files of the home folder that have no name there and go with the tables.

        Raises:
            StoreError: The database failed, or there is no space for the files.
        """
        ...

    def expire_events(self, before: int, through: int | None = None) -> int:
        """Remove events that happened before a moment, some thousands a transaction; returns how many.

        Nothing is forgotten about people by it: what was exported stays, and an ``event_id`` that is gone
        could be used again.

        Args:
            before: Milliseconds since the epoch.
            through: Only events up to this number, such as those that are in a lake; None for all.
        """
        ...

    def expire_exposures(self, before: int) -> int:
        """Remove exposures of recommendations made before a moment, likewise; returns how many."""
        ...

    def expire_impressions(self, before: int) -> int:
        """Remove impressions of users of before a moment, likewise; returns how many."""
        ...

    def old_exposures(self, before: int, limit: int) -> pa.Table:
        """Exposures of recommendations made before a moment, at most ``limit``, in the order of their ids."""
        ...

    def remove_exposures(self, recommendation_ids: Sequence[str]) -> int:
        """Remove exposures; returns how many there were."""
        ...

    def ping(self) -> None:
        """Check that the database answers.

        Raises:
            StoreError: It does not.
        """
        ...

    def close(self) -> None:
        """Write what is waiting and let go of the database. Closing twice does no harm."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *details: object) -> None: ...
