"""Result cache: recommendations by user, invalidated by history version, catalogue version and TTL.

An answer depends on what was asked, what the user has done, and the catalogue and models of the moment.
As long as all of them are the same, so is the answer. A single new event of the user, or a change of the
catalogue, has it made anew.
"""

from __future__ import annotations

import json
import random
import threading
import time
import weakref
from collections.abc import Hashable
from dataclasses import dataclass

from cachetools import LRUCache

from recserve.data.entities import User
from recserve.serving.requests.request import Recommendation, RecommendedItem, Request
from recserve.serving.scenario import Scenario, ttl_of
from recserve.serving.state.live_catalogue import CatalogueView
from recserve.store import History, key_of

Key = tuple[str | None, str, Hashable]
"""The user of a request, the bundle, and everything else that its answer depends on."""


_SOONEST = 0.5
"""Share of the TTL after which an answer may expire."""


@dataclass(frozen=True, slots=True)
class CachedResult:
    """What an answer consists of, beside its id and what it cost.

    Attributes:
        items: Best first.
        left_out: See :attr:`recserve.serving.requests.request.Recommendation.left_out`.
        until: When it is to be made anew, milliseconds since the epoch.
    """

    items: tuple[RecommendedItem, ...]
    left_out: tuple[str, ...]
    until: int


class ResultCache:
    """LRU cache of answers of the pipelines of a process. Safe to use from several threads.

    Args:
        size: Answers kept; 0 keeps none.
        seconds: For how long at most: with time alone, likes fade and fresh items age.

    Attributes:
        hits: Requests answered from the cache so far.
        misses: Requests whose answer could have been there and was not.
    """

    def __init__(self, size: int = 0, seconds: float = 60.0) -> None:
        self._seconds = seconds
        self._kept: LRUCache[Key, CachedResult] | None = LRUCache(size) if size else None
        self._lock = threading.Lock()
        # Weak, so that no catalogue of a bundle that is gone is held by its answers.
        self._views: dict[str, weakref.ref[CatalogueView]] = {}
        self.hits = 0
        self.misses = 0
        self.forgotten = 0
        """Users forgotten so far: an answer that was begun before the last one may be about that user."""

    def key(
        self,
        bundle: str,
        name: str,
        scenario: Scenario,
        request: Request,
        history: History,
        profile: User | None,
    ) -> Key | None:
        """The key of a request's answer, all it depends on beside the catalogue; None if it is never kept.

        Args:
            bundle: Id of the bundle.
            name: Name of the scenario.
            scenario: The scenario; one that explores draws lots.
            request: The request.
            history: Of who asks.
            profile: Of who asks, if there is one.
        """
        if self._kept is None or scenario.config.explore is not None or self._ttl(scenario) <= 0:
            return None
        attributes = None if profile is None else json.dumps(profile.attributes, sort_keys=True)
        return request.user_id, bundle, (name, history.mark, attributes, request.identity)

    def get(self, key: Key | None, view: CatalogueView, now: int) -> CachedResult | None:
        """The cached answer, if it still holds.

        Args:
            key: See :meth:`key`.
            view: The catalogue; an answer holds on the very one that it was made on.
            now: The present, milliseconds since the epoch.
        """
        if self._kept is None or key is None:
            return None
        with self._lock:
            if not self._is_latest(key[1], view):
                self._begin(key[1], view)
            cached = self._kept.get(key)
            if cached is None or now >= cached.until:
                self.misses += 1
                return None
            self.hits += 1
            return cached

    def put(
        self,
        key: Key | None,
        view: CatalogueView,
        now: int,
        scenario: Scenario,
        answer: Recommendation,
        forgotten: int,
    ) -> None:
        """Keep an answer, unless somebody was forgotten meanwhile.

        Args:
            key: See :meth:`key`.
            view: The catalogue that it was made on.
            now: When its making began, milliseconds since the epoch.
            scenario: The scenario.
            answer: The answer.
            forgotten: :attr:`forgotten` of before its user's history was read.
        """
        if self._kept is None or key is None or forgotten != self.forgotten:
            return
        if not self._is_latest(key[1], view):
            return
        expiries = view.bars.expiries
        # Not all at the same moment: what was made at once would have to be made anew at once.
        until = now + int(self._ttl(scenario) * 1000 * random.uniform(_SOONEST, 1.0))
        until = min([until, *expiries[expiries > now].tolist()])
        with self._lock:
            self._kept[key] = CachedResult(answer.items, answer.left_out, until)

    def _is_latest(self, bundle: str, view: CatalogueView) -> bool:
        """Whether a view is the latest one of a bundle's catalogue that was answered from."""
        known = self._views.get(bundle)
        return known is not None and known() is view

    def _begin(self, bundle: str, view: CatalogueView) -> None:
        """Drop a bundle's answers: from now on another view of its catalogue holds."""
        if self._kept is not None:
            for key in [key for key in self._kept if key[1] == bundle]:
                del self._kept[key]
        alive = {known: seen for known, seen in self._views.items() if seen() is not None}
        self._views = {**alive, bundle: weakref.ref(view)}

    def forget(self, user_key: bytes) -> None:
        """Forget a user, given as the digest of the id."""
        self.forgotten += 1
        if self._kept is None:
            return
        with self._lock:
            theirs = [key for key in self._kept if key[0] is not None and key_of(key[0]) == user_key]
            for key in theirs:
                del self._kept[key]

    def users(self) -> set[str | None]:
        """Users whose answers are cached."""
        with self._lock:
            return {key[0] for key in self._kept or ()}

    def _ttl(self, scenario: Scenario) -> float:
        """Seconds that an answer holds: not beyond the moment at which a filter's mask is computed anew."""
        seconds = self._seconds
        for chosen in scenario.filters.values():
            ttl = ttl_of(chosen)
            if ttl is not None:
                seconds = min(seconds, 0.0 if ttl <= 0 else ttl - time.monotonic() % ttl)
        return seconds
