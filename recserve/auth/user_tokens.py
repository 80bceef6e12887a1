"""User tokens: an API key bound to one user and a time, for web pages and apps that cannot keep a secret.

An app's backend makes them; any language will do. A token is ``rt_<key id>_<claims>_<signature>``, where the
claims are ``{"user_id": "42", "expires": 1767225600}`` (seconds since the epoch) as JSON in unpadded
base64url, and the signature is the hexadecimal HMAC-SHA256 of all before the last underscore. Its secret is
the hexadecimal sha256 of the key's secret part, which is also what the server knows of the key.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
from dataclasses import dataclass

from recserve.errors import InvalidRequestError

LONGEST = 20_000
_TOKEN = re.compile(r"(rt_([a-z0-9]{12})_([A-Za-z0-9_-]+))_([0-9a-f]{64})")
_KEY = re.compile(r"rs_([a-z0-9]{12})_([0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class UserToken:
    """A token as it came, not yet checked.

    Attributes:
        key_id: Public part of the key that it was made with.
        signed: What the signature is of.
        claims: What it claims, in base64url.
        signature: Hexadecimal.
    """

    key_id: str
    signed: str
    claims: str
    signature: str

    @classmethod
    def parse(cls, text: str) -> UserToken | None:
        """A token of a text; None for anything that does not look like one."""
        found = _TOKEN.fullmatch(text) if len(text) <= LONGEST else None
        return None if found is None else cls(found[2], found[1], found[3], found[4])

    def is_signed_with(self, secret: str) -> bool:
        """Whether it was made with a key, given as the hexadecimal sha256 of its secret part."""
        return hmac.compare_digest(_sign(self.signed, secret), self.signature)

    def user_until(self) -> tuple[str, float] | None:
        """For whom it is and until when, in seconds since the epoch; None if it does not say so.

        What is not signed may say anything: ask :meth:`is_signed_with` first.
        """
        try:
            match json.loads(base64.urlsafe_b64decode(self.claims + "=" * (-len(self.claims) % 4))):
                case {"user_id": str(user_id), "expires": int() | float() as expires, **others}:
                    return (user_id, float(expires)) if user_id and not others else None
        except (ValueError, OverflowError):
            pass
        return None


def make_user_token(key: str, user_id: str, expires: float) -> str:
    """Bind a key to one user: whoever has the token gets answers for that user, and nothing else.

    Args:
        key: A key with the scope ``recommend``; keep it where nobody sees it.
        user_id: The only user whom the token is good for.
        expires: Seconds since the epoch after which it is not.

    Raises:
        InvalidRequestError: That is not a key, or nobody.
    """
    found = _KEY.fullmatch(key)
    if found is None:
        raise InvalidRequestError("a user token is made with a whole API key, rs_ID_SECRET", field="key")
    if not user_id:
        raise InvalidRequestError("a user token needs a user", field="user_id")
    claims = json.dumps({"user_id": user_id, "expires": expires}).encode()
    signed = f"rt_{found[1]}_{base64.urlsafe_b64encode(claims).rstrip(b'=').decode()}"
    return f"{signed}_{_sign(signed, hashlib.sha256(found[2].encode()).hexdigest())}"


def _sign(signed: str, secret: str) -> str:
    return hmac.new(secret.encode(), signed.encode(), hashlib.sha256).hexdigest()
