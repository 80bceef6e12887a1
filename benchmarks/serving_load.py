"""The load of the serving and overload benchmarks, in a process of its own.

    python -m benchmarks.serving_load < plan.json > outcome.json

Requests are written ahead of time and answers are parsed no further than their status and length, on uvloop
where it is installed, so that the load takes little of the machine. It measures the CPU time of the processes
that it is told of, and its own, over exactly the time in which requests were counted. ``wrk`` takes less, but
can neither store events in between nor send at a rate: see :mod:`benchmarks.serving_wrk`.
"""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
import sys
import time
import uuid
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import psutil

from benchmarks.common import quantile, request
from benchmarks.serving_line import Line, connect

ROOT = Path(__file__).resolve().parents[1]
WAIT_SECONDS = 30.0
TICK_SECONDS = 0.001
"""An open loop sends together what became due within it: a sleep for each request would cost more than it."""
Result = TypeVar("Result")
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
        novel: Share of requests that nobody has asked before: they leave out two items of their own.
        texts: What people write is put together from these, so that none is written twice.
        queries: Share of requests that have a free text, which nobody has written before.
        searches: Share of ``fresh`` events that are searches by a text instead of clicks on an item.
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
    novel: float = 0.0
    texts: Sequence[str] = ()
    queries: float = 0.0
    searches: float = 0.0
    explain: bool = False
    seed: int = 0
    processes: Mapping[str, Sequence[int]] = field(default_factory=dict)


@dataclass(frozen=True)
class Summary:
    """What came of it, whoever asked.

    Attributes:
        rate: Answers 200 a second.
        p50, p95, p99, longest: Their latency, milliseconds.
        failed: Requests that were answered otherwise or not at all.
        degraded: Answers that say that something was left out.
        cpu: CPU milliseconds a request by process name, ``load`` included.
    """

    rate: float
    p50: float
    p95: float
    p99: float
    longest: float
    failed: int
    degraded: int
    cpu: dict[str, float]


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
    answers: list[tuple[int, float]] = field(default_factory=list, repr=False)
    degraded: int = 0
    cpu: dict[str, float] = field(default_factory=dict)
    late: float = 0.0
    most: int = 0

    def latencies(self, good: bool = True) -> list[float]:
        """Milliseconds of the answers that were 200, or of the others."""
        return [spent for status, spent in self.answers if (status == 200) == good]

    def summary(self) -> Summary:
        """The figures that are shown."""
        good = self.latencies()
        p50, p95, p99, longest = (quantile(good, q) for q in (0.5, 0.95, 0.99, 1.0))
        count = max(len(self.answers), 1)
        return Summary(
            rate=len(good) / self.seconds,
            p50=p50,
            p95=p95,
            p99=p99,
            longest=longest,
            failed=len(self.answers) - len(good),
            degraded=self.degraded,
            cpu={name: 1000 * spent / count for name, spent in self.cpu.items()},
        )


