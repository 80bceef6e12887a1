"""Process of a training loop of torch: an actor that joins the group and runs the function."""

from __future__ import annotations

import datetime
import os
import queue
import socket
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import psutil
import ray

from recserve.errors import RuntimeEnvironmentError
from recserve.plugin.executor import TorchWorker
from recserve_deployments.jobs.checkpoints import Checkpoint
from recserve_deployments.jobs.part import called

GROUP_SECONDS = 600.0
"""Longest that a process waits for the others at one point."""


@dataclass(frozen=True)
class Epoch:
    """An epoch has ended; ``state`` is rank 0's, None if it is not to be kept."""

    number: int
    score: float
    state: dict[str, Any] | None


@dataclass(frozen=True)
class Returned:
    """What the function returned; only rank 0's is handed on."""

    value: Any


class TorchProcess:
    """Actor of one rank. Its calls run in threads of their own, so that it answers while it trains.

    Args:
        rank: Number of the process.
        world: Number of processes.
        threads: CPU threads.
        gpus: GPUs, possibly a fraction of one.
    """

    def __init__(self, rank: int, world: int, threads: int, gpus: float) -> None:
        self._rank = rank
        self._world = world
        self._threads = threads
        self._gpus = gpus
        self._kept = threading.Semaphore(0)

    def kept(self) -> None:
        """Called when the last epoch that was yielded has been kept."""
        self._kept.release()

    def ready(self) -> str:
        """``host:port`` on which rank 0 may wait for the others; answered at any time."""
        address = ray.util.get_node_ip_address()
        with socket.socket() as probe:
            probe.bind((address, 0))
            return f"{address}:{probe.getsockname()[1]}"

    def run(
        self, name: str, arguments: Sequence[Any], meeting: str, checkpoint: Checkpoint | None
    ) -> Iterator[Epoch | Returned]:
        """Run the function; yields each epoch of rank 0, and in the end what it returned.

        Args:
            name: Name of the function.
            arguments: Shared values, or references to them.
            meeting: :meth:`ready` of rank 0.
            checkpoint: Where to go on.
        """
        told: queue.Queue[Epoch | Returned | BaseException] = queue.Queue(maxsize=1)

        def report(epoch: int, score: float, state: dict[str, Any] | None) -> None:
            if self._rank == 0:
                told.put(Epoch(epoch, score, state))
                # What was reported is not lost any more, and states do not pile up.
                self._kept.acquire(timeout=GROUP_SECONDS)

        def train() -> None:
            try:
                told.put(Returned(self._train(name, arguments, meeting, checkpoint, report)))
            except BaseException as error:
                told.put(error)

        threading.Thread(target=train, daemon=True).start()
        while True:
            said = told.get()
            if isinstance(said, BaseException):
                raise said
            yield said
            if isinstance(said, Returned):
                return

    def _train(
        self,
        name: str,
        arguments: Sequence[Any],
        meeting: str,
        checkpoint: Checkpoint | None,
        report: Any,
    ) -> Any:
        worker = TorchWorker(
            rank=self._rank,
            world=self._world,
            device="cuda:0" if self._gpus else "cpu",
            threads=self._threads,
            report=report,
            checkpoint=checkpoint,
        )
        import torch

        torch.set_num_threads(self._threads)
        if self._world == 1:
            return called(name, [worker, *arguments])
        for variable in ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME"):
            # By default gloo takes what the host's own name resolves to, often a loopback address.
            os.environ.setdefault(variable, _interface(ray.util.get_node_ip_address()))
        # NCCL wants a GPU for each process.
        torch.distributed.init_process_group(
            "nccl" if self._gpus >= 1 else "gloo",
            init_method=f"tcp://{meeting}",
            rank=self._rank,
            world_size=self._world,
            timeout=datetime.timedelta(seconds=GROUP_SECONDS),
        )
        try:
            result = called(name, [worker, *arguments])
            # Nobody leaves while another still needs him.
            torch.distributed.barrier()
            return result if self._rank == 0 else None
        finally:
            torch.distributed.destroy_process_group()


def _interface(address: str) -> str:
    """The network interface that has an address."""
    for name, held in psutil.net_if_addrs().items():
        if any(entry.address == address for entry in held):
            return name
    raise RuntimeEnvironmentError(f"no network interface of this node has its address {address}")
