"""Query parameters of Gorse's calls."""

from __future__ import annotations

import re

from starlette.requests import Request

from recserve.api.schemas.recommend_request import MAX_N
from recserve.errors import InvalidRequestError

DEFAULT_N = 10
"""Gorse's ``default_n``."""

MOST_LISTED = 10_000
"""Entries of a list that one call gives; a cursor goes on behind them."""

_DURATION = re.compile(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+(?:\.\d+)?)s)?")


def count(request: Request, most: int = MAX_N) -> int:
    """The parameter ``n``.

    Args:
        request: The request.
        most: Of a list with a cursor, more are as many as this; of any other, they are refused.

    Raises:
        InvalidRequestError: It is not a number from 1 on, or too high.
    """
    n = _number(request, "n", DEFAULT_N)
    if n < 1 or (n > most and most == MAX_N):
        raise InvalidRequestError(f"n must be from 1 to {most:,} (got {n:,})", field="n")
    return min(n, most)


def offset_of(request: Request, n: int) -> int:
    """The parameter ``offset``.

    Raises:
        InvalidRequestError: It is not a number from 0 on, or too high together with ``n``.
    """
    offset = _number(request, "offset", 0)
    if not 0 <= offset <= MAX_N - n:
        raise InvalidRequestError(
            f"offset must be from 0 to {MAX_N - n:,}, so that offset and n are at most {MAX_N:,} together "
            f"(got {offset:,})",
            field="offset",
        )
    return offset


def _number(request: Request, name: str, default: int) -> int:
    text = request.query_params.get(name, "")
    if not text:
        return default
    if not (text.isascii() and text.removeprefix("-").isdigit() and len(text) < 19):
        raise InvalidRequestError(f"{name} must be a whole number (got {text[:80]!r})", field=name)
    return int(text)


def cursor_of(request: Request) -> str | None:
    """The parameter ``cursor``; empty is the same as none."""
    return request.query_params.get("cursor") or None


def categories(request: Request) -> list[str]:
    """The categories asked for, all of which an item must have: of the query, else of the path."""
    asked = [name for name in request.query_params.getlist("category") if name]
    named = request.path_params.get("category")
    return asked or ([named] if named else [])


def write_back_delay(request: Request) -> float:
    """The parameter ``write-back-delay`` in seconds, such as 10m or 1h30m as Go writes durations.

    Raises:
        InvalidRequestError: It is not a duration.
    """
    text = request.query_params.get("write-back-delay", "")
    found = _DURATION.fullmatch(text)
    if found is None:
        raise InvalidRequestError(
            f"write-back-delay must be a duration such as 10m or 1h30m0s (got {text[:80]!r})",
            field="write-back-delay",
        )
    hours, minutes, seconds = (float(part or 0) for part in found.groups())
    return hours * 3600 + minutes * 60 + seconds
