"""Ids of requests, and the context of work that is done for several at once."""

from __future__ import annotations

import contextvars
import pickle

import pytest

from recserve.telemetry.requests import (
    NO_REQUEST,
    RequestContext,
    current,
    enter,
    leave,
    request_id_of,
    together,
)


def test_a_client_names_its_request() -> None:
    headers = [(b"host", b"shop"), (b"x-request-id", b"checkout/42:a=b")]
    assert request_id_of(headers) == "checkout/42:a=b"


@pytest.mark.parametrize("given", [None, b"", b"two words", b"line\nbreak", b'{"a"', b"x" * 129, b"\xff"])
def test_a_request_without_a_good_id_gets_one(given: bytes | None) -> None:
    headers = [] if given is None else [(b"x-request-id", given)]
    made = {request_id_of(headers) for _ in range(100)}
    assert len(made) == 100
    assert all(id_.isascii() and id_.replace("-", "").isalnum() for id_ in made)


def test_a_batch_is_for_each_of_its_requests_once() -> None:
    one = RequestContext(("a",), ("00-1-2-01",))
    two = RequestContext(("b",))
    assert together([one, two, one]) == RequestContext(("a", "b"), ("00-1-2-01",))
    assert together([one, one]) == one
    assert together([one]) is one
    assert together([]) == NO_REQUEST
    assert pickle.loads(pickle.dumps(one)) == one


def test_the_context_is_that_of_the_task() -> None:
    token = enter(RequestContext(("outer",)))
    contextvars.copy_context().run(enter, RequestContext(("inner",)))
    assert current().request_ids == ("outer",)
    leave(token)
    assert current() == NO_REQUEST
