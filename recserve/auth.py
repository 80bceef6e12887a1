"""API keys: their format, their verification, and the identity behind a request.

A key is ``rs_<id>_<secret>``. The id is public and names the key in lists and logs; the secret is shown once,
when the key is made, and stored as its sha256 only. A slow hash, as for passwords, would add nothing: the
secret is 256 random bits, so there is nothing to guess. A fast one keeps the check at a few microseconds a
request.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
import re
import secrets
import string
import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from recserve.errors import InvalidRequestError, NotReadyError, RecserveError, StoreError
from recserve.store import ApiKey, Pulse, Scope
from recserve.user_tokens import UserToken

if TYPE_CHECKING:
    from starlette.requests import Request

logger = logging.getLogger(__name__)

SCOPES: tuple[Scope, ...] = ("recommend", "read", "write", "admin")
_INCLUDED: Mapping[Scope, frozenset[Scope]] = {
    "recommend": frozenset({"recommend"}),
    "read": frozenset({"recommend", "read"}),
    "write": frozenset({"write"}),
    "admin": frozenset(SCOPES),
}
ANONYMOUS = "anonymous"
CALLER = "recserve.caller"
"""Entry of an ASGI scope that holds the :class:`Caller`."""

REFRESH_SECONDS = 1.0
BURST_SECONDS = 2.0

_ID_LETTERS = string.ascii_lowercase + string.digits
_ID_LENGTH = 12
_SECRET_BYTES = 32
_KEY = re.compile(rf"rs_([a-z0-9]{{{_ID_LENGTH}}})_([0-9a-f]{{{2 * _SECRET_BYTES}}})")
# Wider than a key: what was mistyped or cut off is as secret as the rest of it.
_SECRET_IN_TEXT = re.compile(r"(r[st]_[a-z0-9]{1,40})_[0-9A-Za-z_-]{8,}")
_PASSWORD_IN_URL = re.compile(r"(\w+://[^\s:/@]*):[^\s/@]+@")
# Compared with in place of the hash of a key that does not exist; nothing hashes to it.
_NO_HASH = "0" * 2 * _SECRET_BYTES


@dataclass(frozen=True, slots=True)
class Caller:
    """Who is behind a request, and what they may do. The default may do everything.

    Attributes:
        actor: As the audit log names it: ``key:ID`` or ``anonymous``.
        scopes: What they may do.
        user_id: The only user whom they may ask for; None for any.
    """

    actor: str = ANONYMOUS
    scopes: frozenset[Scope] = frozenset(SCOPES)
    user_id: str | None = None

    def check_user(self, user_id: str | None) -> None:
        """Check that this user may be asked for.

        Raises:
            ForbiddenError: The caller is bound to another one.
        """
        if self.user_id is not None and user_id not in (None, self.user_id):
            raise ForbiddenError("this token is good for another user", field="user_id")


NOBODY = Caller(scopes=frozenset())
"""Who came without a good key and is let in all the same."""


class UnauthorizedError(RecserveError):
    """401: no API key, or an invalid one."""

    code = "unauthorized"
    status = 401


class ForbiddenError(RecserveError):
    """403: a valid key without the scope that the call needs."""

    code = "forbidden"
    status = 403


class UncheckedKeyError(StoreError):
    """A key that may have been revoked: the store could not be asked for too long."""


class RateLimitedError(RecserveError):
    """429: a key beyond its rate limit.

    Args:
        message: One line for the person who has to act.
        retry_after: Seconds until the next call is let in.
    """

    code: ClassVar[str] = "rate_limited"
    status = 429

    def __init__(self, message: str, *, retry_after: int = 1, field: str | None = None) -> None:
        super().__init__(message, field=field)
        self.retry_after = retry_after


def create_key(
    name: str, scopes: Collection[Scope], created_at: int, rate_limit: float | None = None
) -> tuple[str, ApiKey]:
    """Make a new key.

    Args:
        name: What people call it.
        scopes: What it may do.
        created_at: Milliseconds since the epoch.
        rate_limit: Requests a second, None for the server's default.

    Returns:
        The key to hand to its user, which cannot be had again, and what to store of it.

    Raises:
        InvalidRequestError: The name is empty or too long, there is no scope, or the rate is not positive.
    """
    if not 0 < len(name) <= 200 or not name.isprintable():
        raise InvalidRequestError("a key's name must have 1 to 200 printable characters", field="name")
    if not scopes:
        raise InvalidRequestError(f"a key needs a scope: {', '.join(SCOPES)}", field="scopes")
    if rate_limit is not None and not 0 < rate_limit < float("inf"):
        raise InvalidRequestError("a rate limit must be a positive number", field="rate_limit")
    key_id = "".join(secrets.choice(_ID_LETTERS) for _ in range(_ID_LENGTH))
    secret = secrets.token_hex(_SECRET_BYTES)
    stored = ApiKey(key_id, _hash(secret), name, frozenset(scopes), created_at, rate_limit=rate_limit)
    return f"rs_{key_id}_{secret}", stored


def parse_key(text: str) -> tuple[str, str] | None:
    """Id and secret of a key, None for anything that does not look like one."""
    found = _KEY.fullmatch(text)
    return (found[1], found[2]) if found else None


def mask_keys(text: str) -> str:
    """The text with the secret part of every key and user token replaced, and every password in a URL."""
    if "rs_" in text or "rt_" in text:
        text = _SECRET_IN_TEXT.sub(r"\1_***", text)
    return _PASSWORD_IN_URL.sub(r"\1:***@", text) if "://" in text else text


def mask_keys_in_logs() -> None:
    """Keep keys out of every log record that this process makes from now on, tracebacks included.

    A client that puts its key into a path or a body by mistake must not find it in a log file. Calling it
    again does no harm.
    """
    before = logging.getLogRecordFactory()
    if getattr(before, "masks_keys", False):
        return

    def make(*arguments: Any, **named: Any) -> logging.LogRecord:
        record = before(*arguments, **named)
        try:
            text = record.getMessage()
        except Exception:  # a broken call of the logger, which logging reports itself
            return record
        if (masked := mask_keys(text)) != text:
            record.msg, record.args = masked, None
        if record.exc_info and record.exc_info[0] is not None:
            # Formatters take a traceback that is there already as it is.
            record.exc_text = mask_keys(_FORMATTER.formatException(record.exc_info))
        return record

    make.masks_keys = True  # type: ignore[attr-defined]
    logging.setLogRecordFactory(make)


_FORMATTER = logging.Formatter()


def caller_of(request: Request) -> Caller:
    """Who is behind a request; where nobody checks keys, everybody may do everything."""
    found: Caller = request.scope.get(CALLER, _EVERYBODY)
    return found


_EVERYBODY = Caller()


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()


class KeySource(Protocol):
    """Protocol of the store that a keyring reads; every :class:`recserve.store.Store` is one."""

    def pulse(self) -> Pulse:
        """The counters; ``keys`` grows whenever a key is added or revoked."""
        ...

    def keys(self) -> list[ApiKey]:
        """All keys, revoked ones included."""
        ...


class _Bucket:
    """Token bucket of one key: refilled at ``rate`` a second, up to two seconds' worth."""

    __slots__ = ("_at", "_tokens", "rate")

    def __init__(self, rate: float, now: float) -> None:
        self.rate = rate
        self._tokens = self._most
        self._at = now

    @property
    def _most(self) -> float:
        return max(1.0, self.rate * BURST_SECONDS)

    def take(self, now: float) -> float:
        """Take a token; returns the seconds until there is one, 0 if it was taken."""
        self._tokens = min(self._most, self._tokens + (now - self._at) * self.rate)
        self._at = now
        if self._tokens >= 1.0:
            self._tokens -= 1.0
            return 0.0
        return (1.0 - self._tokens) / self.rate


