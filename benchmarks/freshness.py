"""How soon an answer shows what just happened, while the server is busy.

    python -m benchmarks.freshness [--users 100] [--items 60] [--hides 100] [--connections 16] [--ingress 2]

The sample data is loaded and trained in ``--home`` once; the server runs in a copy of it, with several
replicas of the ingress, and answers other people's requests over ``--connections`` connections all the time.

- Events: a user is shown a page and likes an item of it. Once that is acknowledged, the very next request and
  several at the same time (so that every replica gets one) must have the effect: a page without that item.
- New items: each is a twin of an item that was trained on. From its acknowledgement on it is asked for by its
  text, as similar to its twin, and in a list to rank, until it appears; the time to the first answer with it,
  and to the last one without.
- Items that go: somebody is shown an item, which is then hidden (or deleted, in turn). Once that is
  acknowledged, none of the next requests may have it.

Exit status 1: an event without effect, an item that never came, or one that did not go.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import multiprocessing
import random
import time
import uuid
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from multiprocessing.synchronize import Event as Flag
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.common import (
    DEFAULT_HOME,
    Connection,
    machine,
    quantile,
    request,
    scratch_home,
    serving,
    train_once,
    write_json,
)

USERS = [str(user) for user in range(1, 672)]
AT_ONCE = 4
"""Requests right after an acknowledgement, at the same time, over connections of their own."""

POLL_SECONDS = 0.02
AGREE = 8
"""An item has arrived for good when this many answers in a row have it."""

GIVE_UP_SECONDS = 20.0


@dataclass
class Checks:
    """Things that must hold in the next answer.

    Attributes:
        what: What was done.
        tried: How often.
        next: How often the very next answer had the effect.
        everywhere: How often all of the answers at the same time had it.
        failures: Answers other than 200, with what they were.
    """

    what: str
    tried: int = 0
    next: int = 0
    everywhere: int = 0
    failures: list[str] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        """Whether it always held."""
        return self.next == self.everywhere == self.tried > 0


@dataclass
class Arrivals:
    """How long new items took to be found in one way.

    Attributes:
        way: How they were asked for.
        first: Seconds from the acknowledgement to the first answer with the item.
        last_without: Seconds to the last answer without it, 0 if there was none.
        never: Items that did not come in time.
        failures: Answers other than 200, with what they were.
    """

    way: str
    first: list[float] = field(default_factory=list)
    last_without: list[float] = field(default_factory=list)
    never: int = 0
    failures: list[str] = field(default_factory=list)


class Client:
    """Asks a server over a handful of connections.

    Args:
        port: The server's port.
    """

    def __init__(self, port: int) -> None:
        self._connections = [Connection("127.0.0.1", port) for _ in range(AT_ONCE)]

    async def call(self, method: str, path: str, body: object = None, connection: int = 0) -> Any:
        """The answer to a request.

        Raises:
            RuntimeError: It is not 2xx.
        """
        status, answer = await self._connections[connection].call(method, path, body)
        if not 200 <= status < 300:
            raise RuntimeError(f"{method} {path} was answered {status}: {answer}")
        return answer

    async def page(self, body: dict[str, Any], connection: int = 0) -> list[str]:
        """The items of a recommendation."""
        answer = await self.call("POST", "/v1/recommend", {"explain": False, **body}, connection)
        return [item["item_id"] for item in answer["items"]]

    async def next_pages(self, body: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
        """The very next page, and pages asked for at the same time over all connections."""
        first = await self.page(body)
        async with asyncio.TaskGroup() as group:
            others = [group.create_task(self.page(body, number)) for number in range(AT_ONCE)]
        return first, [other.result() for other in others]

    def close(self) -> None:
        """Close the connections."""
        for connection in self._connections:
            connection.close()


async def events_count(client: Client, count: int) -> Checks:
    """Somebody, known or new, likes an item of the page; the next page must be another one, without it."""
    checks = Checks("event -> another page")
    known = random.Random(1).sample(USERS, count)
    for number, user in enumerate(known):
        if number % 2:
            user = f"newcomer-{uuid.uuid4().hex[:8]}"
        checks.tried += 1
        body = {"user_id": user, "n": 10}
        with noting(checks):
            before = await client.page(body)
            event = {"user_id": user, "item_id": before[0], "event": "like", "event_id": uuid.uuid4().hex}
            await client.call("POST", "/v1/events", event)
            first, others = await client.next_pages(body)
            checks.next += before[0] not in first and first != before
            checks.everywhere += all(before[0] not in page for page in others)
    return checks


async def items_go(client: Client, count: int) -> list[Checks]:
    """Somebody is shown an item, which is hidden or deleted; nobody may be shown it from then on."""
    hidden, deleted = Checks("hidden -> gone"), Checks("deleted -> gone")
    for number, user in enumerate(random.Random(2).sample(USERS, count)):
        checks = deleted if number % 2 else hidden
        checks.tried += 1
        body = {"user_id": user, "n": 10}
        with noting(checks):
            gone = (await client.page(body))[number % 3]
            if checks is hidden:
                await client.call("PATCH", "/v1/items", {"items": [{"item_id": gone, "hidden": True}]})
            else:
                await client.call("DELETE", "/v1/items", {"item_ids": [gone]})
            first, others = await client.next_pages(body)
            checks.next += gone not in first
            checks.everywhere += all(gone not in page for page in others)
    return [hidden, deleted]


@contextmanager
def noting(checks: Checks) -> Iterator[None]:
    """A request that fails is a check that does not hold, and no reason to stop."""
    try:
        yield
    except* (OSError, EOFError, RuntimeError) as group:
        checks.failures.extend(f"{type(error).__name__}: {error}"[:300] for error in group.exceptions)


async def items_come(client: Client, count: int) -> list[Arrivals]:
    """Twins of known items are added one by one and asked for until they are found."""
    twins = await client.call("POST", "/v1/recommend", {"n": 5 * count, "explain": False})
    chosen = random.Random(3).sample(twins["items"], count)
    arrivals = [Arrivals("by its text"), Arrivals("similar to its twin"), Arrivals("in a list to rank")]
    for number, twin in enumerate(chosen):
        item_id = f"new-{uuid.uuid4().hex[:8]}-{number}"
        attributes = twin["attributes"] | {"title": f"{twin['attributes'].get('title')}, new cut {number}"}
        text = " ".join([attributes["title"], *map(str, attributes.get("genres", []))])
        await client.call("POST", "/v1/items", {"items": [{"item_id": item_id, "attributes": attributes}]})
        acknowledged = time.perf_counter()
        bodies = (
            ("/v1/recommend", {"query": text, "n": 10, "scenario": "search"}),
            ("/v1/similar", {"item_id": twin["item_id"], "n": 10, "scenario": "search"}),
            ("/v1/rank", {"items": [twin["item_id"], item_id], "n": 2}),
        )
        asked = [partial(client.call, "POST", *body, lane) for lane, body in enumerate(bodies)]
        work = (
            arrive(arrival, ask, item_id, acknowledged) for arrival, ask in zip(arrivals, asked, strict=True)
        )
        await asyncio.gather(*work)
    return arrivals


async def arrive(arrivals: Arrivals, ask: Callable[[], Awaitable[Any]], item_id: str, since: float) -> None:
    """Ask until an item is in several answers in a row."""
    first, last_without, in_a_row = None, 0.0, 0
    while in_a_row < AGREE:
        answer: dict[str, Any] = {"items": []}
        try:
            answer = await ask()
        except (OSError, EOFError, RuntimeError) as error:
            arrivals.failures.append(f"{type(error).__name__}: {error}"[:300])
        now = time.perf_counter() - since
        if any(item["item_id"] == item_id for item in answer["items"]):
            first = now if first is None else first
            in_a_row += 1
        else:
            last_without, in_a_row = now, 0
        if now > GIVE_UP_SECONDS:
            arrivals.never += 1
            return
        await asyncio.sleep(POLL_SECONDS)
    assert first is not None
    arrivals.first.append(first)
    arrivals.last_without.append(last_without)


def other_people(port: int, connections: int, stop: Flag, answered: Any) -> None:
    """The load, in a process of its own: pages of random users over keep-alive connections."""

    async def ask(seed: int) -> None:
        chooser = random.Random(seed)
        connection = Connection("127.0.0.1", port)
        while not stop.is_set():
            body = {"user_id": chooser.choice(USERS), "n": 10, "explain": False}
            try:
                status, _ = await connection.send(request("POST", "/v1/recommend", body))
            except (OSError, EOFError):
                status = 0
            with answered.get_lock():
                answered[0 if status == 200 else 1] += 1
            if status != 200:
                await asyncio.sleep(0.1)

    async def ask_all() -> None:
        await asyncio.gather(*(ask(seed) for seed in range(connections)))

    asyncio.run(ask_all())


@contextmanager
def load(port: int, connections: int) -> Iterator[Any]:
    """Other people's requests while the body runs; gives the counts of good and other answers."""
    context = multiprocessing.get_context("spawn")
    stop, answered = context.Event(), context.Array("l", 2)
    process = context.Process(target=other_people, args=(port, connections, stop, answered), daemon=True)
    process.start()
    try:
        yield answered
    finally:
        stop.set()
        process.join(30)
        if process.is_alive():
            process.kill()


