"""Calls the observer hooks of plugins, off the path of requests."""

from __future__ import annotations

import dataclasses
import logging
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from recserve.data.entities import Event
from recserve.plugin.registry import Registry
from recserve.serving.requests.request import Recommendation

logger = logging.getLogger(__name__)

_WAITING = 256


class Observers:
    """The plugins that want to know what was recommended and which events arrived.

    One thread calls them in order. When they do not keep up, observations are dropped with a warning rather
    than held in memory.

    Args:
        registry: The plugins of this replica.

    Attributes:
        dropped: Observations that were dropped so far.
    """

    def __init__(self, registry: Registry) -> None:
        hooks = registry.manager.hook
        self._after_recommend = hooks.after_recommend if hooks.after_recommend.get_hookimpls() else None
        self._on_events = hooks.on_events if hooks.on_events.get_hookimpls() else None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="observers")
        self.dropped = 0
        self._places = threading.BoundedSemaphore(_WAITING)

    def recommended(self, answers: Sequence[Recommendation]) -> None:
        """A batch was answered."""
        hook = self._after_recommend
        if hook is not None and answers:
            self._submit(lambda: hook(answers=[dataclasses.asdict(answer) for answer in answers]))

    def stored(self, events: Sequence[Event]) -> None:
        """Events became durable."""
        hook = self._on_events
        if hook is not None and events:
            self._submit(lambda: hook(events=events))

    def close(self) -> None:
        """Finish what was handed over."""
        self._thread.shutdown(wait=True)

    def _submit(self, call: Callable[[], Any]) -> None:
        if not self._places.acquire(blocking=False):
            self.dropped += 1
            logger.warning("observers do not keep up; an observation was dropped")
            return

        def observe() -> None:
            try:
                call()
            except Exception:
                logger.exception("an observer failed")
            finally:
                self._places.release()

        self._thread.submit(observe)


def observing_plugins(registry: Registry) -> frozenset[str]:
    """Entry points that implement an observer hook; they are loaded where requests are answered."""
    hooks = registry.manager.hook
    found = (*hooks.after_recommend.get_hookimpls(), *hooks.on_events.get_hookimpls())
    return frozenset(one.plugin_name for one in found)
