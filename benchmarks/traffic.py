"""The mixed load of the chaos benchmark: readers who give up at once, collectors who never do.

Reads come at random moments, whether or not earlier ones were answered, as those of many people do: a
server that hangs gets no rest. Writers work one after the other and send the same thing again until it is
acknowledged.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx

BATCH = 20
GRACE_SECONDS = 60.0
WRITERS = 8
READ_SECONDS = 10.0
WRITE_SECONDS = 30.0
ITEM_IDS = 200
_SEARCHES = ("space opera with robots", "a quiet family drama", "heist gone wrong", "animated adventure")
_LONGEST_PAUSE = 2.0
REFUSALS = frozenset({"store_unavailable", "overloaded", "not_ready"})
"""Codes of errors that promise that nothing was stored, nor will be."""

Fact = tuple[str, str, str]


@dataclass(slots=True)
class Call:
    """One HTTP request.

    Attributes:
        kind: ``read``, ``event``, ``batch`` or ``item``.
        started, ended: ``time.monotonic()``.
        status: Of the answer, 0 if the connection broke before one.
        code: Of the error answer, or what broke the connection; empty if all is well.
        degraded: What a recommendation says was lost.
    """

    kind: str
    started: float
    ended: float
    status: int
    code: str = ""
    degraded: tuple[str, ...] = ()

    @property
    def good(self) -> bool:
        """Whether it was answered 2xx."""
        return 200 <= self.status < 300


@dataclass
class Traffic:
    """Clients of a server, and what they saw.

    Attributes:
        url: The server.
        users: Known users.
        items: Known items.
        rate: Requests a second, all kinds together, while nothing hangs.
        connections: Connections of the readers, and of the writers, at most; a read that gets none in time
            has failed.
        run: Part of every id, so that two runs do not share ids.
        with_items: Whether items are written too.
        key: API key, if the server wants one.
        calls: Every request with its outcome.
        acknowledged: ``event_id`` -> (user, item, event) of every acknowledged event.
        sent: Ids of all events that were sent at least once.
        refused: Ids of events that were sent once and refused with a promise that nothing is stored.
        item_revisions: Item id -> newest acknowledged revision.
        rejected: Answers that a retry cannot mend, which none should have.
        examples: (status, code) -> the beginning of one such answer.
        latest: Seconds that a read came later than it was due: large when the clients have too little CPU.
    """

    url: str
    users: Sequence[str]
    items: Sequence[str]
    rate: float
    connections: int
    run: str
    with_items: bool
    key: str = ""
    calls: list[Call] = field(default_factory=list)
    acknowledged: dict[str, Fact] = field(default_factory=dict)
    sent: set[str] = field(default_factory=set)
    refused: set[str] = field(default_factory=set)
    item_revisions: dict[str, int] = field(default_factory=dict)
    rejected: list[str] = field(default_factory=list)
    examples: dict[tuple[int, str], str] = field(default_factory=dict)
    latest: float = 0.0
    _stop: asyncio.Event = field(default_factory=asyncio.Event)
    _give_up: float = float("inf")

    def finish(self) -> None:
        """Have the readers stop now and the writers as soon as what they hold is acknowledged."""
        self._give_up = time.monotonic() + GRACE_SECONDS
        self._stop.set()

    async def go(self) -> None:
        """Make requests until :meth:`finish`."""
        async with self._client() as reads, self._client() as writes:
            each = 0.125 * self.rate / WRITERS
            work = [self._read_for_ever(reads, 0.7 * self.rate)]
            work += [self._write_events(writes, number, each, 1) for number in range(WRITERS)]
            work += [self._write_events(writes, number, each, BATCH) for number in range(WRITERS)]
            work.append(self._write_once(writes, 0.05 * self.rate))
            if self.with_items:
                work.append(self._write_items(writes, 0.05 * self.rate))
            await asyncio.gather(*work)

    def _client(self) -> httpx.AsyncClient:
        limits = httpx.Limits(max_connections=self.connections, max_keepalive_connections=self.connections)
        headers = {"authorization": f"Bearer {self.key}"} if self.key else {}
        return httpx.AsyncClient(base_url=self.url, limits=limits, headers=headers, trust_env=False)

    async def _read_for_ever(self, client: httpx.AsyncClient, rate: float) -> None:
        chooser = random.Random(1)
        number = 0
        waiting: set[asyncio.Task[Any]] = set()
        due = time.monotonic()
        while not self._stop.is_set():
            due += chooser.expovariate(rate)
            await asyncio.sleep(max(due - time.monotonic(), 0))
            self.latest = max(self.latest, time.monotonic() - due)
            number += 1
            # Another question each time, so that every answer goes through all stages.
            body: dict[str, Any] = {"user_id": chooser.choice(self.users), "exclude": [f"nothing-{number}"]}
            if chooser.random() < 0.2:
                body["query"] = chooser.choice(_SEARCHES)
            task = asyncio.create_task(self._call(client, "read", "/v1/recommend", body, READ_SECONDS))
            waiting.add(task)
            task.add_done_callback(waiting.discard)
        await asyncio.gather(*waiting)

    async def _write_events(self, client: httpx.AsyncClient, writer: int, rate: float, size: int) -> None:
        kind = "event" if size == 1 else "batch"
        chooser = random.Random(f"{kind}{writer}")
        number = 0
        while not await self._pause(chooser.expovariate(rate)):
            facts: dict[str, Fact] = {}
            for _ in range(size):
                number += 1
                event = chooser.choice(("view", "click", "like"))
                fact = (chooser.choice(self.users), chooser.choice(self.items), event)
                facts[f"{self.run}-{kind}{writer}-{number}"] = fact
            self.sent.update(facts)
            events = [
                {"user_id": user, "item_id": item, "event": event, "event_id": event_id}
                for event_id, (user, item, event) in facts.items()
            ]
            body = events[0] if size == 1 else {"events": events}
            answer = await self._until_acknowledged(client, kind, "/v1/events", body)
            if answer is not None:
                self.acknowledged.update(facts)
                if answer.get("accepted") != size:
                    self.rejected.append(f"{size} events were acknowledged with {answer}")

    async def _write_once(self, client: httpx.AsyncClient, rate: float) -> None:
        """Events whose sender never tries again, one after the other."""
        chooser = random.Random(3)
        number = 0
        while not await self._pause(chooser.expovariate(rate)):
            number += 1
            event_id = f"{self.run}-once-{number}"
            fact = (chooser.choice(self.users), chooser.choice(self.items), "view")
            body = dict(zip(("user_id", "item_id", "event"), fact, strict=True), event_id=event_id)
            self.sent.add(event_id)
            call, _ = await self._call(client, "event", "/v1/events", body, WRITE_SECONDS)
            if call.good:
                self.acknowledged[event_id] = fact
            elif call.code in REFUSALS:
                self.refused.add(event_id)

    async def _write_items(self, client: httpx.AsyncClient, rate: float) -> None:
        chooser = random.Random(2)
        revision = 0
        while not await self._pause(chooser.expovariate(rate)):
            revision += 1
            item_id = f"{self.run}-item-{revision % ITEM_IDS}"
            title = f"{chooser.choice(_SEARCHES)}, part {revision}"
            item = {"item_id": item_id, "attributes": {"title": title, "revision": revision}}
            if await self._until_acknowledged(client, "item", "/v1/items", {"items": [item]}) is not None:
                self.item_revisions[item_id] = revision

    async def _until_acknowledged(
        self, client: httpx.AsyncClient, kind: str, path: str, body: dict[str, Any]
    ) -> dict[str, Any] | None:
        pause = 0.1
        while True:
            call, answer = await self._call(client, kind, path, body, WRITE_SECONDS)
            if call.good:
                return dict(answer)
            if 400 <= call.status < 500 and call.status != 429:
                self.rejected.append(f"{path} was answered {call.status} {call.code}")
                return None
            if time.monotonic() > self._give_up:
                return None
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    async def _call(
        self, client: httpx.AsyncClient, kind: str, path: str, body: dict[str, Any], seconds: float
    ) -> tuple[Call, Any]:
        call = Call(kind, time.monotonic(), 0.0, 0)
        answer: Any = None
        try:
            async with asyncio.timeout(seconds):
                response = await client.post(path, json=body, timeout=None)
            call.status = response.status_code
            answer = _json(response)
            if not call.good:
                error = answer.get("error") if isinstance(answer, dict) else None
                call.code = error["code"] if isinstance(error, dict) else "not from the API"
                self.examples.setdefault((call.status, call.code), response.text[:200])
            elif kind == "read":
                call.degraded = tuple(answer["degraded"])
        except (httpx.TransportError, TimeoutError) as error:
            call.code = type(error).__name__
        call.ended = time.monotonic()
        self.calls.append(call)
        return call, answer

    async def _pause(self, seconds: float) -> bool:
        """Wait; whether it is time to stop."""
        try:
            await asyncio.wait_for(self._stop.wait(), seconds)
        except TimeoutError:
            return False
        return True


def _json(response: httpx.Response) -> Any:
    try:
        return response.json()
    except ValueError:
        return None
