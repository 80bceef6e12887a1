"""API keys: their form, their check, their rate, and that no log ever shows one."""

from __future__ import annotations

import asyncio
import hmac
import io
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recserve.auth.errors import ForbiddenError, RateLimitedError, UnauthorizedError, UncheckedKeyError
from recserve.auth.keyring import Keyring
from recserve.auth.keys import create_key, parse_key
from recserve.auth.masking import mask_keys, mask_keys_in_logs
from recserve.errors import InvalidRequestError, NotReadyError, StoreError
from recserve.store import ApiKey, Pulse, Scope, Store, open_store


class Clock:
    """Seconds that pass when told."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(None, tmp_path) as opened:
        yield opened


def add(store: Store, *scopes: Scope, rate: float | None = None) -> tuple[str, ApiKey]:
    key, stored = create_key("a program", scopes, 1, rate)
    store.add_key(stored)
    return key, stored


def ring(store: Store, **options: object) -> Keyring:
    made = Keyring(store, **options)  # type: ignore[arg-type]
    made.refresh()
    return made


def test_a_key_is_random_and_only_its_hash_is_kept() -> None:
    made = [create_key("n", ["read"], 5) for _ in range(50)]
    assert len({key for key, _ in made}) == 50
    for key, stored in made:
        parsed = parse_key(key)
        assert parsed is not None
        key_id, secret = parsed
        assert (stored.key_id, stored.name, stored.scopes, stored.created_at) == (key_id, "n", {"read"}, 5)
        assert len(key_id) == 12
        assert len(bytes.fromhex(secret)) == 32
        assert secret not in f"{stored!r} {stored.secret_hash} {stored.name}"


@pytest.mark.parametrize(
    ("name", "scopes", "rate", "field"),
    [
        ("", ["read"], None, "name"),
        ("x" * 201, ["read"], None, "name"),
        ("two\nlines", ["read"], None, "name"),
        ("n", [], None, "scopes"),
        ("n", ["read"], 0.0, "rate_limit"),
        ("n", ["read"], float("nan"), "rate_limit"),
        ("n", ["read"], float("inf"), "rate_limit"),
    ],
)
def test_senseless_keys_are_refused(name: str, scopes: list[Scope], rate: float | None, field: str) -> None:
    with pytest.raises(InvalidRequestError) as refused:
        create_key(name, scopes, 1, rate)
    assert refused.value.field == field


@given(st.text())
def test_parsing_survives_anything(text: str) -> None:
    assert parse_key(text) is None or text.startswith("rs_")
    mask_keys(text)


def test_without_any_key_calls_are_open_on_loopback_and_closed_elsewhere(store: Store) -> None:
    assert ring(store).admit(None, "admin").actor == "anonymous"
    assert ring(store).admit("rs_whatever", "admin").actor == "anonymous"
    for presented in (None, "rs_whatever"):
        with pytest.raises(UnauthorizedError):
            ring(store, exposed=True).admit(presented, "read")


@pytest.mark.parametrize(
    ("scopes", "may"),
    [
        (["read"], {"read"}),
        (["write"], {"write"}),
        (["read", "write"], {"read", "write"}),
        (["admin"], {"read", "write", "admin"}),
    ],
)
def test_scopes(store: Store, scopes: list[Scope], may: set[Scope]) -> None:
    key, stored = add(store, *scopes)
    keys = ring(store)
    every: list[Scope] = ["read", "write", "admin"]
    for scope in every:
        if scope in may:
            assert keys.admit(key, scope).actor == f"key:{stored.key_id}"
        else:
            with pytest.raises(ForbiddenError, match=scope):
                keys.admit(key, scope)


def test_every_wrong_key_is_refused_with_the_same_words(store: Store) -> None:
    key, stored = add(store, "read")
    revoked, gone = add(store, "read")
    store.revoke_key(gone.key_id, 9)
    keys = ring(store)
    changed = "0" if key[-1] != "0" else "1"
    other_secret = create_key("n", ["read"], 1)[0].rpartition("_")[2]
    wrong = [
        "",
        " ",
        "rs_",
        "é" * 300,
        key[:-1],
        key + "0",
        key[:-1] + changed,
        key.upper(),
        f"rs_{stored.key_id}_{other_secret}",
        f"rs_{'a' * 12}_{other_secret}",
        stored.secret_hash,
        f"rs_{stored.key_id}_{stored.secret_hash}",
        revoked,
        # What a key that does not exist is compared with must not be a key.
        f"rs_{'a' * 12}_{'0' * 64}",
    ]
    said = set()
    for one in wrong:
        with pytest.raises(UnauthorizedError) as refused:
            keys.admit(one, "read")
        said.add(refused.value.message)
        assert one.strip() == "" or one not in refused.value.message
    assert len(said) == 1
    with pytest.raises(UnauthorizedError, match="Authorization: Bearer"):
        keys.admit(None, "read")
    assert keys.admit(key, "read")


def test_every_wrong_key_is_compared_once_at_full_length(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, stored = add(store, "read")
    revoked, gone = add(store, "read")
    store.revoke_key(gone.key_id, 9)
    keys = ring(store)
    compared: list[tuple[int, int]] = []
    compare = hmac.compare_digest

    def watched(one: str, other: str) -> bool:
        compared.append((len(one), len(other)))
        return compare(one, other)

    monkeypatch.setattr(hmac, "compare_digest", watched)
    other_secret = create_key("n", ["read"], 1)[0].rpartition("_")[2]
    for wrong in (f"rs_{stored.key_id}_{other_secret}", f"rs_{'a' * 12}_{other_secret}", revoked, "x"):
        compared.clear()
        with pytest.raises(UnauthorizedError):
            keys.admit(wrong, "read")
        assert compared == [(64, 64)], wrong
    compared.clear()
    assert keys.admit(key, "read")
    assert compared == [(64, 64)]


def test_revoking_the_last_key_does_not_open_the_server(store: Store) -> None:
    key, stored = add(store, "admin")
    keys = ring(store)
    assert keys.admit(key, "read")
    store.revoke_key(stored.key_id, 2)
    keys.refresh()
    for presented in (None, key):
        with pytest.raises(UnauthorizedError):
            keys.admit(presented, "read")


def test_a_rate_limit_allows_two_seconds_worth_at_once_and_then_its_rate(store: Store) -> None:
    clock = Clock()
    key, _ = add(store, "read", rate=5)
    other, _ = add(store, "read")
    keys = ring(store, rate_limit=2.0, clock=clock)

    def allowed(presented: str) -> int:
        count = 0
        while count < 1000:
            try:
                keys.admit(presented, "read")
            except RateLimitedError:
                return count
            count += 1
        return count

    assert allowed(key) == 10
    assert allowed(other) == 4
    clock.now += 1
    assert allowed(key) == 5
    assert allowed(other) == 2
    clock.now += 3600
    keys.refresh()
    assert allowed(key) == 10
    # Looking at the store again hands out no new tokens, a new key on the way or not.
    add(store, "write")
    keys.refresh()
    assert allowed(key) == 0


def test_slow_limits_say_how_long_to_wait(store: Store) -> None:
    clock = Clock()
    key, _ = add(store, "read", rate=0.1)
    keys = ring(store, clock=clock)
    keys.admit(key, "read")
    with pytest.raises(RateLimitedError) as refused:
        keys.admit(key, "read")
    assert refused.value.retry_after == 10
    clock.now += refused.value.retry_after
    keys.admit(key, "read")


def test_calls_beyond_their_scope_count_too(store: Store) -> None:
    key, _ = add(store, "read", rate=1)
    keys = ring(store, clock=Clock())
    for _ in range(2):
        with pytest.raises(ForbiddenError):
            keys.admit(key, "write")
    with pytest.raises(RateLimitedError):
        keys.admit(key, "write")


def test_no_limit(store: Store) -> None:
    key, _ = add(store, "read")
    keys = ring(store, clock=Clock())
    for _ in range(5000):
        keys.admit(key, "read")


class Failing:
    """A store that can be switched off, over a real one."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.down = False
        self.asked = 0

    def pulse(self) -> Pulse:
        self.asked += 1
        if self.down:
            raise StoreError("the database is gone")
        return self._store.pulse()

    def keys(self) -> list[ApiKey]:
        return self._store.keys()


