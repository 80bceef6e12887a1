"""Cursors: where a list, or a recommendation, goes on. They hold everything, so any replica can go on.

A cursor is opaque to clients: ``urlsafe_base64(form, crc32, JSON)``, the JSON compressed where it is long. It
is neither secret nor signed: whoever makes one up can only leave items out of an answer of their own.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import zlib
from dataclasses import asdict, dataclass, replace
from typing import Any

import orjson

from recserve.errors import InvalidRequestError
from recserve.serving.request import Recommendation, Request
from recserve.store import Moment, key_of

MAX_SHOWN = 2_000
"""A recommendation has no further page once it has shown this many items."""

MAX_DECODED = 64_000
"""Nor once the ids shown take this many bytes."""

MAX_CURSOR = 90_000
"""Longer than any cursor that is given out."""

MAX_URL_CURSOR = 8_000
"""Longest cursor of answers that are asked for by URL."""

_INT64 = range(-(2**63), 2**63)
_PLAIN, _PACKED = b"\x01", b"\x02"
_HEAD = 5
# Compressing takes longer than all the rest, so short cursors do without.
_PACKED_FROM = 1_000


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a recommendation.

    Attributes:
        request: What to ask for: nothing of the earlier pages.
        shown: Ids on the earlier pages.
        digest: Stands for what defines the recommendation.
    """

    request: Request
    shown: tuple[str, ...]
    digest: str

    @classmethod
    def of(cls, request: Request, cursor: str | None) -> Page:
        """The page that a cursor asks for, the first one without a cursor.

        Raises:
            InvalidRequestError: The cursor is damaged or belongs to another recommendation.
        """
        digest = _digest(request)
        if cursor is None:
            return cls(request, (), digest)
        content = _decode(cursor)
        match content:
            case ["r", str(whose), list(ids)] if all(isinstance(one, str) for one in ids):
                shown = tuple(ids)
            case _:
                raise _damaged()
        if whose != digest:
            raise InvalidRequestError(
                "the cursor belongs to another recommendation; repeat the request that it came with "
                "(user_id, session, item_id, query, scenario, filter) or leave it out",
                field="cursor",
            )
        further = replace(request, exclude=(*request.exclude, *shown), offset=len(shown))
        return cls(further, shown, digest)

    def cursor(self, answer: Recommendation, longest: int = MAX_CURSOR) -> str | None:
        """Asks for the page after this one; None if there is none.

        Args:
            answer: The answer to :attr:`request`.
            longest: A longer cursor is of no use to the client.
        """
        if len(answer.items) < self.request.n:
            return None
        shown = [*self.shown, *(item.item_id for item in answer.items)]
        if len(shown) > MAX_SHOWN:
            return None
        text = orjson.dumps(["r", self.digest, shown])
        if len(text) > MAX_DECODED:
            return None
        made = _encode(text)
        return made if len(made) <= longest else None


def list_cursor(kind: str, last: str) -> str:
    """Asks for what follows in a list.

    Args:
        kind: Names the list.
        last: Id of the last entry shown.
    """
    return _encode(orjson.dumps([kind, last]))


def after(kind: str, cursor: str | None) -> str | None:
    """The id that a list goes on after; None starts it.

    Raises:
        InvalidRequestError: The cursor is damaged or belongs to another list.
    """
    if cursor is None:
        return None
    match _decode(cursor):
        case [str(of), str(last)] if of == kind and last:
            return last
        case _:
            raise _damaged()


def history_cursor(user_id: str, last: Moment) -> str:
    """Asks for what comes before an event in a user's history."""
    return _encode(orjson.dumps(["h", key_of(user_id).hex(), *last]))


def history_before(user_id: str, cursor: str | None) -> Moment | None:
    """The place that a user's history goes on before; None starts with the newest event.

    Raises:
        InvalidRequestError: The cursor is damaged or belongs to the history of another user.
    """
    if cursor is None:
        return None
    match _decode(cursor):
        case ["h", str(whose), int(timestamp), int(number)] if whose == key_of(user_id).hex():
            if all(one in _INT64 for one in (timestamp, number)):
                return Moment(timestamp, number)
    raise _damaged()


def _digest(request: Request) -> str:
    """Short digest of the fields that define a recommendation."""
    content: list[Any] = [
        request.user_id,
        request.session,
        request.item_id,
        request.query,
        request.scenario,
        request.filter,
    ]
    try:
        canonical = orjson.dumps(content, option=orjson.OPT_SORT_KEYS)
    except TypeError:  # integers beyond 64 bits in a filter's argument
        content[1] = [asdict(step) for step in request.session]
        canonical = json.dumps(content, sort_keys=True).encode("utf-8", "surrogatepass")
    return hashlib.blake2b(canonical, digest_size=8).hexdigest()


def _encode(text: bytes) -> str:
    check = zlib.crc32(text).to_bytes(4, "big")
    form, body = (_PLAIN, text) if len(text) < _PACKED_FROM else (_PACKED, zlib.compress(text))
    return base64.urlsafe_b64encode(form + check + body).rstrip(b"=").decode()


def _decode(cursor: str) -> Any:
    try:
        padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
        raw = base64.b64decode(padded, altchars=b"-_", validate=True)
        form, check, text = raw[:1], raw[1:_HEAD], raw[_HEAD:]
        if form == _PACKED:
            unpacking = zlib.decompressobj()
            text = unpacking.decompress(text, MAX_DECODED)  # whatever it claims, no more than this
            if not unpacking.eof:
                raise ValueError("it goes on")
        elif form != _PLAIN:
            raise ValueError("another version's")
        if len(text) > MAX_DECODED or zlib.crc32(text).to_bytes(4, "big") != check:
            raise ValueError("altered")
        return orjson.loads(text)
    except (ValueError, zlib.error, binascii.Error):
        raise _damaged() from None


def _damaged() -> InvalidRequestError:
    return InvalidRequestError(
        "the cursor is damaged or does not come from here; leave it out to start from the beginning",
        field="cursor",
    )
