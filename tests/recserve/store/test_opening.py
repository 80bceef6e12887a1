"""URLs, first use and what is said when a database cannot be used."""

from __future__ import annotations

import builtins
import os
import sqlite3
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from recserve import Event
from recserve.errors import ConfigError, RecserveError, StoreError
from recserve.store import open_store, parse_url
from recserve.store.sql.database import Database


def one_line(error: RecserveError) -> str:
    assert "\n" not in error.message
    return error.message


def test_default_is_a_file_in_the_home_folder(tmp_path: Path) -> None:
    home = tmp_path / "new" / "home"
    with open_store(None, home) as store:
        store.ping()
    assert (home / "recserve.db").exists()


def test_urls_of_postgres_all_mean_the_same_driver(tmp_path: Path) -> None:
    for prefix in ("postgres", "postgresql", "postgresql+psycopg", "postgresql+psycopg2"):
        parsed = parse_url(f"{prefix}://me:pw@host:5433/db?sslmode=require", tmp_path)
        assert parsed.drivername == "postgresql+psycopg"
        assert (parsed.host, parsed.port, parsed.query["sslmode"]) == ("host", 5433, "require")


@pytest.mark.parametrize(
    "url",
    [
        "",
        "not a url",
        "sqlite://",
        "sqlite:///:memory:",
        "mysql://root:hunter2@host/db",
        "postgres:hunter2@h",
    ],
)
def test_urls_that_cannot_work_are_refused(url: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as refusal:
        open_store(url, tmp_path)
    assert refusal.value.field == "store.url"
    assert "hunter2" not in one_line(refusal.value)


def test_a_missing_driver_is_named_with_the_cure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without_psycopg(name: str, *rest: object, **more: object) -> object:
        if name.partition(".")[0] == "psycopg":
            raise ImportError(name)
        return real(name, *rest, **more)  # type: ignore[arg-type]  # passed on as received

    monkeypatch.setattr(builtins, "__import__", without_psycopg)
    with pytest.raises(ConfigError, match=r"pip install 'recserve\[postgres\]'") as refusal:
        open_store("postgresql://host/db", tmp_path)
    one_line(refusal.value)


def test_a_server_that_is_not_there(tmp_path: Path) -> None:
    pytest.importorskip("psycopg", reason="needs: pip install 'recserve[postgres]'")
    for url in (
        "postgresql://me:hunter2@127.0.0.1:1/db",
        "postgresql://127.0.0.1:1/db?user=me&password=hunter2",
    ):
        with pytest.raises(StoreError) as failure:
            open_store(url, tmp_path)
        assert "hunter2" not in one_line(failure.value)
        assert "127.0.0.1:1/db" in failure.value.message


def test_files_that_are_no_database(tmp_path: Path) -> None:
    (tmp_path / "recserve.db").write_bytes(b"PK\x03\x04 this is something else" * 100)
    with pytest.raises(StoreError, match=r"recserve\.db") as failure:
        open_store(None, tmp_path)
    assert "another program" in one_line(failure.value)


def test_a_folder_in_the_place_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "recserve.db").mkdir()
    with pytest.raises(StoreError, match=r"recserve\.db") as failure:
        open_store(None, tmp_path)
    one_line(failure.value)


def test_a_file_in_the_place_of_the_home_folder(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("")
    with pytest.raises(StoreError, match="home") as failure:
        open_store(None, tmp_path / "home" / "deeper")
    one_line(failure.value)


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is forbidden to root")
def test_a_folder_that_may_not_be_written_to(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(StoreError) as failure:
        open_store(None, tmp_path)
    one_line(failure.value)


def test_a_damaged_file_is_reported_while_running(tmp_path: Path) -> None:
    path = tmp_path / "recserve.db"
    with open_store(None, tmp_path):
        pass
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(os.urandom(path.stat().st_size - 4096))
    with pytest.raises(StoreError, match="damaged") as failure, open_store(None, tmp_path) as store:
        store.counts()
    one_line(failure.value)


def test_a_store_of_a_newer_version_is_refused(store_url: str, tmp_path: Path) -> None:
    with open_store(store_url, tmp_path):
        pass
    database = Database(parse_url(store_url, tmp_path))
    database.write(lambda c: c.execute(text("UPDATE meta SET value = '99'")))
    database.close()
    with pytest.raises(StoreError, match="99") as failure:
        open_store(store_url, tmp_path)
    assert "upgrade recserve" in one_line(failure.value)


def test_tables_of_both_engines_have_named_constraints(store_url: str, tmp_path: Path) -> None:
    from sqlalchemy import inspect

    with open_store(store_url, tmp_path):
        pass
    database = Database(parse_url(store_url, tmp_path))

    def names(connection: object) -> set[str | None]:
        inspector = inspect(connection)
        return {
            one["name"]
            for table in ("events", "exposures")
            for one in (*inspector.get_indexes(table), *inspector.get_unique_constraints(table))
        }

    found = database.read(names)
    database.close()
    assert found >= {
        "ix_events_user_hash_timestamp_seq",
        "uq_events_event_key",
        "ix_exposures_user_hash",
    }


@pytest.fixture(params=[0o000, 0o777], ids=["open umask", "closed umask"])
def any_umask(request: pytest.FixtureRequest) -> Iterator[None]:
    """The most careless and the most careful of masks."""
    before = os.umask(request.param)
    yield
    os.umask(before)


def test_home_and_database_are_their_owners_whatever_the_umask(tmp_path: Path, any_umask: None) -> None:
    home = tmp_path / "home"
    with open_store(None, home) as store:
        store.add_events([Event("u", "i", "view", 1)])
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (home, *home.iterdir())}
    assert modes == dict.fromkeys(("recserve.db", "recserve.db-wal", "recserve.db-shm"), 0o600) | {
        "home": 0o700
    }


def test_a_database_of_before_is_closed_to_others_and_its_folder_left_alone(tmp_path: Path) -> None:
    with open_store(None, tmp_path):
        pass
    (tmp_path / "recserve.db").chmod(0o644)
    tmp_path.chmod(0o755)
    with open_store(None, tmp_path):
        assert stat.S_IMODE((tmp_path / "recserve.db").stat().st_mode) == 0o600
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o755


@pytest.mark.parametrize("store_url", ["postgres"], indirect=True)
@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("", "on"),
        ("-c statement_timeout=12345", "on"),
        ("-c statement_timeout=12345 -c synchronous_commit=off", "on"),
        ("-c statement_timeout=12345 -c synchronous_commit=remote_apply", "remote_apply"),
    ],
)
def test_options_of_a_url_do_not_weaken_durability(
    store_url: str, tmp_path: Path, options: str, expected: str
) -> None:
    url = parse_url(store_url, tmp_path)
    database = Database(url.update_query_dict({"options": options} if options else {}))
    for name, value in {"synchronous_commit": expected, "statement_timeout": "12345ms"}.items():
        if name in f"synchronous_commit {options}":
            assert database.read(lambda c, name=name: c.execute(text(f"SHOW {name}")).scalar()) == value  # type: ignore[misc]
    database.close()


def test_the_default_file_is_plain_sqlite(tmp_path: Path) -> None:
    with open_store(None, tmp_path):
        pass
    with sqlite3.connect(tmp_path / "recserve.db") as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()
