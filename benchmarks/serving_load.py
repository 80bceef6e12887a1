"""The load of the serving and overload benchmarks, in a process of its own.

    python -m benchmarks.serving_load < plan.json > outcome.json

Requests are written ahead of time and answers are parsed no further than their status and length, so that the
load takes little of the machine. It measures the CPU time of the processes that it is told of, and its own,
over exactly the time in which requests were counted.
"""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import psutil

from benchmarks.common import request

ROOT = Path(__file__).resolve().parents[1]
WAIT_SECONDS = 30.0
LOAD = "load"
"""What the load's own CPU time is called."""


@dataclass
class Plan:
    """What to ask.

    Attributes:
        port: Of the server, on loopback.
        path: ``/v1/recommend``, or what to GET.
        connections: Keep-alive connections; with a ``rate``, at most so many.
        seconds: For how long.
        rate: Requests a second, whether or not earlier ones were answered; 0: each connection asks again as
            soon as it is answered.
        users: Whom to ask for, at random; without ``fresh`` and ``rate`` everybody is answered once before.
        items: Items that events are about.
        fresh: Whether every request follows an event of its user. Events are stored in between, when no
            request is counted.
        explain: Whether explanations are asked for.
        seed: Of the random choices.
        processes: Name -> ids of processes whose CPU time is measured.
    """

    port: int
    path: str
    connections: int
    seconds: float
    rate: float = 0.0
    users: Sequence[str] = ()
    items: Sequence[str] = ()
    fresh: bool = False
    explain: bool = False
    seed: int = 0
    processes: Mapping[str, Sequence[int]] = field(default_factory=dict)


@dataclass
class Outcome:
    """What came of it.

    Attributes:
        seconds: Time in which requests were counted.
        answers: (status, milliseconds) of each, in order of arrival; status 0 is a broken connection or none
            in time.
        degraded: Answers that say that something was left out.
        cpu: CPU seconds by process name, ``load`` included.
        late: Milliseconds that a request was sent after it was due, at worst.
        most: Most connections that were busy at once.
    """

    seconds: float = 0.0
    answers: list[tuple[int, float]] = field(default_factory=list)
    degraded: int = 0
    cpu: dict[str, float] = field(default_factory=dict)
    late: float = 0.0
    most: int = 0

    def latencies(self, good: bool = True) -> list[float]:
        """Milliseconds of the answers that were 200, or of the others."""
        return [spent for status, spent in self.answers if (status == 200) == good]


def run(plan: Plan) -> Outcome:
    """Carry a plan out in another process."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.serving_load"],
        input=json.dumps(asdict(plan)),
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    if done.returncode:
        raise SystemExit(f"the load failed:\n{done.stderr}")
    outcome = Outcome(**json.loads(done.stdout))
    outcome.answers = [(int(status), float(spent)) for status, spent in outcome.answers]
    return outcome


class Line(asyncio.Protocol):
    """One keep-alive connection: send a request, have a function called with the answer's status and body."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._told: Callable[[int, bytes], None] | None = None

    @property
    def open(self) -> bool:
        """Whether a request can be sent."""
        return self._transport is not None and not self._transport.is_closing()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by asyncio."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def send(self, raw: bytes, told: Callable[[int, bytes], None]) -> None:
        """Send a whole request; ``told`` is called once."""
        self._told = told
        if self._transport is None or self._transport.is_closing():
            self._tell(0, b"")
        else:
            self._transport.write(raw)

    def data_received(self, data: bytes) -> None:
        """Called by asyncio."""
        self._buffer += data
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        head = bytes(self._buffer[:end]).lower()
        place = head.find(b"content-length:")
        length = 0 if place < 0 else int(head[place + 15 :].split(b"\r\n", 1)[0])
        if len(self._buffer) < end + 4 + length:
            return
        body = bytes(self._buffer[end + 4 : end + 4 + length])
        self._buffer.clear()
        if b"connection: close" in head:
            self.close()
        self._tell(int(head[9:12]), body)

    def connection_lost(self, error: Exception | None) -> None:
        """Called by asyncio."""
        self._transport = None
        self._tell(0, b"")

    def close(self) -> None:
        """Close it."""
        if self._transport is not None:
            self._transport.close()

    def _tell(self, status: int, body: bytes) -> None:
        told, self._told = self._told, None
        if told is not None:
            told(status, body)


