"""Threads for plugin code: a call that overruns its deadline is abandoned and its thread replaced."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, wait
from contextlib import ExitStack, contextmanager
from contextvars import Context, copy_context
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Any, Generic, TypeVar

from recserve.errors import OverloadedError, RecserveError, StageDownError, StageLateError
from recserve.serving.guard.failures import as_stage_error
from recserve.serving.guard.flight_record import FlightRecord

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

THREADS = 4
"""Calls of a lane that run at the same time, unless told otherwise."""
MOST_STUCK = 8
"""Calls of a lane that may hang; further ones are refused until one comes back."""

_MOST_WAITING = 64
_LATE_IN_A_ROW = 3
_PAUSES = (0.5, 30.0)
# After the first death of a process, and after many.
_DEATH_PAUSES = (2.0, 600.0)
_STALLED_SECONDS = 10.0
_IDLE_SECONDS = 10.0


@dataclass(frozen=True)
class WorkerCall(Generic[T_co]):
    """A call for :meth:`WorkerPool.run_all`.

    Attributes:
        lane: Name of the component.
        function: What to call.
        arguments: With what.
    """

    lane: str
    function: Callable[..., T_co]
    arguments: tuple[Any, ...] = ()


@dataclass(eq=False)
class _Task:
    """A call on its way through the pool.

    Attributes:
        context: Context variables of whoever asked, so that log lines know the requests.
    """

    lane: _Lane
    call: Callable[..., Any]
    arguments: tuple[Any, ...]
    context: Context = field(default_factory=copy_context)
    future: Future[Any] = field(default_factory=Future)
    started: bool = False
    finished: bool = False
    abandoned: bool = False


@dataclass(eq=False)
class _Lane:
    """The calls of one component: its threads are its own, so that a hanging one takes no other's.

    Attributes:
        threads: Calls that run at the same time.
        running: Calls that run and are waited for.
        stuck: Abandoned calls that have not come back.
        late: Late calls in a row.
        retry_at: When the next call is let through after too many late ones.
        pause: How long to wait before that.
        why: Why calls are refused in between.
    """

    name: str
    threads: int
    running: int = 0
    stuck: int = 0
    late: int = 0
    retry_at: float = 0.0
    pause: float = _PAUSES[0]
    why: str = ""
    waiting: deque[_Task] = field(default_factory=deque)


class WorkerPool:
    """Bounded pool of daemon threads with a lane for each component.

    A call that is later than its deadline is abandoned: another thread takes its place, and at most
    :data:`MOST_STUCK` of a lane may hang at a time. After three late calls in a row a lane refuses calls at
    once, and lets a single one through now and then to find out whether the component is well again. So does
    the lane of a component in which the process before this one died, for a while that grows with each death.

    Args:
        threads: Calls of a lane that run at the same time.
        record: Where calls under way are written down, and what earlier processes died of; None for nowhere.
    """

    def __init__(self, threads: int = THREADS, record: FlightRecord | None = None) -> None:
        self._threads = threads
        self._record = record
        self._inside = threading.local()
        self._lock = threading.Lock()
        self._lanes: dict[str, _Lane] = {}
        self._queue: SimpleQueue[_Task] = SimpleQueue()
        self._idle = 0
        self._progress = time.monotonic()
        self._lost = False

    async def run(self, lane: str, seconds: float, call: Callable[..., T], *arguments: Any) -> T:
        """Call in a thread of a lane.

        Args:
            lane: Name of the component.
            seconds: Deadline.
            call: What to call.
            *arguments: Its arguments.

        Raises:
            StageError: The call is late, is refused because earlier ones hang, or raised anything at all.
            OverloadedError: Too many calls of the lane wait already.
            RecserveError: What the call raised, if it is one of ours.
        """
        task = self._submit(lane, call, arguments)
        try:
            async with asyncio.timeout(seconds):
                result: T = await asyncio.wrap_future(task.future)
                return result
        except TimeoutError:
            self._abandon(task, late=True)
            raise overdue(lane, seconds) from None
        except asyncio.CancelledError:
            self._abandon(task, late=False)
            raise

    def run_all(self, calls: Sequence[WorkerCall[T]], seconds: float) -> list[T | RecserveError]:
        """Call side by side and wait; for code that is in a thread itself.

        Args:
            calls: The calls.
            seconds: Deadline of all of them together.

        Returns:
            What each call returned, or why it did not.
        """
        self._delegate()
        tasks = [self._try_submit(call) for call in calls]
        wait([task.future for task in tasks if isinstance(task, _Task)], timeout=seconds)
        return [self._outcome(task, seconds) if isinstance(task, _Task) else task for task in tasks]

    def _try_submit(self, call: WorkerCall[Any]) -> _Task | RecserveError:
        try:
            return self._submit(call.lane, call.function, call.arguments)
        except RecserveError as refused:
            return refused

    def _outcome(self, task: _Task, seconds: float) -> Any:
        """What a call returned so far, or why it did not."""
        if not task.finished:
            self._abandon(task, late=True)
            return overdue(task.lane.name, seconds)
        error = task.future.exception()
        return task.future.result() if error is None else error

    def close(self) -> None:
        """Calls that are still under way are nothing that the process died of."""
        if self._record is not None:
            self._record.close()

    @property
    def stuck(self) -> dict[str, int]:
        """Calls that hang, by lane."""
        with self._lock:
            return {lane.name: lane.stuck for lane in self._lanes.values() if lane.stuck}

    @property
    def calls(self) -> dict[str, int]:
        """Calls by state: ``waiting`` for a thread, ``running``, ``stuck`` after their deadline."""
        with self._lock:
            lanes = list(self._lanes.values())
            return {
                "waiting": sum(len(lane.waiting) for lane in lanes),
                "running": sum(lane.running for lane in lanes),
                "stuck": sum(lane.stuck for lane in lanes),
            }

    @property
    def lost(self) -> bool:
        """Whether all threads of a lane hang while no other lane gets anything done."""
        with self._lock:
            return self._lost

    def _submit(self, name: str, call: Callable[..., Any], arguments: tuple[Any, ...]) -> _Task:
        with self._lock:
            lane = self._lanes.get(name)
            if lane is None:
                lane = self._lanes[name] = self._new_lane(name)
            self._admit(lane)
            task = _Task(lane, call, arguments)
            lane.waiting.append(task)
            self._start_next(lane)
        return task

    def _new_lane(self, name: str) -> _Lane:
        lane = _Lane(name, self._threads)
        deaths = 0 if self._record is None else self._record.deaths(name)
        if deaths:
            first, longest = _DEATH_PAUSES
            lane.late = _LATE_IN_A_ROW
            lane.pause = min(first * 4.0 ** (deaths - 1), longest)
            lane.retry_at = time.monotonic() + lane.pause
            lane.why = f"was being called when {deaths} process{'es' * (deaths > 1)} died"
        return lane

    def _delegate(self) -> None:
        """Note that this thread, if it is one of ours, only waits for calls of other lanes from now on."""
        ended = getattr(self._inside, "ended", None)
        if ended is not None:
            ended()

    def _admit(self, lane: _Lane) -> None:
        """Refuse a call that could only wait in vain."""
        now = time.monotonic()
        if lane.stuck >= MOST_STUCK:
            self._lost = self._lost or now - self._progress > _STALLED_SECONDS
            raise StageDownError(f"{lane.name}: {lane.stuck} earlier calls have not come back")
        if len(lane.waiting) >= _MOST_WAITING:
            raise OverloadedError(f"{lane.name}: {len(lane.waiting)} calls are waiting already")
        if lane.late >= _LATE_IN_A_ROW:
            if now < lane.retry_at:
                raise StageDownError(f"{lane.name} {lane.why or f'was late {lane.late} times in a row'}")
            self._put_off(lane, now)

    def _put_off(self, lane: _Lane, now: float) -> None:
        lane.retry_at = now + lane.pause
        lane.pause = min(2 * lane.pause, _PAUSES[1])

    def _start_next(self, lane: _Lane) -> None:
        while lane.waiting and lane.running < lane.threads:
            task = lane.waiting.popleft()
            if task.abandoned:
                continue
            task.started = True
            lane.running += 1
            self._queue.put(task)
            if self._idle:
                self._idle -= 1
            else:
                threading.Thread(target=self._work, daemon=True, name="plugin").start()

    def _work(self) -> None:
        while True:
            try:
                task = self._queue.get(timeout=_IDLE_SECONDS)
            except Empty:
                with self._lock:
                    if self._idle:
                        self._idle -= 1
                        return
                continue
            self._execute(task)
            del task

    def _execute(self, task: _Task) -> None:
        result, error = None, None
        try:
            with self._recorded(task.lane.name):
                result = task.context.run(task.call, *task.arguments)
        except BaseException as raised:  # a plugin may raise anything: SystemExit, a Rust panic
            error = as_stage_error(raised)
        self._finish(task)
        if not task.future.set_running_or_notify_cancel():
            return
        if error is None:
            task.future.set_result(result)
        else:
            task.future.set_exception(error)

    @contextmanager
    def _recorded(self, lane: str) -> Iterator[None]:
        """Write the call down while it is under way, or until it begins to wait for other lanes."""
        if self._record is None:
            yield
            return
        with ExitStack() as under_way:
            under_way.enter_context(self._record.calling(lane))
            self._inside.ended = under_way.close
            try:
                yield
            finally:
                self._inside.ended = None

    def _finish(self, task: _Task) -> None:
        lane = task.lane
        with self._lock:
            task.finished = True
            self._idle += 1
            if task.abandoned:
                lane.stuck -= 1
                return
            lane.running -= 1
            lane.late, lane.pause, lane.why = 0, _PAUSES[0], ""
            self._progress = time.monotonic()
            self._lost = False
            self._start_next(lane)

    def _abandon(self, task: _Task, *, late: bool) -> None:
        lane = task.lane
        with self._lock:
            if task.finished:
                return
            task.abandoned = True
            if not task.started:
                return
            lane.running -= 1
            lane.stuck += 1
            lane.late += late
            if late and lane.late == _LATE_IN_A_ROW:
                self._put_off(lane, time.monotonic())
            self._start_next(lane)


def overdue(name: str, seconds: float) -> StageLateError:
    """The error of a call that was not waited for any longer."""
    return StageLateError(f"{name} took longer than {seconds:g} s")
