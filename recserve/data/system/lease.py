"""Lease of a folder: one process at a time works in it, also where the filesystem has no locks."""

from __future__ import annotations

import json
import os
import socket
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace

from recserve.data.entities import now_ms
from recserve.data.system.files import held_alone
from recserve.data.system.folder import Folder
from recserve.errors import ConflictError

RENEWED_SECONDS = 15.0
EXPIRED_SECONDS = 60.0
_LOCK, _LEASE = ".lock", "lease.json"


@dataclass(frozen=True)
class Holder:
    """Process that works in a folder.

    Attributes:
        run: Differs from run to run.
        host: Name of its machine.
        process: Its number there.
        renewed: When it last said that it is alive, milliseconds.
    """

    run: str
    host: str
    process: int
    renewed: int

    @classmethod
    def of(cls, folder: Folder) -> Holder | None:
        """Who holds a folder; a file that cannot be understood holds nothing."""
        try:
            return cls(**json.loads(folder.read(_LEASE)))
        except (FileNotFoundError, ValueError, TypeError):
            return None

    def write(self, folder: Folder) -> None:
        """Say that the holder is alive."""
        folder.write(_LEASE, json.dumps(asdict(replace(self, renewed=now_ms()))).encode())


@contextmanager
def leased(
    folder: Folder, what: str, renewed_seconds: float = RENEWED_SECONDS
) -> Iterator[Callable[[], None]]:
    """Work in a folder alone.

    A lock file does it on this machine's disks. In object storage a file names the holder, who renews it; a
    holder who died is waited for. Two who begin within the same moment are told apart when the lease is
    renewed.

    Args:
        folder: The folder.
        what: What is done there, for messages.
        renewed_seconds: How often the holder says that it is alive.

    Yields:
        A check that raises ConflictError once somebody else holds the folder.

    Raises:
        ConflictError: Another process holds it.
    """
    if folder.local is not None:
        folder.local.mkdir(parents=True, exist_ok=True)
        with held_alone(folder.local / _LOCK, ConflictError(f"another {what} in {folder.shown} is going on")):
            yield lambda: None
        return
    other = Holder.of(folder)
    idle = EXPIRED_SECONDS if other is None else (now_ms() - other.renewed) / 1000
    if other is not None and idle < EXPIRED_SECONDS:
        raise ConflictError(
            f"another {what} in {folder.shown} is going on: process {other.process} of {other.host} was "
            f"alive {max(idle, 0):.0f} s ago; if it died, begin again after {EXPIRED_SECONDS:.0f} s"
        )
    own = Holder(run=uuid.uuid4().hex, host=socket.gethostname(), process=os.getpid(), renewed=now_ms())
    own.write(folder)
    ended, lost = threading.Event(), threading.Event()

    def renew() -> None:
        while not ended.wait(renewed_seconds):
            # Storage that does not answer for a moment is no reason to stop.
            with suppress(OSError):
                found = Holder.of(folder)
                if found is not None and found.run != own.run:
                    lost.set()
                    return
                own.write(folder)

    def check() -> None:
        if lost.is_set():
            raise ConflictError(f"another {what} in {folder.shown} has begun meanwhile; this one stops")

    thread = threading.Thread(target=renew, name="lease", daemon=True)
    thread.start()
    try:
        yield check
    finally:
        ended.set()
        thread.join()
        if not lost.is_set():
            with suppress(OSError):
                folder.remove(_LEASE)
