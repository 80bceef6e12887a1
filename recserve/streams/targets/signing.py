"""Signatures of webhooks, as in the Standard Webhooks specification 1.0.0 (symmetric, ``v1``).

What is signed is ``{id}.{timestamp}.{body}``, so that neither the time nor the id can be changed; a receiver
refuses old times, which bounds how long a recorded request can be replayed.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac

from recserve.errors import ConfigError

PREFIX = "whsec_"
LEAST_BYTES = 24
TOLERANCE_SECONDS = 300
"""How far the time of a request may be from a receiver's clock."""


def signing_key(secret: str) -> bytes:
    """The key that a secret stands for.

    Args:
        secret: ``whsec_`` and base64, or any text.

    Raises:
        ConfigError: It is too short, or not base64.
    """
    if secret.startswith(PREFIX):
        try:
            key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
        except binascii.Error:
            raise ConfigError("the secret of a webhook that begins with whsec_ must be base64") from None
    else:
        key = secret.encode()
    if len(key) < LEAST_BYTES:
        raise ConfigError(
            f"the secret of a webhook needs {LEAST_BYTES} bytes or more; this one has {len(key)}"
        )
    return key


def signature(key: bytes, message_id: str, timestamp: int, body: bytes) -> str:
    """The value of the header ``webhook-signature``.

    Args:
        key: From :func:`signing_key`.
        message_id: Value of ``webhook-id``.
        timestamp: Value of ``webhook-timestamp``, seconds since the epoch.
        body: The request's body.
    """
    signed = f"{message_id}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()


def verified(key: bytes, message_id: str, timestamp: str, body: bytes, signatures: str, now: float) -> bool:
    """Whether a request was signed with a key, and lately.

    Args:
        key: From :func:`signing_key`.
        message_id: Value of ``webhook-id``.
        timestamp: Value of ``webhook-timestamp``.
        body: The request's body.
        signatures: Value of ``webhook-signature``: one or more, divided by blanks, while a key is replaced.
        now: Seconds since the epoch.
    """
    if not timestamp.isascii() or not timestamp.isdecimal() or abs(now - int(timestamp)) > TOLERANCE_SECONDS:
        return False
    expected = signature(key, message_id, int(timestamp), body)
    return any(hmac.compare_digest(expected.encode(), found.encode()) for found in signatures.split())