class Load:
    """Carries a plan out.

    Args:
        plan: The plan.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._chooser = random.Random(plan.seed)
        self._outcome = Outcome()
        self._raw = {user: self._ask_for(user) for user in plan.users or ("",)}
        self._names = list(self._raw)

    def _ask_for(self, user: str) -> bytes:
        if not user:
            return request("GET", self._plan.path)
        body = {"user_id": user, "n": 10, "explain": self._plan.explain}
        return request("POST", self._plan.path, body)

    async def go(self) -> Outcome:
        """Do it."""
        plan = self._plan
        if plan.rate:
            await self._measured(self._at_a_rate)
        elif plan.fresh:
            while self._outcome.seconds < plan.seconds:
                await self._store_events()
                await self._measured(lambda: self._one_after_another(self._each_once()))
        else:
            if plan.users:
                # Everybody was answered before: what is measured is asking again.
                await self._one_after_another(iter(self._names))
                self._outcome = Outcome()
            await self._measured(lambda: self._one_after_another(self._for_a_while()))
        return self._outcome

    def _for_a_while(self) -> Iterator[str]:
        end = time.perf_counter() + self._plan.seconds
        while time.perf_counter() < end:
            yield self._chooser.choice(self._names)

    def _each_once(self) -> Iterator[str]:
        """All users in some order, fewer if the time is up."""
        end = time.perf_counter() + self._plan.seconds - self._outcome.seconds
        for user in self._chooser.sample(self._names, len(self._names)):
            if time.perf_counter() > end:
                return
            yield user

    async def _measured(self, work: Callable[[], object]) -> None:
        processes = {**self._plan.processes, LOAD: [psutil.Process().pid]}
        before, started = cpu_seconds(processes), time.perf_counter()
        await work()  # type: ignore[misc]
        self._outcome.seconds += time.perf_counter() - started
        for name, spent in cpu_seconds(processes).items():
            self._outcome.cpu[name] = self._outcome.cpu.get(name, 0.0) + spent - before[name]

    async def _one_after_another(self, users: Iterator[str]) -> None:
        """Each connection asks for the next user when it has its answer."""
        await asyncio.gather(*(self._ask_on(users) for _ in range(self._plan.connections)))

    async def _ask_on(self, users: Iterator[str]) -> None:
        while not await self._ask_over(await self._connect(), users):
            pass  # the server closed the connection, as it may after a refusal

    async def _ask_over(self, line: Line, users: Iterator[str]) -> bool:
        """Ask over one connection for as long as it is open; whether all was asked."""
        finished: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

        def ask() -> None:
            user = next(users, None)
            if user is None:
                finished.set_result(True)
                return
            started = time.perf_counter()

            def told(status: int, body: bytes) -> None:
                self._note(status, body, started)
                if line.open:
                    ask()
                elif not finished.done():
                    finished.set_result(False)

            line.send(self._raw[user], told)

        ask()
        done = await finished
        line.close()
        return done

    def _note(self, status: int, body: bytes, since: float) -> None:
        self._outcome.answers.append((status, (time.perf_counter() - since) * 1000))
        if b'"degraded":[' in body and b'"degraded":[]' not in body:
            self._outcome.degraded += 1

    async def _connect(self) -> Line:
        _, line = await asyncio.get_running_loop().create_connection(Line, "127.0.0.1", self._plan.port)
        return line

    async def _at_a_rate(self) -> None:
        """Send when it is due, over any idle connection, over a new one if there is none."""
        idle: list[Line] = [await self._connect() for _ in range(min(64, self._plan.connections))]
        waiting: set[asyncio.Task[None]] = set()
        busy = 0

        async def one(due: float) -> None:
            nonlocal busy
            self._outcome.late = max(self._outcome.late, (time.perf_counter() - due) * 1000)
            busy += 1
            self._outcome.most = max(self._outcome.most, busy)
            answered: asyncio.Future[tuple[int, bytes]] = asyncio.get_running_loop().create_future()
            line: Line | None = None
            since = time.perf_counter()
            try:
                if busy > self._plan.connections:
                    raise OSError("no connection is left")
                while idle and not (line := idle.pop()).open:
                    pass
                if line is None or not line.open:
                    line = await asyncio.wait_for(self._connect(), WAIT_SECONDS)

                def told(status: int, body: bytes) -> None:
                    if not answered.done():
                        answered.set_result((status, body))

                # From when it is sent: that the load itself was late is told apart.
                since = time.perf_counter()
                line.send(self._raw[self._chooser.choice(self._names)], told)
                status, body = await asyncio.wait_for(answered, WAIT_SECONDS)
                idle.append(line)
            except (OSError, TimeoutError):
                status, body = 0, b""
                if line is not None:
                    line.close()
            busy -= 1
            self._note(status, body, since)

        start = due = time.perf_counter()
        while (due := due + self._chooser.expovariate(self._plan.rate)) < start + self._plan.seconds:
            if (pause := due - time.perf_counter()) > 0:
                await asyncio.sleep(pause)
            task = asyncio.create_task(one(due))
            waiting.add(task)
            task.add_done_callback(waiting.discard)
        await asyncio.gather(*waiting)

    async def _store_events(self) -> None:
        """A new event of every user, in requests of their own that are not counted."""
        line = await self._connect()
        events = [
            {
                "user_id": user,
                "item_id": self._chooser.choice(self._plan.items),
                "event": "click",
                "event_id": uuid.uuid4().hex,
            }
            for user in self._names
        ]
        answered: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        raw = request("POST", "/v1/events", {"events": events})
        line.send(raw, lambda status, body: answered.set_result(status))
        status = await asyncio.wait_for(answered, WAIT_SECONDS)
        line.close()
        if not 200 <= status < 300:
            raise SystemExit(f"events were answered with {status}")


def cpu_seconds(processes: Mapping[str, Sequence[int]]) -> dict[str, float]:
    """CPU time of processes so far, by name; those that are gone count as nothing."""
    found = {}
    for name, pids in processes.items():
        found[name] = 0.0
        for pid in pids:
            try:
                times = psutil.Process(pid).cpu_times()
            except psutil.Error:
                continue
            found[name] += times.user + times.system
    return found


def main() -> None:
    """Carry out the plan on standard input."""
    plan = Plan(**json.load(sys.stdin))
    json.dump(asdict(asyncio.run(Load(plan).go())), sys.stdout)


if __name__ == "__main__":
    main()
