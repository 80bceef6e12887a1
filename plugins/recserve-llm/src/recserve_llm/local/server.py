"""HTTP server of a local model that speaks OpenAI's chat completions, on the loopback interface alone."""

from __future__ import annotations

import json
import select
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Protocol

from recserve_llm.local.generated import Generated, PromptError, StoppedError

_MOST_BYTES = 1_000_000
_MOST_WAITING = 16
_MOST_TOKENS = 1_000


class Generates(Protocol):
    """The part of :class:`recserve_llm.local.model.LocalModel` that a server needs."""

    def generate(
        self,
        messages: Sequence[Mapping[str, str]],
        *,
        max_tokens: int,
        schema: Mapping[str, Any] | None = None,
        top_logprobs: int = 0,
        seconds: float = 60.0,
        wanted: Callable[[], bool] = lambda: True,
    ) -> Generated:
        """See :meth:`recserve_llm.local.model.LocalModel.generate`."""
        ...


class LocalServer:
    """Server of one model. Requests are answered one after the other; few may wait.

    Args:
        model: The model.
        name: What it is called.
        port: Port on 127.0.0.1; 0 takes a free one.
        seconds: Longest time of an answer.
    """

    def __init__(self, model: Generates, name: str, port: int = 0, seconds: float = 60.0) -> None:
        self.model = model
        self.name = name
        self.seconds = seconds
        self.turn = threading.Lock()
        self.places = threading.Semaphore(_MOST_WAITING)
        served = self

        class Handler(_Handler):
            server_of_model = served

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._server.daemon_threads = True

    @property
    def url(self) -> str:
        """The ``base_url`` of clients."""
        return f"http://127.0.0.1:{self._server.server_port}/v1"

    def serve(self) -> None:
        """Serve until :meth:`close` is called."""
        self._server.serve_forever(poll_interval=0.2)

    def close(self) -> None:
        """Stop serving; called from another thread."""
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    """Requests of one connection."""

    server_of_model: LocalServer
    protocol_version = "HTTP/1.1"
    timeout = 30

    def do_GET(self) -> None:
        """The models, which also says that the server is ready."""
        if self.path == "/v1/models":
            model = {"id": self.server_of_model.name, "object": "model", "owned_by": "local"}
            self._send(200, {"object": "list", "data": [model]})
        else:
            self._refuse(404, "there is no such path")

    def do_POST(self) -> None:
        """A chat completion."""
        if self.path != "/v1/chat/completions":
            self._refuse(404, "there is no such path")
            return
        try:
            length = int(self.headers.get("content-length") or 0)
            if not 0 < length <= _MOST_BYTES:
                self._refuse(413, f"the body must have 1 to {_MOST_BYTES} bytes")
                return
            body = json.loads(self.rfile.read(length))
            options = _options(body)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            self._refuse(400, f"the request is no chat completion: {error}"[:200])
            return
        served = self.server_of_model
        if not served.places.acquire(blocking=False):
            self._refuse(503, "too many requests wait")
            return
        try:
            with served.turn:
                if not self._is_wanted():
                    self.close_connection = True
                    return
                found = served.model.generate(**options, seconds=served.seconds, wanted=self._is_wanted)
        except PromptError as error:
            self._refuse(400, str(error))
        except StoppedError:
            self._refuse(503, "the answer took too long")
        else:
            self._send(200, _completion(found, served.name))
        finally:
            served.places.release()

    def _is_wanted(self) -> bool:
        """Whether the client still holds the connection."""
        readable, _, _ = select.select([self.connection], [], [], 0)
        try:
            return not readable or bool(self.connection.recv(1, socket.MSG_PEEK))
        except OSError:
            return False

    def _refuse(self, status: int, message: str) -> None:
        self.close_connection = True
        self._send(status, {"error": {"message": message, "type": "invalid_request_error"}})

    def _send(self, status: int, content: Mapping[str, Any]) -> None:
        body = json.dumps(content).encode()
        try:
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
        except OSError:  # the client is gone
            self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:
        """Requests are not logged: they hold what people chose."""


def _options(body: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of the model's method out of a request.

    Raises:
        ValueError: The request is not one.
    """
    messages = [{"role": str(one["role"]), "content": str(one["content"])} for one in body["messages"]]
    wanted = body.get("response_format") or {}
    schema: Any = None
    if wanted.get("type") == "json_schema":
        schema = wanted["json_schema"]["schema"]
    elif wanted.get("type") == "json_object":
        schema = {"type": "object"}
    most = int(body.get("max_tokens") or 256)
    told = int(body.get("top_logprobs") or 0) if body.get("logprobs") else 0
    if not messages or not 1 <= most <= _MOST_TOKENS or not 0 <= told <= 20:
        raise ValueError(f"messages, max_tokens (1 to {_MOST_TOKENS}) or top_logprobs (0 to 20) are wrong")
    return {"messages": messages, "max_tokens": most, "schema": schema, "top_logprobs": told}


def _completion(found: Generated, name: str) -> dict[str, Any]:
    choice: dict[str, Any] = {
        "index": 0,
        "message": {"role": "assistant", "content": found.text},
        "finish_reason": "length" if found.cut else "stop",
    }
    if found.first_tokens:
        told = [{"token": token, "logprob": value} for token, value in found.first_tokens]
        choice["logprobs"] = {"content": [{**told[0], "top_logprobs": told}]}
    usage = {"prompt_tokens": found.prompt_tokens, "completion_tokens": found.tokens}
    return {
        "object": "chat.completion",
        "created": int(time.time()),
        "model": name,
        "choices": [choice],
        "usage": {**usage, "total_tokens": found.prompt_tokens + found.tokens},
    }
