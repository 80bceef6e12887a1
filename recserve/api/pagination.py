"""Cursors: where a list, or a recommendation, goes on. They hold everything, so any replica can go on."""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Collection
from dataclasses import asdict, dataclass, replace
from typing import Any

import orjson
from itsdangerous import BadData, Signer
from itsdangerous.encoding import base64_decode, base64_encode
from itsdangerous.signer import SigningAlgorithm

from recserve.errors import InvalidRequestError
from recserve.serving.requests.request import Recommendation, Request
from recserve.store import Moment, key_of

MAX_SHOWN = 2_000
"""A recommendation has no further page once it has shown this many items."""

MAX_CURSOR = 90_000
"""Nor once the cursor would be longer than this."""

MAX_URL_CURSOR = 8_000
"""Longest cursor of answers that are asked for by URL."""

_COMPRESSED_FROM = 1_000
"""Bytes of content."""


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


class _KeyedBlake2(SigningAlgorithm):
    """MAC of RFC 7693. HMAC of OpenSSL takes three times as long for a text as short as a cursor."""

    def get_signature(self, key: bytes, value: bytes) -> bytes:
        """The MAC of a value."""
        return hashlib.blake2b(value, key=key, digest_size=16).digest()


class Cursors:
    """Signs cursors and reads its own: opaque to clients, who can read but not alter them.

    Args:
        secret: The same in all replicas and after a restart.
    """

    def __init__(self, secret: str) -> None:
        key = hashlib.blake2b(secret.encode(), person=b"recserve.cursor").digest()
        self._signer = Signer(key, key_derivation="none", algorithm=_KeyedBlake2())

    def page(self, request: Request, cursor: str | None) -> Page:
        """The page that a cursor asks for, the first one without a cursor.

        Raises:
            InvalidRequestError: The cursor is damaged or belongs to another recommendation.
        """
        digest = _digest(request)
        if cursor is None:
            return Page(request, (), digest)
        match self._read(cursor):
            case ["r", str(whose), list(shown)]:
                pass
            case _:
                raise _damaged()
        if whose != digest:
            raise InvalidRequestError(
                "the cursor belongs to another recommendation; repeat the request that it came with "
                "(user_id, session, item_id, query, scenario, filter) or leave it out",
                field="cursor",
            )
        further = replace(request, exclude=(*request.exclude, *shown), offset=len(shown))
        return Page(further, tuple(shown), digest)

    def following(self, page: Page, answer: Recommendation, longest: int = MAX_CURSOR) -> str | None:
        """Asks for the page after one; None if there is none.

        Args:
            page: The page.
            answer: The answer to its request.
            longest: A longer cursor is of no use to the client.
        """
        shown = [*page.shown, *(item.item_id for item in answer.items)]
        if len(answer.items) < page.request.n or len(shown) > MAX_SHOWN:
            return None
        made = self._sign(["r", page.digest, shown])
        return made if len(made) <= longest else None

    def after(self, kind: str, cursor: str | None) -> str | None:
        """The id that a list goes on after; None starts it.

        Raises:
            InvalidRequestError: The cursor is damaged or belongs to another list.
        """
        if cursor is None:
            return None
        return self.within((kind,), cursor)[1]

    def within(self, kinds: Collection[str], cursor: str) -> tuple[str, str]:
        """The part of a list, and the id that it goes on after.

        Args:
            kinds: Names of the list's parts.
            cursor: The cursor.

        Raises:
            InvalidRequestError: The cursor is damaged or belongs to another list.
        """
        match self._read(cursor):
            case [str(of), str(last)] if of in kinds:
                return of, last
            case _:
                raise _damaged()

    def of_list(self, kind: str, last: str) -> str:
        """Asks for what follows in a list.

        Args:
            kind: Names the list.
            last: Id of the last entry shown.
        """
        return self._sign([kind, last])

    def of_history(self, user_id: str, last: Moment) -> str:
        """Asks for what comes before an event in a user's history."""
        return self._sign(["h", key_of(user_id).hex(), *last])

    def before(self, user_id: str, cursor: str | None) -> Moment | None:
        """The place that a user's history goes on before; None starts with the newest event.

        Raises:
            InvalidRequestError: The cursor is damaged or belongs to the history of another user.
        """
        if cursor is None:
            return None
        match self._read(cursor):
            case ["h", str(whose), int(timestamp), int(number)] if whose == key_of(user_id).hex():
                return Moment(timestamp, number)
        raise _damaged()

    def _sign(self, content: list[Any]) -> str:
        text = orjson.dumps(content)
        # Compressing a short one takes longer than the rest.
        packed = text if len(text) < _COMPRESSED_FROM else zlib.compress(text)
        return self._signer.sign(base64_encode(packed)).decode()

    def _read(self, cursor: str) -> Any:
        try:
            packed = base64_decode(self._signer.unsign(cursor))
        except (BadData, UnicodeError):
            raise _damaged() from None
        return orjson.loads(packed if packed.startswith(b"[") else zlib.decompress(packed))


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


def _damaged() -> InvalidRequestError:
    return InvalidRequestError(
        "the cursor is damaged or does not come from here; leave it out to start from the beginning",
        field="cursor",
    )
