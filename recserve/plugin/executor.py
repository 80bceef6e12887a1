"""Executor: where the parts of a fit are computed, this process or the workers of a cluster.

A plugin that splits its fit into parts uses all the machines there are without knowing Ray::

    factors = context.executor.share(items)
    for rows in context.executor.map(solve_block, blocks, factors):
        ...

The function is a module's function, so that it can be named to another process, and says the same whenever
it is given the same: a part whose worker is lost is computed again elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

P = TypeVar("P")
R = TypeVar("R")


class Shared(Protocol):
    """Handle of a read-only value that every part reads; a node of a cluster holds it once."""

    def release(self) -> None:
        """Let go of the value; the handle must not be used afterwards."""
        ...


@dataclass(frozen=True)
class TorchWorker:
    """One process of a training loop of :meth:`Executor.torch`.

    ``torch.distributed`` is initialised where there is more than one.

    Attributes:
        rank: Number of the process, from 0.
        world: Number of processes.
        device: ``"cpu"`` or ``"cuda:0"``; the process may use no other.
        threads: CPU threads of the process.
        report: Called with (epoch, score, state) after each epoch, on every rank; the score is NaN where
            there is none. Rank 0's ``state`` (arrays and numbers by name, None for none) is kept as a
            checkpoint; its arrays must not change afterwards.
        checkpoint: The last kept ``state`` and its epoch, where the loop is begun again after a loss.
    """

    rank: int = 0
    world: int = 1
    device: str = "cpu"
    threads: int = 0
    report: Callable[[int, float, dict[str, Any] | None], None] = lambda epoch, score, state: None
    checkpoint: tuple[int, dict[str, Any]] | None = None


def _ignore(epoch: int, score: float) -> None:
    pass


class Executor(Protocol):
    """Computes parts of a fit, and runs training loops of torch in one or more processes."""

    @property
    def workers(self) -> int:
        """Parts computed at the same time; 1 in one process, whose threads are the plugin's to use."""
        ...

    def share(self, value: Any) -> Shared:
        """Handle by which every part reads a value, arrays or a dataclass of them, that changes no more."""
        ...

    def map(self, function: Callable[..., R], parts: Iterable[P], *shared: Shared) -> Iterator[R]:
        """``function(part, *values of shared)`` of each part, in the order of the parts.

        A part that is a tuple may hold handles: the function is given a tuple with their values in their
        place. So what only one part reads, again and again, travels once.

        Results are yielded as they are needed; at most a few parts a worker are under way at a time.

        Raises:
            RecserveError: What the function raised, or a part was lost too often.
        """
        ...

    def torch(
        self, function: Callable[..., R], *shared: Shared, reported: Callable[[int, float], None] = _ignore
    ) -> R:
        """``function(worker, *values of shared)`` in every process; what rank 0 returned.

        The function is given a :class:`TorchWorker`.

        Args:
            function: The training loop.
            *shared: Further arguments.
            reported: Called in this process with the epoch and the score of each report of rank 0; an
                error that it raises ends the loop.

        Raises:
            RecserveError: What the function raised, or processes were lost too often.
        """
        ...


@dataclass(frozen=True)
class _Held:
    value: Any

    def release(self) -> None:
        pass


@dataclass(frozen=True)
class InProcess:
    """Executor of this process: parts one after the other, a training loop as a call.

    Attributes:
        device: Given to training loops.
        threads: Likewise.
    """

    device: str = "cpu"
    threads: int = 0

    @property
    def workers(self) -> int:
        """One."""
        return 1

    def share(self, value: Any) -> Shared:
        """The value itself, held."""
        return _Held(value)

    def map(self, function: Callable[..., R], parts: Iterable[P], *shared: Shared) -> Iterator[R]:
        """One part after the other, each when its result is asked for."""
        values = [_value(handle) for handle in shared]
        for part in parts:
            yield function(_resolved(part), *values)

    def torch(
        self, function: Callable[..., R], *shared: Shared, reported: Callable[[int, float], None] = _ignore
    ) -> R:
        """One call."""

        def report(epoch: int, score: float, state: dict[str, Any] | None) -> None:
            reported(epoch, score)

        worker = TorchWorker(device=self.device, threads=self.threads, report=report)
        return function(worker, *(_value(handle) for handle in shared))


def _resolved(part: Any) -> Any:
    """A part with the values of the handles that it holds."""
    if not isinstance(part, tuple) or not any(isinstance(entry, _Held) for entry in part):
        return part
    return tuple(entry.value if isinstance(entry, _Held) else entry for entry in part)


def _value(handle: Shared) -> Any:
    if not isinstance(handle, _Held):
        raise TypeError(f"{type(handle).__name__} was shared by another executor")
    return handle.value