async def measure(port: int, options: argparse.Namespace) -> tuple[list[Checks], list[Arrivals], str]:
    """All of it, one after the other."""
    client = Client(port)
    paths = (await client.call("GET", "/openapi.json"))["paths"]
    have = {method.upper() for method in paths.get("/v1/items", {})}
    checks, arrivals, missing = [await events_count(client, options.users)], [], []
    if "POST" in have and "/v1/rank" in paths:
        arrivals = await items_come(client, options.items)
    else:
        missing.append("POST /v1/items and POST /v1/rank")
    if {"PATCH", "DELETE"} <= have:
        checks += await items_go(client, options.hides)
    else:
        missing.append("PATCH and DELETE /v1/items")
    client.close()
    return checks, arrivals, "; ".join(missing)


def show(checks: list[Checks], arrivals: list[Arrivals], console: Console) -> None:
    """What held, and how long it took."""
    table = Table("what", "tried", "the very next answer", f"{AT_ONCE} answers at once", "failed requests")
    for check in checks:
        numbers = (check.tried, check.next, check.everywhere, len(check.failures))
        table.add_row(check.what, *(str(number) for number in numbers))
    console.print(table)
    failures = [line for check in checks for line in check.failures]
    failures += [line for arrival in arrivals for line in arrival.failures]
    for line in dict.fromkeys(failures):
        console.print(line, markup=False, highlight=False)
    if not arrivals:
        return
    table = Table("new item, asked for", "items", "never", "first answer with it, ms: p50", "p99", "slowest")
    table.add_column("last answer without it, ms: p99")
    table.add_column("failed requests")
    for arrival in arrivals:
        times = [
            quantile(arrival.first, 0.5),
            quantile(arrival.first, 0.99),
            max(arrival.first, default=float("nan")),
        ]
        times.append(quantile(arrival.last_without, 0.99))
        cells = (f"{1000 * seconds:.0f}" for seconds in times)
        table.add_row(
            arrival.way,
            str(len(arrival.first) + arrival.never),
            str(arrival.never),
            *cells,
            str(len(arrival.failures)),
        )
    console.print(table)


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--home", type=Path, default=DEFAULT_HOME, help="A trained home, made if missing.")
    parser.add_argument("--users", type=int, default=100, help="Users who send an event.")
    parser.add_argument("--items", type=int, default=60, help="New items.")
    parser.add_argument("--hides", type=int, default=100, help="Items that are hidden or deleted.")
    parser.add_argument("--connections", type=int, default=16, help="Of the load.")
    parser.add_argument("--ingress", type=int, default=2, help="Replicas of the ingress.")
    parser.add_argument("--json", type=Path, help="Write everything here.")
    options = parser.parse_args()
    alone = {"retrievers": [{"use": "content"}]}
    changes = {
        "scenarios": {"search": alone},
        "server": {"ingress": {"replicas": options.ingress}},
    }
    train_once(options.home)
    with contextlib.ExitStack() as stack:
        home = stack.enter_context(scratch_home(options.home, changes))
        server = stack.enter_context(serving(home))
        answered = stack.enter_context(load(server.port, options.connections))
        started = time.perf_counter()
        checks, arrivals, missing = asyncio.run(measure(server.port, options))
        rate = answered[0] / (time.perf_counter() - started)
        bad = int(answered[1])
    console = Console(width=140)
    busy = f"{options.connections} connections got {rate:.0f} other answers a second, {bad} of them failed"
    console.print(f"{machine()}; {options.ingress} ingress replicas; {busy}", highlight=False)
    show(checks, arrivals, console)
    if missing:
        console.print(f"not measured, the server lacks: {missing}", style="bold")
    content = {
        "machine": machine(),
        "ingress_replicas": options.ingress,
        "load_per_second": rate,
        "load_failed": bad,
        "checks": [asdict(check) for check in checks],
        "arrivals": [asdict(arrival) for arrival in arrivals],
        "missing": missing,
    }
    write_json(options.json, content)
    passed = all(check.passed for check in checks) and not any(arrival.never for arrival in arrivals)
    return 0 if passed and not missing else 1


if __name__ == "__main__":
    raise SystemExit(main())
