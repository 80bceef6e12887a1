"""API keys and the audit log."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from recserve import InvalidRequestError
from recserve.store import ApiKey, AuditEntry, Store

KEY = ApiKey("k1", "0" * 64, "the shop's é", frozenset({"read", "write"}), 20, rate_limit=2.5)


def test_keys_come_back_as_they_were_oldest_first(store: Store) -> None:
    older = ApiKey("k0", "1" * 64, "old", frozenset({"admin"}), 10)
    store.add_key(KEY)
    store.add_key(older)
    assert store.keys() == [older, KEY]
    assert store.pulse().keys == 2


def test_a_key_of_a_known_id_is_refused(store: Store) -> None:
    store.add_key(KEY)
    for again in (KEY, replace(KEY, secret_hash="2" * 64)):
        with pytest.raises(InvalidRequestError, match="'k1' exists") as refusal:
            store.add_key(again)
        assert refusal.value.field == "key_id"
        assert "2222" not in refusal.value.message
    assert store.keys() == [KEY]
    assert store.pulse().keys == 1


def test_revoking_counts_once(open_again: Callable[[], Store]) -> None:
    store, other = open_again(), open_again()
    store.add_key(KEY)
    assert other.revoke_key("k1", 30)
    assert store.pulse().keys == 2
    assert store.revoke_key("k1", 40)
    assert not store.revoke_key("unknown", 40)
    assert other.keys() == [replace(KEY, revoked_at=30)]
    assert store.pulse().keys == 2


def test_the_audit_log_is_newest_first(store: Store) -> None:
    entries = [AuditEntry(n, "cli:me", "key.create", f"k{n}", {"n": n, "é": None}) for n in range(5)]
    for entry in entries:
        store.add_audit(entry)
    store.add_audit(entries[0])  # the same thing twice is two entries
    assert store.audit(100) == [entries[0], *entries[::-1]]
    assert store.audit(2) == [entries[0], entries[4]]


def test_secrets_do_not_show(store: Store) -> None:
    assert KEY.secret_hash not in repr(KEY)


def test_a_secret_is_made_once_for_all_who_open_the_store(open_again: Callable[[], Store]) -> None:
    store, other = open_again(), open_again()
    secret = store.secret("cursors")
    assert len(secret) == 64
    assert other.secret("cursors") == secret
    assert other.secret("tokens") not in (secret, "")
    other.close()
    assert open_again().secret("cursors") == secret
