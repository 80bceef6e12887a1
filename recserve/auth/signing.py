"""Signatures of webhooks: those that are sent, and those that come.

Standard Webhooks 1.0.0 (symmetric, ``v1``) signs ``{id}.{timestamp}.{body}``, so that neither the time nor
the id can be changed; a receiver refuses old times, which bounds how long a recorded request can be replayed.
Most shops and code hosts sign the body alone, in a header of their own: what they send again is known by it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from recserve.auth.errors import SignatureError
from recserve.config import HookConfig, SignatureConfig, from_environment
from recserve.errors import ConfigError

PREFIX = "whsec_"
LEAST_BYTES = 24
LEAST_PLAIN_BYTES = 16
"""Of a secret that the sender chooses: hosts give out shorter ones than Standard Webhooks does."""
TOLERANCE_SECONDS = 300
"""How far the time of a request may be from a receiver's clock."""

_LONGEST_TIME = 15
_NOT_OURS = "the signature is not what the secret of this hook makes of this body"

SCHEMES: Mapping[str, SignatureConfig] = {
    "shopify": SignatureConfig(header="X-Shopify-Hmac-SHA256", encoding="base64"),
    "github": SignatureConfig(header="X-Hub-Signature-256", encoding="hex", prefix="sha256="),
    "woocommerce": SignatureConfig(header="X-WC-Webhook-Signature", encoding="base64"),
}
"""Schemes by name that sign the body alone."""


def signing_key(secret: str) -> bytes:
    """The key that a secret of Standard Webhooks stands for.

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
    _check_length(key, LEAST_BYTES)
    return key


def _check_length(key: bytes, least: int) -> None:
    if len(key) < least:
        raise ConfigError(f"the secret of a webhook needs {least} bytes or more; this one has {len(key)}")


def signature(key: bytes, message_id: str, timestamp: int, body: bytes) -> str:
    """The value of the header ``webhook-signature``.

    Args:
        key: From :func:`signing_key`.
        message_id: Value of ``webhook-id``.
        timestamp: Value of ``webhook-timestamp``, seconds since the epoch.
        body: The request's body.
    """
    signed = f"{message_id}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()


class Verifier(Protocol):
    """Protocol of what tells whether a request was signed with a secret."""

    def check(self, headers: Mapping[str, str], body: bytes, now: float) -> bytes:
        """Check a request.

        Args:
            headers: Its headers, by names in any case.
            body: Its body.
            now: Seconds since the epoch.

        Returns:
            What was signed and is the same whenever the sender repeats the request.

        Raises:
            SignatureError: It was not signed so, or too long ago.
        """
        ...


@dataclass(frozen=True, slots=True)
class StandardVerifier:
    """Verifier of Standard Webhooks.

    Attributes:
        key: From :func:`signing_key`.
        tolerance: Seconds that the time of a request may be off.
    """

    key: bytes
    tolerance: float = TOLERANCE_SECONDS

    def check(self, headers: Mapping[str, str], body: bytes, now: float) -> bytes:
        """See :meth:`Verifier.check`; one signature of several is enough, while a key is replaced."""
        message_id, timestamp = _header(headers, "webhook-id"), _header(headers, "webhook-timestamp")
        signatures = _header(headers, "webhook-signature")
        plain = timestamp.isascii() and timestamp.isdecimal() and len(timestamp) <= _LONGEST_TIME
        if not plain or abs(now - int(timestamp)) > self.tolerance:
            raise SignatureError(
                f"webhook-timestamp must be seconds since the epoch, at most {self.tolerance:g} off the "
                "clock of this server"
            )
        expected = signature(self.key, message_id, int(timestamp), body).encode()
        if not any(hmac.compare_digest(expected, found.encode()) for found in signatures.split()):
            raise SignatureError(_NOT_OURS)
        return message_id.encode()


@dataclass(frozen=True, slots=True)
class BodyVerifier:
    """Verifier of an HMAC-SHA256 of the body.

    Attributes:
        key: The secret as it is.
        config: The header, and how the signature is written there.
    """

    key: bytes
    config: SignatureConfig

    def check(self, headers: Mapping[str, str], body: bytes, now: float) -> bytes:
        """See :meth:`Verifier.check`; the time is not known."""
        written = _header(headers, self.config.header)
        try:
            if not written.startswith(self.config.prefix):
                raise ValueError
            text = written.removeprefix(self.config.prefix)
            hexadecimal = self.config.encoding == "hex"
            found = bytes.fromhex(text) if hexadecimal else base64.b64decode(text, validate=True)
        except ValueError:
            raise SignatureError(
                f"the header {self.config.header} must be {self.config.prefix}... with an HMAC-SHA256 in "
                f"{self.config.encoding}"
            ) from None
        if not hmac.compare_digest(hmac.digest(self.key, body, hashlib.sha256), found):
            raise SignatureError(_NOT_OURS)
        return body


def verifier(name: str, config: HookConfig) -> Verifier:
    """The verifier of a hook, its secret read from the environment.

    Raises:
        ConfigError: A variable is not set, or the secret is too short.
    """
    field = f"streams.hooks.{name}.secret"
    secret = from_environment(config.secret, field)
    try:
        if config.scheme == "standard":
            return StandardVerifier(signing_key(secret), config.tolerance_seconds or TOLERANCE_SECONDS)
        key = secret.encode()
        _check_length(key, LEAST_PLAIN_BYTES)
    except ConfigError as error:
        raise ConfigError(f"{field}: {error.message}", field=field) from None
    return BodyVerifier(key, config.signature or SCHEMES[config.scheme])


def _header(headers: Mapping[str, str], name: str) -> str:
    found = headers.get(name)
    if not found:
        raise SignatureError(f"the header {name}, which this hook is signed with, is missing")
    return found
