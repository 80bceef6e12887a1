"""Event loop of the process that calls language models: a daemon thread, so that no exit waits for a call."""

from __future__ import annotations

import asyncio
import os
import threading

_LOCK = threading.Lock()
_RUNNING: dict[int, asyncio.AbstractEventLoop] = {}


def background_loop() -> asyncio.AbstractEventLoop:
    """The loop of this process, started at the first call; a forked process gets one of its own."""
    with _LOCK:
        loop = _RUNNING.get(os.getpid())
        if loop is None:
            _RUNNING.clear()
            loop = _RUNNING[os.getpid()] = asyncio.new_event_loop()
            threading.Thread(target=loop.run_forever, daemon=True, name="llm").start()
        return loop
