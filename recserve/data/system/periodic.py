"""Thread that does something again and again until it is closed."""

from __future__ import annotations

import threading
from collections.abc import Callable


class PeriodicThread:
    """Thread that calls something every few seconds, such as a look at what others may have changed.

    Args:
        name: Name of the thread.
        call: What is called; it must not raise.
        seconds: From the end of a call to the next one.
    """

    def __init__(self, name: str, call: Callable[[], None], seconds: float) -> None:
        self._name = name
        self._call = call
        self._seconds = seconds
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Call now, which blocks, and from now on."""
        self._call()
        self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Call no more, and wait for a call that runs."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while not self._stopped.wait(self._seconds):
            self._call()
