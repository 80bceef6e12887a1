"""Batches arrive signed; what is refused is found, and what is only late is sent again."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from recserve.auth.signing import StandardVerifier, signing_key
from recserve.config import WebhookConfig
from recserve.errors import ConfigError
from recserve.streams.outgoing import Change
from recserve.streams.sink import Refused, TargetError
from recserve.streams.targets.webhook import WebhookTarget

SECRET = "a secret of the receiver's own"


class Receiver:
    """A receiver that answers as its test says."""

    def __init__(self) -> None:
        receiver = self
        self.requests: list[tuple[dict[str, str], bytes]] = []
        self.status = 204
        self.odd = ""

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                receiver.requests.append(({key.lower(): value for key, value in self.headers.items()}, body))
                ids = [change["id"] for change in json.loads(body)["changes"]]
                self.send_response(422 if receiver.odd in ids else receiver.status)
                self.send_header("Retry-After", "7")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *arguments: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}/hook?token=hidden"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.server.shutdown()
    made.server.server_close()


def change(number: int) -> Change:
    return Change("exposures", "exposure", f"r{number}", number, "u", {"n": number})


def post(url: str, *changes: Change, **settings: Any) -> list[Refused]:
    async def main() -> list[Refused]:
        target = WebhookTarget("hook", WebhookConfig(url=url, secret=SECRET, **settings))
        try:
            return list(await target.send(changes))
        finally:
            await target.close()

    return asyncio.run(main())


def test_a_batch_is_signed_and_named_the_same_when_it_comes_again(receiver: Receiver) -> None:
    for _ in range(2):
        assert post(receiver.url, change(1), change(2)) == []
    (headers, body), (again, _) = receiver.requests
    delivery = StandardVerifier(signing_key(SECRET)).check(headers, body, time.time())
    assert delivery == b"hook-exposure-1-2-2"
    assert headers["webhook-id"] == again["webhook-id"] == "hook-exposure-1-2-2"
    sent = [{"type": "exposure", "id": f"r{n}", "number": n, "data": {"n": n}} for n in (1, 2)]
    assert json.loads(body) == {"sink": "hook", "changes": sent}


def test_the_change_at_fault_is_found_by_halving(receiver: Receiver) -> None:
    receiver.odd = "r3"
    refused = post(receiver.url, *map(change, range(1, 6)))
    assert [(one.change.id, one.reason) for one in refused] == [("r3", "127.0.0.1 answered 422")]
    taken = {one["id"] for _, body in receiver.requests for one in json.loads(body)["changes"]}
    assert taken == {f"r{n}" for n in range(1, 6)}


@pytest.mark.parametrize("status", [301, 401, 404, 429, 500, 503])
def test_a_receiver_that_can_be_mended_is_waited_for(receiver: Receiver, status: int) -> None:
    receiver.status = status
    with pytest.raises(TargetError, match=f"answered {status}") as error:
        post(receiver.url, change(1))
    assert error.value.retry_after == 7.0
    assert "hidden" not in error.value.message


def test_one_that_cannot_be_reached_is_waited_for(receiver: Receiver) -> None:
    with pytest.raises(TargetError, match=r"127\.0\.0\.1 cannot be reached: ConnectError"):
        post("http://127.0.0.1:9/hook", change(1))


def test_url_and_secret_may_come_from_the_environment(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = WebhookConfig(url="${HOOK_URL}", secret="${HOOK_SECRET}")
    with pytest.raises(ConfigError, match="HOOK_URL is not set"):
        WebhookTarget("hook", config)
    monkeypatch.setenv("HOOK_URL", receiver.url)
    monkeypatch.setenv("HOOK_SECRET", "short")
    with pytest.raises(ConfigError, match="24 bytes"):
        WebhookTarget("hook", config)
    assert "short" not in repr(config)
