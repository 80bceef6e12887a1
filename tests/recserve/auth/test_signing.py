"""Signatures are those of the Standard Webhooks specification, and of programs that sign the body alone."""

from __future__ import annotations

import pytest

from recserve.auth.errors import SignatureError
from recserve.auth.signing import StandardVerifier, signature, signing_key, verifier
from recserve.config import HookConfig
from recserve.errors import ConfigError

# The example of the specification's own libraries.
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
ID, AT = "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330
BODY = b'{"test": 2432232314}'
FIELDS = {"fields": {"user_id": "u", "item_id": "i", "event": {"constant": "view"}}}
SIGNED = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
KEY = signing_key(SECRET)


def test_a_signature_is_that_of_the_specification() -> None:
    assert signature(signing_key(SECRET), ID, AT, BODY) == SIGNED


def checked(key: bytes = KEY, now: float = AT, **headers: str) -> bytes:
    given = {"webhook-id": ID, "webhook-timestamp": str(AT), "webhook-signature": SIGNED}
    body = headers.pop("body", BODY.decode()).encode()
    given.update({f"webhook-{name}": value for name, value in headers.items()})
    return StandardVerifier(key).check(given, body, now)


def test_only_what_was_signed_lately_is_accepted() -> None:
    assert checked(now=AT + 299.0) == ID.encode()
    assert checked(signature=f"v1,another {SIGNED}") == ID.encode()
    for now in (AT + 301.0, AT - 301.0):
        with pytest.raises(SignatureError, match="at most 300 off"):
            checked(now=now)
    for nonsense in ("1e9", "-5", "٣", "9" * 5000):
        with pytest.raises(SignatureError, match="webhook-timestamp must be"):
            checked(timestamp=nonsense)
    wrong = ({"body": "{}"}, {"id": "another"}, {"timestamp": str(AT + 1)}, {"signature": "v1,another"})
    for changed in wrong:
        with pytest.raises(SignatureError, match="is not what the secret"):
            checked(**changed)
    with pytest.raises(SignatureError, match="is not what the secret"):
        checked(b"x" * 24)
    for name in ("id", "timestamp", "signature"):
        with pytest.raises(SignatureError, match=rf"the header webhook-{name}.* is missing"):
            checked(**{name: ""})


def test_the_body_alone_is_signed_as_others_do() -> None:
    """The example of GitHub's documentation of its webhooks."""
    config = HookConfig.model_validate({**FIELDS, "scheme": "github", "secret": "It's a Secret to Everybody"})
    good = {"X-Hub-Signature-256": "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"}
    assert verifier("code", config).check(good, b"Hello, World!", 0.0) == b"Hello, World!"
    with pytest.raises(SignatureError):
        verifier("code", config).check(good, b"Hello, World", 0.0)


def test_the_signature_may_be_in_any_header() -> None:
    signature = {"header": "X-Sign", "encoding": "base64", "prefix": "v0="}
    config = HookConfig.model_validate(
        {**FIELDS, "scheme": "hmac", "signature": signature, "secret": "s" * 16}
    )
    # From `printf body | openssl dgst -sha256 -hmac ssssssssssssssss -binary | base64`.
    good = {"X-Sign": "v0=xoXeg6QgiY9r2ZCZNJBV2hH3FRtTj+2VIWwl0gOigDI="}
    assert verifier("any", config).check(good, b"body", 0.0) == b"body"
    for wrong in ("xoXeg6QgiY9r2ZCZNJBV2hH3FRtTj+2VIWwl0gOigDI=", "v0=", "v0=!", "v0=é"):
        with pytest.raises(SignatureError, match=r"X-Sign|is not what"):
            verifier("any", config).check({"X-Sign": wrong}, b"body", 0.0)


def test_a_weak_or_broken_secret_is_refused() -> None:
    assert signing_key("x" * 24) == b"x" * 24
    with pytest.raises(ConfigError, match="24 bytes"):
        signing_key("short")
    with pytest.raises(ConfigError, match="24 bytes"):
        signing_key("whsec_AAAA")
    with pytest.raises(ConfigError, match="base64"):
        signing_key("whsec_not base64!")
