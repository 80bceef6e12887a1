"""Group of processes that run one training loop together, begun again from its last state after a loss."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import ray

from recserve.errors import RecserveError, RuntimeEnvironmentError
from recserve_deployments.jobs.checkpoints import Checkpoint, Checkpoints
from recserve_deployments.jobs.failures import first_line, raise_cause
from recserve_deployments.jobs.torch_process import Epoch, Returned, TorchProcess

logger = logging.getLogger(__name__)

START_SECONDS = 120.0
"""Longest wait for the first process of a group; the others get as long again."""
ANSWER_SECONDS = 30.0
"""A process that does not answer for so long is lost."""
BLAME_SECONDS = 10.0
"""Longest wait for the error of another process, where one says only that it lost its peers."""


class _LostError(Exception):
    """A process of the group is gone."""


@dataclass(frozen=True)
class TorchGroup:
    """Training loop in several processes.

    Without one of them the others would wait: after a loss all are ended, and as many as there is room for
    by then are begun again.

    Attributes:
        name: Name of the function.
        arguments: References to the shared values.
        workers: Processes.
        options: Ray options of each.
        threads: CPU threads of each.
        checkpoints: Where rank 0's state is kept.
    """

    name: str
    arguments: Sequence[Any]
    workers: int
    options: dict[str, Any]
    threads: int
    checkpoints: Checkpoints

    def run(self, losses: int, reported: Callable[[int, float], None]) -> Any:
        """Run it to its end; what rank 0 returned.

        Args:
            losses: Losses of processes after which it is begun again; one more ends it.
            reported: Called with the epoch and the score of each report of rank 0.

        Raises:
            RuntimeEnvironmentError: There is no room, or processes were lost too often.
            Exception: What the function raised.
        """
        identity = self._identity()
        checkpoint = self.checkpoints.read(identity)
        if checkpoint is not None:
            logger.warning("%s goes on after epoch %d", self.name, checkpoint[0])
        for attempt in range(losses + 1):
            try:
                result = self._attempt(identity, checkpoint, reported)
            except _LostError as error:
                checkpoint = self.checkpoints.read(identity)
                after = "anew" if checkpoint is None else f"again after epoch {checkpoint[0]}"
                logger.warning("%s lost a process (%s)", self.name, error)
                if attempt < losses:
                    logger.warning("%s is begun %s", self.name, after)
                continue
            self.checkpoints.remove(identity)
            return result
        raise RuntimeEnvironmentError(
            f"{self.name} lost a process or node more than {losses} times; its last state is kept, and the "
            "same command goes on from there"
        )

    def _identity(self) -> str:
        """Equal for the same function on the same values: what a checkpoint may be of."""
        digest = hashlib.sha256(self.name.encode())
        for argument in self.arguments:
            arrays: list[Any] = []
            digest.update(ray.cloudpickle.dumps(ray.get(argument), 5, buffer_callback=arrays.append))
            for array in arrays:
                digest.update(array.raw())
        return digest.hexdigest()[:32]

    def _attempt(
        self, identity: str, checkpoint: Checkpoint | None, reported: Callable[[int, float], None]
    ) -> Any:
        processes = self._start()
        try:
            meeting = ray.get(processes[0].ready.remote(), timeout=ANSWER_SECONDS)
            streams = [
                process.run.remote(self.name, list(self.arguments), meeting, checkpoint)
                for process in processes
            ]
            return self._follow(identity, processes, streams, reported)
        except (ray.exceptions.RayActorError, ray.exceptions.GetTimeoutError) as error:
            raise _LostError(first_line(error)) from None
        finally:
            for process in processes:
                ray.kill(process)

    def _start(self) -> list[Any]:
        """As many processes as there is room for, at least one."""
        actor = ray.remote(TorchProcess).options(**self.options, max_concurrency=2)
        wanted = self.workers
        while True:
            gpus = float(self.options.get("num_gpus", 0))
            processes = [actor.remote(rank, wanted, self.threads, gpus) for rank in range(wanted)]
            answers = [process.ready.remote() for process in processes]
            ready, missing = ray.wait(answers, num_returns=wanted, timeout=START_SECONDS)
            if not missing:
                return processes
            for process in processes:
                ray.kill(process)
            if not ready:
                raise RuntimeEnvironmentError(
                    f"no process of {self.name} could be started within {START_SECONDS:.0f} s: the cluster "
                    "has no room for it"
                )
            logger.warning("%s has room for %d of %d processes", self.name, len(ready), wanted)
            wanted = len(ready)

    def _follow(
        self,
        identity: str,
        processes: list[Any],
        streams: list[Any],
        reported: Callable[[int, float], None],
    ) -> Any:
        """Wait for every process's end, and keep what rank 0 reports."""
        result: Any = None
        going = dict(enumerate(streams))
        while going:
            ready, _ = ray.wait(list(going.values()), num_returns=1)
            rank = next(rank for rank, stream in going.items() if stream is ready[0])
            try:
                said = ray.get(next(going[rank]))
            except (ray.exceptions.RayTaskError, ray.exceptions.RaySystemError) as error:
                self._check_alive(processes)
                del going[rank]
                raise_cause(_first_cause(error, list(going.values())))
            if isinstance(said, Epoch):
                if said.state is not None:
                    self.checkpoints.write(identity, (said.number, said.state))
                processes[rank].kept.remote()
                reported(said.number, said.score)
            elif isinstance(said, Returned):
                result = said.value if rank == 0 else result
                del going[rank]
        return result

    def _check_alive(self, processes: list[Any]) -> None:
        answers = [process.ready.remote() for process in processes]
        try:
            ray.get(answers, timeout=ANSWER_SECONDS)
        except ray.exceptions.RayTaskError as error:
            raise RecserveError(first_line(error)) from None
        except ray.exceptions.RayError as error:
            raise _LostError(first_line(error)) from None


def _first_cause(error: Exception, others: list[Any]) -> Exception:
    """The error that ended a group, of which this one may be a consequence.

    Whoever waits for a process that has failed gets a ``RuntimeError`` of torch, perhaps before the failure
    itself arrives here.

    Args:
        error: The error that came first.
        others: Streams of the other processes.
    """
    deadline = time.monotonic() + BLAME_SECONDS
    while isinstance(getattr(error, "cause", None), RuntimeError) and others:
        ready, _ = ray.wait(others, num_returns=1, timeout=max(deadline - time.monotonic(), 0.0))
        if not ready:
            break
        try:
            ended = isinstance(ray.get(next(ready[0])), Returned)
        except (ray.exceptions.RayTaskError, ray.exceptions.RaySystemError) as other:
            if not isinstance(getattr(other, "cause", None), RuntimeError):
                failure: Exception = other
                return failure
            ended = True
        except (ray.exceptions.RayError, StopIteration):
            ended = True
        others = [stream for stream in others if not (ended and stream is ready[0])]
    return error
