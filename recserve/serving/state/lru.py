"""LRU map bounded by the weight of what it holds."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Lru(Generic[K, V]):
    """Least-recently-used map with a budget. Safe to use from several threads.

    Args:
        budget: Weight held at most; what is heavier on its own is not held at all.
        weigh: Weight of a value; None counts values.
    """

    def __init__(self, budget: int, weigh: Callable[[V], int] | None = None) -> None:
        self._budget = budget
        self._weigh = weigh
        self._weight = 0
        self._held: OrderedDict[K, tuple[V, int]] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._held)

    def held(self) -> list[K]:
        """What is held, unused for longest first."""
        with self._lock:
            return list(self._held)

    def get(self, key: K) -> V | None:
        """The value of a key, which counts as a use; None if it is not held."""
        with self._lock:
            held = self._held.get(key)
            if held is None:
                return None
            self._held.move_to_end(key)
            return held[0]

    def put(self, key: K, value: V) -> None:
        """Hold a value; others are forgotten in return."""
        weight = 1 if self._weigh is None else self._weigh(value)
        with self._lock:
            self._drop(key)
            self._held[key] = (value, weight)
            self._weight += weight
            while self._weight > self._budget:
                self._drop(next(iter(self._held)))

    def drop(self, key: K) -> None:
        """Forget a key, if it is held."""
        with self._lock:
            self._drop(key)

    def drop_where(self, chosen: Callable[[K], bool]) -> None:
        """Forget all keys that are chosen; looks at every one."""
        with self._lock:
            for key in [key for key in self._held if chosen(key)]:
                self._drop(key)

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._held.clear()
            self._weight = 0

    def _drop(self, key: K) -> None:
        held = self._held.pop(key, None)
        if held is not None:
            self._weight -= held[1]
