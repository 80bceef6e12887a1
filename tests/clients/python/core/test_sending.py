"""When a call is sent again, against a server that fails as planned."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from recserve_client import (
    AnswerError,
    Client,
    NoAnswerError,
    RateLimitedError,
    Retries,
    ServerError,
    UnavailableError,
    UnexpectedAnswerError,
)
from recserve_client.core.sending import Call

from tests.clients.conftest import Live

QUICK = Retries(attempts=3, first=0.0)
ARMS: Any = [{"name": "a"}, {"name": "b"}]
STOP = "/v1/experiments/x/stop"


@pytest.mark.parametrize(
    "fault",
    [
        (429, "rate_limited", {"Retry-After": "0"}),
        (503, "overloaded", {"Retry-After": "0"}),
        (503, "not_ready", {}),
        (503, "store_unavailable", {}),
        (503, "outcome_unknown", {}),
        (503, None, {}),
        (502, None, {}),
        (504, None, {}),
    ],
)
def test_a_call_that_does_no_harm_twice_is_sent_again(live: Live, fault: Any) -> None:
    live.faults.planned = [fault, fault]
    with Client(live.url, retries=QUICK) as client:
        assert client.recommend(n=1).items
    assert live.faults.paths == ["POST /v1/recommend"] * 3


@pytest.mark.parametrize(
    ("fault", "sent"),
    [
        ((429, "rate_limited", {}), 3),
        ((503, "overloaded", {}), 3),
        ((503, "store_unavailable", {}), 3),
        ((503, "outcome_unknown", {}), 1),
        ((503, "timeout", {}), 1),
        ((503, None, {}), 1),
        ((502, None, {}), 1),
    ],
)
def test_another_only_if_it_was_not_carried_out(live: Live, fault: Any, sent: int) -> None:
    live.faults.planned = [fault] * 3
    with Client(live.url, retries=QUICK) as client, pytest.raises(AnswerError) as failed:
        client.stop_experiment("x")
    assert live.faults.paths == [f"POST {STOP}"] * sent
    assert failed.value.attempts == sent


@pytest.mark.parametrize(
    ("fault", "kind"), [((500, "internal", {}), ServerError), ((501, None, {}), ServerError)]
)
def test_a_fault_of_the_server_is_not_repeated(live: Live, fault: Any, kind: type[AnswerError]) -> None:
    live.faults.planned = [fault]
    with Client(live.url, retries=QUICK) as client, pytest.raises(kind):
        client.recommend()
    assert len(live.faults.paths) == 1


def test_who_is_asked_to_wait_too_long_gives_up_at_once(live: Live) -> None:
    live.faults.planned = [(429, "rate_limited", {"Retry-After": "3600"})]
    with Client(live.url) as client, pytest.raises(RateLimitedError) as failed:
        client.recommend()
    assert failed.value.retry_after == 3600
    live.faults.planned = [(503, "overloaded", {"Retry-After": "5"})]
    with Client(live.url, retries=Retries(total=1)) as client, pytest.raises(UnavailableError):
        client.recommend()


def test_a_server_that_hangs_is_not_waited_for(live: Live) -> None:
    live.faults.planned = ["hang"]
    with Client(live.url, timeout=0.2, retries=QUICK) as client, pytest.raises(NoAnswerError) as failed:
        client.stop_experiment("x")
    assert (failed.value.attempts, failed.value.maybe_done) == (1, True)
    live.faults.planned = ["hang"]
    with Client(live.url, timeout=0.2, retries=QUICK) as client:
        assert client.live().status == "live"


def test_nobody_listens(free_port: int) -> None:
    with Client(f"http://127.0.0.1:{free_port}", retries=QUICK) as client:
        with pytest.raises(NoAnswerError, match="attempt 3") as failed:
            client.stop_experiment("x")
        assert (failed.value.attempts, failed.value.maybe_done) == (3, False)


def test_an_address_without_a_scheme_is_not_tried_again() -> None:
    with Client("localhost:8000") as client, pytest.raises(NoAnswerError, match="attempt 1"):
        client.live()


def test_another_server_is_told_apart(live: Live) -> None:
    live.faults.planned = [(200, None, {"Content-Type": "text/html"})]
    with Client(live.url) as client, pytest.raises(UnexpectedAnswerError, match="is this a recserve server"):
        client.about()
    live.faults.planned = [(200, "surprise", {"Content-Type": "application/json"})]
    with Client(live.url) as client, pytest.raises(UnexpectedAnswerError, match="the answer is no About"):
        client.about()


def test_ids_are_encoded_in_paths() -> None:
    assert Call.path("/v1/items/{item_id}/audience", "a/b c{x}") == "/v1/items/a%2Fb%20c%7Bx%7D/audience"


def test_a_prefix_of_a_proxy_is_kept() -> None:
    seen: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(str(request.url))
        return httpx.Response(200, json={"status": "live"})

    with Client("http://host/shop/", transport=httpx.MockTransport(answer)) as client:
        client.live()
    assert seen == ["http://host/shop/v1/health/live"]
