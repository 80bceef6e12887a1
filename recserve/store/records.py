"""Records of the store beside items, users and events."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Literal, NamedTuple, Protocol, Self

from recserve.data.arrays import FloatArray
from recserve.data.entities import Event, Item, User
from recserve.errors import ConflictError


@dataclass(frozen=True, slots=True)
class Counts:
    """Row counts of a store.

    Attributes:
        users: Distinct users with at least one event.
        items: Items of the catalogue.
        events: Events, duplicates by ``event_id`` counted once.
    """

    users: int
    items: int
    events: int


@dataclass(frozen=True, slots=True)
class BundleRecord:
    """One trained bundle as the store remembers it.

    Attributes:
        bundle_id: Its id, the name of its folder.
        created_ms: When it was recorded, milliseconds since the epoch.
        summary: JSON-like facts for people and tools (metrics, counts, versions).
    """

    bundle_id: str
    created_ms: int
    summary: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Grounds:
    """Grounds of a change of the current bundle: who made it, by which action, why, and by which figures.

    Attributes:
        actor: ``cli:LOGIN``; None where nobody was noted.
        action: ``train``, ``promote``, ``retrain`` or ``rollback``.
        reason: In words.
        evidence: JSON-like figures, by where they come from.
    """

    actor: str | None = None
    action: str | None = None
    reason: str | None = None
    evidence: Mapping[str, Any] = field(default_factory=dict)


NO_GROUNDS = Grounds()


@dataclass(frozen=True, slots=True)
class Promotion:
    """One change of the current bundle.

    Attributes:
        bundle_id: The bundle that became current.
        promoted_ms: When, milliseconds since the epoch.
        grounds: Who did it and why.
    """

    bundle_id: str
    promoted_ms: int
    grounds: Grounds = NO_GROUNDS


@dataclass(frozen=True, slots=True)
class ExperimentRecord:
    """One experiment as the store remembers it.

    Attributes:
        name: Its name, at most 200 characters.
        created_ms: When it was created, milliseconds since the epoch.
        definition: JSON-like: what was asked for; it never changes.
        status: JSON-like: what has become of it.
    """

    name: str
    created_ms: int
    definition: Mapping[str, Any]
    status: Mapping[str, Any] = field(default_factory=dict)


ExperimentChange = Callable[[ExperimentRecord, Sequence[ExperimentRecord]], Mapping[str, Any]]
"""What becomes of an experiment, given all there are: its new status. It may be asked more than once."""


class Shown(Protocol):
    """Protocol of an item that was shown, as exposures record it; the items of an answer are such."""

    @property
    def item_id(self) -> str:
        """External item id."""
        ...

    @property
    def score(self) -> float:
        """The score it was shown with."""
        ...

    @property
    def sources(self) -> tuple[str, ...]:
        """Names of the retrievers that proposed it, strongest first."""
        ...


@dataclass(frozen=True, slots=True)
class ExposedItem:
    """One item of an exposure.

    Attributes:
        item_id: External item id.
        score: The score it was shown with.
        sources: Names of the retrievers that proposed it, strongest first.
        arm: Of an interleaved page, the arm whose item it is.
        propensity: Probability that it stood in its place; None where chance did not decide.
    """

    item_id: str
    score: float
    sources: tuple[str, ...] = ()
    arm: str | None = None
    propensity: float | None = None


@dataclass(frozen=True, slots=True)
class Exposure:
    """What one recommendation showed to whom.

    Attributes:
        recommendation_id: Id of the answer, at most 200 characters; storing it twice stores it once.
        user_id: External user id, None for an anonymous session.
        bundle: Id of the bundle that served it.
        scenario: Name of the scenario.
        timestamp: Milliseconds since the epoch, UTC.
        items: The items in the order shown.
        since: :attr:`Pulse.deletions` before the answer was made. Clocks of hosts differ, this does not: if
            its user was deleted later, the exposure is not stored.
        experiment: Name of the experiment that it belongs to, if any.
        arm: Name of the experiment's arm that served it; None for an interleaved page.
        shadow: It was computed for comparison, and shown to nobody.
        degraded: What the answer had to do without, such as ``ranking``.
        context: What the request said was the case, as :attr:`recserve.Event.context` has it.
    """

    recommendation_id: str
    user_id: str | None
    bundle: str
    scenario: str
    timestamp: int
    items: tuple[Shown, ...]
    since: int = 0
    experiment: str | None = None
    arm: str | None = None
    shadow: bool = False
    degraded: tuple[str, ...] = ()
    context: str | None = field(default=None, repr=False)


ImpressionTimes = Mapping[str, Sequence[int]]
"""Moments at which a user was shown items, in milliseconds and ascending, by item id."""


class Pulse(NamedTuple):
    """Counters that grow with every change of their kind; readers follow a store by them.

    Attributes:
        catalogue: Items added, changed, hidden, deleted, or given a vector.
        deletions: Ids of people deleted: each person's own, and those that had been merged into it.
        keys: API keys added or revoked.
        experiments: Experiments created, started or stopped.
    """

    catalogue: int = 0
    deletions: int = 0
    keys: int = 0
    experiments: int = 0


class Position(NamedTuple):
    """A moment in the life of a store, as far as people are concerned; later ones are greater.

    Attributes:
        people: Changes of people other than new events: profiles, merging, deletions.
        event: Number of the newest event.
        impressions: Changes of users' impressions.
    """

    people: int = 0
    event: int = 0
    impressions: int = 0


@dataclass(frozen=True, slots=True)
class Changes:
    """Changes of users since an earlier position.

    Attributes:
        position: The present one.
        pulse: The counters.
        users: Whose history, profile or impressions may have changed; None if it may be anyone's.
    """

    position: Position
    pulse: Pulse
    users: frozenset[str] | None


class AddedEvents(NamedTuple):
    """What became of events that were to be stored.

    Attributes:
        stored: Events that were not there before.
        refused: What was refused, and left out; ``field`` of each names the event, such as ``events[3]...``.
    """

    stored: int
    refused: tuple[ConflictError, ...] = ()

    @property
    def refused_places(self) -> tuple[int, ...]:
        """The place of each refused event among those that were to be stored."""
        return tuple(int(str(error.field).partition("[")[2].partition("]")[0]) for error in self.refused)


class Moment(NamedTuple):
    """Place of an event in its user's history; later ones are greater.

    Attributes:
        timestamp: Milliseconds since the epoch.
        number: What the store numbers the event by.
    """

    timestamp: int
    number: int


@dataclass(frozen=True, slots=True)
class History:
    """The newest events of a user as of one moment.

    Attributes:
        events: Oldest first.
        numbers: What the store numbers them by, in the same order.
        mark: Tells this history from any other that the user has had or will have; None without events.
    """

    events: tuple[Event, ...] = ()
    numbers: tuple[int, ...] = ()
    mark: str | None = None

    @classmethod
    def of(cls, numbered: Sequence[tuple[int, Event]]) -> Self:
        """The history of events with their numbers, oldest first."""
        numbers = tuple(number for number, _ in numbered)
        # Events are never changed and numbers never given out twice, so these three tell sets of them apart.
        mark = f"{len(numbers)} {max(numbers)} {sum(numbers)}" if numbers else None
        return cls(tuple(event for _, event in numbered), numbers, mark)

    @property
    def newest(self) -> int:
        """The highest number, 0 without events."""
        return max(self.numbers, default=0)

    def grown(self, new: Sequence[tuple[int, Event]], limit: int) -> Self:
        """This history with further events, oldest first; the newest ``limit`` of all are kept."""
        numbered = [*zip(self.numbers, self.events, strict=True), *new]
        numbered.sort(key=lambda pair: (pair[1].timestamp, pair[0]))
        return self.of(numbered[-limit:])


@dataclass(frozen=True, slots=True)
class People:
    """Histories, profiles and impressions of some users at one moment.

    Attributes:
        pulse: The counters.
        histories: By user id; the very object that was known before where nothing has changed.
        users: Profiles of those who have one.
        impressions: Of those who were shown something that counts.
    """

    pulse: Pulse
    histories: Mapping[str, History]
    users: Mapping[str, User]
    impressions: Mapping[str, ImpressionTimes] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ItemVectors:
    """Vectors that an encoder made of some items: of their texts, or in a named space.

    Attributes:
        fingerprint: The encoder's, see :attr:`recserve.Encoder.fingerprint`.
        by_id: float32, shape (d,), unit length, by item id.
    """

    fingerprint: str
    by_id: Mapping[str, FloatArray]


@dataclass(frozen=True, slots=True)
class ItemState:
    """An item as the store has it now.

    Attributes:
        item: The item; of a deleted one only the id is left.
        created: Catalogue version it first appeared with. Kept when it is deleted and comes back.
        changed: Catalogue version of its last change.
        deleted: Whether it was deleted.
        vector: float32, shape (d,), None while it is not encoded.
        fingerprint: Of the encoder that made the vector, empty without one.
    """

    item: Item
    created: int
    changed: int
    deleted: bool = False
    vector: FloatArray | None = None
    fingerprint: str = ""


class SpaceVector(NamedTuple):
    """A vector of an item in a named space, as the store has it now.

    Attributes:
        item_id: The item.
        space: Name of the space, such as ``image``.
        vector: float32, shape (d,), as it was given; None once it was taken away.
        fingerprint: Of the item encoder that computed it, empty for what was given.
    """

    item_id: str
    space: str
    vector: FloatArray | None
    fingerprint: str = ""


class Keep(Enum):
    """Stands for "as it is" where None means something else."""

    KEEP = "keep"


KEEP = Keep.KEEP


@dataclass(frozen=True, slots=True)
class ItemPatch:
    """A change of some of an item's fields.

    Attributes:
        item_id: The item.
        attributes: Attributes to set; one whose value is None is removed.
        hidden: None keeps it.
        expires_at: Milliseconds, None for never.
        vectors: As for :attr:`recserve.Item.vectors`.
    """

    item_id: str
    attributes: Mapping[str, Any] = field(default_factory=dict)
    hidden: bool | None = None
    expires_at: int | Literal[Keep.KEEP] | None = KEEP
    vectors: Mapping[str, FloatArray | None] = field(default_factory=dict, compare=False)


@dataclass(frozen=True, slots=True)
class UserPatch:
    """A change of some of a user's attributes; one whose value is None is removed."""

    user_id: str
    attributes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class DeletionReceipt:
    """Proof that a person was deleted, without the person's id.

    Attributes:
        receipt_id: Random; never derived from the user.
        deleted_at: Milliseconds since the epoch, UTC.
        events: Events deleted.
        exposures: Exposures deleted.
        profiles: 1 if attributes were deleted, else 0.
        impressions: Items whose impressions were deleted.
    """

    receipt_id: str
    deleted_at: int
    events: int
    exposures: int
    profiles: int
    impressions: int = 0


