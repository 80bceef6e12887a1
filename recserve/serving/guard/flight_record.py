"""Flight record of a process: which components were being called when it died, for the process after it.

Native code of a plugin may end its process without an exception: a segmentation fault, ``os._exit``, a limit
of memory. Nothing is left then that could say who did it, so calls are written down while they are under way,
in a memory-mapped file that outlives the process. The next process of that name there finds the file, and
the lock on it gone.
"""

from __future__ import annotations

import fcntl
import json
import logging
import mmap
import os
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock

logger = logging.getLogger(__name__)

_SLOTS = 128
_SLOT_BYTES = 128
_DEATHS_AT = _SLOTS * _SLOT_BYTES
_FILE_BYTES = _DEATHS_AT + 16_384
_SUFFIX = ".flight"


class FlightRecord:
    """Calls under way in this process, and what earlier ones of its name died of.

    Args:
        folder: Where processes of this host leave their records; made where it is missing.
        name: What kind of process this is, such as ``retrieval``.
    """

    def __init__(self, folder: Path, name: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._lock = Lock()
        self._free = deque(range(_SLOTS))
        self._deaths = _left_behind(folder, name)
        self._path = folder / f"{name}-{os.getpid()}-{id(self):x}{_SUFFIX}"
        self._file = self._path.open("w+b")
        fcntl.flock(self._file, fcntl.LOCK_EX)
        self._file.truncate(_FILE_BYTES)
        self._map = mmap.mmap(self._file.fileno(), _FILE_BYTES)
        self._write_deaths()

    def deaths(self, component: str) -> int:
        """Processes that died while the component was called, since it last came back from a call."""
        return self._deaths.get(component, 0)

    @contextmanager
    def calling(self, component: str) -> Iterator[None]:
        """Note a call while it is under way, and that the process outlived it."""
        slot = self._free.popleft() if self._free else None
        if slot is not None:
            self._fill(slot, component)
        try:
            yield
        finally:
            if slot is not None:
                self._fill(slot, "")
                self._free.append(slot)
            if component in self._deaths:
                with self._lock:
                    self._deaths.pop(component, None)
                    self._write_deaths()

    def close(self) -> None:
        """End in good order: nothing is left to be suspected."""
        self._path.unlink(missing_ok=True)

    def _fill(self, slot: int, component: str) -> None:
        start = slot * _SLOT_BYTES
        self._map[start : start + _SLOT_BYTES] = component.encode()[:_SLOT_BYTES].ljust(_SLOT_BYTES, b"\0")

    def _write_deaths(self) -> None:
        written = json.dumps(self._deaths).encode()
        room = _FILE_BYTES - _DEATHS_AT
        # Whatever does not fit is many components that were in the air together, so none is suspected.
        self._map[_DEATHS_AT:] = (written if len(written) <= room else b"{}").ljust(room, b" ")


def _left_behind(folder: Path, name: str) -> dict[str, int]:
    """Deaths by component, out of the records of processes that are no more; these are removed."""
    deaths: dict[str, int] = {}
    for path in sorted(folder.glob(f"{name}-*{_SUFFIX}")):
        try:
            with path.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                content = file.read()
                path.unlink()
        except OSError:
            continue  # its process lives, or another one was faster
        before = _deaths_of(content)
        under_way = _calls_of(content)
        for component in before.keys() | under_way:
            count = before.get(component, 0) + (component in under_way)
            deaths[component] = max(deaths.get(component, 0), count)
        if under_way:
            logger.error("the process before this one died while it called %s", ", ".join(sorted(under_way)))
    return deaths


def _calls_of(content: bytes) -> set[str]:
    slots = (content[start : start + _SLOT_BYTES] for start in range(0, _DEATHS_AT, _SLOT_BYTES))
    return {slot.rstrip(b"\0").decode(errors="replace") for slot in slots} - {""}


def _deaths_of(content: bytes) -> dict[str, int]:
    try:
        found = json.loads(content[_DEATHS_AT:])
    except ValueError:
        return {}  # it died before it wrote them
    return {name: count for name, count in found.items() if isinstance(count, int)}
