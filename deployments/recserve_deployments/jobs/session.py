"""Executor of a command, connected to the cluster where its parts run for as long as it needs them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from recserve.training.tuning.cluster import Needs, ray_session

if TYPE_CHECKING:
    from recserve_deployments.jobs.executor import RayExecutor


@contextmanager
def executor_session(
    home: Path,
    address: str | None,
    *,
    workers: int | None,
    cpus: float,
    gpus: float,
    checkpoints: str | Path,
    placed: Callable[[str], None],
) -> Iterator[RayExecutor]:
    """Connect to where parts run, and leave it again; what runs there by then is ended.

    Args:
        home: The home folder. Its running server's cluster is taken if there is one.
        address: ``host:port`` of another cluster, or ``local`` for a Ray of our own.
        workers: Parts at a time; None for as many as there is room for.
        cpus: CPUs of a worker.
        gpus: GPUs of a worker, possibly a fraction of one.
        checkpoints: Folder or URI where training loops keep their last state.
        placed: Told in words where parts run.

    Raises:
        RuntimeEnvironmentError: Ray cannot be reached or started, has no room, or has a node where other
            distributions are installed.
    """
    needs = Needs(cpus, gpus, workers, "a worker", object_store=None)
    with ray_session(home, address, needs) as place:
        # Imports Ray, which reads its token as it is imported.
        from recserve_deployments.jobs.executor import RayExecutor

        fitting = place.concurrent
        asked = f" of {workers}" if workers is not None and fitting < workers else ""
        placed(f"{fitting}{asked} worker{'s' if fitting != 1 or asked else ''} on {place.description}")
        yield RayExecutor(fitting, place.resources, checkpoints)