@dataclass(frozen=True, slots=True)
class Deletion:
    """A deletion as readers of the store follow it.

    Attributes:
        number: :attr:`Pulse.deletions` it was made with.
        user_key: 128-bit digest of the user id, see :func:`recserve.store.key_of`.
        receipt: What the caller got.
        part_of: Number of the deletion of the person whom this id had been merged into; None for the
            person's own id.
        last_event: Number of the last event that was stored before it, whoever's it was.
    """

    number: int
    user_key: bytes
    receipt: DeletionReceipt
    part_of: int | None = None
    last_event: int = 0


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """What no longer counts of events that were exported.

    Attributes:
        deletions: Number of the last deletion.
        people: Number of a person's last deletion, and that of the last event before it, by digest of the id.
        removals: How many events were ever taken back or deleted with their user.
        removed: Digests of their ids; empty if the caller knows so many.
    """

    deletions: int
    people: Mapping[bytes, tuple[int, int]]
    removals: int
    removed: frozenset[bytes]


Scope = Literal["recommend", "read", "write", "admin"]
"""What a key is good for: ``read`` includes ``recommend``, ``admin`` includes all."""


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key that clients of the HTTP API present; the secret itself is nowhere stored.

    Attributes:
        key_id: Public part, lower-case letters and digits.
        secret_hash: sha256 of the secret part, hexadecimal.
        name: What people call it.
        scopes: What it may do.
        created_at: Milliseconds since the epoch, UTC.
        revoked_at: Likewise, None while it is good.
        rate_limit: Requests a second, None for the server's default.
    """

    key_id: str
    secret_hash: str = field(repr=False)
    name: str
    scopes: frozenset[Scope]
    created_at: int
    revoked_at: int | None = None
    rate_limit: float | None = None


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One administrative action.

    Attributes:
        at: Milliseconds since the epoch, UTC.
        actor: ``key:KEY_ID``, ``cli:LOGIN`` or ``anonymous``.
        action: Such as ``key.create`` or ``user.delete``.
        target: What it was done to; never a user id (a deletion names its receipt).
        detail: JSON-like facts.
    """

    at: int
    actor: str
    action: str
    target: str
    detail: Mapping[str, Any] = field(default_factory=dict)


class Trials(NamedTuple):
    """Impressions and clicks of a new item under exploration.

    Attributes:
        shown: Times it had a place.
        clicked: Positive events that came back with the recommendation's id.
    """

    shown: int = 0
    clicked: int = 0
