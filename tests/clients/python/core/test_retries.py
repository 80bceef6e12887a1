"""How long a call waits before it is sent again."""

from __future__ import annotations

import time
from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st
from recserve_client import Retries
from recserve_client.core.retries import seconds_of


@given(attempt=st.integers(1, 10), retry_after=st.none() | st.floats(0, 20), elapsed=st.floats(0, 100))
def test_waits_keep_to_their_bounds(attempt: int, retry_after: float | None, elapsed: float) -> None:
    policy = Retries()
    wait = policy.wait(attempt, elapsed, retry_after)
    asked = retry_after or 0.0
    if attempt >= policy.attempts or asked > policy.longest or elapsed + asked > policy.total:
        assert wait is None
    elif wait is not None:
        assert asked <= wait <= asked + min(policy.longest, policy.first * 2 ** (attempt - 1))
        assert elapsed + wait <= policy.total


def test_clients_that_failed_together_do_not_come_back_together() -> None:
    waits = {Retries().wait(3, 0.0, 1.0) for _ in range(20)}
    assert len(waits) == 20


def test_the_header_is_seconds_or_a_date() -> None:
    assert seconds_of(None) is None
    assert seconds_of("7") == 7.0
    assert seconds_of("soon") is None
    assert seconds_of("Wed, 21 Oct 2015 07:28:00 GMT") == 0.0
    ahead = seconds_of(formatdate(time.time() + 50, usegmt=True))
    assert ahead is not None
    assert 0 < ahead <= 51


@pytest.mark.parametrize("wrong", [{"attempts": 0}, {"first": -1.0}, {"total": -0.1}])
def test_nonsense_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"must be at least|not less than"):
        Retries(**wrong)  # type: ignore[arg-type]
