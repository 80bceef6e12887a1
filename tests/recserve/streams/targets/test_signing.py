"""Signatures are those of the Standard Webhooks specification."""

from __future__ import annotations

import pytest

from recserve.errors import ConfigError
from recserve.streams.targets.signing import signature, signing_key, verified

# The example of the specification's own libraries.
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
ID, AT = "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330
BODY = b'{"test": 2432232314}'
SIGNED = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_a_signature_is_that_of_the_specification() -> None:
    assert signature(signing_key(SECRET), ID, AT, BODY) == SIGNED


def test_only_what_was_signed_lately_is_accepted() -> None:
    key = signing_key(SECRET)
    assert verified(key, ID, str(AT), BODY, SIGNED, AT + 299.0)
    assert verified(key, ID, str(AT), BODY, f"v1,another {SIGNED}", AT)
    assert not verified(key, ID, str(AT), BODY, SIGNED, AT + 301.0)
    assert not verified(key, ID, str(AT), BODY, SIGNED, AT - 301.0)
    assert not verified(key, ID, str(AT), BODY + b" ", SIGNED, AT)
    assert not verified(key, "another", str(AT), BODY, SIGNED, AT)
    assert not verified(key, ID, str(AT + 1), BODY, SIGNED, AT)
    assert not verified(signing_key("x" * 24), ID, str(AT), BODY, SIGNED, AT)
    for nonsense in ("", "1e9", "-5", "٣"):
        assert not verified(key, ID, nonsense, BODY, SIGNED, AT)
    assert not verified(key, ID, str(AT), BODY, "", AT)


def test_a_weak_or_broken_secret_is_refused() -> None:
    assert signing_key("x" * 24) == b"x" * 24
    with pytest.raises(ConfigError, match="24 bytes"):
        signing_key("short")
    with pytest.raises(ConfigError, match="24 bytes"):
        signing_key("whsec_AAAA")
    with pytest.raises(ConfigError, match="base64"):
        signing_key("whsec_not base64!")
