"""A keyring follows the store of its process, on each engine."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest

from recserve.auth.errors import UnauthorizedError
from recserve.auth.keyring import Keyring
from recserve.auth.keys import create_key
from recserve.store import Store


@pytest.fixture
def keyring(open_again: Callable[[], Store]) -> Iterator[Keyring]:
    """A keyring of a process of its own, so to speak: with a store of its own."""
    made = Keyring(open_again())
    made.start()
    yield made
    made.close()


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, "this did not happen in time"
        time.sleep(0.05)


def test_new_and_revoked_keys_arrive_by_themselves(keyring: Keyring, open_again: Callable[[], Store]) -> None:
    def good(key: str) -> bool:
        try:
            return keyring.admit(key, "read").actor == f"key:{key.split('_')[1]}"
        except UnauthorizedError:
            return False

    assert keyring.admit(None, "admin").actor == "anonymous"
    elsewhere = open_again()
    first, stored = create_key("first", ["read"], 1, 50.0)
    second, kept = create_key("second", ["admin"], 2)
    elsewhere.add_key(stored)
    elsewhere.add_key(kept)
    assert elsewhere.keys() == [stored, kept]
    wait_for(lambda: good(first) and good(second))
    assert elsewhere.revoke_key(stored.key_id, 3)
    wait_for(lambda: not good(first))
    assert good(second)
    with pytest.raises(UnauthorizedError):
        keyring.admit(None, "read")
