"""Bodies that ask for items: strict pydantic models that refuse unknown fields and turn into requests."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from recserve.api.pagination import MAX_CURSOR
from recserve.api.settings import ApiSettings
from recserve.config import LANGUAGE
from recserve.data.entities import DAY_MS, LAST_MS, MAX_ID, SECONDS_BELOW
from recserve.data.events.text import ENCODED_CHARACTERS, one_line
from recserve.errors import InvalidRequestError
from recserve.serving.requests.request import Asked, Recommendation, Request, SessionEvent

MAX_LIST = 10_000
MAX_QUERY = 100_000
MAX_N = 1_000

QUERY_KEPT = ENCODED_CHARACTERS

Identifier = Annotated[str, Field(min_length=1, max_length=MAX_ID, pattern=r"^[^\x00]+$")]


def parse_timestamp(value: object) -> object:
    """ISO 8601 or epoch seconds or milliseconds -> milliseconds since the epoch; None stays None.

    A time without an offset is UTC.

    Raises:
        ValueError: Not a time, or before 1970 or after 9999.
    """
    if value is None:
        return None
    if isinstance(value, str):
        try:
            moment = datetime.fromisoformat(value.strip())
        except ValueError:
            raise ValueError(
                f"{value[:80]!r} is not a time; use ISO 8601 such as 2025-01-31T12:00:00Z, or epoch seconds "
                "or milliseconds"
            ) from None
        moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
        milliseconds = round(moment.timestamp() * 1000)
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        if not 0 <= value <= LAST_MS:  # also refuses NaN
            raise ValueError("must lie between the years 1970 and 9999")
        milliseconds = round(value * 1000) if value < SECONDS_BELOW else round(value)
    else:
        raise ValueError("must be an ISO 8601 string or a number of seconds or milliseconds")
    if not 0 <= milliseconds <= LAST_MS:
        raise ValueError("must lie between the years 1970 and 9999")
    return milliseconds


# What clients may send, for the OpenAPI document; inside it is an int of milliseconds.
_TimestampInput = datetime | Annotated[float, Field(ge=0, le=LAST_MS)]
Timestamp = Annotated[
    int | None, BeforeValidator(parse_timestamp, json_schema_input_type=_TimestampInput | None)
]
Value = Annotated[float, Field(allow_inf_nan=False)]


def check_not_future(timestamp: int | None, now: int, place: str) -> None:
    """Refuse a time that is more than a day ahead.

    Args:
        timestamp: Milliseconds since the epoch.
        now: The present, likewise.
        place: Where it stands in the request, such as ``events[3].``.

    Raises:
        InvalidRequestError: It is.
    """
    if timestamp is not None and timestamp > now + DAY_MS:
        shown = datetime.fromtimestamp(timestamp / 1000, UTC).isoformat(timespec="seconds")
        raise InvalidRequestError(
            f"{place}timestamp: {shown} is more than a day in the future", field=f"{place}timestamp"
        )


class Body(BaseModel):
    """Base of all request bodies."""

    model_config = ConfigDict(extra="forbid", strict=True)


def _as_step(value: object) -> object:
    """A bare item id is a step of type ``view``."""
    return {"item_id": value} if isinstance(value, str) else value


class SessionStep(Body):
    """One thing that an anonymous visitor did just now."""

    item_id: Identifier = Field(description="Item id; need not be in the catalogue.", examples=["260"])
    event: str = Field("view", min_length=1, description="A configured event type.", examples=["view"])
    timestamp: Timestamp = Field(
        None,
        description="ISO 8601, epoch seconds or milliseconds; default: now.",
        examples=["2025-01-31T12:00:00Z"],
    )
    value: Value | None = Field(None, description="Rating, count or amount.", examples=[4.5])


Step = Annotated[SessionStep, BeforeValidator(_as_step, json_schema_input_type=Identifier | SessionStep)]


Seen = Literal["exclude", "decay", "allow"]


class _Question(Body):
    """What all questions have in common."""

    scenario: str | None = Field(
        None, min_length=1, description="A configured pipeline; default: the server's.", examples=["home"]
    )
    filter: dict[str, Any] = Field(
        default_factory=dict,
        description="Name of a filter of the scenario -> its argument.",
        examples=[{}],
    )
    rules: dict[str, Any] = Field(
        default_factory=dict,
        description="Name of a reranker of the scenario -> parameters for this request, which replace the "
        "configured ones.",
        examples=[{}],
    )
    context: dict[str, Any] = Field(
        default_factory=dict,
        description="Anything that a plugin of the scenario reads, such as device and place. Strings, "
        "numbers and booleans are stored with what was shown, for rankers to learn from.",
        examples=[{}],
    )
    explain: bool = Field(True, description="Say in words why each item is recommended.", examples=[True])
    language: str | None = Field(
        None,
        pattern=LANGUAGE,
        max_length=35,
        description="Language of explanations, such as en or zh; default: the scenario's.",
        examples=["zh"],
    )
    session_id: Identifier | None = Field(
        None,
        description="Stands for a visitor without `user_id` where experiments assign arms; changes nothing "
        "else.",
        examples=["session-123"],
    )


class _Selection(_Question):
    """What recommendations and similar items have in common."""

    n: int = Field(10, ge=1, le=MAX_N, description="How many items.", examples=[10])
    exclude: list[Identifier] = Field(
        default_factory=list, max_length=MAX_LIST, description="Item ids never to return.", examples=[["1"]]
    )
    seen: Seen | None = Field(
        None,
        description="Items of the user's history: never, lower the more recent, or as good as any; default: "
        "the scenario's policy.",
        examples=["exclude"],
    )
    details: bool = Field(
        False,
        description="Say of each item which retriever proposed it in which place with which score, and which "
        "item of the history led to it.",
        examples=[False],
    )
    preview: bool = Field(
        False,
        description="Shown to nobody, as while somebody looks around: the answer is not logged, counts as "
        "no impression, and takes no part in experiments.",
        examples=[False],
    )
    bundle: str | None = Field(
        None,
        min_length=1,
        max_length=200,
        description="Answer by this bundle, not the current one; for previews alone. It must be loaded, "
        "as the one before the current one and those of running experiments are.",
        examples=["4f1a09c2d7"],
    )
    cursor: str | None = Field(
        None,
        min_length=1,
        max_length=MAX_CURSOR,
        description="From an earlier answer to the same request: its next page.",
    )

    @property
    def previewed_bundle(self) -> str | None:
        """The bundle to answer by.

        Raises:
            InvalidRequestError: One is named for an answer that is shown.
        """
        if self.bundle is not None and not self.preview:
            raise InvalidRequestError("bundle: only a preview may name one", field="bundle")
        return self.bundle


class _Personal(_Question):
    """Questions of somebody, known or not."""

    user_id: Identifier | None = Field(
        None, description="A user; one that is not known yet is welcome.", examples=["42"]
    )
    session: list[Step] = Field(
        default_factory=list,
        max_length=MAX_LIST,
        description="What the visitor did just now: item ids or steps, in any order of time.",
        examples=[["260", {"item_id": "1196", "event": "rating", "value": 5}]],
    )
    query: str | None = Field(
        None,
        max_length=MAX_QUERY,
        description=f"Free text in any language; the first {QUERY_KEPT:,} characters count.",
        examples=["space opera with robots"],
    )


class RecommendBody(_Personal, _Selection):
    """Whom or what to recommend for.

    Any combination of ``user_id``, ``session``, ``item_id`` and ``query`` is allowed; with none of them the
    answer is what is popular.
    """

    item_id: Identifier | None = Field(None, description="Items similar to this one.", examples=["260"])

    def request(self, settings: ApiSettings, now: int) -> Request:
        """The pipeline's request, the cursor aside.

        Raises:
            InvalidRequestError: The session has an unknown event type, a value off its scale or a time in
                the future.
        """
        return Request(
            user_id=self.user_id,
            session=tuple(_steps(self.session, settings, now)),
            item_id=self.item_id,
            query=_cut_query(self.query),
            n=self.n,
            scenario=self.scenario,
            exclude=tuple(self.exclude),
            filter=self.filter,
            context=self.context,
            explain=self.explain,
            language=self.language,
            seen=self.seen,
            rules=self.rules,
            session_id=self.session_id,
            bundle=self.previewed_bundle,
            details=self.details,
            told=_shown_to_nobody if self.preview else None,
        )


class RankBody(_Personal):
    """The caller's own list to put in order."""

    items: list[Identifier] = Field(
        min_length=1,
        max_length=MAX_N,
        description="Item ids in any order; of equal ones the first counts.",
        examples=[["260", "1196", "1"]],
    )
    n: int | None = Field(
        None, ge=1, le=MAX_N, description="How many of them to return; default: all.", examples=[10]
    )
    seen: Seen = Field(
        "allow",
        description="Items of the user's history: never, lower the more recent, or as good as any.",
        examples=["allow"],
    )

    def request(self, settings: ApiSettings, now: int) -> Request:
        """The pipeline's request.

        Raises:
            InvalidRequestError: As for :meth:`RecommendBody.request`.
        """
        items = tuple(dict.fromkeys(self.items))
        return Request(
            user_id=self.user_id,
            session=tuple(_steps(self.session, settings, now)),
            query=_cut_query(self.query),
            n=self.n or len(items),
            scenario=self.scenario,
            filter=self.filter,
            context=self.context,
            explain=self.explain,
            language=self.language,
            items=items,
            seen=self.seen,
            rules=self.rules,
            session_id=self.session_id,
        )


