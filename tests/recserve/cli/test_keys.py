"""``recserve keys`` and ``recserve audit`` as a person types them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from recserve.auth.keyring import Keyring
from recserve.auth.keys import parse_key
from recserve.store import open_store


def recserve(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "recserve", *arguments, "--home", str(home)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "COLUMNS": "200", "LOGNAME": "grace"},
    )


def test_a_key_from_its_creation_to_its_end(tmp_path: Path) -> None:
    made = recserve(tmp_path, "keys", "create", "the [shop]", "--scope", "write", "--scope", "read")
    assert made.returncode == 0, made.stderr
    # Only the key itself is on stdout, so that a script can take it from there.
    (key,) = made.stdout.splitlines()
    parsed = parse_key(key)
    assert parsed is not None
    key_id, secret = parsed
    assert "read, write" in made.stderr
    assert "from now on every call" in made.stderr
    assert secret not in made.stderr
    second = recserve(tmp_path, "keys", "create", "limited", "--scope", "admin", "--rate", "2.5")
    assert "from now on" not in second.stderr

    with open_store(None, tmp_path) as store:
        keyring = Keyring(store)
        keyring.refresh()
        assert keyring.admit(key, "write").actor == f"key:{key_id}"
        stored = store.keys()
        assert [one.rate_limit for one in stored] == [None, 2.5]

    listed = recserve(tmp_path, "keys", "list").stdout
    (line,) = [line for line in listed.splitlines() if key_id in line]
    assert "the [shop]" in line
    assert "read, write" in line
    assert "default" in line
    assert "2.5" in listed

    revoked = recserve(tmp_path, "keys", "revoke", key_id)
    assert revoked.stdout == f"revoked key {key_id}\n"
    again = recserve(tmp_path, "keys", "revoke", key_id)
    assert again.returncode == 0
    assert f"key {key_id} was revoked on" in again.stdout

    shown = recserve(tmp_path, "audit").stdout
    lines = [line for line in shown.splitlines() if "cli:grace" in line]
    assert [word for line in lines for word in ("key.create", "key.revoke") if word in line] == [
        "key.revoke",
        "key.create",
        "key.create",
    ]
    assert sum(key_id in line for line in lines) == 2
    (newest,) = [
        line for line in recserve(tmp_path, "audit", "--limit", "1").stdout.splitlines() if "cli:" in line
    ]
    assert "key.revoke" in newest
    # Nothing that was printed or stored holds the secret, but for the one line that is meant to.
    for text in (listed, shown, revoked.stdout, made.stderr, second.stderr):
        assert secret not in text
    for file in tmp_path.rglob("*"):
        assert not file.is_file() or secret.encode() not in file.read_bytes(), file


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("create", "n", "--scope", "read", "--rate", "0"), "rate limit must be a positive number"),
        (("create", "", "--scope", "read"), "1 to 200 printable characters"),
        (("revoke", "nosuchkeyid1"), "no key has this id"),
    ],
)
def test_mistakes_are_one_line(tmp_path: Path, arguments: tuple[str, ...], message: str) -> None:
    done = recserve(tmp_path, "keys", *arguments)
    assert done.returncode == 2
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith("error: ")
    assert message in line
    assert recserve(tmp_path, "audit").stdout.count("key.") == 0


def test_a_whole_key_given_by_mistake_is_not_repeated(tmp_path: Path) -> None:
    key = recserve(tmp_path, "keys", "create", "n", "--scope", "read").stdout.strip()
    done = recserve(tmp_path, "keys", "revoke", key)
    assert done.returncode == 2
    assert key.rpartition("_")[2] not in done.stdout + done.stderr


def test_a_scope_is_asked_for(tmp_path: Path) -> None:
    assert recserve(tmp_path, "keys", "create", "n").returncode == 2
    wrong = recserve(tmp_path, "keys", "create", "n", "--scope", "everything")
    assert wrong.returncode == 2
    assert "read" in wrong.stderr
