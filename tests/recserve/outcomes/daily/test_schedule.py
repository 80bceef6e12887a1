"""Days are counted by the server once they are over, by one of its replicas."""

from __future__ import annotations

import asyncio

import pytest
from pydantic import ValidationError

from recserve.config import Config
from recserve.config.outcomes import OutcomesConfig
from recserve.outcomes.daily import Rollup
from recserve.outcomes.daily.schedule import DayCounting
from recserve.store import Store
from tests.support.outcomes import DAY, HOUR, NOON, config, done, fill, shown

TODAY = NOON // DAY


def counting(store: Store, now: int, chosen: Config | None = None) -> DayCounting:
    """What counts as of a moment."""
    settings = chosen or config()
    return DayCounting(store, settings, Rollup(store, settings, now=now).count_over)


def test_a_day_is_counted_once_it_is_over(store: Store) -> None:
    assert counting(store, NOON).look(NOON) == 0
    fill(store, [shown(f"r{n}", at=NOON + n * DAY) for n in range(3)], [done("u", "a", NOON + 9)])
    early, late = NOON + DAY, (TODAY + 2) * DAY + HOUR
    assert counting(store, early).look(early) == 0
    first = counting(store, late)
    assert first.look(late - 1) == 0
    assert first.look(late) == 1
    assert list(store.daily_days()) == [TODAY]
    assert first.look(late) == 0, "it was counted"
    much_later = late + 9 * DAY
    assert counting(store, much_later).look(much_later) == 2
    assert counting(store, much_later).look(much_later) == 0
    assert counting(store, much_later, config(window_hours=5)).look(late + 10 * DAY) == 3


def test_one_replica_counts(store: Store) -> None:
    fill(store, [shown("r")])
    now = NOON + 9 * DAY
    assert store.lease("outcomes", "somebody", now + HOUR, now)
    assert counting(store, now).look(now) == 0
    # Whoever had it has not been seen for too long.
    assert counting(store, now).look(now + 2 * HOUR) == 1


def test_it_counts_at_quiet_hours(store: Store) -> None:
    fill(store, [shown("r")])
    noon = NOON + 9 * DAY
    night = config(count_hours=[22, 4])
    assert counting(store, noon, night).look(noon) == 0
    assert counting(store, noon, night).look(noon + 14 * HOUR) == 1


@pytest.mark.parametrize(
    ("hours", "those"),
    [(None, range(24)), ((1, 3), [1, 2]), ((23, 1), [0, 23]), ((0, 24), range(24))],
)
def test_hours_may_cross_midnight(hours: tuple[int, int] | None, those: list[int]) -> None:
    chosen = OutcomesConfig(count_hours=hours)
    assert [hour for hour in range(24) if chosen.counts_at(hour)] == list(those)


@pytest.mark.parametrize("hours", [(1, 1), (1, 25), (-1, 3)])
def test_hours_that_are_none_are_refused(hours: tuple[int, int]) -> None:
    with pytest.raises(ValidationError, match="two different hours from 0 to 24"):
        OutcomesConfig(count_hours=hours)


def test_a_server_that_may_not_count_does_not_look(store: Store) -> None:
    asyncio.run(counting(store, NOON, config(count_days=False)).run())