def test_a_store_that_is_down_keeps_the_known_keys(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    key, _ = add(store, "read")
    source = Failing(store)
    keys = Keyring(source)
    source.down = True
    keys.refresh()
    with pytest.raises(NotReadyError):  # never seen yet: nobody is let in, key or not
        keys.admit(None, "read")
    source.down = False
    keys.refresh()
    source.down = True
    for _ in range(3):
        keys.refresh()
    assert keys.admit(key, "read")
    with pytest.raises(UnauthorizedError):
        keys.admit(None, "read")
    # One line an outage, not one a second.
    warned = [record.levelname for record in caplog.records if record.levelname != "INFO"]
    assert warned == ["WARNING", "WARNING"]


def test_keys_that_cannot_be_checked_for_too_long_let_nobody_in(store: Store) -> None:
    key, stored = add(store, "read")
    source, clock = Failing(store), Clock()
    keys = ring(source, clock=clock, max_age=10.0)  # type: ignore[arg-type]
    source.down = True
    clock.now += 10.0
    keys.refresh()
    assert keys.admit(key, "read")
    store.revoke_key(stored.key_id, 9)  # by somebody who reaches the database
    clock.now += 0.1
    keys.refresh()
    with pytest.raises(UncheckedKeyError, match="could not be asked for 10 s") as refused:
        keys.admit(key, "read")
    assert (refused.value.status, refused.value.code) == (503, "store_unavailable")
    source.down = False
    keys.refresh()
    with pytest.raises(UnauthorizedError):
        keys.admit(key, "read")


def test_a_server_without_keys_stays_open_while_the_store_is_down(store: Store) -> None:
    source, clock = Failing(store), Clock()
    keys = ring(source, clock=clock)  # type: ignore[arg-type]
    source.down = True
    clock.now += 1000.0
    keys.refresh()
    assert keys.admit(None, "admin").actor == "anonymous"


def test_looking_at_once_is_shared_and_at_most_once_a_second(store: Store) -> None:
    source, clock = Failing(store), Clock()
    keys = Keyring(source, clock=clock)
    keys.refresh()

    async def look_often() -> None:
        await asyncio.gather(*(keys.look() for _ in range(50)))

    source.asked = 0
    asyncio.run(look_often())
    asyncio.run(look_often())
    assert source.asked == 1
    clock.now += 1
    asyncio.run(look_often())
    assert source.asked == 2


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """What a handler writes while keys are masked."""
    before = logging.getLogRecordFactory()
    mask_keys_in_logs()
    mask_keys_in_logs()
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    logger = logging.getLogger("a.library")
    logger.addHandler(handler)
    yield written
    logger.removeHandler(handler)
    logging.setLogRecordFactory(before)


def test_keys_are_masked_in_messages_arguments_and_tracebacks(log: io.StringIO) -> None:
    key, stored = create_key("n", ["read"], 1)
    secret = key.rpartition("_")[2]
    logger = logging.getLogger("a.library")
    logger.error("GET /v1/items/%s?key=%s", key, key)
    logger.error(f"plain {key}")
    logger.error({"a dict": key})
    logger.error("cut off: %s", key[:-20])
    try:
        raise ValueError(f"cannot read {key}")
    except ValueError:
        logger.exception("it failed")
    logger.error("not a key: rs_x, %d", 7)
    written = log.getvalue()
    assert secret[:16] not in written
    assert written.count(f"rs_{stored.key_id}_***") >= 5
    assert "Traceback" in written
    assert "not a key: rs_x, 7" in written


def test_a_broken_call_of_the_logger_is_left_to_the_logger(log: io.StringIO) -> None:
    record = logging.getLogRecordFactory()("n", logging.ERROR, "f", 1, "two %s %s", ("one",), None)
    assert (record.msg, record.args) == ("two %s %s", ("one",))
