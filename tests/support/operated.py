"""What whoever operates a server has to look at: bundles, days of outcomes, experiments."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from recserve import Event
from recserve.data.entities import now_ms
from recserve.experiments.lifecycle import Status
from recserve.store import ExperimentRecord, ExposedItem, Exposure, Grounds, Store
from tests.support.bundles import write_bundle
from tests.support.experiments import defined
from tests.support.outcomes import DAY, HOUR, fill

ITEMS = ("1", "2", "6", "32", "47", "50", "110", "150", "260", "296", "318", "356")
SOURCES = ("same_words", "same_genres", "popular")
_CLICKED = (0.16, 0.09, 0.04)
"""How often people click what each source found."""


@dataclass(frozen=True)
class Operated:
    """A server with a past.

    Attributes:
        before: Id of the bundle that was current before.
        current: Id of the current one, promoted by its evidence.
        worse: Id of the newest one, which is worse.
    """

    before: str
    current: str
    worse: str


def operate(folder: Path, store: Store, *, days: int = 10, pages: int = 40) -> Operated:
    """Give a server bundles, outcomes and experiments.

    Args:
        folder: Its home.
        store: Its store.
        days: Days that something was shown on, up to today.
        pages: Pages a day.
    """
    now = now_ms()
    before = write_bundle(
        folder, store, seed=1, ndcg=0.101, created=now - 9 * DAY, metrics=_metrics(0.31, 0.78, 6.4)
    )
    current = write_bundle(
        folder, store, seed=2, ndcg=0.112, created=now - 4 * DAY, metrics=_metrics(0.44, 0.69, 7.1)
    )
    worse = write_bundle(
        folder, store, seed=3, ndcg=0.06, created=now - 2 * HOUR, metrics=_metrics(0.12, 0.91, 5.2)
    )
    store.set_current(before, Grounds("cli:ada", "train", None))
    difference = {"metric": "ndcg@10", "difference": 0.011, "ci95": [0.006, 0.016], "users": 200, "margin": 0}
    store.set_current(
        current, Grounds("key:4f1a09c2", "promote", "won on last week's data", {"offline": difference})
    )
    live_through(store, before, current, days=days, pages=pages)
    return Operated(before, current, worse)


def live_through(
    store: Store,
    before: str,
    current: str,
    *,
    days: int,
    pages: int,
    items: Sequence[str] = ITEMS,
    sources: Sequence[str] = SOURCES,
    lift: float = 2.0,
) -> None:
    """Give a store days on which two bundles showed items, and three experiments with outcomes.

    Args:
        store: The store.
        before: The bundle of the first half of the days.
        current: That of the second half, whose items are clicked more.
        days: Days that something was shown on, up to today.
        pages: Pages a day.
        items: Ids of what is shown, the most shown first.
        sources: Three retrievers, the one whose items are clicked most first.
        lift: By how much the clicks of the arm ``fewer`` exceed those of ``control``; less than one is worse.
    """
    now = now_ms()
    people = _People(store, items, sources)
    for day in range(days):
        at = now - (days - 1 - day) * DAY - 2 * HOUR
        bundle = before if day < days // 2 else current
        people.visit(pages, f"day{day}", bundle, at, lift=1.0 if bundle == before else 1.4)
    _experiment(store, "fewer-neighbours", Status(state="running", share=0.5, started=now - 3 * DAY))
    _experiment(
        store,
        "lopsided",
        Status(
            state="stopped",
            share=0.2,
            started=now - 8 * DAY,
            stopped=now - 6 * DAY,
            reason="the shares were wrong",
            stopped_arms={"fewer": "a guardrail was passed: p99 latency 410 ms against 120 ms"},
        ),
    )
    _experiment(store, "next-idea", Status())
    for arm, arm_lift in (("control", 1.0), ("fewer", lift)):
        name = f"fewer-neighbours-{arm}"
        people.visit(150, name, current, now - DAY, arm_lift, ("fewer-neighbours", arm))
    for arm, count in (("control", 160), ("fewer", 40)):
        people.visit(count, f"lopsided-{arm}", before, now - 7 * DAY, 1.0, ("lopsided", arm))


def _metrics(coverage: float, gini: float, novelty: float) -> dict[str, Any]:
    return {
        "recall@10": {"mean": coverage / 2, "ci95": [coverage / 2 - 0.02, coverage / 2 + 0.02]},
        "coverage@10": {"mean": coverage, "ci95": [coverage - 0.03, coverage + 0.03]},
        "gini@10": {"mean": gini, "ci95": [gini - 0.02, gini + 0.02]},
        "novelty@10": {"mean": novelty, "ci95": [novelty - 0.3, novelty + 0.3]},
        "ild@10": {"mean": None, "ci95": None},
    }


def _experiment(store: Store, name: str, status: Status) -> None:
    definition = defined(name, description=f"What {name} does", layer=name)
    plain = definition.model_dump(mode="json", exclude_none=True)
    created = (status.started or now_ms()) - HOUR
    store.add_experiment(ExperimentRecord(name, created, plain, status.plain()))


class _People:
    """People who are shown pages, and click what the better retrievers found a little more often."""

    def __init__(self, store: Store, items: Sequence[str], sources: Sequence[str]) -> None:
        self._store = store
        self._items = items
        self._sources = sources
        self._rng = np.random.default_rng(7)
        # Shares of the catalogue that fall off steeply, as popularity does.
        weights = 1 / np.arange(1, len(items) + 1)
        self._weights = weights / weights.sum()

    def visit(
        self,
        pages: int,
        name: str,
        bundle: str,
        at: int,
        lift: float,
        experiment: tuple[str, str] | tuple[None, None] = (None, None),
    ) -> None:
        """Show pages to as many of them."""
        rng = self._rng
        shown: list[Exposure] = []
        done: list[Event] = []
        for page in range(pages):
            user, recommendation = f"{name}-{page}", f"{name}-{page}"
            chosen: Sequence[Any] = rng.choice(len(self._items), 5, replace=False, p=self._weights)
            found = [int(rng.integers(len(self._sources))) for _ in chosen]
            items = tuple(
                ExposedItem(self._items[item], 1.0 / (place + 1), (self._sources[source],))
                for place, (item, source) in enumerate(zip(chosen, found, strict=True))
            )
            shown.append(
                Exposure(
                    recommendation,
                    user,
                    bundle,
                    "home",
                    at,
                    items,
                    experiment=experiment[0],
                    arm=experiment[1],
                )
            )
            for item, source in zip(items, found, strict=True):
                if rng.random() < lift * _CLICKED[source]:
                    event = "purchase" if rng.random() < 0.2 else "click"
                    value = 5.0 if event == "purchase" else None
                    done.append(
                        Event(user, item.item_id, event, at + HOUR, value, recommendation_id=recommendation)
                    )
        fill(self._store, shown, done)
