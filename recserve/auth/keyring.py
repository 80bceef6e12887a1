"""Keyring: the store's valid keys in memory, and the check of every call against them."""

from __future__ import annotations

import asyncio
import hmac
import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Protocol

from recserve.auth.caller import EVERYBODY, INCLUDED, Caller
from recserve.auth.errors import ForbiddenError, RateLimitedError, UnauthorizedError, UncheckedKeyError
from recserve.auth.keys import SECRET_BYTES, hash_secret, parse_key
from recserve.auth.rate_limit import TokenBucket
from recserve.auth.user_tokens import UserToken
from recserve.data.system.periodic import PeriodicThread
from recserve.errors import NotReadyError, StoreError
from recserve.store import ApiKey, Pulse, Scope

logger = logging.getLogger(__name__)

REFRESH_SECONDS = 1.0
# Compared with in place of the hash of a key that does not exist; nothing hashes to it.
_NO_HASH = "0" * 2 * SECRET_BYTES


class KeySource(Protocol):
    """Protocol of the store that a keyring reads; every :class:`recserve.store.Store` is one."""

    def pulse(self) -> Pulse:
        """The counters; ``keys`` grows whenever a key is added or revoked."""
        ...

    def keys(self) -> list[ApiKey]:
        """All keys, revoked ones included."""
        ...


class _Known:
    """A valid key in memory, ready to be compared."""

    __slots__ = ("bucket", "caller", "secret_hash")

    def __init__(self, key: ApiKey, bucket: TokenBucket | None) -> None:
        self.secret_hash = key.secret_hash
        scopes: frozenset[Scope] = frozenset().union(*(INCLUDED[scope] for scope in key.scopes))
        self.caller = Caller(f"key:{key.key_id}", scopes)
        self.bucket = bucket


