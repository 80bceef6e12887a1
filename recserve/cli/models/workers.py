"""Options of commands whose parts may run on workers of a cluster, and the executor that they ask for."""

from __future__ import annotations

import importlib
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer

from recserve.cli.common import State, err
from recserve.errors import ConfigError

if TYPE_CHECKING:
    from recserve.plugin.executor import Executor

INTERRUPTED = 130
"""Exit status of a command that was interrupted."""

AddressOption = Annotated[
    str | None,
    typer.Option(
        "--address",
        help="Compute on workers of this Ray cluster (host:port), or of a Ray of its own ('local').",
        show_default="this process, or with --workers the running server's cluster, else local",
    ),
]
WorkersOption = Annotated[
    int | None,
    typer.Option(
        "--workers",
        min=1,
        help="Workers at a time.",
        show_default="1 in this process, with --address as many as fit",
    ),
]
CpusOption = Annotated[float, typer.Option("--cpus-per-worker", min=0.01, help="CPUs of a worker.")]
GpusOption = Annotated[
    float, typer.Option("--gpus-per-worker", min=0, help="GPUs of a worker; 0.5 lets two share one.")
]
CheckpointsOption = Annotated[
    str | None,
    typer.Option(
        "--checkpoints",
        help="Where training loops on workers keep their last state: a folder or s3://bucket/prefix.",
        show_default="HOME/checkpoints",
    ),
]


@dataclass(frozen=True)
class Workers:
    """Workers that a command is to use, as given on the command line."""

    address: str | None
    workers: int | None
    cpus: float
    gpus: float
    checkpoints: str | None = None

    @contextmanager
    def executor(self, state: State) -> Iterator[Executor | None]:
        """The executor for as long as the command needs it; None without options, for this process.

        Ctrl-C and SIGTERM end what runs on workers, and then the command.

        Raises:
            RuntimeEnvironmentError: The cluster cannot be reached or has no room; see
                :mod:`recserve_deployments.jobs.session`.
        """
        if self.address is None and self.workers is None:
            if self.gpus:
                raise ConfigError("--gpus-per-worker needs --workers or --address", field="--gpus-per-worker")
            yield None
            return
        if self.address is not None and "://" in self.address:
            raise ConfigError(
                f"--address is host:port of the cluster's head; what runs on a cluster by its dashboard is "
                f"`recserve submit {self.address} COMMAND`",
                field="--address",
            )
        # Named by a string, as the library must not import the deployments; they import Ray.
        session = importlib.import_module("recserve_deployments.jobs.session")
        try:
            with (
                Interruptions() as interruptions,
                session.executor_session(
                    state.home,
                    self.address,
                    workers=self.workers,
                    cpus=self.cpus,
                    gpus=self.gpus,
                    checkpoints=self.checkpoints or state.home / "checkpoints",
                    placed=lambda place: err.print(place, markup=False, soft_wrap=True),
                ) as executor,
            ):
                # Ray puts its own handler for SIGTERM in place.
                interruptions.catch()
                yield executor
        except KeyboardInterrupt:
            err.print("interrupted; nothing is left running")
            raise typer.Exit(INTERRUPTED) from None


class Interruptions:
    """Makes SIGTERM an interruption like Ctrl-C, and lets neither disturb the taking down."""

    _SIGNALS = (signal.SIGINT, signal.SIGTERM)

    def __enter__(self) -> Interruptions:
        self._before = {number: signal.getsignal(number) for number in self._SIGNALS}
        self.catch()
        return self

    def __exit__(self, *details: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def catch(self) -> None:
        """Put the handlers in place."""
        for number in self._SIGNALS:
            signal.signal(number, self._interrupt)

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        for handled in self._SIGNALS:
            signal.signal(handled, signal.SIG_IGN)
        raise KeyboardInterrupt
