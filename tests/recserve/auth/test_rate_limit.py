"""A bucket allows two seconds' worth at once and then its rate, whatever the clock does in between."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recserve.auth.rate_limit import BURST_SECONDS, TokenBucket


@given(
    rate=st.floats(0.1, 1000),
    steps=st.lists(st.floats(0, 3), min_size=1, max_size=60),
)
def test_no_more_than_the_rate_and_one_burst_is_let_in(rate: float, steps: list[float]) -> None:
    now = 5.0
    bucket, taken = TokenBucket(rate, now), 0
    for step in steps:
        now += step
        while bucket.take(now) == 0:
            taken += 1
    most = max(1.0, rate * BURST_SECONDS) + rate * (now - 5.0)
    assert taken <= most * (1 + 1e-9)


def test_who_waits_as_long_as_told_is_let_in() -> None:
    bucket = TokenBucket(0.5, 0.0)
    assert bucket.take(0.0) == 0
    wait = bucket.take(0.0)
    assert wait == pytest.approx(2.0)
    assert bucket.take(wait - 0.5) == pytest.approx(0.5)
    assert bucket.take(wait) == 0
