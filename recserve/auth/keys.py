"""API keys: how they are made and read.

A key is ``rs_<id>_<secret>``. The id is public and names the key in lists and logs; the secret is shown once,
when the key is made, and stored as its sha256 only. A slow hash, as for passwords, would add nothing: the
secret is 256 random bits, so there is nothing to guess. A fast one keeps the check at a few microseconds a
request.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import string
from collections.abc import Collection

from recserve.auth.caller import SCOPES
from recserve.errors import InvalidRequestError
from recserve.store import ApiKey, Scope

_ID_LETTERS = string.ascii_lowercase + string.digits
_ID_LENGTH = 12
SECRET_BYTES = 32
_KEY = re.compile(rf"rs_([a-z0-9]{{{_ID_LENGTH}}})_([0-9a-f]{{{2 * SECRET_BYTES}}})")


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
    secret = secrets.token_hex(SECRET_BYTES)
    stored = ApiKey(key_id, hash_secret(secret), name, frozenset(scopes), created_at, rate_limit=rate_limit)
    return f"rs_{key_id}_{secret}", stored


def parse_key(text: str) -> tuple[str, str] | None:
    """Id and secret of a key, None for anything that does not look like one."""
    found = _KEY.fullmatch(text)
    return (found[1], found[2]) if found else None


def hash_secret(secret: str) -> str:
    """sha256 of a key's secret part, hexadecimal; all that the store knows of it."""
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()
