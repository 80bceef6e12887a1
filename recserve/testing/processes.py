"""Executor over processes of this machine, for tests: a fit meets in it what it meets on a cluster.

Functions and parts are pickled; a shared value is a file that each process maps into its memory, so that its
arrays are read-only.
"""

from __future__ import annotations

import mmap
import multiprocessing
import pickle
import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from recserve.errors import RecserveError
from recserve.plugin.executor import Shared, TorchWorker

P = TypeVar("P")
R = TypeVar("R")

# Parts under way at a time for each worker: it need not wait for its next.
_AHEAD = 2
_ALIGNMENT = 64


@dataclass(frozen=True)
class _Mapped:
    """Handle of a pickled value whose arrays are in a file."""

    file: Path
    head: bytes
    spans: tuple[tuple[int, int], ...]

    @classmethod
    def of(cls, value: Any, file: Path) -> _Mapped:
        buffers: list[pickle.PickleBuffer] = []
        head = pickle.dumps(value, protocol=5, buffer_callback=buffers.append)
        spans: list[tuple[int, int]] = []
        with file.open("wb") as out:
            for buffer in buffers:
                start = out.tell()
                end = start + out.write(buffer.raw())
                spans.append((start, end))
                out.write(bytes(_ALIGNMENT - end % _ALIGNMENT))
            out.write(b"\0")  # an empty file cannot be mapped
        return cls(file, head, tuple(spans))

    def load(self) -> Any:
        with self.file.open("rb") as file:
            whole = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        return pickle.loads(self.head, buffers=[whole[start:end] for start, end in self.spans])

    def release(self) -> None:
        self.file.unlink(missing_ok=True)


class ProcessExecutor:
    """Executor whose parts are computed by processes of this machine; used as a context manager.

    Args:
        workers: Processes.

    Attributes:
        workers: Processes.
        parts: Parts and training loops that were given to them.
    """

    def __init__(self, workers: int = 2) -> None:
        self.workers = workers
        self.parts = 0
        self._folder = tempfile.TemporaryDirectory(prefix="recserve-shared-")
        self._values = 0
        self._pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._pool.shutdown(cancel_futures=True)
        self._folder.cleanup()

    def share(self, value: Any) -> Shared:
        """Write a value to a file that processes map."""
        self._values += 1
        return _Mapped.of(value, Path(self._folder.name, str(self._values)))

    def map(self, function: Callable[..., R], parts: Iterable[P], *shared: Shared) -> Iterator[R]:
        """See :meth:`recserve.Executor.map`."""
        running: deque[Future[R]] = deque()
        for part in parts:
            self.parts += 1
            running.append(self._pool.submit(_compute, function, part, shared))
            if len(running) == _AHEAD * self.workers:
                yield _result(running.popleft())
        while running:
            yield _result(running.popleft())

    def torch(
        self,
        function: Callable[..., R],
        *shared: Shared,
        reported: Callable[[int, float], None] = lambda epoch, score: None,
    ) -> R:
        """See :meth:`recserve.Executor.torch`; the loop runs in one process. Reports come after the last."""
        self.parts += 1
        result, reports = _result(self._pool.submit(_train, function, shared))
        for epoch, score in reports:
            reported(epoch, score)
        return result


def _result(running: Future[R]) -> R:
    try:
        return running.result()
    except BrokenProcessPool:
        raise RecserveError("a process of the executor ended before its part was computed") from None


def _compute(function: Callable[..., R], part: Any, shared: Sequence[Any]) -> R:
    if isinstance(part, tuple) and any(isinstance(entry, _Mapped) for entry in part):
        part = tuple(entry.load() if isinstance(entry, _Mapped) else entry for entry in part)
    return function(part, *(handle.load() for handle in shared))


def _train(function: Callable[..., R], shared: Sequence[Any]) -> tuple[R, list[tuple[int, float]]]:
    reports: list[tuple[int, float]] = []

    def report(epoch: int, score: float, state: dict[str, Any] | None) -> None:
        reports.append((epoch, score))

    worker = TorchWorker(threads=1, report=report)
    return function(worker, *(handle.load() for handle in shared)), reports