def _steps(session: Iterable[SessionStep], settings: ApiSettings, now: int) -> Iterable[SessionEvent]:
    for index, step in enumerate(session):
        place = f"session[{index}]."
        settings.check_event(step.event, step.value, place)
        check_not_future(step.timestamp, now, place)
        yield SessionEvent(step.item_id, step.event, step.timestamp, step.value)


def _shown_to_nobody(answer: Recommendation, asked: Asked) -> None:
    """In the place of the log of what was shown: nothing is noted."""


def _cut_query(query: str | None) -> str | None:
    """Free text without control characters, cut between words; None when nothing is left."""
    if query is None:
        return None
    text = one_line(query[: 4 * QUERY_KEPT])
    if len(text) > QUERY_KEPT:
        head = text[:QUERY_KEPT]
        whole_words = head.rsplit(" ", 1)[0]
        # Text without spaces, such as Chinese, is cut where it is.
        text = whole_words if len(whole_words) > QUERY_KEPT // 2 else head
    return text or None


class SimilarBody(_Selection):
    """The item to find similar ones for."""

    item_id: Identifier = Field(description="The item.", examples=["260"])
    user_id: Identifier | None = Field(
        None, description="Makes the choice among similar items personal.", examples=["42"]
    )

    def request(self, settings: ApiSettings) -> Request:
        """The pipeline's request, the cursor aside."""
        return Request(
            user_id=self.user_id,
            item_id=self.item_id,
            n=self.n,
            scenario=self.scenario or settings.similar_scenario,
            exclude=tuple(self.exclude),
            filter=self.filter,
            context=self.context,
            explain=self.explain,
            language=self.language,
            seen=self.seen,
            rules=self.rules,
            session_id=self.session_id,
            bundle=self.previewed_bundle,
            details=self.details,
            told=_shown_to_nobody if self.preview else None,
        )


class AudienceBody(Body):
    """How many users, and whose ranker compares them."""

    limit: int = Field(100, ge=1, le=MAX_N, description="Users that are returned, at most.", examples=[100])
    scenario: str | None = Field(
        None, min_length=1, description="A scenario whose ranker can compare users; default: the server's."
    )