class Keyring:
    """In-memory cache of a store's valid keys, for one process.

    Once a store has a key, even a revoked one, every call needs a good one. Without any key all calls are
    let in, unless the server can be reached from elsewhere: then none is.

    A background thread follows the store, so a revoked key is refused everywhere within about a second.
    While the store is down, the keys as they were last seen are good until they are ``max_age`` seconds old;
    then nobody is let in before they can be read again, or before they were seen for the first time.

    Args:
        store: Where the keys are.
        exposed: Whether other machines can reach the server.
        rate_limit: Requests a second of a key that has no limit of its own; None for no limit. Each process
            counts for itself.
        max_age: Seconds for which keys are good without the store being asked.
        clock: Seconds of a clock that never goes back.
    """

    def __init__(
        self,
        store: KeySource,
        *,
        exposed: bool = False,
        rate_limit: float | None = None,
        max_age: float = 10.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._exposed = exposed
        self._rate_limit = rate_limit
        self._max_age = max_age
        self._clock = clock
        self._seen = clock()
        self._version: int | None = None
        self._any = False
        self._known: Mapping[str, _Known] = {}
        self._failing = False
        self._refreshing = threading.Lock()
        self._following = PeriodicThread("recserve-keyring", self.refresh, REFRESH_SECONDS)
        self._looked = -REFRESH_SECONDS
        self._look: asyncio.Future[None] | None = None

    @property
    def required(self) -> bool:
        """Whether calls need a key."""
        return self._any or self._exposed or self._version is None

    def start(self) -> None:
        """Read the keys and follow the store from now on; blocks for the first look."""
        self._following.start()

    def close(self) -> None:
        """Stop following the store."""
        self._following.close()

    def refresh(self) -> None:
        """Look at the store now; it never raises for a store that is down."""
        with self._refreshing:
            asked = self._clock()
            try:
                # The counter is read before the keys: at worst they are newer than it, and read again.
                version = self._store.pulse().keys
                if version != self._version:
                    self._replace(self._store.keys())
                    self._version = version
                self._seen = asked
            except StoreError as error:
                if not self._failing:
                    logger.warning("API keys cannot be read, going on with those known: %s", error)
                self._failing = True
                return
            except Exception:  # whatever it is, the thread must go on, or no key is ever revoked again
                logger.exception("API keys cannot be read, going on with those known")
                return
            if self._failing:
                logger.info("API keys can be read again")
            self._failing = False

    def _replace(self, keys: Iterable[ApiKey]) -> None:
        """Swap in what the store has now; buckets of keys that stay are kept."""
        found = list(keys)
        known = {}
        for key in found:
            if key.revoked_at is None:
                known[key.key_id] = _Known(key, self._bucket(key))
        # A request between these two lines must not find the keys gone and calls let in.
        self._any = self._any or bool(found)
        self._known = known

    def _bucket(self, key: ApiKey) -> TokenBucket | None:
        rate = self._rate_limit if key.rate_limit is None else key.rate_limit
        if rate is None:
            return None
        before = self._known.get(key.key_id)
        if before is not None and before.bucket is not None and before.bucket.rate == rate:
            return before.bucket
        return TokenBucket(rate, self._clock())

    async def look(self) -> None:
        """Look at the store at once, in a thread and at most once a second.

        Calls that come while a look is under way share it.
        """
        if self._look is None or self._look.done():
            now = self._clock()
            if now - self._looked < REFRESH_SECONDS:
                return
            self._looked = now
            self._look = asyncio.ensure_future(asyncio.to_thread(self.refresh))
        await asyncio.shield(self._look)

    def admit(self, presented: str | None, scope: Scope) -> Caller:
        """Check a call. Takes microseconds and reads nothing but memory.

        Args:
            presented: The key or user token that came with the call, None without one.
            scope: What the call needs.

        Returns:
            Who is calling.

        Raises:
            UnauthorizedError: A key is needed and none came, or it is unknown, wrong or revoked; which of
                these it is, neither the message nor the time it takes tells.
            RateLimitedError: Too many calls with this key.
            ForbiddenError: The key lacks the scope.
            NotReadyError: The keys could not be read yet.
            UncheckedKeyError: The store could not be asked for too long.
        """
        if not self.required:
            return EVERYBODY
        if self._version is None:
            raise NotReadyError("the API keys cannot be read yet")
        if presented is None:
            raise UnauthorizedError(self._advice())
        if (age := self._clock() - self._seen) > self._max_age:
            raise UncheckedKeyError(
                f"the store could not be asked for {age:.0f} s whether API keys are still good; "
                "come back in a moment"
            )
        token = UserToken.parse(presented)
        key_id, secret = parse_key(presented) or ("", presented[:256])
        known = self._known.get(key_id if token is None else token.key_id)
        expected = _NO_HASH if known is None else known.secret_hash
        if token is None:
            same = hmac.compare_digest(hash_secret(secret), expected)
        else:
            same = token.is_signed_with(expected)
        if known is None or not same:
            raise UnauthorizedError("this API key is not valid; `recserve keys list` shows those that are")
        caller = known.caller if token is None else _bound(known.caller, token)
        if known.bucket is not None:
            wait = known.bucket.take(self._clock())
            if wait > 0:
                raise RateLimitedError(
                    f"this key may make {known.bucket.rate:g} requests a second",
                    retry_after=max(1, int(wait + 0.999)),
                )
        if scope not in caller.scopes:
            raise ForbiddenError(f"this key lacks the scope {scope!r}")
        return caller

    def _advice(self) -> str:
        if self._any:
            return "this call needs an API key: send `Authorization: Bearer KEY`"
        return "other machines can reach this server and it has no API key; see `recserve keys create`"


def _bound(caller: Caller, token: UserToken) -> Caller:
    """Who has a token that was signed with the caller's key: it is good for answers alone."""
    claimed = token.user_until()
    if claimed is None:
        raise UnauthorizedError("this user token does not say for whom and until when it is good")
    user_id, until = claimed
    if until < time.time():
        raise UnauthorizedError("this user token has expired; have the app's backend make a new one")
    return replace(caller, scopes=caller.scopes & INCLUDED["recommend"], user_id=user_id)
