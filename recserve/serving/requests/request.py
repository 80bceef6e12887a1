"""Requests and recommendations: what the pipeline is asked and what it answers, with external ids."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field, fields, replace
from operator import attrgetter
from typing import Any, Literal, NamedTuple, Self

from recserve.experiments.assignment import AssignedArm
from recserve.telemetry.requests import RequestContext, current

CALL_HEADER = "x-recserve-call"
"""HTTP header with the name that our proxy gives to each call; a repeated call has the same one."""


def new_id() -> str:
    """A fresh id of a recommendation: a UUID of version 7 (RFC 9562) in hexadecimal, 74 bits of it random.

    Ids of later milliseconds sort after earlier ones, so that the index of what was shown grows at its end: a
    million rows are stored 1.6 times as fast as with ids that are all random.
    """
    value = time.time_ns() // 1_000_000 << 80 | int.from_bytes(os.urandom(10), "big")
    return f"{value & _FREE | _VERSION:032x}"


# Version 7 and variant 2 take six bits of the 128.
_VERSION = 0x7 << 76 | 0b10 << 62
_FREE = ~(0xF << 76 | 0b11 << 62)


class Asked(NamedTuple):
    """When answers were asked for.

    Attributes:
        at: By the clock of this host, milliseconds since the epoch.
        deletions: In the order of the store: deletions of people that had been followed.
    """

    at: int
    deletions: int


@dataclass(frozen=True, slots=True)
class SessionEvent:
    """One step of a session that a request brings along.

    Attributes:
        item_id: External item id.
        event: Event type name.
        timestamp: Milliseconds; None means "just now".
        value: As in :class:`recserve.Event`.
    """

    item_id: str
    event: str = "view"
    timestamp: int | None = None
    value: float | None = None


@dataclass(frozen=True, slots=True)
class Request:
    """One recommendation that somebody asks for; see the HTTP API for the meaning of each field.

    Attributes:
        items: Rank these items, which the caller brings, instead of finding candidates.
        seen: Instead of the scenario's policy for items of the user's history.
        rules: Name of a reranker -> parameters that replace its configured ones for this request.
        language: Of explanations, instead of the scenario's.
        offset: Items that earlier pages showed; ranks go on from there. They are part of ``exclude``.
        bundle: Answer by this bundle, which must be loaded, instead of the current one.
        details: Whether items of the answer are :class:`DetailedItem`.
        session_id: Stands for a visitor without a user id where experiments assign arms.
        arm: The arm of an experiment that answers.
        told: Is told of the answer instead of the log of what was shown: the answer is a part of a page, or
            shown to nobody.
        origin: The HTTP request, for logs and traces.
    """

    user_id: str | None = None
    session: tuple[SessionEvent, ...] = ()
    item_id: str | None = None
    query: str | None = None
    n: int = 10
    scenario: str | None = None
    exclude: tuple[str, ...] = ()
    filter: Mapping[str, Any] = field(default_factory=dict)
    context: Mapping[str, Any] = field(default_factory=dict, repr=False)
    explain: bool = True
    items: tuple[str, ...] | None = None
    seen: Literal["exclude", "decay", "allow"] | None = None
    rules: Mapping[str, Any] = field(default_factory=dict)
    language: str | None = None
    offset: int = 0
    bundle: str | None = None
    details: bool = False
    session_id: str | None = None
    arm: AssignedArm | None = None
    told: Callable[[Recommendation, Asked], None] | None = field(default=None, compare=False, repr=False)
    origin: RequestContext = field(default_factory=current, compare=False, repr=False)

    @property
    def identity(self) -> tuple[Hashable, ...]:
        """Equal for requests of one user and scenario that get equal answers: all fields but a few named.

        JSON objects count by their text, so that ``1``, ``1.0`` and ``true`` stay apart.
        """
        plain, objects = _PLAIN(self), _OBJECTS(self)
        if not any(objects):
            return plain
        return (*plain, *(json.dumps(value) if value else None for value in objects))

    def served_by(self, arm: AssignedArm) -> Self:
        """The request as an arm answers it; what the request says itself comes before."""
        # Written out: `dataclasses.replace` takes three times as long, for each request of an experiment.
        values = list(_ALL(self))
        values[_ARM] = arm
        parameters, scenario = arm.parameters, arm.definition.scenario
        if parameters is not None:
            values[_RULES] = {**parameters.rules, **self.rules} if parameters.rules else self.rules
            values[_SEEN] = self.seen or parameters.seen
        if scenario is not None:
            values[_SCENARIO] = scenario
        return type(self)(*values)


NOT_IN_IDENTITY = frozenset({"user_id", "scenario", "session_id", "told", "origin"})
"""Fields beside a request's identity: who asks and by which call, and the scenario before defaults apply."""

