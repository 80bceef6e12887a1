"""Language model of tests: a real HTTP server that speaks chat completions and says what it is told to."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Reply:
    """An answer of the stub.

    Attributes:
        text: What the model says; None sends ``body`` instead.
        status: HTTP status.
        body: Bytes of the answer.
        first_tokens: Log-probabilities of first tokens.
        wait: Set once the answer may go out.
        drip: Send a byte at a time until the client is gone.
        location: Where to redirect to.
    """

    text: str | None = None
    status: int = 200
    body: bytes = b""
    first_tokens: tuple[tuple[str, float], ...] = ()
    wait: threading.Event | None = None
    drip: bool = False
    location: str | None = None

    def content(self) -> bytes:
        if self.text is None:
            return self.body
        choice: dict[str, Any] = {
            "message": {"role": "assistant", "content": self.text},
            "finish_reason": "stop",
        }
        if self.first_tokens:
            told = [{"token": token, "logprob": value} for token, value in self.first_tokens]
            choice["logprobs"] = {"content": [{"top_logprobs": told}]}
        return json.dumps({"choices": [choice]}).encode()


Respond = Callable[[dict[str, Any]], Reply]


class StubModel:
    """The server, in a thread; use it in a ``with`` block.

    Args:
        respond: The reply to each request's body.

    Attributes:
        bodies: What was asked so far.
        headers: Headers of these requests, names in lower case.
    """

    def __init__(self, respond: Respond) -> None:
        self.respond = respond
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.gone = threading.Event()
        stub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                stub.headers.append({name.lower(): value for name, value in self.headers.items()})
                stub.bodies.append(body)
                reply = stub.respond(body)
                if reply.wait is not None:
                    reply.wait.wait(20)
                content = reply.content()
                try:
                    self.send_response(reply.status)
                    if reply.location is not None:
                        self.send_header("location", reply.location)
                    self.send_header("content-length", str(10**6 if reply.drip else len(content)))
                    self.end_headers()
                    while reply.drip and not stub.gone.wait(0.01):
                        self.wfile.write(b" ")
                        self.wfile.flush()
                    self.wfile.write(content)
                except OSError:
                    self.close_connection = True

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/v1"

    def __enter__(self) -> StubModel:
        self._thread.start()
        return self

    def __exit__(self, *details: object) -> None:
        self.gone.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def says(text: str) -> Respond:
    """The same text to everybody."""
    return lambda body: Reply(text)


def labels_of(body: dict[str, Any]) -> list[str]:
    """The labels of a ranking prompt, in order."""
    prompt = body["messages"][1]["content"]
    listed = prompt.partition("Candidates:\n")[2].partition("\n\n")[0]
    return [line[0] for line in listed.splitlines()]


def reverses(body: dict[str, Any]) -> Reply:
    """The candidates in the opposite order."""
    return Reply(json.dumps({"order": labels_of(body)[::-1]}))