class _Known:
    """A valid key in memory, ready to be compared."""

    __slots__ = ("bucket", "caller", "secret_hash")

    def __init__(self, key: ApiKey, bucket: _Bucket | None) -> None:
        self.secret_hash = key.secret_hash
        scopes: frozenset[Scope] = frozenset().union(*(_INCLUDED[one] for one in key.scopes))
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
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None
        self._looked = -REFRESH_SECONDS
        self._look: asyncio.Future[None] | None = None

    @property
    def required(self) -> bool:
        """Whether calls need a key."""
        return self._any or self._exposed or self._version is None

    def start(self) -> None:
        """Read the keys and follow the store from now on; blocks for the first look."""
        self.refresh()
        self._thread = threading.Thread(target=self._follow, name="recserve-keyring", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop following the store."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join()

    def _follow(self) -> None:
        while not self._stopped.wait(REFRESH_SECONDS):
            self.refresh()

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

    def _bucket(self, key: ApiKey) -> _Bucket | None:
        rate = self._rate_limit if key.rate_limit is None else key.rate_limit
        if rate is None:
            return None
        before = self._known.get(key.key_id)
        if before is not None and before.bucket is not None and before.bucket.rate == rate:
            return before.bucket
        return _Bucket(rate, self._clock())

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
            return _EVERYBODY
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
            same = hmac.compare_digest(_hash(secret), expected)
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
    return replace(caller, scopes=caller.scopes & _INCLUDED["recommend"], user_id=user_id)