def run(plan: Plan, module: str = "benchmarks.serving_load") -> Outcome:
    """Carry a plan out in another process, which runs ``module``."""
    done = subprocess.run(
        [sys.executable, "-m", module],
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


class Load:
    """Carries a plan out.

    Args:
        plan: The plan.

    Attributes:
        requests: Whole requests by user; one of user "" where there are no users.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._chooser = random.Random(plan.seed)
        self._outcome = Outcome()
        self.requests = {user: self._ask_for(user) for user in plan.users or ("",)}
        self._names = list(self.requests)
        self._novel = self._queries = 0.0  # until everybody has been asked

    def _ask_for(self, user: str) -> bytes:
        if not user:
            return request("GET", self._plan.path)
        return request("POST", self._plan.path, self._body(user))

    def _body(self, user: str) -> dict[str, Any]:
        return {"user_id": user, "n": 10, "explain": self._plan.explain}

    def _next_of(self, user: str) -> bytes:
        chance = self._chooser.random()
        if chance < self._novel:
            special: dict[str, Any] = {"exclude": self._chooser.sample(self._plan.items, 2)}
        elif chance < self._novel + self._queries:
            special = {"query": self._written()}
        else:
            return self.requests[user]
        return request("POST", self._plan.path, {**self._body(user), **special})

    def _written(self) -> str:
        first, second = self._chooser.sample(self._plan.texts, 2)
        return f"{first} {second} {self._chooser.randrange(10**6)}"

    async def go(self) -> Outcome:
        """Do it."""
        plan = self._plan
        if plan.rate:
            await self._measured(OpenLoop(plan, self._chooser, self._draw, self._note, self._outcome).go)
        elif plan.fresh:
            while self._outcome.seconds < plan.seconds:
                await self._store_events()
                await self._measured(lambda: self._one_after_another(self._each_once()))
        else:
            await self.ask_everybody()
            self._novel, self._queries = plan.novel, plan.queries
            await self._measured(lambda: self._one_after_another(self._for_a_while()))
        return self._outcome

    async def ask_everybody(self) -> None:
        """Have all users answered once, uncounted: what is measured afterwards is asking again."""
        if self._plan.users:
            await self._one_after_another(iter(self._names))
            self._outcome = Outcome()

    def _draw(self) -> bytes:
        return self.requests[self._chooser.choice(self._names)]

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

    async def _measured(self, work: Callable[[], Awaitable[None]]) -> None:
        processes = {**self._plan.processes, LOAD: [psutil.Process().pid]}
        before, started = cpu_seconds(processes), time.perf_counter()
        await work()
        self._outcome.seconds += time.perf_counter() - started
        for name, spent in cpu_seconds(processes).items():
            self._outcome.cpu[name] = self._outcome.cpu.get(name, 0.0) + spent - before[name]

    async def _one_after_another(self, users: Iterator[str]) -> None:
        """Each connection asks for the next user when it has its answer."""
        await asyncio.gather(*(self._ask_on(users) for _ in range(self._plan.connections)))

    async def _ask_on(self, users: Iterator[str]) -> None:
        while not await self._ask_over(await connect(self._plan.port), users):
            pass  # the server closed the connection, as it may after a refusal

    async def _ask_over(self, line: Line, users: Iterator[str]) -> bool:
        """Ask over one connection for as long as it is open; whether all was asked."""
        finished: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

        def ask() -> None:
            user = next(users, None)
            if user is None:
                finished.set_result(True)
            else:
                line.send(self._next_of(user), told)

        def told(line: Line, status: int, body: bytes) -> None:
            self._note(status, body, line.sent)
            if line.open:
                ask()
            elif not finished.done():
                finished.set_result(False)

        ask()
        done = await finished
        line.close()
        return done

    def _note(self, status: int, body: bytes, since: float) -> None:
        self._outcome.answers.append((status, (time.perf_counter() - since) * 1000))
        place = body.find(b'"degraded":[')
        if place >= 0 and not body.startswith(b"]", place + 12):
            self._outcome.degraded += 1

    async def _store_events(self) -> None:
        """A new event of every user, in requests of their own that are not counted."""
        line = await connect(self._plan.port)
        events = [{"user_id": user, "event_id": uuid.uuid4().hex, **self._deed()} for user in self._names]
        answered: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        raw = request("POST", "/v1/events", {"events": events})
        line.send(raw, lambda _, status, body: answered.set_result(status))
        status = await asyncio.wait_for(answered, WAIT_SECONDS)
        line.close()
        if not 200 <= status < 300:
            raise SystemExit(f"events were answered with {status}")

    def _deed(self) -> dict[str, str]:
        if self._chooser.random() < self._plan.searches:
            return {"event": "search", "text": self._written()}
        return {"event": "click", "item_id": self._chooser.choice(self._plan.items)}


class OpenLoop:
    """Sends requests when they are due, over any idle connection, over a new one if there is none.

    No request has a task or a timer of its own: at twice the peak rate they would take from the server what
    is measured.

    Args:
        plan: With a rate.
        chooser: Of the moments.
        draw: The next request.
        note: Is told of each answer: status, body, when it was asked for.
        outcome: Where it is noted how late and how busy the load was.
    """

    def __init__(
        self,
        plan: Plan,
        chooser: random.Random,
        draw: Callable[[], bytes],
        note: Callable[[int, bytes, float], None],
        outcome: Outcome,
    ) -> None:
        self._plan = plan
        self._chooser = chooser
        self._draw = draw
        self._note = note
        self._outcome = outcome
        self._idle: list[Line] = []
        self._waiting: dict[Line, None] = {}  # in the order in which they were sent
        self._connecting: set[asyncio.Task[None]] = set()

    async def go(self) -> None:
        """Send for as long as the plan says, and wait for all answers."""
        plan, late = self._plan, 0.0
        self._idle += [await connect(plan.port) for _ in range(min(64, plan.connections))]
        start = time.perf_counter()
        due = start + self._chooser.expovariate(plan.rate)
        while due < start + plan.seconds:
            now = time.perf_counter()
            while due < min(now, start + plan.seconds):
                late = max(late, now - due)
                self._send()
                due += self._chooser.expovariate(plan.rate)
            self._give_up(now)
            await asyncio.sleep(max(due - time.perf_counter(), TICK_SECONDS))
        while self._waiting or self._connecting:
            await asyncio.sleep(TICK_SECONDS)
            self._give_up(time.perf_counter())
        self._outcome.late = late * 1000

    def _send(self) -> None:
        busy = len(self._waiting) + len(self._connecting) + 1
        self._outcome.most = max(self._outcome.most, busy)
        if busy > self._plan.connections:
            self._note(0, b"", time.perf_counter())  # no connection is left
            return
        while self._idle:
            line = self._idle.pop()
            if line.open:
                self._send_over(line)
                return
        task = asyncio.create_task(self._send_over_another())
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)

    async def _send_over_another(self) -> None:
        since = time.perf_counter()
        try:
            line = await asyncio.wait_for(connect(self._plan.port), WAIT_SECONDS)
        except (OSError, TimeoutError):
            self._note(0, b"", since)
        else:
            self._send_over(line)

    def _send_over(self, line: Line) -> None:
        self._waiting[line] = None
        line.send(self._draw(), self._told)

    def _told(self, line: Line, status: int, body: bytes) -> None:
        del self._waiting[line]
        # From when it was sent: that the load itself was late is told apart.
        self._note(status, body, line.sent)
        if line.open:
            self._idle.append(line)

    def _give_up(self, now: float) -> None:
        """Wait no longer for what was sent too long ago."""
        while self._waiting and (line := next(iter(self._waiting))).sent < now - WAIT_SECONDS:
            line.give_up()


def in_a_loop(work: Coroutine[Any, Any, Result]) -> Result:
    """Run a coroutine in the fastest loop there is."""
    try:
        import uvloop
    except ImportError:
        return asyncio.run(work)
    return uvloop.run(work)


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
    json.dump(asdict(in_a_loop(Load(plan).go())), sys.stdout)


if __name__ == "__main__":
    main()
