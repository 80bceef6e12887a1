"""The client against a real server that misbehaves in every way a server can."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pytest
from recserve_llm.client.breaker import Budget, CircuitBreaker
from recserve_llm.client.chat import ChatClient, shared_client
from recserve_llm.client.completion import ChatRequest, Completion, LlmError, read_completion
from recserve_llm.parameters import ConnectionParams

from recserve import ConfigError
from tests.support.language_model import Reply, StubModel, says

REQUEST = ChatRequest("system", "user", 8)


def client(stub: StubModel, **params: Any) -> ChatClient:
    return ChatClient(ConnectionParams(base_url=stub.url, model="m", **params))


def cause(made: ChatClient, request: ChatRequest = REQUEST) -> tuple[str, str]:
    with pytest.raises(LlmError) as raised:
        made.submit(request).result(20)
    return raised.value.cause, str(raised.value)


def test_a_prompt_is_sent_as_chat_completions_want_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", "s3cret")
    schema = {"type": "object"}
    with StubModel(says("hello")) as stub:
        made = client(stub, api_key_env="MY_KEY")
        found = made.submit(ChatRequest("be brief", "hi", 8, schema=schema)).result(20)
        made.submit(ChatRequest("be brief", "hi", 1, top_logprobs=20)).result(20)
    assert found.text == "hello"
    body = stub.bodies[0]
    assert [one["content"] for one in body["messages"]] == ["be brief", "hi"]
    assert body["response_format"]["json_schema"] == {"name": "answer", "strict": True, "schema": schema}
    assert (body["model"], body["max_tokens"], body["temperature"]) == ("m", 8, 0.0)
    assert (stub.bodies[1]["logprobs"], stub.bodies[1]["top_logprobs"]) == (True, 20)
    assert stub.headers[0]["authorization"] == "Bearer s3cret"


def test_no_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    with StubModel(says("direct")) as stub:
        assert client(stub).submit(REQUEST).result(20).text == "direct"


def test_redirects_are_not_followed() -> None:
    with StubModel(says("elsewhere")) as other:
        with StubModel(lambda body: Reply("", 307, location=f"{other.url}/chat/completions")) as stub:
            assert cause(client(stub)) == (
                "failed",
                "the language model's server redirects (HTTP 307), which is not followed",
            )
        assert other.bodies == []


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        (Reply("x" * 5_000), "failed"),
        (Reply(body=b"not json"), "failed"),
        (Reply(body=b'{"choices": []}'), "failed"),
        (Reply(body=b'{"choices": [{"message": {"content": 7}}]}'), "failed"),
        (Reply(body=b"[" * 2_000), "failed"),
        (Reply("", 500), "failed"),
        (Reply("", 401), "failed"),
        (Reply("", 429), "overloaded"),
        (Reply("", 503), "overloaded"),
    ],
)
def test_answers_that_are_none(reply: Reply, why: str) -> None:
    with StubModel(lambda body: reply) as stub:
        assert cause(client(stub, max_response_bytes=3_000))[0] == why


@pytest.mark.parametrize("drip", [False, True])
def test_a_server_that_hangs_or_drips_costs_the_deadline(drip: bool) -> None:
    held = threading.Event()
    with StubModel(lambda body: Reply("late", wait=None if drip else held, drip=drip)) as stub:
        assert cause(client(stub, timeout_ms=100)) == ("late", "the language model took longer than 100 ms")
        held.set()


def test_a_server_that_is_not_there() -> None:
    with StubModel(says("")) as stub:
        url = stub.url
    made = ChatClient(ConnectionParams(base_url=url, model="m"))
    assert cause(made) == ("down", "cannot reach the language model: ConnectError")


def test_the_queue_and_the_budget_are_bounded() -> None:
    held = threading.Event()
    with StubModel(lambda body: Reply("ok", wait=held)) as stub:
        made = client(stub, concurrency=1, max_queue=1)
        first, second = made.submit(REQUEST), made.submit(REQUEST)
        assert cause(made)[0] == "overloaded"
        while not stub.bodies:
            time.sleep(0.005)
        assert len(stub.bodies) == 1, "one at a time"
        held.set()
        assert [first.result(20).text, second.result(20).text] == ["ok", "ok"]
        poor = client(stub, requests_a_minute=1)
        assert poor.submit(REQUEST).result(20).text == "ok"
        assert cause(poor)[0] == "over_budget"


def test_after_failures_in_a_row_a_server_is_left_alone() -> None:
    with StubModel(lambda body: Reply("", 500)) as stub:
        made = client(stub)
        found = [cause(made)[0] for _ in range(7)]
    assert found == ["failed"] * 5 + ["down"] * 2
    assert len(stub.bodies) == 5


def test_breaker_lets_a_trial_through_and_closes_when_it_succeeds() -> None:
    now = [0.0]
    breaker = CircuitBreaker(failures=2, pauses=(1.0, 3.0), clock=lambda: now[0])
    breaker.failed()
    assert breaker.admits()
    breaker.failed()
    assert not breaker.admits()
    now[0] = 1.0
    assert [breaker.admits(), breaker.admits()] == [True, False], "one trial"
    breaker.failed()
    now[0] = 2.5
    assert not breaker.admits(), "the pause has doubled"
    now[0] = 3.0
    assert breaker.admits()
    breaker.succeeded()
    assert breaker.admits()


def test_a_budget_fills_evenly() -> None:
    now = [0.0]
    budget = Budget(2, clock=lambda: now[0])
    assert [budget.take() for _ in range(3)] == [True, True, False]
    now[0] = 30.0
    assert [budget.take() for _ in range(2)] == [True, False]
    assert Budget(None).take()


def test_a_missing_key_or_certificate_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("NO_KEY", raising=False)
    empty = tmp_path / "ca.pem"
    empty.write_text("nothing")
    for params, says_ in (
        (
            {"api_key_env": "NO_KEY"},
            "environment variable NO_KEY, which `api_key_env` names, holds no API key",
        ),
        ({"ca_file": str(tmp_path / "missing.pem")}, "there is no file"),
        ({"ca_file": str(empty)}, "holds no certificates"),
    ):
        with pytest.raises(ConfigError, match=says_):
            shared_client(ConnectionParams(base_url="https://llm.example/v1", model="m", **params))


def test_first_tokens_are_read() -> None:
    body = Reply("B", first_tokens=((" B", -0.5), ("A", float("nan")))).content()
    assert read_completion(body) == Completion("B", False, [(" B", -0.5)])