_NAMES = [known.name for known in fields(Request)]
_ALL = attrgetter(*_NAMES)
_ARM, _RULES, _SEEN, _SCENARIO = (_NAMES.index(name) for name in ("arm", "rules", "seen", "scenario"))
_COUNTED = [counted for counted in fields(Request) if counted.name not in NOT_IN_IDENTITY]
_PLAIN = attrgetter(*(counted.name for counted in _COUNTED if counted.default_factory is not dict))
_OBJECTS = attrgetter(*(counted.name for counted in _COUNTED if counted.default_factory is dict))


@dataclass(frozen=True, slots=True)
class RecommendedItem:
    """One item of an answer.

    Attributes:
        item_id: External id.
        score: The last stage's score; comparable only within one answer.
        rank: 1 is best.
        sources: Retrievers that proposed it, strongest first.
        explanation: One sentence, None if not asked for.
        attributes: What is known of the item, as it was written.
    """

    item_id: str
    score: float
    rank: int
    sources: tuple[str, ...]
    explanation: str | None
    attributes: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Proposal:
    """What one retriever said of an item.

    Attributes:
        retriever: Its name.
        place: The item's place among the candidates by this retriever alone; 1 is best.
        score: The retriever's own score; comparable only within it.
    """

    retriever: str
    place: int
    score: float


@dataclass(frozen=True, slots=True)
class Details:
    """What stands behind an item, beyond what the explanation says in words.

    Attributes:
        proposals: Of each retriever that proposed it, strongest first.
        evidence: External id of the item that led to it, if one did.
        evidence_title: Its title.
        evidence_event: What the user did with it, or what :attr:`evidence_text` was.
        evidence_text: What the user wrote that led to it.
    """

    proposals: tuple[Proposal, ...]
    evidence: str | None
    evidence_title: str | None
    evidence_event: str | None
    evidence_text: str | None


@dataclass(frozen=True, slots=True)
class DetailedItem(RecommendedItem):
    """An item of an answer to a request that wants to know more.

    Attributes:
        details: What stands behind it.
    """

    details: Details


@dataclass(frozen=True, slots=True)
class Recommendation:
    """The answer to one request.

    Attributes:
        recommendation_id: To be given back on events, so that exposure and outcome join.
        scenario: The scenario that served it.
        items: Best first.
        bundle: Id of the bundle that every stage used.
        degraded: What was lost on the way, such as ``ranking`` or ``retriever:mf``; normally empty.
        timings: Milliseconds a stage took for the batch, and ``total``.
        left_out: Of :attr:`Request.items`, those that may not be returned: unknown, hidden, deleted,
            expired or filtered out.
        causes: Why each of :attr:`degraded` was lost, in one word.
        experiment: Name of the experiment that it belongs to, if any.
        arm: Name of the experiment's arm that answered; None for an interleaved page.
        teams: Of an interleaved page, the arm of each item; None for what both arms stand for.
        propensities: Of the items, the probability that each stands in its place, None where chance did not
            decide; empty if it decided nothing.
    """

    recommendation_id: str
    scenario: str
    items: tuple[RecommendedItem, ...]
    bundle: str
    degraded: tuple[str, ...]
    timings: Mapping[str, float]

    @classmethod
    def of(
        cls,
        scenario: str,
        items: tuple[RecommendedItem, ...],
        bundle: str,
        degraded: Mapping[str, str],
        timings: Mapping[str, float],
        left_out: tuple[str, ...] = (),
        arm: AssignedArm | None = None,
        propensities: tuple[float | None, ...] = (),
    ) -> Recommendation:
        """A recommendation with an id of its own; ``degraded`` is what was lost, and why."""
        parts, causes = tuple(degraded), tuple(degraded.values())
        experiment, name = (None, None) if arm is None else (arm.experiment, arm.name)
        return cls(
            new_id(),
            scenario,
            items,
            bundle,
            parts,
            timings,
            left_out,
            causes,
            propensities,
            experiment,
            name,
        )

    left_out: tuple[str, ...] = ()
    causes: tuple[str, ...] = ()
    propensities: tuple[float | None, ...] = ()
    experiment: str | None = None
    arm: str | None = None
    teams: tuple[str | None, ...] = ()

    def again(self) -> Self:
        """The same answer to somebody else who asked the same, or asked twice."""
        return replace(self, recommendation_id=new_id())
