"""Question that a report of outcomes answers, checked."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from recserve.config import Config, nearest
from recserve.data.entities import DAY_MS, now_ms
from recserve.errors import InvalidRequestError
from recserve.outcomes.daily.counter import ITEM, SEGMENT, SERVED

DAY = "day"
ARM = "arm"
BREAKDOWNS = ("scenario", "bundle", ARM, "source", ITEM, DAY)
"""What a report may be broken down by, beside ``segment:NAME``."""

SHOWN_ROWS = 100
DEFAULT_DAYS = 28


class Question(NamedTuple):
    """What a report is asked for.

    Attributes:
        by: One of :data:`BREAKDOWNS`, ``segment:NAME``, or None for the total alone.
        first: First day, days since 1970 (UTC).
        last: Last day, included.
        scenario: Only what this scenario showed; None for all.
        experiment: Only what belongs to this experiment; None for all.
        rows: At most so many groups, those shown most.
        item: Only impressions of this item; None for all.
    """

    by: str | None
    first: int
    last: int
    scenario: str | None = None
    experiment: str | None = None
    rows: int = SHOWN_ROWS
    item: str | None = None

    @property
    def view(self) -> str:
        """The view of daily counts that has the answer."""
        if self.item is not None:
            return ITEM
        return self.by if self.by is not None and (self.by == ITEM or self.by.startswith(SEGMENT)) else SERVED


def question_of(
    config: Config,
    by: str | None,
    since: str | None,
    until: str | None,
    *,
    scenario: str | None = None,
    experiment: str | None = None,
    rows: int = SHOWN_ROWS,
    item: str | None = None,
    now: int | None = None,
) -> Question:
    """Check what somebody asks for.

    Args:
        config: Its configuration.
        by: See :class:`Question`; ``retriever`` is another word for ``source``.
        since: First day, such as 2026-01-31 (UTC); None for :data:`DEFAULT_DAYS` before the last.
        until: Last day, included; None for today.
        scenario: See :class:`Question`.
        experiment: See :class:`Question`.
        rows: See :class:`Question`.
        item: See :class:`Question`.
        now: The present, milliseconds since the epoch; None for the clock's.

    Raises:
        InvalidRequestError: Something that there is not; names it, and what there is.
    """
    by = "source" if by == "retriever" else by
    segments = [SEGMENT + name for name in config.outcomes.segments]
    if by is not None and by not in (*BREAKDOWNS, *segments):
        known = nearest(by, (*BREAKDOWNS, *segments))
        more = "" if segments else "; segments need outcomes.segments, a list of user attributes"
        raise InvalidRequestError(
            f"by: a report cannot be broken down by {by[:80]!r}{known}{more}", field="by"
        )
    today = (now_ms() if now is None else now) // DAY_MS
    last = today if until is None else _day("until", until)
    first = last - DEFAULT_DAYS + 1 if since is None else _day("since", since)
    if first > last:
        raise InvalidRequestError(
            f"since: {date_of(first)} is after the last day, {date_of(last)}", field="since"
        )
    question = Question(by, first, last, scenario, experiment, rows, item)
    if item is not None and by not in (None, DAY, ITEM):
        raise InvalidRequestError(f"by: one item is counted by {DAY} only, not by {by}", field="by")
    if (scenario or experiment) and item is not None:
        raise InvalidRequestError(
            "item: an item is counted over all scenarios and experiments; leave scenario and experiment out",
            field="item",
        )
    if (scenario or experiment) and question.view != SERVED:
        raise InvalidRequestError(
            f"by: {by} is counted over all scenarios and experiments; leave scenario and experiment out",
            field="by",
        )
    return question


def _day(field: str, text: str) -> int:
    try:
        if len(text) != len("2026-01-31"):
            raise ValueError
        return int(np.datetime64(text, "D").astype(np.int64))
    except ValueError:
        raise InvalidRequestError(
            f"{field}: {text[:80]!r} is no day such as 2026-01-31", field=field
        ) from None


def date_of(day: int) -> str:
    """A day, such as 2026-01-31."""
    return str(np.datetime64(day, "D"))
