"""Executor whose parts are Ray tasks and whose training loops are Ray actors."""

from __future__ import annotations

import pickle
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import ray

from recserve.data.system.cpus import thread_variables
from recserve.errors import RuntimeEnvironmentError
from recserve.plugin.executor import Shared
from recserve_deployments.jobs.checkpoints import Checkpoints
from recserve_deployments.jobs.failures import first_line, raise_cause
from recserve_deployments.jobs.part import called, name_of
from recserve_deployments.jobs.torch_group import TorchGroup

P = TypeVar("P")
R = TypeVar("R")

LOSSES = 3
"""Times that one part, or one training loop, may lose its process before the run is given up."""
DESERTED_SECONDS = 300.0
"""Longest wait for a node where all that could run a part are gone."""
_LOOK_SECONDS = 15.0


@dataclass(frozen=True)
class Held:
    """Handle of a value in Ray's object store.

    Attributes:
        reference: Ray's reference to it, none after it was released.
    """

    reference: list[Any]

    def release(self) -> None:
        """Let go of the value."""
        self.reference.clear()


@dataclass(frozen=True)
class RayExecutor:
    """Executor on the Ray cluster that this process is connected to.

    A part is a task: Ray repeats it where its process or node is lost, and only there. Shared values lie in
    the object store, one copy a node. Numerical libraries take as many threads as the task has CPUs.

    Attributes:
        workers: Parts computed at the same time.
        resources: Ray resources of one worker: ``CPU``, possibly ``GPU`` and others.
        checkpoints: Folder or URI of object storage where training loops keep their last state.
    """

    workers: int
    resources: dict[str, float]
    checkpoints: str | Path

    def share(self, value: Any) -> Shared:
        """Put a value into the object store.

        Raises:
            TypeError: It cannot be pickled.
        """
        try:
            return Held([ray.put(value)])
        except (TypeError, AttributeError, pickle.PicklingError) as error:
            raise TypeError(
                f"{type(value).__name__} cannot be sent to workers: {first_line(error)}"
            ) from None

    def map(self, function: Callable[..., R], parts: Iterable[P], *shared: Shared) -> Iterator[R]:
        """See :meth:`recserve.Executor.map`."""
        name = name_of(function)
        values = [_reference(handle) for handle in shared]
        task = ray.remote(called).options(**self._options(), max_retries=LOSSES, retry_exceptions=False)
        waiting = iter(parts)
        # In the order of the parts; results that came before their turn are among them.
        begun: deque[Any] = deque()
        running: set[Any] = set()
        try:
            while True:
                room = min(self.workers - len(running), 2 * self.workers - len(begun))
                for part in islice(waiting, room):
                    reference = task.remote(name, [_with_references(part), *values])
                    begun.append(reference)
                    running.add(reference)
                if not begun:
                    return
                if begun[0] in running:
                    running -= self._ended(running)
                else:
                    yield _result(begun.popleft())
        finally:
            # Whoever stops listening, or Ctrl-C.
            for reference in running:
                ray.cancel(reference, force=True)

    def _ended(self, running: set[Any]) -> set[Any]:
        """Parts that have ended, at least one; waits for it as long as there is a node to run it.

        Raises:
            RuntimeEnvironmentError: There has been no such node for :data:`DESERTED_SECONDS`.
        """
        last_seen = time.monotonic()
        while True:
            done, _ = ray.wait(list(running), num_returns=1, timeout=_LOOK_SECONDS, fetch_local=False)
            if done:
                return set(done)
            if self._has_node():
                last_seen = time.monotonic()
            elif time.monotonic() - last_seen > DESERTED_SECONDS:
                raise RuntimeEnvironmentError(
                    f"for {DESERTED_SECONDS:.0f} s no node of the cluster has had room for a worker"
                )

    def _has_node(self) -> bool:
        """Whether a living node is large enough for a worker."""
        wanted = self.resources.items()
        return any(
            node["Alive"] and all(node["Resources"].get(name, 0) >= amount for name, amount in wanted)
            for node in ray.nodes()
        )

    def torch(
        self,
        function: Callable[..., R],
        *shared: Shared,
        reported: Callable[[int, float], None] = lambda epoch, score: None,
    ) -> R:
        """See :meth:`recserve.Executor.torch`."""
        group = TorchGroup(
            name_of(function),
            [_reference(handle) for handle in shared],
            self.workers,
            self._options(),
            int(self.resources.get("CPU", 1)) or 1,
            Checkpoints.at(self.checkpoints),
        )
        result: R = group.run(LOSSES, reported)
        return result

    def _options(self) -> dict[str, Any]:
        """Ray options of a worker."""
        others = {name: amount for name, amount in self.resources.items() if name not in ("CPU", "GPU")}
        gpus = self.resources.get("GPU", 0)
        variables = thread_variables(max(1, int(self.resources["CPU"])))
        if not gpus:
            # Ray leaves all GPUs visible to a worker that asks for none.
            variables["CUDA_VISIBLE_DEVICES"] = ""
        return {
            "num_cpus": self.resources["CPU"],
            "num_gpus": gpus,
            "resources": others,
            "runtime_env": {"env_vars": variables},
        }


def _reference(handle: Shared) -> Any:
    if not isinstance(handle, Held):
        raise TypeError(f"{type(handle).__name__} was shared by another executor")
    if not handle.reference:
        raise ValueError("a shared value is used after it was released")
    return handle.reference[0]


def _with_references(part: Any) -> Any:
    """A part with Ray's references in place of the handles in it."""
    if not isinstance(part, tuple):
        return part
    return tuple(_reference(entry) if isinstance(entry, Held) else entry for entry in part)


def _result(reference: Any) -> Any:
    try:
        return ray.get(reference)
    except (ray.exceptions.RayTaskError, ray.exceptions.RaySystemError) as error:
        raise_cause(error)
    except ray.exceptions.RayError as error:
        raise RuntimeEnvironmentError(
            f"a part was lost with its process or node more than {LOSSES} times: {first_line(error)}"
        ) from None
